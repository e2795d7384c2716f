/* losses.h: the list of losses, and output link, loss and delta of each.
 *
 * From the logits z and targets y: the output p = link(z), the loss, and delta = dL/dz. Link and loss are grouped
 * (lectures: delta = p - y), and losses are computed from logits, so nothing is clipped.
 * VL rows are treated at a time, as columns: element k of row i lies at [k * VL + i], a register holds output k of VL
 * rows, and sums over the outputs run in order, with the same bits on every ISA and in every place of a batch.
 */

/* X(name, output, mean_over_outputs, classifies, exclusive, threshold, lowest, highest): the fields of fm_loss. */
#define LOSSES(X)                                                                                                      \
    X(log_loss, "softmax", 0, 1, 1, 0.5, 0, 1)                                                                         \
    X(binary_log_loss, "logistic", 0, 1, 0, 0.5, 0, 1)                                                                 \
    X(squared_error, "identity", 1, 0, 0, 0, -INFINITY, INFINITY) /* scikit-learn reports the mean */                  \
    X(poisson, "exp", 0, 0, 0, 0, 0, INFINITY)                                                                         \
    X(hinge, "identity", 0, 1, 0, 0, -INFINITY, INFINITY)                                                              \
    X(squared_hinge, "identity", 0, 1, 0, 0, -INFINITY, INFINITY)                                                      \
    X(perceptron, "identity", 0, 1, 0, 0, -INFINITY, INFINITY)                                                         \
    X(absolute_error, "identity", 0, 0, 0, 0, -INFINITY, INFINITY)                                                     \
    X(huber, "identity", 0, 0, 0, 0, -INFINITY, INFINITY)                                                              \
    X(quantile, "identity", 0, 0, 0, 0, -INFINITY, INFINITY)                                                           \
    X(gamma, "exp", 0, 0, 0, 0, 0x1p-126, INFINITY) /* its logarithm must be one of a normal float */

/* z: IN logits (n, VL), OUT delta * weight; y: IN targets (n, VL). Returns the loss of each row, unweighted. The task has
 * the parameters of a loss. */
typedef vec loss_columns(const fm_task *task, real *z, const real *y, int64_t n, vec weight);
/* z: IN logits (n, VL), OUT outputs. */
typedef void link_columns(real *z, int64_t n);

/* Targets of classes with label smoothing s (Szegedy et al. 2016; PyTorch's CrossEntropyLoss): y (1 - s) + s / K, with
 * K = 2 for binary_log_loss. Without it, s = 0, they are y bit for bit. */
INLINE vec smoothed(vec y, vec s, int64_t n_classes) {
    return vec_fma(y, vec_broadcast((real)1) - s, s / vec_broadcast((real)n_classes));
}

/* -- log_loss: softmax and cross-entropy, sum_k y_k (log sum exp(z) - z_k) -- */

/* z becomes exp(z - max). */
INLINE void softmax_parts(real *z, int64_t n, vec *maximum, vec *sum) {
    vec m = vec_load(z), s = {0};
    for (int64_t k = 1; k < n; k++) m = vec_max(vec_load(z + k * VL), m);
    for (int64_t k = 0; k < n; k++) {
        vec e = vec_exp_negative(vec_load(z + k * VL) - m);
        s = s + e;
        vec_store(z + k * VL, e);
    }
    *maximum = m, *sum = s;
}

static void log_loss_link(real *z, int64_t n) {
    vec maximum, sum;
    softmax_parts(z, n, &maximum, &sum);
    for (int64_t k = 0; k < n; k++) vec_store(z + k * VL, vec_load(z + k * VL) / sum);
}

static vec log_loss_columns(const fm_task *task, real *z, const real *y, int64_t n, vec weight) {
    vec yz = {0}, ys = {0}, maximum, sum; /* sum of y_k z_k first: softmax_parts overwrites z */
    vec s = vec_broadcast((real)task->label_smoothing);
    for (int64_t k = 0; k < n; k++) {
        vec target = smoothed(vec_load(y + k * VL), s, n);
        yz = vec_fma(target, vec_load(z + k * VL), yz);
        ys = ys + target;
    }
    softmax_parts(z, n, &maximum, &sum);
    for (int64_t k = 0; k < n; k++)
        vec_store(z + k * VL, (vec_load(z + k * VL) / sum - smoothed(vec_load(y + k * VL), s, n)) * weight);
    return vec_fma(ys, vec_log(sum) + maximum, -yz);
}

/* -- losses that are sums over the outputs: NAME_output(z) -> p, NAME_loss(z, y, &delta) -> loss of each element -- */

/* E = -[y log p + (1 - y) log(1 - p)] = max(z, 0) - y z + log(1 + exp(-|z|)). */
INLINE vec binary_log_loss_output(vec z) { return vec_logistic(z); }
INLINE vec binary_log_loss_loss(vec z, vec y, vec *delta) {
    vec zero = {0}, one = vec_broadcast((real)1);
    vec e = vec_exp_negative(-vec_abs(z));
    *delta = vec_select(z < zero, e, one) / (one + e) - y;
    return vec_max(zero, z) - y * z + vec_log1p(e);
}

/* (p - y)^2 / 2. */
INLINE vec squared_error_output(vec z) { return z; }
INLINE vec squared_error_loss(vec z, vec y, vec *delta) {
    *delta = z - y;
    return *delta * *delta * vec_broadcast((real)0.5);
}

/* Half of the Poisson deviance: y log(y / p) - y + p with p = exp(z), so log p = z. */
INLINE vec poisson_output(vec z) { return vec_exp(z); }
INLINE vec poisson_loss(vec z, vec y, vec *delta) {
    vec p = vec_exp(z), zero = {0}, one = vec_broadcast((real)1);
    *delta = p - y;
    vec y_log_y = y * vec_log(vec_select(y > zero, y, one));
    return y_log_y - y * z - y + p;
}

