/* activations.h: the list of activations, and forward and gradient of each.
 *
 * NAME_forward(z) -> a = f(z); NAME_gradient(z, a) -> f'(z), in terms of the output where it can (lectures: f' = f (1 - f)).
 * The hidden layers use them; outputs belong to the loss (losses.h).
 */

/* X(name, whether the gradient reads z, which is then kept beside a) */
#define ACTIVATIONS(X)                                                                                                 \
    X(identity, 0)                                                                                                     \
    X(logistic, 0)                                                                                                     \
    X(tanh, 0)                                                                                                         \
    X(relu, 0)                                                                                                         \
    X(leaky_relu, 0)                                                                                                   \
    X(elu, 0)                                                                                                          \
    X(selu, 0)                                                                                                         \
    X(softplus, 0)                                                                                                     \
    X(gelu, 1)                                                                                                         \
    X(silu, 1)                                                                                                         \
    X(mish, 1)

INLINE vec identity_forward(vec z) { return z; }
INLINE vec identity_gradient(vec z, vec a) {
    (void)z, (void)a;
    return vec_broadcast((real)1);
}

INLINE vec logistic_forward(vec z) { return vec_logistic(z); }
INLINE vec logistic_gradient(vec z, vec a) {
    (void)z;
    return a * (vec_broadcast((real)1) - a);
}

INLINE vec tanh_forward(vec z) { return vec_tanh(z); }
INLINE vec tanh_gradient(vec z, vec a) {
    (void)z;
    return vec_broadcast((real)1) - a * a;
}

INLINE vec relu_forward(vec z) { return vec_max(vec_broadcast((real)0), z); }
INLINE vec relu_gradient(vec z, vec a) {
    (void)z;
    return vec_select(a > (vec){0}, vec_broadcast((real)1), (vec){0});
}

INLINE vec leaky_relu_forward(vec z) { return vec_max(vec_broadcast((real)0.01) * z, z); }
INLINE vec leaky_relu_gradient(vec z, vec a) {
    (void)z;
    return vec_select(a > (vec){0}, vec_broadcast((real)1), vec_broadcast((real)0.01));
}

/* z, but e^z - 1 below 0. */
INLINE vec elu_forward(vec z) { return vec_select(z > (vec){0}, z, vec_expm1_negative(z)); }
INLINE vec elu_gradient(vec z, vec a) {
    (void)z;
    vec one = vec_broadcast((real)1);
    return vec_select(a > (vec){0}, one, a + one);
}

/* scale (z, but alpha (e^z - 1) below 0): Klambauer et al. 2017, whose constants keep mean 0 and variance 1. */
#define SELU_SCALE 1.0507009873554804934193349852946
#define SELU_ALPHA 1.6732632423543772848170429916717
INLINE vec selu_forward(vec z) {
    vec scale = vec_broadcast((real)SELU_SCALE), below = vec_broadcast((real)(SELU_SCALE * SELU_ALPHA));
    return vec_select(z > (vec){0}, scale * z, below * vec_expm1_negative(z));
}
INLINE vec selu_gradient(vec z, vec a) {
    (void)z;
    vec scale = vec_broadcast((real)SELU_SCALE), below = vec_broadcast((real)(SELU_SCALE * SELU_ALPHA));
    return vec_select(a > (vec){0}, scale, a + below);
}

/* log(1 + e^z); f' = logistic(z) = 1 - e^-a. */
INLINE vec softplus_forward(vec z) { return vec_softplus(z); }
INLINE vec softplus_gradient(vec z, vec a) {
    (void)z;
    return -vec_expm1_negative(-a);
}

/* The following have no inverse: their gradients are in terms of Z. Below EXP_MIN they are 0, minus infinity included. */

/* z Phi(z) with the distribution function of the normal distribution: max(z, 0) - |z| Phi(-|z|). */
INLINE vec gelu_forward(vec z) {
    vec x = vec_min(vec_broadcast(NORMAL_MAX), vec_abs(z));
    return vec_fma(-(x * vec_mills(x)), vec_normal_density(x), vec_max((vec){0}, z));
}
/* Phi(z) + z density(z): with Phi(-x) = density(x) mills(x), and f'(z) = 1 - f'(-z). */
INLINE vec gelu_gradient(vec z, vec a) {
    (void)a;
    vec x = vec_min(vec_broadcast(NORMAL_MAX), vec_abs(z));
    vec below = vec_normal_density(x) * (vec_mills(x) - x);
    return vec_select(z > (vec){0}, vec_broadcast((real)1) - below, below);
}

