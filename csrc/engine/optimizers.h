/* optimizers.h: the list of optimizers, and slots and update of each.
 *
 * Formulas are scikit-learn's (sklearn/neural_network/_stochastic_optimizers.py); Adam: Kingma and Ba 2014, algorithm 1 in
 * its efficient order. The gradient of a weight is g / n with g = (sum over the batch) + alpha W and n = the weight sum of
 * the batch; the division is part of each update.
 */

/* The numbers of one step, as reals. */
typedef struct step {
    real inverse_weight; /* 1 / n */
    real descent;        /* -learning_rate / n */
    real alpha;
    real learning_rate; /* adam: with the bias correction */
    real momentum;
    real beta_1, beta_2, epsilon;
    real rest_1, rest_2; /* 1 - beta, rounded once */
} step;

/* X(name, slots) */
#define OPTIMIZERS(X) X(sgd, 0) X(sgd_momentum, 1) X(sgd_nesterov, 1) X(adam, 2)

/* NAME_update(step, w, g, s, t) -> new w; s and t are the slots, IN/OUT. */
INLINE vec sgd_update(const step *p, vec w, vec g, vec *s, vec *t) {
    (void)s, (void)t;
    return vec_fma(vec_broadcast(p->descent), g, w);
}

INLINE vec sgd_momentum_update(const step *p, vec w, vec g, vec *s, vec *t) {
    (void)t;
    *s = vec_fma(vec_broadcast(p->momentum), *s, vec_broadcast(p->descent) * g);
    return w + *s;
}

INLINE vec sgd_nesterov_update(const step *p, vec w, vec g, vec *s, vec *t) {
    (void)t;
    vec descent = vec_broadcast(p->descent) * g;
    *s = vec_fma(vec_broadcast(p->momentum), *s, descent);
    return w + vec_fma(vec_broadcast(p->momentum), *s, descent);
}

INLINE vec adam_update(const step *p, vec w, vec g, vec *s, vec *t) {
    g = g * vec_broadcast(p->inverse_weight);
    *s = vec_fma(vec_broadcast(p->beta_1), *s, vec_broadcast(p->rest_1) * g);
    *t = vec_fma(vec_broadcast(p->beta_2), *t, vec_broadcast(p->rest_2) * (g * g));
    return w - vec_broadcast(p->learning_rate) * *s / (vec_sqrt(*t) + vec_broadcast(p->epsilon));
}

/* Not a way to train: the gradient itself goes to the slot, for loss_gradient. */
INLINE vec gradient_update(const step *p, vec w, vec g, vec *s, vec *t) {
    (void)t;
    *s = g * vec_broadcast(p->inverse_weight);
    return w;
}

/* A block of weights: (rows, width) contiguous, in weight panels. */
typedef struct weights_block {
    int64_t rows, width;
    const real *gradient; /* IN sums over the batch */
    real *w, *slots[2];   /* IN/OUT */
    real *squares;        /* OUT (width,) sums of the old w^2 down each column; NULL: not wanted */
    real alpha;           /* penalty: of the step, 0 for biases */
} weights_block;

/* Columns outside, rows inside, so that each column's sum of squares is one chain. */
#define OPTIMIZER_BLOCK(name, n_slots)                                                                                 \
    static void name##_block(const step *p, const weights_block *k) {                                                  \
        vec alpha = vec_broadcast(k->alpha);                                                                           \
        for (int64_t c = 0; c < k->width; c += VL) {                                                                   \
            vec squares = {0}, s = {0}, t = {0};                                                                       \
            for (int64_t at = c; at < k->rows * k->width; at += k->width) {                                            \
                vec w = vec_load(k->w + at);                                                                           \
                vec g = vec_fma(alpha, w, vec_load(k->gradient + at));                                                 \
                if (n_slots > 0) s = vec_load(k->slots[0] + at);                                                       \
                if (n_slots > 1) t = vec_load(k->slots[1] + at);                                                       \
                vec_store(k->w + at, name##_update(p, w, g, &s, &t));                                                  \
                if (n_slots > 0) vec_store(k->slots[0] + at, s);                                                       \
                if (n_slots > 1) vec_store(k->slots[1] + at, t);                                                       \
                squares = vec_fma(w, w, squares);                                                                      \
            }                                                                                                          \
            if (k->squares) vec_store(k->squares + c, squares);                                                        \
        }                                                                                                              \
    }
OPTIMIZERS(OPTIMIZER_BLOCK)
OPTIMIZER_BLOCK(gradient, 1)

typedef void optimizer_block(const step *p, const weights_block *k);
#define OPTIMIZER_ENTRY(name, n_slots) name##_block,
static optimizer_block *const optimizers[] = {OPTIMIZERS(OPTIMIZER_ENTRY) gradient_block};
#define OPTIMIZER_NAME(name, n_slots) #name,
static const char *const optimizer_names[] = {OPTIMIZERS(OPTIMIZER_NAME) NULL};
#define OPTIMIZER_SLOTS(name, n_slots) n_slots,
static const int32_t optimizer_slots[] = {OPTIMIZERS(OPTIMIZER_SLOTS) 1};
#define OPTIMIZER_CODE(name, n_slots) OPTIMIZER_##name,
enum { OPTIMIZERS(OPTIMIZER_CODE) OPTIMIZER_gradient, MAX_SLOTS = 2 };

/* beta^n by repeated squaring: the same bits everywhere, which libm's pow does not promise. */
static double power(double beta, int64_t n) {
    double result = 1;
    for (; n > 0; n >>= 1, beta *= beta)
        if (n & 1) result *= beta;
    return result;
}

/* The numbers of the next step, on a batch of the given weight sum. */
static step next_step(const fm_optimizer *o, double alpha, double weight) {
    double rate = o->learning_rate;
    if (o->kind == OPTIMIZER_adam)
        rate *= sqrt(1 - power(o->beta_2, o->step + 1)) / (1 - power(o->beta_1, o->step + 1));
    return (step){.inverse_weight = (real)(1 / weight),
                  .descent = (real)(-rate / weight),
                  .alpha = (real)alpha,
                  .learning_rate = (real)rate,
                  .momentum = (real)o->momentum,
                  .beta_1 = (real)o->beta_1,
                  .beta_2 = (real)o->beta_2,
                  .epsilon = (real)o->epsilon,
                  .rest_1 = (real)(1 - o->beta_1),
                  .rest_2 = (real)(1 - o->beta_2)};
}
