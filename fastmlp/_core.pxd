"""The contract csrc/fastmlp.h as Cython reads it: only what the door uses, in the words of the header."""
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

cdef extern from "fastmlp.h" nogil:
    enum:
        FM_FLOAT32
        FM_FLOAT64
        FM_UINT8
        FM_BFLOAT16
        FM_TRAIN
        FM_LOSS
        FM_GRADIENT
        FM_APPLY
        FM_PREDICT
        FM_EPOCH
        FM_YIELD
        FM_NOT_FINITE
        FM_SLOTS
        FM_ALL
        FM_MAX_THREADS
        FM_ALIGNMENT
    ctypedef struct fm_matrix:
        const void *data
        const void *indices
        const void *indptr
        int64_t row_stride
        int64_t n_columns
        int64_t n_values
        int64_t max_row_values
        int32_t dtype
        int32_t index_bytes
    ctypedef struct fm_optimizer:
        int32_t kind
        double learning_rate
        double momentum
        double beta_1
        double beta_2
        double epsilon
        int64_t step
    ctypedef struct fm_loss:
        const char *name
        const char *output
        int32_t mean_over_outputs
        int32_t classifies
        int32_t exclusive
        double threshold
        double lowest
        double highest
    ctypedef struct fm_task:
        int32_t job
        int32_t n_threads
        int64_t n_layers
        const int64_t *n_units
        const int32_t *activations
        int32_t bfloat16
        int32_t loss
        double label_smoothing
        double huber_delta
        const double *quantiles
        double alpha
        double l1_ratio
        double weight_decay
        double clip_norm
        const double *dropout
        double input_noise
        uint64_t seed
        fm_matrix X
        fm_matrix Y
        const int64_t *classes
        const double *sample_weight
        const int64_t *order
        const double *rates
        int64_t n_rows
        int64_t batch_size
        const double *rate_factors
        void *params
        void *slots
        void *input_scale
        void *unscaled
        void *gradient
        void *outputs
        void *scratch
        int32_t resident
        fm_optimizer optimizer
        double seconds
        int64_t position
        int64_t batch_position
        double batch_loss
        double loss_sum
        double gradient_norm
        double *phase_seconds
    ctypedef struct fm_engine:
        const char *isa
        int32_t emulates
        const char **activations
        const fm_loss *losses
        const char **optimizers
        const int32_t *optimizer_slots
        const char **phases
        const char **layer_phases
        int64_t (*scratch_bytes)(const fm_task *task) noexcept nogil
        int32_t (*run)(fm_task *task) noexcept nogil
        void (*random_words)(
            const uint32_t *key, const uint32_t *counter, uint32_t group, uint32_t *words
        ) noexcept nogil
        void (*dot)(const float *a, const float *b, float *c) noexcept nogil
        double (*fma_loop)(int64_t n, int32_t bfloat16) noexcept nogil
        int64_t fma_loop_flops[2]
        void (*barrier_loop)(int32_t n_threads, int64_t n) noexcept nogil
    const fm_engine *fm_engine_at(int32_t index, int32_t dtype)
