/* optimizers.h: the list of optimizers, and slots and update of each.
 *
 * Formulas are scikit-learn's (sklearn/neural_network/_stochastic_optimizers.py); Adam: Kingma and Ba 2014, algorithm 1 in
 * its efficient order; rmsprop and adagrad: PyTorch's, without momentum and decay. The gradient of a weight is g / n with
 * g = (sum over the batch) + (gradient of the penalty) and n = the weight sum of the batch; the division is part of each
 * update.
 */

/* The numbers of one step, as reals. */
typedef struct constants {
    real inverse_weight; /* 1 / n */
    real descent;        /* -learning_rate / n */
    real alpha, l1;      /* strength of the two penalties: their gradient is alpha W + l1 sign(W) */
    real keep;           /* what the decay leaves of a weight: 1 - decay */
    double decay;        /* learning_rate * weight_decay */
    int32_t general;     /* there is more than alpha: l1 or decay */
    real learning_rate;  /* adam: with the bias correction */
    real momentum;
    real beta_1, beta_2, epsilon;
    real rest_1, rest_2; /* 1 - beta, rounded once */
} constants;

/* X(name, slots, whether the micro-kernels of the weight gradient make the update themselves, in registers) */
#define OPTIMIZERS(X)                                                                                                  \
    X(sgd, 0, 1) X(sgd_momentum, 1, 0) X(sgd_nesterov, 1, 0) X(adam, 2, 0) X(rmsprop, 1, 0) X(adagrad, 1, 0)

/* NAME_update(p, w, g, slots) -> new w; slots are IN/OUT. */
INLINE vec sgd_update(const constants *p, vec w, vec g, vec *slots) {
    (void)slots;
    return vec_fma(vec_broadcast(p->descent), g, w);
}

INLINE vec sgd_momentum_update(const constants *p, vec w, vec g, vec *slots) {
    slots[0] = vec_fma(vec_broadcast(p->momentum), slots[0], vec_broadcast(p->descent) * g);
    return w + slots[0];
}

INLINE vec sgd_nesterov_update(const constants *p, vec w, vec g, vec *slots) {
    vec descent = vec_broadcast(p->descent) * g;
    slots[0] = vec_fma(vec_broadcast(p->momentum), slots[0], descent);
    return w + vec_fma(vec_broadcast(p->momentum), slots[0], descent);
}

INLINE vec adam_update(const constants *p, vec w, vec g, vec *slots) {
    g = g * vec_broadcast(p->inverse_weight);
    slots[0] = vec_fma(vec_broadcast(p->beta_1), slots[0], vec_broadcast(p->rest_1) * g);
    slots[1] = vec_fma(vec_broadcast(p->beta_2), slots[1], vec_broadcast(p->rest_2) * (g * g));
    return w - vec_broadcast(p->learning_rate) * slots[0] / (vec_sqrt(slots[1]) + vec_broadcast(p->epsilon));
}

INLINE vec rmsprop_update(const constants *p, vec w, vec g, vec *slots) {
    g = g * vec_broadcast(p->inverse_weight);
    slots[0] = vec_fma(vec_broadcast(p->beta_2), slots[0], vec_broadcast(p->rest_2) * (g * g));
    return w - vec_broadcast(p->learning_rate) * g / (vec_sqrt(slots[0]) + vec_broadcast(p->epsilon));
}

INLINE vec adagrad_update(const constants *p, vec w, vec g, vec *slots) {
    g = g * vec_broadcast(p->inverse_weight);
    slots[0] = vec_fma(g, g, slots[0]);
    return w - vec_broadcast(p->learning_rate) * g / (vec_sqrt(slots[0]) + vec_broadcast(p->epsilon));
}

#define SLOTS_MEMBER(name, n_slots, fused) char name[n_slots + 1];
enum { MAX_SLOTS = sizeof(union {OPTIMIZERS(SLOTS_MEMBER)}) - 1 };

/* g + the gradient of the penalty; sum is what parameters_block.penalty wants. */
INLINE vec penalise(const constants *p, vec w, vec g, vec *sum, const int general) {
    g = vec_fma(vec_broadcast(p->alpha), w, g);
    if (!general) {
        *sum = vec_fma(w, w, *sum);
        return g;
    }
    vec l1 = vec_broadcast(p->l1), size = vec_abs(w), zero = {0};
    *sum = vec_fma(vec_fma(vec_broadcast((real)0.5 * p->alpha), size, l1), size, *sum);
    return g + vec_select(w == zero, zero, vec_copysign(l1, w));
}

/* The update that micro-kernels make. */
#define FUSED_COUNT(name, n_slots, fused) +fused
_Static_assert(OPTIMIZERS(FUSED_COUNT) == 1, "the micro-kernels know one update");
#define FUSED_UPDATE(name, n_slots, fused)                                                                             \
    if (fused) return name##_update(p, w, g, NULL);
