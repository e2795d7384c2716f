/* fastmlp.h: the contract between the engine (C) and the door (_core.pyx).
 *
 * Read by both sides; a code or a name that must agree is written here and nowhere else.
 *
 * Conventions
 * - `real` is float (engines of float32 and bfloat16) or double (engine of float64); every field typed `void *`
 *   and said to be `real` holds values of the engine's own type.
 * - Products in bfloat16 round what they multiply, to nearest even, and sum in float32: the terms in pairs, of a pair the
 *   odd one first, each with one rounding. All else is float32, without denormals: they are 0.
 * - Layers are counted from 0; layer l maps n_units[l] inputs to n_units[l + 1] outputs.
 * - The flat parameter vector is W_0, W_1, ..., then b_0, b_1, ...; W_l is (n_units[l], n_units[l + 1]) in C order.
 *   Gradients and optimizer slots have the same order.
 * - The caller owns every pointer, for the duration of the call only. The engine allocates nothing and keeps nothing.
 * - Whatever reaches the engine has been validated; it answers with a status and never fails otherwise.
 */
#ifndef FASTMLP_H
#define FASTMLP_H

#include <stdint.h>

/* Dtypes of a matrix that the engine reads, FM_UINT8 included, and of the products of an engine, FM_BFLOAT16 included. */
enum { FM_FLOAT32, FM_FLOAT64, FM_UINT8, FM_BFLOAT16 };

/* Jobs: what a call reads and writes. params are written by FM_TRAIN and FM_APPLY alone. */
enum {
    FM_TRAIN,    /* batches of an epoch: params and slots are updated after each */
    FM_LOSS,     /* the mean loss over the rows, forward only, without penalty */
    FM_GRADIENT, /* the mean loss over the rows, penalty included, and its gradient */
    FM_APPLY,    /* one update from a given gradient: params and slots; there are no rows */
    FM_PREDICT   /* the outputs of the rows */
};

/* Status of a job. */
enum {
    FM_DONE,      /* all but train: the result is complete */
    FM_EPOCH,     /* train: every row has been used once; position == n_rows */
    FM_YIELD,     /* all but apply: the time is up; call again to go on */
    FM_NOT_FINITE /* train, apply: the loss, a parameter or a slot became infinite or NaN. params, slots, step, position
                     and loss_sum are those of before the call: nothing was stored. An unfinished batch begins anew.
                     predict: X has such a value (or one too large for real); the outputs are not to be used */
};

/* What scratch holds already. */
enum { FM_SLOTS = 1, FM_ALL };

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
    double learning_rate; /* > 0, of the next step; train: where there are no rates */
    double momentum;      /* sgd_momentum, sgd_nesterov: 0 to 1 */
    double beta_1;        /* adam: 0 to 1, excluded */
    double beta_2;        /* adam, rmsprop: of the squares, 0 to 1, excluded */
    double epsilon;       /* adam, rmsprop, adagrad: > 0; below the smallest normal real it counts as that */
    int64_t step;         /* IN/OUT updates made so far; adam's bias correction uses step + 1 for the next */
} fm_optimizer;

/* What a loss is for. */
typedef struct fm_loss {
    const char *name;          /* NULL: behind the last one */
    const char *output;        /* function of the outputs: "softmax", "logistic", "identity", "exp" */
    int32_t mean_over_outputs; /* train reports it as a mean over the outputs, while the sum is minimised */
    int32_t classifies;        /* targets may be class numbers; else they are values */
    int32_t exclusive;         /* a row belongs to exactly one class */
    double threshold;          /* a single output above it stands for class 1; where it classifies */
    double lowest, highest;    /* range of a target value; may be infinite */
} fm_loss;

