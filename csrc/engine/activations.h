/* activations.h: the list of activations, and forward and gradient of each.
 *
 * NAME_forward(z) -> a = f(z); NAME_gradient(z, a) -> f'(z), in terms of the output where it can (lectures: f' = f (1 - f)).
 * The hidden layers use them; outputs belong to the loss (losses.h).
 */

/* X(name, whether the gradient reads z, which is then kept beside a) */
#define ACTIVATIONS(X) X(identity, 0) X(logistic, 0) X(tanh, 0) X(relu, 0)

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

/* Over a tile of batch panels (rows, width): NAME_tile replaces z by a, and writes z down where it is kept;
 * NAME_gradient_tile multiplies delta by f'(z). */
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
            for (int64_t c = 0; c < width; c += VL) {                                                                  \
                vec kept = keeps_z ? vec_load(z + i * PANEL + c) : (vec){0};                                           \
                vec gradient = name##_gradient(kept, vec_load(a + i * PANEL + c));                                     \
                vec_store(delta + i * PANEL + c, vec_load(delta + i * PANEL + c) * gradient);                          \
            }                                                                                                          \
    }
ACTIVATIONS(ACTIVATION_TILES)

typedef struct activation {
    void (*tile)(real *a, real *z, int64_t rows, int64_t width); /* z: NULL where nothing is differentiated */
    void (*gradient_tile)(real *delta, const real *a, const real *z, int64_t rows, int64_t width);
    int32_t keeps_z;
} activation;

#define ACTIVATION_ENTRY(name, keeps_z) {name##_tile, name##_gradient_tile, keeps_z},
static const activation activations[] = {ACTIVATIONS(ACTIVATION_ENTRY)};
#define ACTIVATION_NAME(name, keeps_z) #name,
static const char *const activation_names[] = {ACTIVATIONS(ACTIVATION_NAME) NULL};
