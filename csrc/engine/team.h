/* team.h: the threads of one call, their barrier, my share of n, and the clock; all that knows pthreads or Win32.
 *
 * A team is created inside a call and joined before it returns: nothing survives a fork, nothing is shared with other
 * libraries. The caller is thread 0.
 */
#ifdef _WIN32
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
typedef HANDLE thread_handle;
#else
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <time.h>
typedef pthread_t thread_handle;
#endif

enum { CACHE_LINE = 128, SPINS = 400, JOIN_SPINS = 2000 };

typedef struct team team;
typedef void team_body(void *context, team *crew, int32_t thread);

typedef struct member {
    team *of;
    int32_t thread;
} member;

struct team {
    /* Each on a line of its own: waiters read generation while arrivals write arrived. */
    _Alignas(CACHE_LINE) int32_t arrived;
    _Alignas(CACHE_LINE) int32_t generation;
    _Alignas(CACHE_LINE) int32_t n_threads; /* 0 until all are created */
    team_body *body;
    void *context;
    int32_t denormals; /* 0: they are taken as 0 */
};

static void pause_or_yield(int32_t spins) {
    if (spins < SPINS) {
#if defined(__x86_64__) || defined(_M_X64)
        __builtin_ia32_pause();
#else
        __asm__ __volatile__("yield");
#endif
        return;
    }
#ifdef _WIN32
    SwitchToThread();
#else
    sched_yield();
#endif
}

/* Returns when every thread of the team has called it; what was written before is then visible to all. */
static void team_barrier(team *crew) {
    if (crew->n_threads == 1) return;
    int32_t generation = __atomic_load_n(&crew->generation, __ATOMIC_RELAXED);
    if (__atomic_add_fetch(&crew->arrived, 1, __ATOMIC_ACQ_REL) == crew->n_threads) {
        __atomic_store_n(&crew->arrived, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&crew->generation, generation + 1, __ATOMIC_RELEASE);
        return;
    }
    for (int32_t spins = 0; __atomic_load_n(&crew->generation, __ATOMIC_ACQUIRE) == generation; spins += spins < SPINS)
        pause_or_yield(spins);
}

#ifdef _WIN32
static DWORD WINAPI team_entry(LPVOID argument) {
#else
static void *team_entry(void *argument) {
#endif
    const member *m = argument;
    team *crew = m->of;
    for (int32_t spins = 0; __atomic_load_n(&crew->n_threads, __ATOMIC_ACQUIRE) == 0; spins += spins < SPINS)
        pause_or_yield(spins);
    float_mode before = denormals_are(crew->denormals);
    crew->body(crew->context, crew, m->thread);
    denormals_back(before);
    return 0;
}

static int32_t thread_create(thread_handle *handle, member *m) {
#ifdef _WIN32
    *handle = CreateThread(NULL, 0, team_entry, m, 0, NULL);
    return *handle != NULL;
#else
    return pthread_create(handle, NULL, team_entry, m) == 0;
#endif
}

static void thread_join(thread_handle handle) {
#ifdef _WIN32
    WaitForSingleObject(handle, INFINITE);
    CloseHandle(handle);
#else
#ifdef __linux__
    extern int pthread_tryjoin_np(pthread_t, void **); /* glibc and musl declare it for _GNU_SOURCE alone */
    /* To be woken takes longer than most threads still need. */
    for (int32_t spins = 0; spins < JOIN_SPINS; spins++) {
        if (pthread_tryjoin_np(handle, NULL) == 0) return;
        pause_or_yield(spins);
    }
#endif
    pthread_join(handle, NULL);
#endif
}

/* Run body on n_threads threads, or on as many as the system grants; with denormals, or as if they were 0. */
static void team_run(int32_t n_threads, team_body *body, void *context, int32_t denormals) {
    team crew = {.body = body, .context = context, .denormals = denormals};
    member members[FM_MAX_THREADS];
    thread_handle handles[FM_MAX_THREADS];
    int32_t created = 1;
#ifndef _WIN32
    /* Signals belong to the caller's threads: Python's handler must not run on ours; faults are reported where they are. */
    sigset_t all, before;
    if (n_threads > 1) {
        sigfillset(&all);
        const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
        for (int i = 0; i < 4; i++) sigdelset(&all, faults[i]);
        pthread_sigmask(SIG_SETMASK, &all, &before);
    }
#endif
    for (; created < n_threads; created++) {
        members[created] = (member){&crew, created};
        if (!thread_create(&handles[created], &members[created])) break;
    }
#ifndef _WIN32
    if (n_threads > 1) pthread_sigmask(SIG_SETMASK, &before, NULL);
#endif
    __atomic_store_n(&crew.n_threads, created, __ATOMIC_RELEASE);
    float_mode mode = denormals_are(denormals);
    body(context, &crew, 0);
    denormals_back(mode);
    for (int32_t i = 1; i < created; i++) thread_join(handles[i]);
}

/* My contiguous share [begin, end) of n items. */
static void team_share(const team *crew, int32_t thread, int64_t n, int64_t *begin, int64_t *end) {
    *begin = 0, *end = n;
    if (crew->n_threads == 1) return; /* divisions take longer than a small step's other bookkeeping */
    *begin = n * thread / crew->n_threads;
    *end = n * (thread + 1) / crew->n_threads;
}

/* The next number of a counter that all threads take from: work of uneven length. */
static int64_t take_number(int64_t *counter) { return __atomic_fetch_add(counter, 1, __ATOMIC_RELAXED); }

static void barrier_rounds(void *context, team *crew, int32_t thread) {
    (void)thread;
    for (int64_t i = *(int64_t *)context; i > 0; i--) team_barrier(crew);
}

static void barrier_loop(int32_t n_threads, int64_t n) { team_run(n_threads, barrier_rounds, &n, 1); }

/* Seconds of a clock that never goes back. */
static double clock_seconds(void) {
#ifdef _WIN32
    LARGE_INTEGER now, frequency;
    QueryPerformanceCounter(&now);
    QueryPerformanceFrequency(&frequency);
    return (double)now.QuadPart / (double)frequency.QuadPart;
#else
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
#endif
}
