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
    X(hinge, "identity", 0, 1, 0, 0, -INFINITY, INFINITY)

/* z: IN logits (n, VL), OUT delta * weight; y: IN targets (n, VL). Returns the loss of each row, unweighted. */
typedef vec loss_columns(real *z, const real *y, int64_t n, vec weight);
/* z: IN logits (n, VL), OUT outputs. */
typedef void link_columns(real *z, int64_t n);

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

static vec log_loss_columns(real *z, const real *y, int64_t n, vec weight) {
    vec yz = {0}, ys = {0}, maximum, sum; /* sum of y_k z_k first: softmax_parts overwrites z */
    for (int64_t k = 0; k < n; k++) {
        vec target = vec_load(y + k * VL);
        yz = vec_fma(target, vec_load(z + k * VL), yz);
        ys = ys + target;
    }
    softmax_parts(z, n, &maximum, &sum);
    for (int64_t k = 0; k < n; k++) vec_store(z + k * VL, (vec_load(z + k * VL) / sum - vec_load(y + k * VL)) * weight);
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

#define ELEMENTWISE_LOSS(name)                                                                                         \
    static void name##_link(real *z, int64_t n) {                                                                      \
        for (int64_t k = 0; k < n; k++) vec_store(z + k * VL, name##_output(vec_load(z + k * VL)));                    \
    }                                                                                                                  \
    static vec name##_columns(real *z, const real *y, int64_t n, vec weight) {                                         \
        vec sum = {0}, delta;                                                                                          \
        for (int64_t k = 0; k < n; k++) {                                                                              \
            sum = sum + name##_loss(vec_load(z + k * VL), vec_load(y + k * VL), &delta);                               \
            vec_store(z + k * VL, delta * weight);                                                                     \
        }                                                                                                              \
        return sum;                                                                                                    \
    }
ELEMENTWISE_LOSS(binary_log_loss)
ELEMENTWISE_LOSS(squared_error)
ELEMENTWISE_LOSS(poisson)
ELEMENTWISE_LOSS(hinge)

typedef struct loss {
    loss_columns *columns;
    link_columns *link;
} loss;

#define LOSS_ENTRY(name, ...) {name##_columns, name##_link},
static const loss losses[] = {LOSSES(LOSS_ENTRY)};
#define LOSS_DESCRIPTION(name, ...) {#name, __VA_ARGS__},
static const fm_loss loss_list[] = {LOSSES(LOSS_DESCRIPTION){NULL, NULL, 0, 0, 0, 0, 0, 0}};