/* z logistic(z); with t = e^-|z| logistic is p / (1 + t), p = 1 or t. */
INLINE vec silu_forward(vec z) {
    vec one = vec_broadcast((real)1), t = vec_exp_negative(-vec_abs(z));
    z = vec_max(vec_broadcast(EXP_MIN), z);
    return z * vec_select(z > (vec){0}, one, t) / (one + t);
}
/* s + z s (1 - s), where s (1 - s) = t / (1 + t)^2. */
INLINE vec silu_gradient(vec z, vec a) {
    (void)a;
    vec one = vec_broadcast((real)1), t = vec_exp_negative(-vec_abs(z)), d = one + t;
    z = vec_max(vec_broadcast(EXP_MIN), z);
    return vec_fma(z, t, vec_select(z > (vec){0}, one, t) * d) / (d * d);
}

/* z tanh(log(1 + e^z)); with t = e^-|z| the tanh is n / (n + m): n = 1 + 2 t, m = 2 t^2, below 0 n = t^2 + 2 t, m = 2. */
INLINE vec mish_ratio(vec z, vec t, vec *m) {
    vec two = vec_broadcast((real)2);
    *m = vec_select(z > (vec){0}, two * t * t, two);
    return vec_select(z > (vec){0}, vec_fma(two, t, vec_broadcast((real)1)), vec_fma(t, t, two * t));
}
INLINE vec mish_forward(vec z) {
    vec m, t = vec_exp_negative(-vec_abs(z)), n = mish_ratio(z, t, &m);
    return vec_max(vec_broadcast(EXP_MIN), z) * n / (n + m);
}
/* T + z (1 - T^2) logistic(z) = (n d + 4 z s (1 + t)) / d^2 with d = n + m and s = t^2, below 0 s = t. */
INLINE vec mish_gradient(vec z, vec a) {
    (void)a;
    vec m, t = vec_exp_negative(-vec_abs(z)), n = mish_ratio(z, t, &m), d = n + m;
    vec s = vec_select(z > (vec){0}, t * t, t), four_z = vec_broadcast((real)4) * vec_max(vec_broadcast(EXP_MIN), z);
    return vec_fma(four_z * s, vec_broadcast((real)1) + t, n * d) / (d * d);
}

/* Over a tile of batch panels (rows, width): NAME_tile replaces z by a, and writes z down where it is kept;
 * NAME_gradient_tile multiplies delta by f'(z), and by the scale of dropout or 0 where there is any. */
#define ACTIVATION_TILES(name, keeps_z)                                                                                \
    static void name##_tile(real *a, real *z, int64_t rows, int64_t width) {                                           \
        for (int64_t i = 0; i < rows; i++)                                                                             \
            for (int64_t c = 0; c < width; c += VL) {                                                                  \
                vec value = vec_load(a + i * PANEL + c);                                                               \
                if (keeps_z && z) vec_store(z + i * PANEL + c, value);                                                 \
                vec_store(a + i * PANEL + c, name##_forward(value));                                                   \
            }                                                                                                          \
    }                                                                                                                  \
    static void name##_gradient_tile(real *delta, const real *a, const real *z, int64_t rows, int64_t width) {         \
        for (int64_t i = 0; i < rows; i++)                                                                             \
            for (int64_t at = i * PANEL; at < i * PANEL + width; at += VL) {                                           \
                vec kept = keeps_z ? vec_load(z + at) : (vec){0};                                                      \
                vec_store(delta + at, vec_load(delta + at) * name##_gradient(kept, vec_load(a + at)));                 \
            }                                                                                                          \
    }                                                                                                                  \
    static void name##_dropped_tile(real *delta, const real *a, const real *z, int64_t rows, int64_t width,            \
                                    const drop *d) {                                                                   \
        vec left = vec_broadcast(d->left), scale = vec_broadcast(d->scale);                                            \
        for (int64_t i = 0; i < rows; i++)                                                                             \
            for (int64_t at = i * PANEL; at < i * PANEL + width; at += VL) {                                           \
                vec kept = keeps_z ? vec_load(z + at) : (vec){0}, value = vec_load(a + at);                            \
                vec gradient = name##_gradient(kept, value * left) * scale;                                            \
                vec_store(delta + at, vec_select(is_dropped(value), (vec){0}, vec_load(delta + at) * gradient));       \
            }                                                                                                          \
    }
ACTIVATIONS(ACTIVATION_TILES)

typedef struct activation {
    void (*tile)(real *a, real *z, int64_t rows, int64_t width); /* z: NULL where nothing is differentiated */
    void (*gradient_tile)(real *delta, const real *a, const real *z, int64_t rows, int64_t width);
    void (*dropped_tile)(real *delta, const real *a, const real *z, int64_t rows, int64_t width, const drop *d);
    int32_t keeps_z;
} activation;

#define ACTIVATION_ENTRY(name, keeps_z) {name##_tile, name##_gradient_tile, name##_dropped_tile, keeps_z},
static const activation activations[] = {ACTIVATIONS(ACTIVATION_ENTRY)};
#define ACTIVATION_NAME(name, keeps_z) #name,
static const char *const activation_names[] = {ACTIVATIONS(ACTIVATION_NAME) NULL};
