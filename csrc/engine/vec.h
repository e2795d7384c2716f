/* vec.h: the vector type and its arithmetic; all that knows a register width or an instruction.
 *
 * An ISA file defines FM_ISA (a string), FM_VECTOR_BYTES (64, 32 or 16), FM_REAL_BITS (32 or 64) and FM_ENGINE.
 * Every operation is IEEE and lane by lane, multiply-adds are written out, so all instruction sets with FMA compute the
 * same bits. Sums across lanes run over a virtual width of 64 bytes (LANES) and a fixed tree.
 */
#if FM_REAL_BITS == 32
typedef float real;
typedef int32_t integer;
#define MANTISSA_BITS 23
#define EXPONENT_BIAS 127
#define ROUND_MAGIC 12582912.0f /* 1.5 * 2^23: adding it rounds to an integer, held in the low bits */
#else
typedef double real;
typedef int64_t integer;
#define MANTISSA_BITS 52
#define EXPONENT_BIAS 1023
#define ROUND_MAGIC 6755399441055744.0 /* 1.5 * 2^52 */
#endif

#define INLINE static inline __attribute__((always_inline))

typedef real vec __attribute__((vector_size(FM_VECTOR_BYTES), may_alias));
typedef integer ivec __attribute__((vector_size(FM_VECTOR_BYTES), may_alias));
typedef uint64_t wide __attribute__((vector_size(FM_VECTOR_BYTES), may_alias));

enum {
    VL = FM_VECTOR_BYTES / sizeof(real), /* elements of a register */
    LANES = 64 / sizeof(real),           /* elements of the virtual vector, the same on every ISA */
    LANE_VECS = LANES / VL               /* registers of a virtual vector */
};

/* Tiles: TILE_VECS registers wide at the most; TILES lists (registers wide, rows) of each micro-kernel, and
 * tile_rows[v] the most rows at v registers, so that accumulators, one row of B and a broadcast fit the register file. */
#define ROWS_1_2(X, v) X(v, 1) X(v, 2)
#define ROWS_1_6(X, v) ROWS_1_2(X, v) X(v, 3) X(v, 4) X(v, 5) X(v, 6)
#define ROWS_1_8(X, v) ROWS_1_6(X, v) X(v, 7) X(v, 8)
#define ROWS_1_12(X, v) ROWS_1_8(X, v) X(v, 9) X(v, 10) X(v, 11) X(v, 12)
#define ROWS_1_16(X, v) ROWS_1_12(X, v) X(v, 13) X(v, 14) X(v, 15) X(v, 16)

#if FM_VECTOR_BYTES == 64 /* AVX-512: 32 registers */
enum { TILE_VECS = 4, TILE_ROWS = 16 };
static const int64_t tile_rows[TILE_VECS + 1] = {0, 16, 12, 8, 6};
#define TILES(X) ROWS_1_16(X, 1) ROWS_1_12(X, 2) ROWS_1_8(X, 3) ROWS_1_6(X, 4)
#define WIDTHS(X) X(1) X(2) X(3) X(4)
#if FM_REAL_BITS == 32
#define MM(operation) _mm512_##operation##_ps
#else
#define MM(operation) _mm512_##operation##_pd
#endif

#elif FM_VECTOR_BYTES == 32 /* AVX2: 16 registers */
enum { TILE_VECS = 2, TILE_ROWS = 6 };
static const int64_t tile_rows[TILE_VECS + 1] = {0, 0, 6};
#define TILES(X) ROWS_1_6(X, 2)
#define WIDTHS(X) X(2)
#if FM_REAL_BITS == 32
#define MM(operation) _mm256_##operation##_ps
#else
#define MM(operation) _mm256_##operation##_pd
#endif

#elif defined(__x86_64__) || defined(_M_X64) /* SSE2: 16 registers, no FMA */
enum { TILE_VECS = 4, TILE_ROWS = 2 };
static const int64_t tile_rows[TILE_VECS + 1] = {0, 0, 0, 0, 2};
#define TILES(X) ROWS_1_2(X, 4)
#define WIDTHS(X) X(4)
#if FM_REAL_BITS == 32
#define MM(operation) _mm_##operation##_ps
#else
#define MM(operation) _mm_##operation##_pd
#endif

#else /* NEON: 32 registers */
enum { TILE_VECS = 4, TILE_ROWS = 6 };
static const int64_t tile_rows[TILE_VECS + 1] = {0, 0, 0, 0, 6};
#define TILES(X) ROWS_1_6(X, 4)
#define WIDTHS(X) X(4)
#if FM_REAL_BITS == 32
#define NEON(operation) operation##_f32
#else
#define NEON(operation) operation##_f64
#endif
#endif

/* Enough independent chains to hide the latency of a multiply-add; the compiler may not merge or drop rounds. */
enum { FMA_CHAINS = 12 };
#if defined(__aarch64__) || defined(_M_ARM64)
#define KEEP_IN_REGISTER(v) __asm__ __volatile__("" : "+w"(v))
#else
#define KEEP_IN_REGISTER(v) __asm__ __volatile__("" : "+v"(v))
#endif

