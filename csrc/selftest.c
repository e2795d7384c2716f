/* selftest.c: the engines without Python. Trains small networks on every engine that this CPU has, or on the one named by
 * the first argument, and prints a digest of the trained weights of each: the same for every engine with FMA, whatever the
 * compiler, its optimization level or the operating system.
 *
 *   cc -std=gnu11 -O3 -ffp-contract=off csrc/[is]*.c -lm -lpthread -o selftest && ./selftest
 */
#include "fastmlp.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 601, INPUTS = 37, OUTPUTS = 10, BATCH = 300, EPOCHS = 3 };
static const int64_t n_units[] = {INPUTS, 70, 33, OUTPUTS};
enum { LAYERS = sizeof n_units / sizeof *n_units - 1 };

/* Numbers in [-1, 1) that are the same on every machine. */
static double next_number(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (double)(int64_t)(*state >> 40) / (1 << 23) - 1;
}

static void fill(void *to, int64_t n, int32_t real_bytes, double scale, uint64_t seed) {
    for (int64_t i = 0; i < n; i++) {
        double x = scale * next_number(&seed);
        if (real_bytes == 4) ((float *)to)[i] = (float)x;
        else ((double *)to)[i] = x;
    }
}

/* FNV-1a. */
static uint64_t digest(uint64_t hash, const void *data, int64_t bytes) {
    for (const unsigned char *p = data, *end = p + bytes; p < end; p++) hash = (hash ^ *p) * 1099511628211u;
    return hash;
}

static void *allocate(int64_t bytes) {
    char *p = calloc(1, (size_t)bytes + FM_ALIGNMENT);
    if (!p) exit(2);
    return p + (FM_ALIGNMENT - (uintptr_t)p % FM_ALIGNMENT);
}

/* Digest of the parameters after training with every activation, loss and optimizer, on 1 and 3 threads; 0: they differ. */
static uint64_t train_all(const fm_engine *engine, int32_t real_bytes) {
    int64_t n_params = 0, classes[ROWS];
    for (int l = 0; l < LAYERS; l++) n_params += (n_units[l] + 1) * n_units[l + 1];
    uint64_t seed = 1, hashes[2] = {14695981039346656037u, 14695981039346656037u};
    void *X = allocate(ROWS * INPUTS * 8), *params = allocate(n_params * 8), *slots = allocate(2 * n_params * 8);
    fill(X, ROWS * INPUTS, real_bytes, 1, 2);
    for (int i = 0; i < ROWS; i++) classes[i] = (int64_t)((next_number(&seed) + 1) * OUTPUTS / 2);
    for (int32_t activation = 0; engine->activations[activation]; activation++)
        for (int32_t loss = 0; engine->losses[loss]; loss++)
            for (int32_t optimizer = 0; engine->optimizers[optimizer]; optimizer++)
                for (int run = 0; run < 2; run++) {
                    fill(params, n_params, real_bytes, 0.2, 3);
                    memset(slots, 0, (size_t)(2 * n_params * real_bytes));
                    fm_task task = {.job = FM_TRAIN, .n_threads = run ? 3 : 1, .n_layers = LAYERS, .n_units = n_units};
                    task.activation = activation, task.loss = loss, task.alpha = 1e-3;
                    task.X = (fm_matrix){.data = X,
                                         .row_stride = INPUTS * real_bytes,
                                         .n_columns = INPUTS,
                                         .dtype = real_bytes == 4 ? FM_FLOAT32 : FM_FLOAT64};
                    task.classes = classes, task.n_rows = ROWS, task.batch_size = BATCH;
                    task.params = params, task.slots = slots, task.seconds = 1e9;
                    task.optimizer = (fm_optimizer){optimizer, 0.01, 0.9, 0.9, 0.999, 1e-8, 0};
                    char *scratch = allocate(engine->scratch_bytes(&task));
                    task.scratch = scratch;
                    for (int epoch = 0; epoch < EPOCHS; epoch++) {
                        task.position = 0;
                        if (engine->run(&task) != FM_EPOCH) return 0;
                    }
                    hashes[run] = digest(hashes[run], params, n_params * real_bytes);
                }
    return hashes[0] == hashes[1] ? hashes[0] : 0;
}

int main(int argc, char **argv) {
    int failed = 0, ran = 0;
    for (int32_t real_bytes = 4; real_bytes <= 8; real_bytes += 4)
        for (int32_t i = 0; fm_engine_at(i, real_bytes); i++) {
            const fm_engine *engine = fm_engine_at(i, real_bytes);
            if (argc > 1 && strcmp(argv[1], engine->isa)) continue;
            uint64_t hash = train_all(engine, real_bytes);
            printf("%-10s float%d %016llx\n", engine->isa, 8 * real_bytes, (unsigned long long)hash);
            failed |= hash == 0;
            ran = 1;
        }
    return failed || !ran;
}
