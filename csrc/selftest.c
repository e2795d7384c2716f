/* selftest.c: the engines without Python. Trains, predicts and differentiates small networks with every pair of activation,
 * loss and optimizer and prints a digest of the results for each engine that this CPU has: the same for every engine with FMA,
 * whatever the compiler, its optimization level or the operating system.
 *
 *   cc -std=gnu11 -O3 -ffp-contract=off csrc/[is]*.c -lm -lpthread -o selftest && ./selftest [at-once]
 *
 * at-once: all engines at the same time, each in a thread of its own, on inputs and parameters that they share.
 */
#include "fastmlp.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 307, INPUTS = 37, OUTPUTS = 10, BATCH = 260, ROW_VALUES = 9, SOURCES = 3, MAX_JOBS = 16 };
static const int64_t n_units[] = {INPUTS, 70, 33, OUTPUTS};
enum { LAYERS = sizeof n_units / sizeof *n_units - 1 };

/* What the jobs of one dtype share and only read. */
typedef struct problem {
    int32_t dtype;
    int64_t real_bytes, n_params;
    fm_matrix X[SOURCES]; /* (ROWS, INPUTS): real, uint8, CSR */
    void *params;         /* real (n_params,), to start from */
    int64_t classes[ROWS], order[ROWS];
    double weight[ROWS];
} problem;

typedef struct job {
    const fm_engine *engine;
    const problem *on;
    uint64_t hash; /* OUT; 0: a status was wrong, or the bits depend on the number of threads */
} job;

static void *allocate(int64_t bytes) {
    void *p = calloc(1, (size_t)bytes);
    if (!p) exit(2);
    return p;
}

/* Numbers in [-1, 1) that are the same on every machine. */
static double next_number(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (double)(int64_t)(*state >> 40) / (1 << 23) - 1;
}

static void *reals(int64_t n, int64_t real_bytes, double scale, uint64_t seed) {
    void *to = allocate(n * real_bytes);
    for (int64_t i = 0; i < n; i++) {
        double x = scale * next_number(&seed);
        if (real_bytes == 4) ((float *)to)[i] = (float)x;
        else ((double *)to)[i] = x;
    }
    return to;
}

static fm_matrix sparse_rows(int64_t real_bytes, int32_t dtype) {
    int32_t *indices = allocate(ROWS * ROW_VALUES * 4), *indptr = allocate((ROWS + 1) * 4);
    for (int32_t i = 0; i < ROWS; i++) {
        for (int32_t j = 0; j < ROW_VALUES; j++) indices[i * ROW_VALUES + j] = 4 * j + i % 4;
        indptr[i + 1] = (i + 1) * ROW_VALUES;
    }
    return (fm_matrix){.data = reals(ROWS * ROW_VALUES, real_bytes, 1, 4),
                       .indices = indices,
                       .indptr = indptr,
                       .n_columns = INPUTS,
                       .n_values = ROWS * ROW_VALUES,
                       .max_row_values = ROW_VALUES,
                       .dtype = dtype,
                       .index_bytes = 4};
}

static problem new_problem(int32_t of) {
    int64_t real_bytes = of == FM_FLOAT64 ? 8 : 4;
    problem p = {.dtype = of, .real_bytes = real_bytes};
    int32_t dtype = real_bytes == 4 ? FM_FLOAT32 : FM_FLOAT64;
    uint64_t seed = 1;
    uint8_t *bytes = allocate(ROWS * INPUTS);
    for (int64_t i = 0; i < ROWS * INPUTS; i++) bytes[i] = (uint8_t)((next_number(&seed) + 1) * 2);
    p.X[0] = (fm_matrix){.data = reals(ROWS * INPUTS, real_bytes, 1, 2),
                         .row_stride = INPUTS * real_bytes,
                         .n_columns = INPUTS,
                         .dtype = dtype};
    p.X[1] = (fm_matrix){.data = bytes, .row_stride = INPUTS, .n_columns = INPUTS, .dtype = FM_UINT8};
    p.X[2] = sparse_rows(real_bytes, dtype);
    for (int l = 0; l < LAYERS; l++) p.n_params += (n_units[l] + 1) * n_units[l + 1];
    p.params = reals(p.n_params, real_bytes, 0.2, 3);
    for (int64_t i = 0; i < ROWS; i++) {
        p.classes[i] = (int64_t)((next_number(&seed) + 1) * OUTPUTS / 2);
        p.order[i] = (i * 7 + 3) % ROWS; /* ROWS is prime */
        p.weight[i] = next_number(&seed) + 1;
    }
    return p;
}