INLINE vec fused_update(const constants *p, vec w, vec g) {
    OPTIMIZERS(FUSED_UPDATE)
    return w;
}

/* The same with penalty; a general step is left to the blocks below, which keeps the micro-kernels small. */
INLINE vec penalised_update(const constants *p, vec w, vec g, vec *sum) {
    return fused_update(p, w, penalise(p, w, g, sum, 0));
}

/* A block of weights or biases: (rows, width) contiguous, in weight panels; width is a panel's at most. */
typedef struct parameters_block {
    int64_t rows, width;
    real *gradient;         /* IN sums over the batch; gradient_block: OUT the gradient */
    const real *a, *delta;  /* IN (rows,), (width,): the sums are their outer product, where not NULL */
    int64_t ahead;          /* W and the slots are asked for so many elements ahead; 0: they are near */
    real *w;                /* IN/OUT */
    real *slots[MAX_SLOTS]; /* IN/OUT */
    real *penalty; /* OUT (width,) sums down each column of the old w^2, or of the penalty itself where there is more
                               than alpha; NULL: not wanted */
    real *norm;    /* gradient_block: OUT (width,) sums of the gradient^2 down each column; NULL: not wanted */
} parameters_block;

/* The rows of a block one after the other, as they lie in memory; each column's sum is one chain. */
#define OPTIMIZER_BLOCK(name, n_slots, fused)                                                                          \
    INLINE void name##_rows(const constants p, const parameters_block k, const int general, const int outer) {         \
        const int64_t n = (ONE_LINE ? PANEL : k.width) / VL;                                                           \
        vec penalty[TILE_VECS] = {{0}}, slots[n_slots + 1], zero = {0}, a = zero, delta[TILE_VECS] = {{0}};            \
        for (int64_t v = 0; outer && v < n; v++) delta[v] = vec_load(k.delta + v * VL);                                \
        for (int64_t i = 0, c = 0; i < k.rows; i++) {                                                                  \
            if (outer) a = vec_broadcast(k.a[i]);                                                                      \
            _Pragma("GCC unroll 4") for (int64_t v = 0; v < n; v++, c += VL) {                                         \
                vec sum = outer ? vec_fma(a, delta[v], zero) : vec_load(k.gradient + c);                               \
                vec w = vec_load(k.w + c), g = penalise(&p, w, sum, &penalty[v], general);                             \
                if (general) w = w * vec_broadcast(p.keep);                                                            \
                if (k.ahead && v % LANE_VECS == 0) {                                                                   \
                    __builtin_prefetch(k.w + c + k.ahead, 1);                                                          \
                    for (int s = 0; s < n_slots; s++) __builtin_prefetch(k.slots[s] + c + k.ahead, 1);                 \
                }                                                                                                      \
                _Pragma("GCC unroll 4") for (int s = 0; s < n_slots; s++) slots[s] = vec_load(k.slots[s] + c);         \
                vec_store(k.w + c, name##_update(&p, w, g, slots));                                                    \
                _Pragma("GCC unroll 4") for (int s = 0; s < n_slots; s++) vec_store(k.slots[s] + c, slots[s]);         \
            }                                                                                                          \
        }                                                                                                              \
        for (int64_t v = 0; k.penalty && v < n; v++) vec_store(k.penalty + v * VL, penalty[v]);                        \
    }                                                                                                                  \
    static void name##_block(const constants *p, const parameters_block *k) {                                          \
        if (p->general && k->a) name##_rows(*p, *k, 1, 1);                                                             \
        else if (p->general) name##_rows(*p, *k, 1, 0);                                                                \
        else if (k->a) name##_rows(*p, *k, 0, 1);                                                                      \
        else name##_rows(*p, *k, 0, 0);                                                                                \
    }
OPTIMIZERS(OPTIMIZER_BLOCK)

/* Only the norm: the sums are the gradient already, and W, which may be far away, is not read. */
static void norm_block(const parameters_block *k) {
    vec norm[TILE_VECS] = {{0}};
    for (int64_t at = 0; at < k->rows * k->width; at += k->width)
        for (int64_t c = at, v = 0; c < at + k->width; c += VL, v++) {
            vec g = vec_load(k->gradient + c);
            norm[v] = vec_fma(g, g, norm[v]);
        }
    for (int64_t v = 0; v < k->width / VL; v++) vec_store(k->norm + v * VL, norm[v]);
}

