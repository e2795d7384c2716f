/* timers.h: where a step's time goes, compiled in by FM_TIMERS; without it nothing remains.
 *
 * Thread 0 calls lap at the end of each phase; the time since the lap before belongs to it.
 */
enum { PHASE_PARAMETERS, PHASE_GATHER, PHASE_TRANSPOSE, PHASE_LOSS, PHASE_BARRIER, PHASE_BATCH, PHASES };
enum { PHASE_FORWARD, PHASE_INPUT_GRADIENT, PHASE_WEIGHT_GRADIENT, LAYER_PHASES };

#ifdef FM_TIMERS
static const char *const phases[] = {"parameters", "gather", "transpose", "loss", "barrier", "batch", NULL};
static const char *const layer_phases[] = {"forward", "input gradient", "weight gradient", NULL};

static void lap(network *net, int32_t thread, int64_t phase) {
    if (thread != 0 || !net->task->phase_seconds) return;
    double now = clock_seconds();
    net->task->phase_seconds[phase] += now - net->lap_seconds;
    net->lap_seconds = now;
}
#else
static const char *const *const phases = NULL;
static const char *const *const layer_phases = NULL;
INLINE void lap(network *net, int32_t thread, int64_t phase) { (void)net, (void)thread, (void)phase; }
#endif

INLINE void layer_lap(network *net, int32_t thread, int64_t l, int64_t phase) {
    lap(net, thread, PHASES + l * LAYER_PHASES + phase);
}
