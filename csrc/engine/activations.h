/* activations.h: the list of activations, and forward and gradient of each.
 *
 * NAME_forward(z) -> a = f(z); NAME_gradient(a) -> f'(z) in terms of the output (lectures: f' = f (1 - f)). Those that have
 * no inverse: NAME_forward(z, &slope) -> a, and f'(z) beside it, from the same exponential; it is kept for the way back.
 * The hidden layers use them; outputs belong to the loss (losses.h).
 */

/* X(name, whether f'(z) is kept beside a) */
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
INLINE vec identity_gradient(vec a) {
    (void)a;
    return vec_broadcast((real)1);
}

INLINE vec logistic_forward(vec z) { return vec_logistic(z); }
INLINE vec logistic_gradient(vec a) { return a * (vec_broadcast((real)1) - a); }

INLINE vec tanh_forward(vec z) { return vec_tanh(z); }
INLINE vec tanh_gradient(vec a) { return vec_broadcast((real)1) - a * a; }

INLINE vec relu_forward(vec z) { return vec_max(vec_broadcast((real)0), z); }
INLINE vec relu_gradient(vec a) { return vec_select(a > (vec){0}, vec_broadcast((real)1), (vec){0}); }

INLINE vec leaky_relu_forward(vec z) { return vec_max(vec_broadcast((real)0.01) * z, z); }
INLINE vec leaky_relu_gradient(vec a) {
    return vec_select(a > (vec){0}, vec_broadcast((real)1), vec_broadcast((real)0.01));
}