/* One call of the engine. IN unless said otherwise. */
typedef struct fm_task {
    int32_t job;                /* FM_TRAIN, FM_LOSS, FM_GRADIENT, FM_APPLY, FM_PREDICT */
    int32_t n_threads;          /* 1 to FM_MAX_THREADS; the result does not depend on it */
    int64_t n_layers;           /* number of weight matrices, >= 1 */
    const int64_t *n_units;     /* (n_layers + 1,), each >= 1 */
    const int32_t *activations; /* (n_layers - 1,) of the hidden layers: indices in fm_engine.activations */
    int32_t bfloat16;        /* 1: products in bfloat16, of an engine that fm_engine_at(., FM_BFLOAT16) gives; or 0 */
    int32_t loss;            /* also decides the outputs of predict: index in fm_engine.losses */
    double label_smoothing;  /* s, 0 to 1: targets of log_loss and binary_log_loss are y (1 - s) + s / (classes) */
    double huber_delta;      /* > 0: error from which on huber is a straight line */
    const double *quantiles; /* (n_outputs,) between 0 and 1, of the loss quantile; NULL: 0.5 */

    /* Regularisation; biases are exempt from the first three. alpha and l1_ratio: train, gradient; weight_decay and
     * clip_norm: train, apply; the others: train. */
    double alpha;    /* penalty alpha ((1 - l1_ratio) / 2 sum(W^2) + l1_ratio sum(|W|)) / (weight sum of the batch) */
    double l1_ratio; /* 0 to 1 */
    double weight_decay; /* >= 0: W loses rate * weight_decay * W in each step, beside the gradient */
    double clip_norm;    /* > 0: a longer gradient of all parameters is shortened to this norm; 0: it is not */
    const double
        *dropout; /* (n_layers,) shares, 0 to 1 excluded, of the inputs and of each hidden layer that are 0 in a step,
                              the others divided by what is left; NULL: none */
    double input_noise; /* >= 0: standard deviation of normal numbers that are added to the inputs */
    uint64_t seed; /* of dropout and noise, which depend on it, on the step, the layer, the row's place in its batch and
                              the unit, and on nothing else */

    fm_matrix X;            /* (any, n_units[0]) */
    fm_matrix Y;            /* (any, n_outputs) target values, dense; data == NULL when classes is given */
    const int64_t *classes; /* (any,) class of each row: 0 to n_outputs - 1 (0 or 1 where n_outputs is 1); or NULL */
    const double *sample_weight; /* (any,) >= 0, or NULL for ones; of any size: only their ratios count, beside alpha */
    const int64_t *order; /* train: (n_rows,) rows of X in the order of use; NULL: 0, 1, 2, ..., as in all other jobs */
    const double *rates;  /* train: learning rate of each step of the epoch, ceil(n_rows / batch_size) of them, all
                                    > 0; the step that begins at position p uses rates[p / batch_size]. NULL: all steps
                                    use optimizer.learning_rate */
    int64_t n_rows;       /* rows to use, >= 1; apply: 0 */
    int64_t batch_size;   /* train: 1 to n_rows; the last batch of the epoch may be shorter */

    const double *rate_factors; /* train, apply: (2 n_layers + 1,) > 0, of the learning rate: of W_0, W_1, ..., then of
                                          b_0, b_1, ..., then of input_scale; NULL: ones */
    void *params;               /* real (n_params,): train, apply: IN/OUT; else IN */
    void *slots; /* train, apply: real (n_slots, n_params), IN/OUT; zeros before the first step; NULL without slots */
    void *input_scale; /* train without clip_norm: real (1 + n_slots, n_units[0]), IN/OUT: factors of the inputs that
                          are learned too, and their slots; NULL: there are none */
    void *unscaled; /* with input_scale: real like W_0, IN/OUT. W_0 of params is this times the factors, row by row, and
                       its slots, its penalty and its decay are those of this */
    void *gradient; /* real (n_params,): gradient: OUT; apply: IN */
    void *outputs;  /* predict: OUT real (n_rows, n_outputs) in C order */
    void *scratch;  /* scratch_bytes(task) bytes aligned to FM_ALIGNMENT; contents must survive to a call that goes on:
                       train: with resident; train, gradient: with batch_position > 0; loss, predict: with position > 0.
                       n_threads may change between the two, and the size with it, but not params, except by train
                       itself */
    int32_t resident; /* train: what scratch holds as the last call of train with it left it, and is not read again:
                         FM_SLOTS: the slots, where engine and n_units were the same; FM_ALL: params too, where that
                         call was of this training and returned FM_YIELD; 0: nothing */

    fm_optimizer optimizer; /* train, apply */
    double seconds;   /* return FM_YIELD after this many, at the end of a batch or of one of the chunks in which many
                               rows are computed; <= 0: after every chunk */
    int64_t position; /* train, loss, predict: IN/OUT rows used so far, in train of this epoch and a multiple of
                               batch_size or n_rows; 0 at first */
    int64_t batch_position; /* train, gradient: IN/OUT rows of the next batch that are done; 0 at first */
    double batch_loss;      /* train, gradient, loss: IN/OUT the weighted sum of the losses of the unfinished batch */
    double loss_sum;        /* train: IN/OUT sum over the batches of (loss of the batch, penalty included) x (its rows);
                        gradient: OUT loss, penalty included, of which gradient is the gradient; loss: OUT loss */
    double
        gradient_norm; /* train, apply: OUT norm of the last step's gradient, before it was shortened; with clip_norm */
    double
        *phase_seconds; /* train: IN/OUT (phases + n_layers x layer phases) seconds that thread 0 spent in each phase,
                              added to; used only where the engine was built with FM_TIMERS */
} fm_task;

