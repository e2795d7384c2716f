/* elementwise.c: functions of vec_math.h, activations.h and losses.h over arrays, for test_elementwise.py, which includes it
 * where csrc/isa_*.c include the engine. Arrays hold n elements, a multiple of 16, and need no alignment.
 */
#include "fastmlp.h"
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "engine/vec.h"
#include "engine/vec_math.h"
#include "engine/team.h"
#include "engine/random.h"
#include "engine/panel.h"
#include "engine/noise.h"
#include "engine/activations.h"
#include "engine/losses.h"

static void store(real *p, vec v) { memcpy(p, &v, sizeof v); }
#define AT(p) vec_load_unaligned(p + i)
#define OVER(n) for (int64_t i = 0; i < n; i += VL)

#define FUNCTION(name, expression)                                                                                     \
    void value_##name(const real *x, real *y, int64_t n) { OVER(n) store(y + i, expression(AT(x))); }
FUNCTION(expm1_negative, vec_expm1_negative)
FUNCTION(normal_density, vec_normal_density)
FUNCTION(mills, vec_mills)

#define ACTIVATION(name)                                                                                               \
    FUNCTION(name, name##_forward)                                                                                     \
    void gradient_##name(const real *z, real *gradient, int64_t n) {                                                   \
        OVER(n) store(gradient + i, name##_gradient(name##_forward(AT(z))));                                           \
    }
ACTIVATION(leaky_relu)
ACTIVATION(elu)
ACTIVATION(selu)
ACTIVATION(softplus)

#define ACTIVATION_WITH_SLOPE(name)                                                                                    \
    void value_##name(const real *z, real *a, int64_t n) {                                                             \
        vec slope;                                                                                                     \
        OVER(n) store(a + i, name##_forward(AT(z), &slope));                                                           \
    }                                                                                                                  \
    void gradient_##name(const real *z, real *gradient, int64_t n) {                                                   \
        OVER(n) {                                                                                                      \
            vec slope;                                                                                                 \
            name##_forward(AT(z), &slope);                                                                             \
            store(gradient + i, slope);                                                                                \
        }                                                                                                              \
    }
ACTIVATION_WITH_SLOPE(gelu)
ACTIVATION_WITH_SLOPE(silu)
ACTIVATION_WITH_SLOPE(mish)

/* out: loss, delta, output, each (n,). */
#define LOSS(name, ...)                                                                                                \
    void loss_##name(const real *z, const real *y, const real *parameter, real *out, int64_t n) {                      \
        (void)parameter;                                                                                               \
        OVER(n) {                                                                                                      \
            vec delta;                                                                                                 \
            store(out + i, name##_loss(__VA_ARGS__, &delta));                                                          \
            store(out + n + i, delta);                                                                                 \
            store(out + 2 * n + i, name##_output(AT(z)));                                                              \
        }                                                                                                              \
    }
LOSS(absolute_error, AT(z), AT(y))
LOSS(huber, AT(z), AT(y), AT(parameter))
LOSS(quantile, AT(z), AT(y), AT(parameter))
LOSS(gamma, AT(z), AT(y))
LOSS(squared_hinge, AT(z), AT(y))
LOSS(perceptron, AT(z), AT(y))

void smoothed_targets(const real *y, const real *s, real *out, int64_t n, int64_t n_classes) {
    OVER(n) store(out + i, smoothed(AT(y), AT(s), n_classes));
}
