/* activations.h: the list of activations, and forward and gradient of each.
 *
 * NAME_forward(Z) -> A = f(Z); NAME_gradient(A) -> f'(Z) in terms of the output A (lectures: f' = f (1 - f)).
 * The hidden layers use them; outputs belong to the loss (losses.h).
 */
#define ACTIVATIONS(X) X(identity) X(logistic) X(tanh) X(relu)

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

/* Over a tile of batch panels (rows, width): NAME_tile replaces Z by A; NAME_gradient_tile multiplies delta by f'(A). */
#define ACTIVATION_TILES(name)                                                                                         \
    static void name##_tile(real *z, int64_t rows, int64_t width) {                                                    \
        for (int64_t i = 0; i < rows; i++)                                                                             \
            for (int64_t c = 0; c < width; c += VL)                                                                    \
                vec_store(z + i * PANEL + c, name##_forward(vec_load(z + i * PANEL + c)));                             \
    }                                                                                                                  \
    static void name##_gradient_tile(real *delta, const real *a, int64_t rows, int64_t width) {                        \
        for (int64_t i = 0; i < rows; i++)                                                                             \
            for (int64_t c = 0; c < width; c += VL)                                                                    \
                vec_store(delta + i * PANEL + c,                                                                       \
                          vec_load(delta + i * PANEL + c) * name##_gradient(vec_load(a + i * PANEL + c)));             \
    }
ACTIVATIONS(ACTIVATION_TILES)

typedef struct activation {
    void (*tile)(real *z, int64_t rows, int64_t width);
    void (*gradient_tile)(real *delta, const real *a, int64_t rows, int64_t width);
} activation;

#define ACTIVATION_ENTRY(name) {name##_tile, name##_gradient_tile},
static const activation activations[] = {ACTIVATIONS(ACTIVATION_ENTRY)};
#define NAME_ENTRY(name) #name,
static const char *const activation_names[] = {ACTIVATIONS(NAME_ENTRY) NULL};