INLINE vec vec_load(const real *p) { return *(const vec *)p; }
INLINE void vec_store(real *p, vec v) { *(vec *)p = v; }
INLINE vec vec_load_unaligned(const real *p) {
    vec v;
    memcpy(&v, p, sizeof v);
    return v;
}
INLINE void vec_store_unaligned(real *p, vec v) { memcpy(p, &v, sizeof v); }
INLINE vec vec_select(ivec mask, vec a, vec b) { return (vec)((mask & (ivec)a) | (~mask & (ivec)b)); }

#ifdef MM
INLINE vec vec_broadcast(real x) { return (vec)MM(set1)(x); }
INLINE vec vec_sqrt(vec a) { return (vec)MM(sqrt)(a); }
/* a > b ? a : b, hence b where either is NaN. */
INLINE vec vec_max(vec a, vec b) { return (vec)MM(max)(a, b); }
/* a < b ? a : b, hence b where either is NaN. */
INLINE vec vec_min(vec a, vec b) { return (vec)MM(min)(a, b); }
#if FM_VECTOR_BYTES == 16
INLINE vec vec_fma(vec a, vec b, vec c) { return a * b + c; }
#else
INLINE vec vec_fma(vec a, vec b, vec c) { return (vec)MM(fmadd)(a, b, c); }
#endif
#else
INLINE vec vec_broadcast(real x) { return (vec)NEON(vdupq_n)(x); }
INLINE vec vec_sqrt(vec a) { return (vec)NEON(vsqrtq)(a); }
INLINE vec vec_max(vec a, vec b) { return vec_select(a > b, a, b); }
INLINE vec vec_min(vec a, vec b) { return vec_select(a < b, a, b); }
INLINE vec vec_fma(vec a, vec b, vec c) { return (vec)NEON(vfmaq)(c, a, b); }
#endif

/* Integers in lanes of 64 bits; the product is of the lower halves of the lanes. */
INLINE wide wide_broadcast(uint64_t x) { return (wide){0} + x; }
#if FM_VECTOR_BYTES == 64
INLINE wide wide_count(void) { return (wide){0, 1, 2, 3, 4, 5, 6, 7}; }
INLINE wide wide_multiply(wide a, wide b) { return (wide)_mm512_mul_epu32((__m512i)a, (__m512i)b); }
#elif FM_VECTOR_BYTES == 32
INLINE wide wide_count(void) { return (wide){0, 1, 2, 3}; }
INLINE wide wide_multiply(wide a, wide b) { return (wide)_mm256_mul_epu32((__m256i)a, (__m256i)b); }
#else
INLINE wide wide_count(void) { return (wide){0, 1}; }
#ifdef MM
INLINE wide wide_multiply(wide a, wide b) { return (wide)_mm_mul_epu32((__m128i)a, (__m128i)b); }
#else
INLINE wide wide_multiply(wide a, wide b) {
    return (wide)vmull_u32(vmovn_u64((uint64x2_t)a), vmovn_u64((uint64x2_t)b));
}
#endif
#endif

/* 1 for infinity and NaN, else 0; in integers, so that a loop over it becomes vectors. */
INLINE integer is_not_finite(real x) {
    const integer exponent = (integer)(2 * EXPONENT_BIAS + 1) << MANTISSA_BITS;
    integer bits;
    memcpy(&bits, &x, sizeof bits);
    return (bits & exponent) == exponent;
}

INLINE ivec ivec_broadcast(integer x) { return (ivec){0} + x; }
INLINE vec vec_abs(vec a) { return (vec)((ivec)a & ~((ivec)vec_broadcast((real)-0.0))); }
/* |a| with the sign of b. */
INLINE vec vec_copysign(vec a, vec b) {
    ivec sign = (ivec)vec_broadcast((real)-0.0);
    return (vec)(((ivec)a & ~sign) | ((ivec)b & sign));
}

/* Shuffles: SHUFFLE(a, b, lanes...), ZIP_LOW and ZIP_HIGH interleave halves, SWAP(v, s) exchanges lanes i and i ^ s. */
#ifdef __clang__
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (ivec){__VA_ARGS__})
#endif
#if FM_VECTOR_BYTES / (FM_REAL_BITS / 8) == 16
#define ZIP_LOW(a, b) SHUFFLE(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define ZIP_HIGH(a, b) SHUFFLE(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#define SWAP(v, s)                                                                                                     \
    SHUFFLE(v, v, 0 ^ s, 1 ^ s, 2 ^ s, 3 ^ s, 4 ^ s, 5 ^ s, 6 ^ s, 7 ^ s, 8 ^ s, 9 ^ s, 10 ^ s, 11 ^ s, 12 ^ s,        \
            13 ^ s, 14 ^ s, 15 ^ s)