/* No update: the sums become the gradient, of the sum over the batch where inverse_weight is 1. */
static void gradient_block(const constants *p, const parameters_block *k) {
    if (k->norm && !k->penalty) { /* inverse_weight is 1 wherever a norm is wanted */
        norm_block(k);
        return;
    }
    vec penalty[TILE_VECS] = {{0}}, norm[TILE_VECS] = {{0}};
    for (int64_t at = 0; at < k->rows * k->width; at += k->width)
        for (int64_t c = at, v = 0; c < at + k->width; c += VL, v++) {
            vec w = vec_load(k->w + c), g = vec_load(k->gradient + c);
            g = p->general ? penalise(p, w, g, &penalty[v], 1) : penalise(p, w, g, &penalty[v], 0);
            norm[v] = vec_fma(g, g, norm[v]);
            vec_store(k->gradient + c, g * vec_broadcast(p->inverse_weight));
        }
    for (int64_t v = 0; v < k->width / VL; v++) {
        if (k->penalty) vec_store(k->penalty + v * VL, penalty[v]);
        if (k->norm) vec_store(k->norm + v * VL, norm[v]);
    }
}

/* The numbers for biases, which have no penalty and do not decay. */
static constants without_penalty(constants p) {
    p.alpha = p.l1 = 0;
    p.keep = 1, p.decay = 0;
    p.general = 0;
    return p;
}

typedef void block_update(const constants *p, const parameters_block *k);
typedef struct optimizer {
    block_update *block;
    int32_t fused;
} optimizer;

#define OPTIMIZER_ENTRY(name, n_slots, fused) {name##_block, fused},
static const optimizer optimizers[] = {OPTIMIZERS(OPTIMIZER_ENTRY)};
#define OPTIMIZER_NAME(name, n_slots, fused) #name,
static const char *const optimizer_names[] = {OPTIMIZERS(OPTIMIZER_NAME) NULL};
#define OPTIMIZER_SLOTS(name, n_slots, fused) n_slots,
static const int32_t optimizer_slots[] = {OPTIMIZERS(OPTIMIZER_SLOTS)};
#define OPTIMIZER_CODE(name, n_slots, fused) OPTIMIZER_##name,
enum { OPTIMIZERS(OPTIMIZER_CODE) };

/* beta^n by repeated squaring: the same bits everywhere, which libm's pow does not promise. */
static double power(double beta, int64_t n) {
    double result = 1;
    for (; n > 0; n >>= 1, beta *= beta)
        if (n & 1) result *= beta;
    return result;
}

/* The numbers of the next step at this learning rate, on a batch of the given weight sum; penalties come from elsewhere. */
static constants next_step(const fm_optimizer *o, double rate, double weight) {
    double corrected = rate;
    if (o->kind == OPTIMIZER_adam)
        corrected *= sqrt(1 - power(o->beta_2, o->step + 1)) / (1 - power(o->beta_1, o->step + 1));
    return (constants){.inverse_weight = (real)(1 / weight),
                       .descent = (real)(-rate / weight),
                       .keep = 1,
                       .learning_rate = (real)corrected,
                       .momentum = (real)o->momentum,
                       .beta_1 = (real)o->beta_1,
                       .beta_2 = (real)o->beta_2,
                       /* in the padding of a layer it is divided by alone */
                       .epsilon = (real)(o->epsilon > SMALLEST_NORMAL ? o->epsilon : SMALLEST_NORMAL),
                       .rest_1 = (real)(1 - o->beta_1),
                       .rest_2 = (real)(1 - o->beta_2)};
}

/* The same with the penalties and the decay of the task, whose weights are scaled. */
static constants with_penalty(constants p, const fm_task *task, double rate, double scale) {
    p.alpha = (real)(task->alpha * (1 - task->l1_ratio) * scale);
    p.l1 = (real)(task->alpha * task->l1_ratio * scale);
    p.decay = rate * task->weight_decay;
    p.keep = (real)(1 - p.decay);
    p.general = p.l1 != 0 || p.keep != 1;
    return p;
}

/* The same at a learning rate that is multiplied by a factor. */
static constants with_rate_factor(constants p, double factor) {
    p.learning_rate = (real)(p.learning_rate * factor);
    p.descent = (real)(p.descent * factor);
    p.keep = (real)(1 - p.decay * factor);
    return p;
}

/* The numbers for W of a layer, or for its biases. */
static constants numbers_of(const fm_task *task, const constants *p, int64_t layer, int32_t biases) {
    constants numbers = biases ? without_penalty(*p) : *p;
    if (!task->rate_factors) return numbers;
    return with_rate_factor(numbers, task->rate_factors[layer + (biases ? task->n_layers : 0)]);
}

/* The same for a gradient that is multiplied by a factor. */
static constants with_factor(constants p, double factor) {
    p.inverse_weight = (real)(p.inverse_weight * factor);
    p.descent = (real)(p.descent * factor);
    return p;
}
