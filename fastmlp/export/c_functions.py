"""The engine's functions of one number as C99: the same steps in the same order as in csrc/engine, lane by lane.

`@` stands for the beginning of all names of a header.
"""

from __future__ import annotations

from collections.abc import Iterable

HEAD = """\
/* a b + c: rounded once where the processor can, which gives the bits of fastmlp's own predict (-std=c99). */
#ifndef @FMA
#if defined(FP_FAST_FMAF) || defined(__FMA__) || defined(__ARM_FEATURE_FMA)
#define @FMA(a, b, c) fmaf(a, b, c)
#else
#define @FMA(a, b, c) ((a) * (b) + (c))
#endif
#endif"""

FUNCTIONS: dict[str, tuple[tuple[str, ...], str]] = {
    "bits": (
        (),
        """\
static inline uint32_t @bits(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
static inline float @of_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}""",
    ),
    "max": ((), "static inline float @max(float a, float b) { return a > b ? a : b; }"),
    "min": ((), "static inline float @min(float a, float b) { return a < b ? a : b; }"),
    "abs": ((), "static inline float @abs(float a) { return a < 0.0f ? -a : a; }"),
    "exp_reduce": (
        ("bits",),
        """\
/* x = n ln(2) + r, |r| <= ln(2) / 2; n in the low bits. */
static inline float @exp_reduce(float x, uint32_t *n) {
    const float magic = 12582912.0f; /* 1.5 * 2^23 */
    float product = x * 1.4426950408889634f, shifted = product + magic, whole = shifted - magic;
    *n = @bits(shifted);
    return @FMA(whole, 2.12194440e-4f, @FMA(whole, -0.693359375f, x));
}
/* e^r - 1 for such r: the polynomial of Cephes (Moshier, expf.c). */
static inline float @expm1_reduced(float r) {
    float p = 1.9875691500e-4f;
    p = @FMA(p, r, 1.3981999507e-3f);
    p = @FMA(p, r, 8.3334519073e-3f);
    p = @FMA(p, r, 4.1665795894e-2f);
    p = @FMA(p, r, 1.6666665459e-1f);
    p = @FMA(p, r, 5.0000001201e-1f);
    return @FMA(p * r, r, r);
}""",
    ),
    "exp_in_range": (
        ("exp_reduce",),
        """\
static inline float @exp_in_range(float x) {
    uint32_t n;
    float r = @exp_reduce(x, &n), p = @expm1_reduced(r) + 1.0f;
    return @of_bits(@bits(p) + (n << 23));
}""",
    ),
    "exp_negative": (
        ("exp_in_range", "max"),
        """\
static inline float @exp_negative(float x) { /* x <= 0 */
    float y = @exp_in_range(@max(-86.29f, x));
    return x < -86.29f ? 0.0f : y;
}""",
    ),
    "expm1_negative": (
        ("exp_reduce", "max"),
        """\
static inline float @expm1_negative(float x) { /* x <= 0 */
    uint32_t n;
    float r = @exp_reduce(@max(-40.0f, x), &n), m = @expm1_reduced(r);
    float scale = @of_bits((n + 127u) << 23);
    return @FMA(m, scale, scale - 1.0f);
}""",
    ),
    "exp": (
        ("exp_in_range", "min", "max"),
        """\
static inline float @exp(float x) {
    float root = @exp_in_range(0.5f * @min(88.72283f, @max(-86.29f, x)));
    float y = x < -86.29f ? 0.0f : root * root;
    return x > 88.72283f ? HUGE_VALF : y;
}""",
    ),
    "logistic": (
        ("exp_in_range", "min", "max"),
        """\
static inline float @logistic(float z) {
    return 1.0f / (1.0f + @exp_in_range(@max(-86.29f, @min(86.29f, -z))));
}""",
    ),
    "tanh": (
        ("exp_reduce", "min", "abs"),
        """\
static inline float @tanh(float z) {
    uint32_t n, sign = @bits(z) & 0x80000000u;
    float x = @min(20.0f, @abs(z)), r = @exp_reduce(x + x, &n);
    float scale = @of_bits(((n & 0xffu) + 127u) << 23);
    float m = @FMA(@expm1_reduced(r), scale, scale - 1.0f);
    return @of_bits(@bits(m / (m + 2.0f)) | sign);
}""",
    ),
    "relu": (("max",), "static inline float @relu(float z) { return @max(0.0f, z); }"),
    "leaky_relu": (("max",), "static inline float @leaky_relu(float z) { return @max(0.01f * z, z); }"),
    "elu": (
        ("expm1_negative",),
        "static inline float @elu(float z) { return z > 0.0f ? z : @expm1_negative(z); }",
    ),
    "selu": (
        ("expm1_negative",),
        """\
static inline float @selu(float z) {
    return z > 0.0f ? 1.0507009873554805f * z : 1.7580993408473766f * @expm1_negative(z);
}""",
    ),
    "softplus": (
        ("exp_negative", "max", "abs"),
        """\
/* log(1 + e) = 2 artanh(e / (e + 2)) for e in [0, 1]. */
static inline float @log1p(float e) {
    float s = e / (e + 2.0f), square = s * s, p = (float)(1.0 / 15);
    for (int k = 6; k >= 0; k--) p = @FMA(p, square, (float)(1.0 / (2 * k + 1)));
    return 2.0f * s * p;
}
static inline float @softplus(float z) { return @max(0.0f, z) + @log1p(@exp_negative(-@abs(z))); }""",
    ),
    "gelu": (
        ("exp_reduce", "min", "max", "abs"),
        """\
/* z Phi(z) = max(z, 0) - |z| density(z) mills(|z|). */
static inline float @gelu(float z) {
    static const float c[] = {-1151.6915f, 2176.5798f, -1517.5397f, 411.3615f,  -35.017284f,
                              24.690382f,  7.5803056f, 3.0146565f,  0.99978226f};
    float x = @min(13.13f, @abs(z)), square = x * x, rest = @FMA(x, x, -square);
    uint32_t n;
    float r = @exp_reduce(-0.5f * square, &n);
    r = @FMA(-0.5f, rest, r);
    float density = @FMA(0.3989422804014327f, @expm1_reduced(r), 0.3989422804014327f);
    density = x >= 13.13f ? 0.0f : @of_bits(@bits(density) + (n << 23));
    float t = 1.0f / (x + 3.0f), p = c[0];
    for (int i = 1; i < 9; i++) p = @FMA(p, t, c[i]);
    return @FMA(-(x * (t * p)), density, @max(0.0f, z));
}""",
    ),
    "silu": (
        ("exp_negative", "max", "abs"),
        """\
static inline float @silu(float z) {
    float t = @exp_negative(-@abs(z)), smaller = t / (1.0f + t), larger = 1.0f - smaller;
    return @max(-86.29f, z) * (z > 0.0f ? larger : smaller);
}""",
    ),
    "mish": (
        ("exp_negative", "max", "abs"),
        """\
static inline float @mish(float z) {
    float t = @exp_negative(-@abs(z)), square = t * t;
    float n = @FMA(2.0f, t, z > 0.0f ? 1.0f : square), half_m = z > 0.0f ? square : 1.0f;
    float inverse = 1.0f / @FMA(2.0f, half_m, n);
    return @max(-86.29f, z) * n * inverse;
}""",
    ),
    "softmax": (
        ("exp_negative", "max"),
        """\
static inline void @softmax(float *z, int n) {
    float m = z[0], sum = 0.0f;
    for (int k = 1; k < n; k++) m = @max(z[k], m);
    for (int k = 0; k < n; k++) {
        z[k] = @exp_negative(z[k] - m);
        sum = sum + z[k];
    }
    for (int k = 0; k < n; k++) z[k] = z[k] / sum;
}""",
    ),
    "dense": (
        (),
        """\
/* z = b + a W for n inputs and m units: the sum over the inputs in their order. */
static inline void @dense(const float *W, const float *b, int n, int m, const float *a, float *z) {
    for (int j = 0; j < m; j++) z[j] = b[j];
    for (int k = 0; k < n; k++)
        for (int j = 0; j < m; j++) z[j] = @FMA(a[k], W[k * m + j], z[j]);
}""",
    ),
    "sort": (
        (),
        """\
static inline void @sort(float *y, int n) {
    for (int i = 1; i < n; i++)
        for (int j = i; j > 0 && y[j] < y[j - 1]; j--) {
            float above = y[j - 1];
            y[j - 1] = y[j];
            y[j] = above;
        }
}""",
    ),
    "number": (
        (),
        """\
/* A number of a table: centred, scaled and clipped smoothly; 0 where it is missing. */
static inline float @number(double x, double center, double factor) {
    double scaled = (x - center) * factor, near = fmax(-1e150, fmin(scaled, 1e150));
    double relative = near / 3.0, square = relative * relative; /* which is finite */
    return scaled != scaled ? 0.0f : (float)(near / sqrt(1.0 + square));
}""",
    ),
    "ramp": (
        (),
        """\
/* It rises from 0 at low to 1 at high; 0 where the number is missing. */
static inline float @ramp(double x, double low, double high) {
    double risen = (x - low) / (high - low);
    return !(risen > 0.0) ? 0.0f : risen < 1.0 ? (float)risen : 1.0f;
}""",
    ),
    "argmax": (
        (),
        """\
static inline int @argmax(const float *y, int n) {
    int best = 0;
    for (int k = 1; k < n; k++)
        if (y[k] > y[best]) best = k;
    return best;
}""",
    ),
}
"""What each function needs, and its source."""


def sources(names: Iterable[str]) -> list[str]:
    """Sources of these functions and of what they need, each once, in an order that compiles."""
    found: dict[str, str] = {}

    def add(name: str) -> None:
        needed, source = FUNCTIONS[name]
        for each in needed:
            add(each)
        found.setdefault(name, source)

    for name in names:
        add(name)
    return list(found.values())