#elif FM_VECTOR_BYTES / (FM_REAL_BITS / 8) == 8
#define ZIP_LOW(a, b) SHUFFLE(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define ZIP_HIGH(a, b) SHUFFLE(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#define SWAP(v, s) SHUFFLE(v, v, 0 ^ s, 1 ^ s, 2 ^ s, 3 ^ s, 4 ^ s, 5 ^ s, 6 ^ s, 7 ^ s)
#elif FM_VECTOR_BYTES / (FM_REAL_BITS / 8) == 4
#define ZIP_LOW(a, b) SHUFFLE(a, b, 0, 4, 1, 5)
#define ZIP_HIGH(a, b) SHUFFLE(a, b, 2, 6, 3, 7)
#define SWAP(v, s) SHUFFLE(v, v, 0 ^ s, 1 ^ s, 2 ^ s, 3 ^ s)
#else
#define ZIP_LOW(a, b) SHUFFLE(a, b, 0, 2)
#define ZIP_HIGH(a, b) SHUFFLE(a, b, 1, 3)
#define SWAP(v, s) SHUFFLE(v, v, 0 ^ s, 1 ^ s)
#endif

/* Sum of the LANES elements of v[LANE_VECS], which is overwritten: lane i with lane i ^ (LANES / 2), then
 * i ^ (LANES / 4), ... ; a fixed tree. */
INLINE real lanes_sum(vec *v) {
#pragma GCC unroll 4
    for (int half = LANE_VECS / 2; half >= 1; half /= 2)
        for (int i = 0; i < half; i++) v[i] = v[i] + v[i + half];
    vec sum = v[0];
    if (VL >= 16) sum = sum + SWAP(sum, (VL >= 16 ? 8 : 0));
    if (VL >= 8) sum = sum + SWAP(sum, (VL >= 8 ? 4 : 0));
    if (VL >= 4) sum = sum + SWAP(sum, (VL >= 4 ? 2 : 0));
    sum = sum + SWAP(sum, 1);
    return sum[0];
}

/* VL words as signed numbers: as integers, and as reals. */
typedef int32_t signed_words __attribute__((vector_size(4 * VL), may_alias));
INLINE ivec words_to_integers(const uint32_t *p) {
    signed_words w;
    memcpy(&w, p, sizeof w);
    return __builtin_convertvector(w, ivec);
}
INLINE vec words_to_reals(const uint32_t *p) {
    signed_words w;
    memcpy(&w, p, sizeof w);
    return __builtin_convertvector(w, vec);
}

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

/* Density of the normal distribution, e^(-x^2 / 2) / sqrt(2 pi), for 0 <= x <= NORMAL_MAX, about 2 ULP: of the square the
 * part that is exact, of the upper half of x's digits, is reduced, and the rest added. */
INLINE vec vec_normal_density(vec x) {
    const integer lower_half = ((integer)1 << (MANTISSA_BITS / 2 + 1)) - 1;
    ivec n;
    vec half = vec_broadcast((real)-0.5), upper = (vec)((ivec)x & ivec_broadcast(~lower_half));
    vec r = exp_reduce(half * upper * upper, &n) + half * (x - upper) * (x + upper);
    vec p = vec_expm1_reduced(r) + vec_broadcast((real)1);
    vec y = vec_broadcast((real)0.3989422804014327) * (vec)((ivec)p + (n << MANTISSA_BITS));
    return vec_select(x >= vec_broadcast(NORMAL_MAX), (vec){0}, y);
}

/* Mills' ratio, Phi(-x) / density(x) of the normal distribution, for 0 <= x <= NORMAL_MAX, about 4 ULP: t P(2 K t - 1)
 * with t = 1 / (x + K), which behaves as 1 / x does. P: minimax in relative error (Remez), 0.25 and 0.12 ULP. */
INLINE vec vec_mills(vec x) {
#if FM_REAL_BITS == 32
    static const real K = 2.5f;
    static const real c[] = {0.0003900958f, -0.00077189563f, -0.0017151082f, 0.0063190884f, 0.00401441f,
                             -0.04107221f,  -0.023151388f,   0.33084214f,    1.0871047f,    1.7713256f};
#else
    static const real K = 3;
    static const real c[] = {
        -1.4139131528780144e-09, 1.4272001505922551e-08,  -2.7251970346219792e-08, -5.1581884729764486e-08,
        2.2806623157093617e-07,  -1.2307182988755333e-07, -6.757132738350399e-07,  1.5011823654174814e-06,
        1.5759310445069106e-08,  -5.664327871724423e-06,  9.125188997473687e-06,   8.8204397414109e-06,
        -5.186000775508943e-05,  3.320224978828866e-05,   0.00019755403790944898,  -0.0003870094368969012,
        -0.0006431390098798782,  0.0026215035867879133,   0.0025757918107098708,   -0.0174777695490578,
        -0.026226518314300725,   0.11847083516795015,     0.5765689205544968,      1.2767059470482247,
        1.8275417922606199};
#endif
    vec t = vec_broadcast((real)1) / (x + vec_broadcast(K));
    vec q = vec_fma(vec_broadcast(2 * K), t, vec_broadcast((real)-1)), p = vec_broadcast(c[0]);
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