/* An engine: the algorithm compiled for one instruction set and one real type. */
typedef struct fm_engine {
    const char *isa;  /* "x86-64", "x86-64-v3", "x86-64-v4", "aarch64" */
    int32_t emulates; /* 1: its products in bfloat16 are computed by instructions of float32, with the same bits */
    const char *const *activations; /* names, NULL-terminated; the position is the code, here and below */
    const fm_loss *losses;          /* up to the one without a name */
    const char *const *optimizers;
    const int32_t *optimizer_slots;  /* slots of each optimizer, each as large as the parameters */
    const char *const *phases;       /* names, NULL-terminated; NULL without FM_TIMERS */
    const char *const *layer_phases; /* names of the phases that each layer has, NULL-terminated */
    int64_t (*scratch_bytes)(
        const fm_task *task);      /* pointers in task are not followed, but for n_units and activations */
    int32_t (*run)(fm_task *task); /* does task->job, returns the status */
    /* Random words: 16 for each group, from counters (4 group + i, counter[0], counter[1], counter[2]), i = 0 to 3, whose
     * words 0 and 1 are [2 i] and [2 i + 1] of the 16, words 2 and 3 eight further on. */
    void (*random_words)(const uint32_t key[2], const uint32_t counter[3], uint32_t group, uint32_t words[16]);
    /* c[i] + a[2 i] b[i] + a[2 i + 1] b[16 + i] as products in bfloat16 compute it, i = 0 to 15; float64: NULL. */
    void (*dot)(const float a[32], const float b[32], float c[16]);
    /* n rounds of multiply-adds in registers, of products in bfloat16 or not; returns a number to ignore */
    double (*fma_loop)(int64_t n, int32_t bfloat16);
    int64_t fma_loop_flops[2];                          /* floating-point operations in one round; [1]: in bfloat16 */
    void (*barrier_loop)(int32_t n_threads, int64_t n); /* n barriers of a team, to measure their latency */
} fm_engine;

/* Engines that this CPU and operating system can run, the fastest first; NULL past the last.
 * dtype is FM_FLOAT32, FM_FLOAT64 or FM_BFLOAT16: an engine of float32 that can compute in bfloat16 on this CPU. The order
 * of the instruction sets is the same for all, but that FM_BFLOAT16 has the next one where the CPU lacks instructions that
 * an engine uses. */
const fm_engine *fm_engine_at(int32_t index, int32_t dtype);

#endif
