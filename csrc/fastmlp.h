/* fastmlp.h: the contract between the engine (C) and the door (_core.pyx).
 *
 * Read by both sides; a code or a name that must agree is written here and nowhere else.
 *
 * Conventions
 * - `real` is float (engine of float32) or double (engine of float64); every field typed `void *`
 *   and said to be `real` holds values of the engine's own type.
 * - Layers are counted from 0; layer l maps n_units[l] inputs to n_units[l + 1] outputs.
 * - The flat parameter vector is W_0, W_1, ..., then b_0, b_1, ...; W_l is (n_units[l], n_units[l + 1]) in C order.
 *   Gradients and optimizer slots have the same order.
 * - The caller owns every pointer, for the duration of the call only. The engine allocates nothing and keeps nothing.
 * - Whatever reaches the engine has been validated; it answers with a status and never fails otherwise.
 */
#ifndef FASTMLP_H
#define FASTMLP_H

#include <stdint.h>

/* Dtypes of a matrix that the engine reads. */
enum { FM_FLOAT32, FM_FLOAT64, FM_UINT8 };

/* Jobs. */
enum { FM_TRAIN, FM_LOSS_GRADIENT, FM_PREDICT };

/* Status of a job. */
enum {
    FM_DONE,      /* loss_gradient and predict: the result is complete */
    FM_EPOCH,     /* train: every row has been used once; position == n_rows */
    FM_YIELD,     /* train, loss_gradient: the time is up; call again to go on */
    FM_NOT_FINITE /* train: the loss, a parameter or a slot became infinite or NaN; training ended there.
                     predict: X has such a value (or one too large for real); the outputs are not to be used */
};

enum { FM_MAX_THREADS = 256, FM_ALIGNMENT = 64 };

/* Rows of real numbers: dense with any row stride, or CSR. */
typedef struct fm_matrix {
    const void *data;    /* dense: element (0, 0); CSR: the stored values; NULL: there is no matrix */
    const void *indices; /* CSR: column of each stored value, ascending within a row, each at most once; dense: NULL */
    const void *indptr;  /* CSR: (n_rows + 1) offsets of the rows in data; dense: NULL */
    int64_t row_stride;  /* dense: bytes from a row to the next, any sign; elements of a row are adjacent */
    int64_t n_columns;   /* >= 1; CSR: below 2^31 */
    int64_t n_values;    /* CSR: stored values of all rows */
    int64_t max_row_values; /* CSR: stored values of the fullest row */
    int32_t dtype;          /* FM_FLOAT32, FM_FLOAT64 or FM_UINT8 */
    int32_t index_bytes;    /* CSR: 4 or 8, of both indices and indptr (signed) */
} fm_matrix;

/* The hyper-parameters of the update. All of them finite. */
typedef struct fm_optimizer {
    int32_t kind;         /* index in fm_engine.optimizers */
    double learning_rate; /* > 0, of the next step */
    double momentum;      /* sgd_momentum, sgd_nesterov: 0 to 1 */
    double beta_1;        /* adam: 0 to 1, excluded */
    double beta_2;        /* adam: 0 to 1, excluded */
    double epsilon;       /* adam: > 0 */
    int64_t step;         /* IN/OUT updates made so far; adam's bias correction uses step + 1 for the next */
} fm_optimizer;

/* One call of the engine. IN unless said otherwise. */
typedef struct fm_task {
    int32_t job;            /* FM_TRAIN, FM_LOSS_GRADIENT, FM_PREDICT */
    int32_t n_threads;      /* 1 to FM_MAX_THREADS; the result does not depend on it */
    int64_t n_layers;       /* number of weight matrices, >= 1 */
    const int64_t *n_units; /* (n_layers + 1,), each >= 1 */
    int32_t activation;     /* of the hidden layers: index in fm_engine.activations */
    int32_t loss;           /* also decides the outputs of predict: index in fm_engine.losses */
    double alpha;           /* L2 penalty, >= 0: 0.5 alpha sum(W^2) / (weight sum of the batch); biases are exempt */

    fm_matrix X;            /* (any, n_units[0]) */
    fm_matrix Y;            /* (any, n_outputs) target values, dense; data == NULL when classes is given */
    const int64_t *classes; /* (any,) class of each row: 0 to n_outputs - 1 (0 or 1 where n_outputs is 1); or NULL */
    const double *sample_weight; /* (any,) >= 0, or NULL for ones */
    const int64_t *order;        /* train: (n_rows,) rows of X in the order of use, or NULL for 0, 1, 2, ... */
    int64_t n_rows;              /* rows to use, >= 1 */
    int64_t batch_size;          /* train: 1 to n_rows; the last batch of the epoch may be shorter */

    void *params;   /* real (n_params,): train: IN/OUT; else IN */
    void *slots;    /* train: real (n_slots, n_params), IN/OUT; zeros before the first step; NULL without slots */
    void *gradient; /* loss_gradient: OUT real (n_params,) */
    void *outputs;  /* predict: OUT real (n_rows, n_outputs) in C order */
    void *scratch;  /* scratch_bytes(task) bytes aligned to FM_ALIGNMENT; contents must survive from a call to the next
                       where it ended with batch_position > 0, though n_threads and so the size may change */

    fm_optimizer optimizer; /* train */
    double seconds;   /* train, loss_gradient: return FM_YIELD after this many, at the end of a batch or of one of the
                         chunks in which a long one is computed; <= 0: after every chunk */
    int64_t position; /* train: IN/OUT rows of order used in this epoch so far, a multiple of batch_size or n_rows */
    int64_t batch_position; /* train, loss_gradient: IN/OUT rows of the next batch that are done; 0 at first */
    double batch_loss;      /* and the weighted sum of their losses */
    double loss_sum;        /* train: IN/OUT sum over the batches of (loss of the batch, penalty included) x (its rows);
                        loss_gradient: OUT loss, penalty included, of which gradient is the gradient */
    double
        *phase_seconds; /* train: IN/OUT (phases + n_layers x layer phases) seconds that thread 0 spent in each phase,
                              added to; used only where the engine was built with FM_TIMERS */
} fm_task;

/* An engine: the algorithm compiled for one instruction set and one real type. */
typedef struct fm_engine {
    const char *isa;                /* "x86-64", "x86-64-v3", "x86-64-v4", "aarch64" */
    const char *const *activations; /* names, NULL-terminated; the position is the code, here and below */
    const char *const *losses;
    const char *const *optimizers;
    const int32_t *optimizer_slots;                /* slots of each optimizer, each as large as the parameters */
    const char *const *phases;                     /* names, NULL-terminated; NULL without FM_TIMERS */
    const char *const *layer_phases;               /* names of the phases that each layer has, NULL-terminated */
    int64_t (*scratch_bytes)(const fm_task *task); /* pointers in task are not followed, but for n_units */
    int32_t (*run)(fm_task *task);                 /* does task->job, returns the status */
    double (*fma_loop)(int64_t n); /* n rounds of multiply-adds in registers; returns a number to ignore */
    int64_t fma_loop_flops;        /* floating-point operations in one round of fma_loop */
    void (*barrier_loop)(int32_t n_threads, int64_t n); /* n barriers of a team, to measure their latency */
} fm_engine;

/* Engines that this CPU and operating system can run, the fastest first; NULL past the last.
 * real_bytes is 4 or 8. The order of the instruction sets is the same for both. */
const fm_engine *fm_engine_at(int32_t index, int32_t real_bytes);

#endif
