/* vec_math.h: exp, log, tanh, sine and their kin, lane by lane, from the operations of vec.h.
 *
 * An ULP is a unit in the last place of the result; tests/test_elementwise.py and test_activations.py hold them to it.
 */

/* Round to an integer n, returned as a number; *bits holds n in its low bits (for an exponent). |x| < 2^21. */
INLINE vec vec_round(vec x, ivec *bits) {
    vec shifted = x + vec_broadcast(ROUND_MAGIC);
    *bits = (ivec)shifted;
    return shifted - vec_broadcast(ROUND_MAGIC);
}

/* exp(r) - 1 for |r| <= ln(2) / 2. float32: Cephes' polynomial (Moshier, expf.c); float64: the Taylor series to r^13. */
INLINE vec vec_expm1_reduced(vec r) {
#if FM_REAL_BITS == 32
    static const real c[] = {1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f,
                             4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f};
#else
    static const real c[] = {1.0 / 6227020800.0, 1.0 / 479001600.0, 1.0 / 39916800.0, 1.0 / 3628800.0,
                             1.0 / 362880.0,     1.0 / 40320.0,     1.0 / 5040.0,     1.0 / 720.0,
                             1.0 / 120.0,        1.0 / 24.0,        1.0 / 6.0,        0.5};
#endif
    vec p = vec_broadcast(c[0]);
#pragma GCC unroll 16
    for (int i = 1; i < (int)(sizeof c / sizeof *c); i++) p = vec_fma(p, r, vec_broadcast(c[i]));
    return vec_fma(p * r, r, r);
}

#if FM_REAL_BITS == 32
#define EXP_MIN (-86.29f) /* below: 0; the exponents of all factors stay normal */
#define EXP_MAX 88.72283f /* above: infinity */
#define LN2_HIGH 0.693359375f
#define LN2_LOW -2.12194440e-4f
#else
#define EXP_MIN (-707.35)
#define EXP_MAX 709.782712893384
#define LN2_HIGH 6.93147180369123816490e-01
#define LN2_LOW 1.90821492927058770002e-10
#endif
#define LOG2_E 1.4426950408889634

/* Split x = n ln(2) + r; x in [EXP_MIN, EXP_MAX]. */
INLINE vec exp_reduce(vec x, ivec *n) {
    vec whole = vec_round(x * vec_broadcast((real)LOG2_E), n);
    return vec_fma(whole, vec_broadcast(-LN2_LOW), vec_fma(whole, vec_broadcast(-LN2_HIGH), x));
}

/* e^x for x in [EXP_MIN, EXP_MAX - ln(2)], about 2 ULP; NaN stays NaN. */
INLINE vec vec_exp_in_range(vec x) {
    ivec n;
    vec p = vec_expm1_reduced(exp_reduce(x, &n)) + vec_broadcast((real)1);
    return (vec)((ivec)p + (n << MANTISSA_BITS));
}

/* e^x for x <= 0: 0 below EXP_MIN, so nothing is denormal. */
INLINE vec vec_exp_negative(vec x) {
    vec y = vec_exp_in_range(vec_max(vec_broadcast(EXP_MIN), x));
    return vec_select(x < vec_broadcast(EXP_MIN), (vec){0}, y);
}

/* e^x - 1 for x <= 0, about 2 ULP: small x keep their relative accuracy. */
INLINE vec vec_expm1_negative(vec x) {
    ivec n; /* -58 .. 0: from -40 on the answer is -1 in either type */
    vec m = vec_expm1_reduced(exp_reduce(vec_max(vec_broadcast((real)-40), x), &n));
    vec scale = (vec)((n + EXPONENT_BIAS) << MANTISSA_BITS); /* 2^n */
    return vec_fma(m, scale, scale - vec_broadcast((real)1));
}

#if FM_REAL_BITS == 32
#define NORMAL_MAX 13.13f /* from here on the density is 0, as e^x is below EXP_MIN */
#else
#define NORMAL_MAX 37.61
#endif

/* x^2 as a sum of two: the greater part is returned. */
INLINE vec vec_square(vec x, vec *rest) {
#if FM_HAS_FMA
    vec square = x * x;
    *rest = vec_fma(x, x, -square);
    return square;
#else /* the square of the upper half of the digits is exact */
    const integer lower_half = ((integer)1 << (MANTISSA_BITS / 2 + 1)) - 1;
    vec upper = (vec)((ivec)x & ivec_broadcast(~lower_half));
    *rest = (x - upper) * (x + upper);
    return upper * upper;
#endif
}