static int32_t run(const fm_engine *engine, fm_task *task, int32_t which) {
    task->job = which, task->position = 0;
    char *block = allocate(engine->scratch_bytes(task) + FM_ALIGNMENT);
    task->scratch = block + (FM_ALIGNMENT - (uintptr_t)block % FM_ALIGNMENT);
    int32_t status = engine->run(task);
    free(block);
    return status;
}

/* FNV-1a. */
static uint64_t digest(uint64_t hash, const void *data, int64_t bytes) {
    for (const unsigned char *p = data, *end = p + bytes; p < end; p++) hash = (hash ^ *p) * 1099511628211u;
    return hash;
}

/* Digest of one epoch's parameters, of the outputs at the start, and of the gradient at the end; 0: a status was wrong. */
static uint64_t results(const fm_engine *engine, const problem *p, fm_task task, int32_t n_threads) {
    int64_t bytes = p->n_params * p->real_bytes, output_bytes = ROWS * OUTPUTS * p->real_bytes;
    void *slots = allocate(2 * bytes), *params = allocate(bytes), *gradient = allocate(bytes),
         *outputs = allocate(output_bytes);
    task.n_threads = n_threads, task.slots = slots, task.gradient = gradient, task.outputs = outputs;
    task.params = p->params;
    int ok = run(engine, &task, FM_PREDICT) == FM_DONE;
    memcpy(params, p->params, (size_t)bytes);
    task.params = params, task.order = p->order;
    ok = ok && run(engine, &task, FM_TRAIN) == FM_EPOCH;
    task.order = NULL;
    ok = ok && run(engine, &task, FM_GRADIENT) == FM_DONE;
    uint64_t hash = digest(digest(digest(1, params, bytes), outputs, output_bytes), gradient, bytes);
    free(slots), free(params), free(gradient), free(outputs);
    return ok ? hash : 0;
}

static void *do_job(void *argument) {
    job *j = argument;
    const fm_engine *engine = j->engine;
    uint64_t all = 14695981039346656037u;
    for (int32_t activation = 0; engine->activations[activation]; activation++)
        for (int32_t loss = 0; engine->losses[loss].name; loss++)
            for (int32_t optimizer = 0; engine->optimizers[optimizer]; optimizer++) {
                if ((activation + loss + optimizer) % 6) continue; /* all of the pairs, a sixth of the triples */
                const int32_t same[LAYERS - 1] = {activation, activation};
                fm_task task = {.n_layers = LAYERS, .n_units = n_units, .n_rows = ROWS, .batch_size = BATCH};
                task.activations = same, task.loss = loss, task.alpha = 1e-3, task.seconds = 1e9, task.huber_delta = 1;
                task.X = j->on->X[(activation / 2 + loss) % SOURCES];
                task.classes = j->on->classes, task.sample_weight = j->on->weight;
                task.optimizer = (fm_optimizer){optimizer, optimizer < 4 ? 0.01 : 1e-4, 0.9, 0.9, 0.999, 1e-8, 0};
                task.bfloat16 = j->on->dtype == FM_BFLOAT16;
                uint64_t hash = results(engine, j->on, task, 1);
                if (hash == 0 || hash != results(engine, j->on, task, 3)) return NULL;
                all = digest(all, &hash, sizeof hash);
            }
    j->hash = all;
    return NULL;
}

int main(int argc, char **argv) {
    int at_once = argc > 1 && !strcmp(argv[1], "at-once"), failed = argc > 1 + at_once, n_jobs = 0;
    static problem problems[3];
    static job jobs[MAX_JOBS];
    pthread_t threads[MAX_JOBS];
    static const int32_t dtypes[] = {FM_FLOAT32, FM_FLOAT64, FM_BFLOAT16};
    static const char *const names[] = {[FM_FLOAT32] = "float32", [FM_FLOAT64] = "float64", [FM_BFLOAT16] = "bfloat16"};
    for (int d = 0; d < 3; d++) {
        problems[d] = new_problem(dtypes[d]);
        for (int32_t i = 0; fm_engine_at(i, dtypes[d]); i++)
            jobs[n_jobs++] = (job){fm_engine_at(i, dtypes[d]), &problems[d], 0};
    }
    for (int i = 0; i < n_jobs; i++)
        if (!at_once) do_job(&jobs[i]);
        else if (pthread_create(&threads[i], NULL, do_job, &jobs[i])) return 2;
    for (int i = 0; i < n_jobs; i++) {
        if (at_once) pthread_join(threads[i], NULL);
        printf("%-10s %-8s %016llx\n", jobs[i].engine->isa, names[jobs[i].on->dtype], (unsigned long long)jobs[i].hash);
        failed |= jobs[i].hash == 0;
    }
    return failed;
}
