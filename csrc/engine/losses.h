/* losses.h: the list of losses, and output link, loss and delta of each.
 *
 * From the logits z and targets y of one row: the output p = link(z), the row's loss, and delta = dL/dz. Link and loss are
 * grouped (lectures: delta = p - y), and losses are computed from logits, so nothing is clipped.
 * A row lies in batch panels, in blocks of LANES. The logits' padding is set through the biases to a value at which loss
 * and delta are 0 when y is 0: FAR_BELOW where p falls to 0, else 0.
 */
#define FAR_BELOW -1e30f

/* X(name, loss of a class or NULL: by its one-hot row, padding of the logits, reported as a mean over the outputs) */
#define FM_LOSSES(X)                                                                                                   \
    X(log_loss, log_loss_class_row, FAR_BELOW, 0)                                                                      \
    X(binary_log_loss, NULL, FAR_BELOW, 0)                                                                             \
    X(squared_error, NULL, 0, 1)                                                                                       \
    X(poisson, NULL, FAR_BELOW, 0)                                                                                     \
    X(hinge, NULL, FAR_BELOW, 0)

/* A row of outputs: n_blocks blocks of LANES; column q * LANES lies at row_block(q) elements from the first. */
typedef struct row_shape {
    int64_t n_blocks;
    int64_t panel_size; /* elements of one batch panel */
} row_shape;

INLINE int64_t row_block(const row_shape *r, int64_t q) {
    return q * LANES / PANEL * r->panel_size + q * LANES % PANEL;
}

/* Loss by loss over one row: z IN logits, OUT delta * weight; y IN targets; returns the loss of the row, unweighted. */
typedef real loss_row(real *z, const real *y, real weight, const row_shape *r);
/* The same where the target is a class: `at` is its place in the row. */
typedef real loss_class_row(real *z, int64_t at, real weight, const row_shape *r);
/* z IN logits, OUT outputs. */
typedef void link_row(real *z, const row_shape *r);

/* -- log_loss: softmax and cross-entropy, sum_k y_k (log sum exp(z) - z_k) -- */

/* z becomes exp(z - max); returns the maximum and the sum, in every lane. */
INLINE void softmax_parts(real *z, const row_shape *r, vec *maximum, vec *sum) {
    vec m[LANE_VECS], s[LANE_VECS];
    for (int v = 0; v < LANE_VECS; v++) m[v] = vec_load(z + v * VL), s[v] = (vec){0};
    for (int64_t q = 1; q < r->n_blocks; q++)
        for (int v = 0; v < LANE_VECS; v++) m[v] = vec_max(vec_load(z + row_block(r, q) + v * VL), m[v]);
    *maximum = lanes_max(m);
    for (int64_t q = 0; q < r->n_blocks; q++)
        for (int v = 0; v < LANE_VECS; v++) {
            real *at = z + row_block(r, q) + v * VL;
            vec e = vec_exp_negative(vec_load(at) - *maximum);
            s[v] = s[v] + e;
            vec_store(at, e);
        }
    *sum = lanes_sum(s);
}

static void log_loss_link(real *z, const row_shape *r) {
    vec maximum, sum;
    softmax_parts(z, r, &maximum, &sum);
    for (int64_t q = 0; q < r->n_blocks; q++)
        for (int v = 0; v < LANE_VECS; v++) {
            real *at = z + row_block(r, q) + v * VL;
            vec_store(at, vec_load(at) / sum);
        }
}

static real log_loss_row(real *z, const real *y, real weight, const row_shape *r) {
    /* sum_k y_k z_k first: softmax_parts overwrites z. The padding's y is 0. */
    vec yz[LANE_VECS], ys[LANE_VECS], maximum, sum, w = vec_broadcast(weight);
    for (int v = 0; v < LANE_VECS; v++) yz[v] = ys[v] = (vec){0};
    for (int64_t q = 0; q < r->n_blocks; q++)
        for (int v = 0; v < LANE_VECS; v++) {
            vec target = vec_load(y + row_block(r, q) + v * VL);
            yz[v] = vec_fma(target, vec_load(z + row_block(r, q) + v * VL), yz[v]);
            ys[v] = ys[v] + target;
        }
    softmax_parts(z, r, &maximum, &sum);
    for (int64_t q = 0; q < r->n_blocks; q++)
        for (int v = 0; v < LANE_VECS; v++) {
            real *at = z + row_block(r, q) + v * VL;
            vec_store(at, (vec_load(at) / sum - vec_load(y + row_block(r, q) + v * VL)) * w);
        }
    vec loss = vec_fma(lanes_sum(ys), vec_log(sum) + maximum, -lanes_sum(yz));
    return loss[0];
}

/* The same for a class number, without the one-hot row: `at` is the place of the class in the row. */
static real log_loss_class_row(real *z, int64_t at, real weight, const row_shape *r) {
    real logit = z[at];
    vec maximum, sum, w = vec_broadcast(weight);
    softmax_parts(z, r, &maximum, &sum);
    real p = z[at] / sum[0];
    for (int64_t q = 0; q < r->n_blocks; q++)
        for (int v = 0; v < LANE_VECS; v++) {
            real *block = z + row_block(r, q) + v * VL;
            vec_store(block, vec_load(block) / sum * w);
        }
    z[at] = (p - 1) * weight;
    return (vec_log(sum) + maximum)[0] - logit;
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
    static void name##_link(real *z, const row_shape *r) {                                                             \
        for (int64_t q = 0; q < r->n_blocks; q++)                                                                      \
            for (int v = 0; v < LANE_VECS; v++) {                                                                      \
                real *at = z + row_block(r, q) + v * VL;                                                               \
                vec_store(at, name##_output(vec_load(at)));                                                            \
            }                                                                                                          \
    }                                                                                                                  \
    static real name##_row(real *z, const real *y, real weight, const row_shape *r) {                                  \
        vec sum[LANE_VECS], delta;                                                                                     \
        for (int v = 0; v < LANE_VECS; v++) sum[v] = (vec){0};                                                         \
        for (int64_t q = 0; q < r->n_blocks; q++)                                                                      \
            for (int v = 0; v < LANE_VECS; v++) {                                                                      \
                real *at = z + row_block(r, q) + v * VL;                                                               \
                sum[v] = sum[v] + name##_loss(vec_load(at), vec_load(y + row_block(r, q) + v * VL), &delta);           \
                vec_store(at, delta * vec_broadcast(weight));                                                          \
            }                                                                                                          \
        return lanes_sum(sum)[0];                                                                                      \
    }
ELEMENTWISE_LOSS(binary_log_loss)
ELEMENTWISE_LOSS(squared_error)
ELEMENTWISE_LOSS(poisson)
ELEMENTWISE_LOSS(hinge)

typedef struct loss {
    loss_row *row;
    loss_class_row *class_row;
    link_row *link;
    real padding;
    int32_t mean_over_outputs; /* scikit-learn's squared_error reports the mean, while its delta is that of the sum */
} loss;

#define LOSS_ENTRY(name, class_row, padding, mean) {name##_row, class_row, name##_link, padding, mean},
static const loss losses[] = {FM_LOSSES(LOSS_ENTRY)};
#define LOSS_NAME(name, class_row, padding, mean) #name,
static const char *const loss_names[] = {FM_LOSSES(LOSS_NAME) NULL};