/* Density of the normal distribution, e^(-x^2 / 2) / sqrt(2 pi), for 0 <= x <= NORMAL_MAX, about 2 ULP. */
INLINE vec vec_normal_density(vec x) {
    ivec n;
    vec half = vec_broadcast((real)-0.5), rest, square = vec_square(x, &rest);
    vec r = vec_fma(half, rest, exp_reduce(half * square, &n));
    vec at_0 = vec_broadcast((real)0.3989422804014327), p = vec_fma(at_0, vec_expm1_reduced(r), at_0);
    vec y = (vec)((ivec)p + (n << MANTISSA_BITS));
    return vec_select(x >= vec_broadcast(NORMAL_MAX), (vec){0}, y);
}

/* Mills' ratio, Phi(-x) / density(x) of the normal distribution, for 0 <= x <= NORMAL_MAX, about 4 ULP: t P with
 * t = 1 / (x + 3), which behaves as 1 / x does. P, of t or of 6 t - 1: minimax in relative error, 0.6 and 0.12 ULP. */
INLINE vec vec_mills(vec x) {
#if FM_REAL_BITS == 32
    static const real c[] = {-1151.6915f, 2176.5798f, -1517.5397f, 411.3615f,  -35.017284f,
                             24.690382f,  7.5803056f, 3.0146565f,  0.99978226f};
#else
    static const real c[] = {
        -1.4139131528780144e-09, 1.4272001505922551e-08,  -2.7251970346219792e-08, -5.1581884729764486e-08,
        2.2806623157093617e-07,  -1.2307182988755333e-07, -6.757132738350399e-07,  1.5011823654174814e-06,
        1.5759310445069106e-08,  -5.664327871724423e-06,  9.125188997473687e-06,   8.8204397414109e-06,
        -5.186000775508943e-05,  3.320224978828866e-05,   0.00019755403790944898,  -0.0003870094368969012,
        -0.0006431390098798782,  0.0026215035867879133,   0.0025757918107098708,   -0.0174777695490578,
        -0.026226518314300725,   0.11847083516795015,     0.5765689205544968,      1.2767059470482247,
        1.8275417922606199};
#endif
    vec t = vec_broadcast((real)1) / (x + vec_broadcast((real)3)), p = vec_broadcast(c[0]);
    vec q = FM_REAL_BITS == 32 ? t : vec_fma(vec_broadcast((real)6), t, vec_broadcast((real)-1));
#pragma GCC unroll 32
    for (int i = 1; i < (int)(sizeof c / sizeof *c); i++) p = vec_fma(p, q, vec_broadcast(c[i]));
    return t * p;
}

/* e^x, about 5 ULP: 0 below EXP_MIN, infinity above EXP_MAX. */
INLINE vec vec_exp(vec x) {
    vec half = vec_broadcast((real)0.5); /* in two factors: 2^128 itself is not a float */
    vec root = vec_exp_in_range(half * vec_min(vec_broadcast(EXP_MAX), vec_max(vec_broadcast(EXP_MIN), x)));
    vec y = vec_select(x < vec_broadcast(EXP_MIN), (vec){0}, root * root);
    return vec_select(x > vec_broadcast(EXP_MAX), vec_broadcast((real)INFINITY), y);
}

/* 1 / (1 + e^-z): a true division, so the negative tail keeps its relative accuracy, down to e^EXP_MIN. */
INLINE vec vec_logistic(vec z) {
    vec one = vec_broadcast((real)1), x = vec_max(vec_broadcast(EXP_MIN), vec_min(vec_broadcast(-EXP_MIN), -z));
    return one / (one + vec_exp_in_range(x));
}

/* tanh(z) = s m / (m + 2) with m = e^(2|z|) - 1 and s the sign: accurate for small z as well. */
INLINE vec vec_tanh(vec z) {
    /* From 20 on tanh is 1 in either type; the clamp keeps NaN. */
    vec x = vec_min(vec_broadcast((real)20), vec_abs(z));
    ivec n;
    vec r = exp_reduce(x + x, &n);
    vec scale = (vec)(((n & ivec_broadcast(0xff)) + EXPONENT_BIAS) << MANTISSA_BITS); /* 2^n, n in 0 .. 58 */
    vec m = vec_fma(vec_expm1_reduced(r), scale, scale - vec_broadcast((real)1));
    return vec_copysign(m / (m + vec_broadcast((real)2)), z);
}