/* One-vs-rest margin: max(0, 1 - t z), t = 1 where y > 0, else -1 (lectures: linear SVM). */
INLINE vec hinge_output(vec z) { return z; }
INLINE vec hinge_loss(vec z, vec y, vec *delta) {
    vec zero = {0}, one = vec_broadcast((real)1);
    vec t = vec_select(y > zero, one, -one), margin = one - t * z;
    *delta = vec_select(margin > zero, -t, zero);
    return vec_max(zero, margin);
}

/* max(0, 1 - t z)^2 (scikit-learn's SGDClassifier). */
INLINE vec squared_hinge_output(vec z) { return z; }
INLINE vec squared_hinge_loss(vec z, vec y, vec *delta) {
    vec zero = {0}, one = vec_broadcast((real)1);
    vec t = vec_select(y > zero, one, -one), short_by = vec_max(zero, one - t * z);
    *delta = vec_broadcast((real)-2) * t * short_by;
    return short_by * short_by;
}

/* max(0, -t z): only rows on the wrong side are learned from, and those on the boundary (scikit-learn's Perceptron). */
INLINE vec perceptron_output(vec z) { return z; }
INLINE vec perceptron_loss(vec z, vec y, vec *delta) {
    vec zero = {0}, one = vec_broadcast((real)1);
    vec t = vec_select(y > zero, one, -one), margin = t * z;
    *delta = vec_select(margin > zero, zero, -t);
    return vec_max(zero, -margin);
}

/* |z - y|; the subgradient at 0 is 0 (PyTorch's L1Loss). */
INLINE vec absolute_error_output(vec z) { return z; }
INLINE vec absolute_error_loss(vec z, vec y, vec *delta) {
    vec zero = {0}, one = vec_broadcast((real)1), error = z - y;
    *delta = vec_select(error > zero, one, vec_select(error < zero, -one, zero));
    return vec_abs(error);
}

/* e^2 / 2 up to |e| = width, from there on the tangent, width (|e| - width / 2): scikit-learn's HuberLoss and
 * PyTorch's, where the width is called delta. */
INLINE vec huber_output(vec z) { return z; }
INLINE vec huber_loss(vec z, vec y, vec width, vec *delta) {
    vec error = z - y;
    *delta = vec_max(-width, vec_min(width, error));
    return *delta * vec_fma(vec_broadcast((real)-0.5), *delta, error);
}

/* q (y - z) where z is below y, (1 - q) (z - y) above: least at the quantile q (scikit-learn's PinballLoss). */
INLINE vec quantile_output(vec z) { return z; }
INLINE vec quantile_loss(vec z, vec y, vec q, vec *delta) {
    vec above = vec_broadcast((real)1) - q, missing = y - z;
    *delta = vec_select(missing >= (vec){0}, -q, above);
    return vec_max(q * missing, -above * missing);
}

/* Half of the Gamma deviance: log(p / y) + y / p - 1 with p = exp(z), for y > 0. */
INLINE vec gamma_output(vec z) { return vec_exp(z); }
INLINE vec gamma_loss(vec z, vec y, vec *delta) {
    vec one = vec_broadcast((real)1), ratio = y * vec_exp(-z);
    *delta = one - ratio;
    return z - vec_log(y) - *delta;
}

/* The arguments of NAME_loss in terms of z_k, y_k, the task and k. */
#define ELEMENTWISE_LOSS(name, ...)                                                                                    \
    static void name##_link(real *z, int64_t n) {                                                                      \
        for (int64_t k = 0; k < n; k++) vec_store(z + k * VL, name##_output(vec_load(z + k * VL)));                    \
    }                                                                                                                  \
    static vec name##_columns(const fm_task *task, real *z, const real *y, int64_t n, vec weight) {                    \
        (void)task;                                                                                                    \
        vec sum = {0}, delta;                                                                                          \
        for (int64_t k = 0; k < n; k++) {                                                                              \
            vec z_k = vec_load(z + k * VL), y_k = vec_load(y + k * VL);                                                \
            sum = sum + name##_loss(__VA_ARGS__, &delta);                                                              \
            vec_store(z + k * VL, delta * weight);                                                                     \
        }                                                                                                              \
        return sum;                                                                                                    \
    }
ELEMENTWISE_LOSS(binary_log_loss, z_k, smoothed(y_k, vec_broadcast((real)task->label_smoothing), 2))
ELEMENTWISE_LOSS(squared_error, z_k, y_k)
ELEMENTWISE_LOSS(poisson, z_k, y_k)
ELEMENTWISE_LOSS(hinge, z_k, y_k)
ELEMENTWISE_LOSS(squared_hinge, z_k, y_k)
ELEMENTWISE_LOSS(perceptron, z_k, y_k)
ELEMENTWISE_LOSS(absolute_error, z_k, y_k)
ELEMENTWISE_LOSS(huber, z_k, y_k, vec_broadcast((real)task->huber_delta))
ELEMENTWISE_LOSS(quantile, z_k, y_k, vec_broadcast((real)(task->quantiles ? task->quantiles[k] : 0.5)))
ELEMENTWISE_LOSS(gamma, z_k, y_k)

typedef struct loss {
    loss_columns *columns;
    link_columns *link;
} loss;

#define LOSS_ENTRY(name, ...) {name##_columns, name##_link},
static const loss losses[] = {LOSSES(LOSS_ENTRY)};
#define LOSS_DESCRIPTION(name, ...) {#name, __VA_ARGS__},
static const fm_loss loss_list[] = {LOSSES(LOSS_DESCRIPTION){NULL, NULL, 0, 0, 0, 0, 0, 0}};