/* z, but e^z - 1 below 0. */
INLINE vec elu_forward(vec z) { return vec_select(z > (vec){0}, z, vec_expm1_negative(z)); }
INLINE vec elu_gradient(vec a) {
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
INLINE vec selu_gradient(vec a) {
    vec scale = vec_broadcast((real)SELU_SCALE), below = vec_broadcast((real)(SELU_SCALE * SELU_ALPHA));
    return vec_select(a > (vec){0}, scale, a + below);
}

/* log(1 + e^z); f' = logistic(z) = 1 - e^-a. */
INLINE vec softplus_forward(vec z) { return vec_softplus(z); }
INLINE vec softplus_gradient(vec a) { return -vec_expm1_negative(-a); }

/* The following have no inverse. Below EXP_MIN value and slope are 0, minus infinity included. */

/* z Phi(z) with the distribution function of the normal distribution: max(z, 0) - |z| Phi(-|z|). The slope is
 * Phi(z) + z density(z): with Phi(-x) = density(x) mills(x), and f'(z) = 1 - f'(-z). */
INLINE vec gelu_forward(vec z, vec *slope) {
    vec x = vec_min(vec_broadcast(NORMAL_MAX), vec_abs(z)), density = vec_normal_density(x), mills = vec_mills(x);
    vec below = density * (mills - x);
    *slope = vec_select(z > (vec){0}, vec_broadcast((real)1) - below, below);
    return vec_fma(-(x * mills), density, vec_max((vec){0}, z));
}

/* z s with the logistic function s; the slope is s + z s (1 - s). With t = e^-|z|, the smaller of s and 1 - s is
 * t / (1 + t), and the other is 1 less that. */
INLINE vec silu_forward(vec z, vec *slope) {
    vec one = vec_broadcast((real)1), t = vec_exp_negative(-vec_abs(z)), smaller = t / (one + t),
        larger = one - smaller;
    ivec above = z > (vec){0};
    vec s = vec_select(above, larger, smaller), a = vec_max(vec_broadcast(EXP_MIN), z) * s;
    *slope = vec_fma(a, vec_select(above, smaller, larger), s);
    return a;
}

/* z tanh(log(1 + e^z)); with t = e^-|z| the tanh is n / (n + m): n = 1 + 2 t, m = 2 t^2, below 0 n = t^2 + 2 t, m = 2.
 * The slope is T + z (1 - T^2) logistic(z) = (n d + 4 z s (1 + t)) / d^2 with d = n + m and s = t^2, below 0 s = t. */
INLINE vec mish_forward(vec z, vec *slope) {
    vec one = vec_broadcast((real)1), two = vec_broadcast((real)2), four = vec_broadcast((real)4);
    vec t = vec_exp_negative(-vec_abs(z)), square = t * t;
    ivec above = z > (vec){0};
    vec n = vec_fma(two, t, vec_select(above, one, square)), half_m = vec_select(above, square, one);
    vec inverse = one / vec_fma(two, half_m, n), s = vec_select(above, square, t);
    z = vec_max(vec_broadcast(EXP_MIN), z);
    *slope = inverse * vec_fma(four * z * s, (one + t) * inverse, n);
    return z * n * inverse;
}

/* Both kinds by the flag of the list. */
#define OUTPUT_0(name, z, slope) name##_forward(z)
#define OUTPUT_1(name, z, slope) name##_forward(z, slope)
#define SLOPE_0(name, a, kept) ((void)(kept), name##_gradient(a))
#define SLOPE_1(name, a, kept) ((void)(a), vec_load(kept))

/* Over a tile of batch panels (rows, width), down the rows, since a row is a few registers: NAME_tile replaces z by a, and
 * writes f'(z) down where it is kept; NAME_gradient_tile multiplies delta by f'(z), and by the scale of dropout or 0 where
 * there is any. */
#define OVER_TILE(rows, width)                                                                                         \
    for (int64_t c = 0; c < width; c += VL)                                                                            \
        for (int64_t at = c, end = c + rows * PANEL; at < end; at += PANEL)

#define ACTIVATION_TILES(name, keeps)                                                                                  \
    static void name##_tile(real *a, real *slopes, int64_t rows, int64_t width) {                                      \
        OVER_TILE(rows, width) {                                                                                       \
            vec slope = {0};                                                                                           \
            vec_store(a + at, OUTPUT_##keeps(name, vec_load(a + at), &slope));                                         \
            if (keeps && slopes) vec_store(slopes + at, slope);                                                        \
        }                                                                                                              \
    }                                                                                                                  \
    static void name##_gradient_tile(real *delta, const real *a, const real *slopes, int64_t rows, int64_t width) {    \
        OVER_TILE(rows, width)                                                                                         \
        vec_store(delta + at, vec_load(delta + at) * SLOPE_##keeps(name, vec_load(a + at), slopes + at));              \
    }                                                                                                                  \
    static void name##_dropped_tile(real *delta, const real *a, const real *slopes, int64_t rows, int64_t width,       \
                                    const drop *d) {                                                                   \
        vec left = vec_broadcast(d->left), scale = vec_broadcast(d->scale);                                            \
        OVER_TILE(rows, width) {                                                                                       \
            vec value = vec_load(a + at), gradient = SLOPE_##keeps(name, value * left, slopes + at) * scale;           \
            vec_store(delta + at, vec_select(is_dropped(value), (vec){0}, vec_load(delta + at) * gradient));           \
        }                                                                                                              \
    }
ACTIVATIONS(ACTIVATION_TILES)

/* slopes: NULL where none are kept. */
typedef struct activation {
    void (*tile)(real *a, real *slopes, int64_t rows, int64_t width);
    void (*gradient_tile)(real *delta, const real *a, const real *slopes, int64_t rows, int64_t width);
    void (*dropped_tile)(real *delta, const real *a, const real *slopes, int64_t rows, int64_t width, const drop *d);
    int32_t keeps_slope;
} activation;

#define ACTIVATION_ENTRY(name, keeps) {name##_tile, name##_gradient_tile, name##_dropped_tile, keeps},
static const activation activations[] = {ACTIVATIONS(ACTIVATION_ENTRY)};
#define ACTIVATION_NAME(name, keeps) #name,
static const char *const activation_names[] = {ACTIVATIONS(ACTIVATION_NAME) NULL};