/* 2 artanh(s) = 2 (s + s^3 / 3 + s^5 / 5 + ...), to the given number of terms. */
INLINE vec twice_artanh(vec s, const int terms) {
    vec square = s * s, p = vec_broadcast((real)(1.0 / (2 * terms + 1)));
#pragma GCC unroll 20
    for (int k = terms - 1; k >= 0; k--) p = vec_fma(p, square, vec_broadcast((real)(1.0 / (2 * k + 1))));
    return vec_broadcast((real)2) * s * p;
}

/* log(1 + e) for e in [0, 1]; small e keep their relative accuracy. */
INLINE vec vec_log1p(vec e) { return twice_artanh(e / (e + vec_broadcast((real)2)), FM_REAL_BITS == 32 ? 7 : 16); }

/* log(1 + e^z), about 3 ULP, in either tail. */
INLINE vec vec_softplus(vec z) { return vec_max(vec_broadcast((real)0), z) + vec_log1p(vec_exp_negative(-vec_abs(z))); }

/* log(x) for positive, normal x: exponent and a mantissa in [2/3, 4/3). Infinity gives a large number, NaN stays. */
INLINE vec vec_log(vec x) {
    vec one = vec_broadcast((real)1);
    ivec bias = (ivec)vec_broadcast((real)(2.0 / 3.0));
    ivec n = ((ivec)x - bias) >> MANTISSA_BITS;
    vec m = (vec)((ivec)x - (n << MANTISSA_BITS));
    vec exponent = (vec)(n + (ivec)vec_broadcast(ROUND_MAGIC)) - vec_broadcast(ROUND_MAGIC);
    vec log_m = twice_artanh((m - one) / (m + one), FM_REAL_BITS == 32 ? 5 : 11);
    vec y = vec_fma(exponent, vec_broadcast(LN2_HIGH), vec_fma(exponent, vec_broadcast(LN2_LOW), log_m));
    return vec_select(x == x, y, x);
}

/* sin and cos of t quarter turns, |t| <= 2. The polynomials: Cephes (Moshier, sinf.c, cosf.c); Taylor series in float64. */
INLINE void vec_sin_cos(vec t, vec *sine, vec *cosine) {
#if FM_REAL_BITS == 32
    static const real s[] = {-1.9515295891e-4f, 8.3321608736e-3f, -1.6666654611e-1f};
    static const real c[] = {2.443315711809948e-5f, -1.388731625493765e-3f, 4.166664568298827e-2f};
#else
    static const real s[] = {1.0 / 6227020800.0, -1.0 / 39916800.0, 1.0 / 362880.0,
                             -1.0 / 5040.0,      1.0 / 120.0,       -1.0 / 6};
    static const real c[] = {-1.0 / 87178291200.0, 1.0 / 479001600.0, -1.0 / 3628800.0,
                             1.0 / 40320.0,        -1.0 / 720.0,      1.0 / 24.0};
#endif
    ivec quarter;
    vec one = vec_broadcast((real)1), whole = vec_round(t, &quarter);
    vec x = (t - whole) * vec_broadcast((real)1.57079632679489661923), square = x * x; /* |x| <= pi / 4 */
    vec p = vec_broadcast(s[0]), q = vec_broadcast(c[0]);
#pragma GCC unroll 8
    for (int i = 1; i < (int)(sizeof s / sizeof *s); i++)
        p = vec_fma(p, square, vec_broadcast(s[i])), q = vec_fma(q, square, vec_broadcast(c[i]));
    p = vec_fma(p * square, x, x);
    q = vec_fma(q * square, square, vec_fma(vec_broadcast((real)-0.5), square, one));
    ivec odd = (quarter & 1) == 1, negative = (quarter & 2) == 2, negative_cosine = ((quarter + 1) & 2) == 2;
    vec sign = vec_broadcast((real)-0.0), zero = {0};
    *sine = (vec)((ivec)vec_select(odd, q, p) ^ (ivec)vec_select(negative, sign, zero));
    *cosine = (vec)((ivec)vec_select(odd, p, q) ^ (ivec)vec_select(negative_cosine, sign, zero));
}
