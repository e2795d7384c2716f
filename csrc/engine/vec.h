/* vec.h: the vector type and its arithmetic; all that knows a register width or an instruction.
 *
 * An ISA file defines FM_ISA (a string), FM_VECTOR_BYTES (64, 32 or 16), FM_REAL_BITS (32 or 64) and FM_ENGINE; and
 * FM_PAIRS 1 where it uses the CPU's own instructions for bfloat16.
 * Every operation is IEEE and lane by lane, multiply-adds are written out, so all instruction sets with FMA compute the
 * same bits. Sums across lanes run over a virtual width of 64 bytes (LANES) and a fixed tree.
 */
#if FM_REAL_BITS == 32
typedef float real;
typedef int32_t integer;
#define SMALLEST_NORMAL 0x1p-126
#define MANTISSA_BITS 23
#define EXPONENT_BIAS 127
#define ROUND_MAGIC 12582912.0f /* 1.5 * 2^23: adding it rounds to an integer, held in the low bits */
#else
typedef double real;
typedef int64_t integer;
#define SMALLEST_NORMAL 0x1p-1022
#define MANTISSA_BITS 52
#define EXPONENT_BIAS 1023
#define ROUND_MAGIC 6755399441055744.0 /* 1.5 * 2^52 */
#endif

#define INLINE static inline __attribute__((always_inline))
#define NOT_INLINE __attribute__((noinline)) /* a loop that needs the registers that its caller would take */

typedef real vec __attribute__((vector_size(FM_VECTOR_BYTES), may_alias));
typedef integer ivec __attribute__((vector_size(FM_VECTOR_BYTES), may_alias));
typedef uint64_t wide __attribute__((vector_size(FM_VECTOR_BYTES), may_alias));

enum {
    VL = FM_VECTOR_BYTES / sizeof(real), /* elements of a register */
    LANES = 64 / sizeof(real),           /* elements of the virtual vector, the same on every ISA */
    LANE_VECS = LANES / VL               /* registers of a virtual vector */
};

#ifndef FM_PAIRS
#define FM_PAIRS 0
#endif

/* What the products multiply: reals; or in bfloat16 pairs, bit patterns in their place of which the lower half comes first,
 * where there are instructions for them. */
typedef real operand;
enum {
    TERMS = 1 + FM_PAIRS, /* of a sum, in an operand in bfloat16 */
    PAIR = 2 / TERMS      /* operands of a pair of terms */
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
#ifdef FM_EMULATE_AVX512
#define MM(operation) emulated_##operation
#elif FM_REAL_BITS == 32
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

/* The micro-kernels of pairs: products of every second height, and weight gradients of those and of one row; and those that round
 * a flat W themselves, of every height. */
#if FM_PAIRS
#define EVEN_ROWS_2_6(X, v) X(v, 2) X(v, 4) X(v, 6)
#define EVEN_ROWS_2_12(X, v) EVEN_ROWS_2_6(X, v) X(v, 8) X(v, 10) X(v, 12)
#define EVEN_TILES(X)                                                                                                  \
    EVEN_ROWS_2_12(X, 1) X(1, 14) X(1, 16) EVEN_ROWS_2_12(X, 2) EVEN_ROWS_2_6(X, 3) X(3, 8) EVEN_ROWS_2_6(X, 4)
#define LOW_TILES(X) X(1, 1) X(2, 1) X(3, 1) X(4, 1)
#else
#define EVEN_TILES(X)
#define LOW_TILES(X)
#endif
#if FM_REAL_BITS == 32
#define ROUNDING_TILES(X) TILES(X)
#else
#define ROUNDING_TILES(X)
#endif

/* Enough independent chains to hide the latency of a multiply-add; the compiler may not merge or drop rounds. */
enum { FMA_CHAINS = 12 };
#if defined(FM_EMULATE_AVX512) && FM_VECTOR_BYTES == 64 /* no register is so wide */
#define KEEP_IN_REGISTER(v) __asm__ __volatile__("" : "+m"(v))
#elif defined(__aarch64__) || defined(_M_ARM64)
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
/* Nothing is read from `end` on. */
INLINE vec vec_load_up_to(const real *p, const real *end) {
    if (end - p >= VL) return vec_load_unaligned(p);
    vec v = {0};
    if (p < end) memcpy(&v, p, (size_t)(end - p) * sizeof(real));
    return v;
}
INLINE void vec_store_unaligned(real *p, vec v) { memcpy(p, &v, sizeof v); }
INLINE vec vec_select(ivec mask, vec a, vec b) { return (vec)((mask & (ivec)a) | (~mask & (ivec)b)); }

/* For tests on a CPU without AVX-512, built with GCC: its instructions by halves, with AVX2. */
#if defined(FM_EMULATE_AVX512) && FM_VECTOR_BYTES == 64
#if FM_REAL_BITS == 32
#define HALF(operation) _mm256_##operation##_ps
typedef __m256 half;
#else
#define HALF(operation) _mm256_##operation##_pd
typedef __m256d half;
#endif
typedef union halves {
    vec whole;
    half part[2];
} halves;
INLINE vec emulated_set1(real x) { return (halves){.part = {HALF(set1)(x), HALF(set1)(x)}}.whole; }
INLINE vec emulated_sqrt(vec a) {
    halves x = {a};
    return (halves){.part = {HALF(sqrt)(x.part[0]), HALF(sqrt)(x.part[1])}}.whole;
}
INLINE vec emulated_max(vec a, vec b) {
    halves x = {a}, y = {b};
    return (halves){.part = {HALF(max)(x.part[0], y.part[0]), HALF(max)(x.part[1], y.part[1])}}.whole;
}
INLINE vec emulated_min(vec a, vec b) {
    halves x = {a}, y = {b};
    return (halves){.part = {HALF(min)(x.part[0], y.part[0]), HALF(min)(x.part[1], y.part[1])}}.whole;
}
INLINE vec emulated_fmadd(vec a, vec b, vec c) {
    halves x = {a}, y = {b}, z = {c};
    half low = HALF(fmadd)(x.part[0], y.part[0], z.part[0]), high = HALF(fmadd)(x.part[1], y.part[1], z.part[1]);
    return (halves){.part = {low, high}}.whole;
}
#endif

#ifdef MM
INLINE vec vec_broadcast(real x) { return (vec)MM(set1)(x); }
INLINE vec vec_sqrt(vec a) { return (vec)MM(sqrt)(a); }
/* a > b ? a : b, hence b where either is NaN. */
INLINE vec vec_max(vec a, vec b) { return (vec)MM(max)(a, b); }
/* a < b ? a : b, hence b where either is NaN. */
INLINE vec vec_min(vec a, vec b) { return (vec)MM(min)(a, b); }
#if FM_VECTOR_BYTES == 16
#define FM_HAS_FMA 0
INLINE vec vec_fma(vec a, vec b, vec c) { return a * b + c; }
#else
#define FM_HAS_FMA 1
INLINE vec vec_fma(vec a, vec b, vec c) { return (vec)MM(fmadd)(a, b, c); }
#endif
#else
#define FM_HAS_FMA 1
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
#ifdef FM_EMULATE_AVX512
INLINE wide wide_multiply(wide a, wide b) { return (a & UINT32_MAX) * (b & UINT32_MAX); }
#else
INLINE wide wide_multiply(wide a, wide b) { return (wide)_mm512_mul_epu32((__m512i)a, (__m512i)b); }
#endif
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

/* Shuffles: SHUFFLE(a, b, lanes...), ZIP_LOW and ZIP_HIGH interleave the lower and the upper halves of a and b, and with AVX2,
 * which has an instruction for no more, those of each half, where LOW_HALVES and HIGH_HALVES put the lower and the upper ones
 * together; SWAP(v, s) exchanges lanes i and i ^ s. */
#ifdef __clang__
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (ivec){__VA_ARGS__})
#endif
#if FM_VECTOR_BYTES / (FM_REAL_BITS / 8) == 16
#define ZIP_LOW(a, b) SHUFFLE(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define ZIP_HIGH(a, b) SHUFFLE(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#elif FM_VECTOR_BYTES == 32 && FM_REAL_BITS == 32
#define ZIP_LOW(a, b) SHUFFLE(a, b, 0, 8, 1, 9, 4, 12, 5, 13)
#define ZIP_HIGH(a, b) SHUFFLE(a, b, 2, 10, 3, 11, 6, 14, 7, 15)
#define LOW_HALVES(a, b) SHUFFLE(a, b, 0, 1, 2, 3, 8, 9, 10, 11)
#define HIGH_HALVES(a, b) SHUFFLE(a, b, 4, 5, 6, 7, 12, 13, 14, 15)
#elif FM_VECTOR_BYTES == 32
#define ZIP_LOW(a, b) SHUFFLE(a, b, 0, 4, 2, 6)
#define ZIP_HIGH(a, b) SHUFFLE(a, b, 1, 5, 3, 7)
#define LOW_HALVES(a, b) SHUFFLE(a, b, 0, 1, 4, 5)
#define HIGH_HALVES(a, b) SHUFFLE(a, b, 2, 3, 6, 7)
#elif FM_VECTOR_BYTES / (FM_REAL_BITS / 8) == 8
#define ZIP_LOW(a, b) SHUFFLE(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define ZIP_HIGH(a, b) SHUFFLE(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#elif FM_VECTOR_BYTES / (FM_REAL_BITS / 8) == 4
#define ZIP_LOW(a, b) SHUFFLE(a, b, 0, 4, 1, 5)
#define ZIP_HIGH(a, b) SHUFFLE(a, b, 2, 6, 3, 7)
#else
#define ZIP_LOW(a, b) SHUFFLE(a, b, 0, 2)
#define ZIP_HIGH(a, b) SHUFFLE(a, b, 1, 3)
#endif
#if FM_VECTOR_BYTES / (FM_REAL_BITS / 8) == 16
#define SWAP(v, s)                                                                                                     \
    SHUFFLE(v, v, 0 ^ s, 1 ^ s, 2 ^ s, 3 ^ s, 4 ^ s, 5 ^ s, 6 ^ s, 7 ^ s, 8 ^ s, 9 ^ s, 10 ^ s, 11 ^ s, 12 ^ s,        \
            13 ^ s, 14 ^ s, 15 ^ s)
#elif FM_VECTOR_BYTES / (FM_REAL_BITS / 8) == 8
#define SWAP(v, s) SHUFFLE(v, v, 0 ^ s, 1 ^ s, 2 ^ s, 3 ^ s, 4 ^ s, 5 ^ s, 6 ^ s, 7 ^ s)
#elif FM_VECTOR_BYTES / (FM_REAL_BITS / 8) == 4
#define SWAP(v, s) SHUFFLE(v, v, 0 ^ s, 1 ^ s, 2 ^ s, 3 ^ s)
#else
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

/* The first halves of two registers, and the second. */
#if FM_VECTOR_BYTES == 64
#ifdef __clang__
#define WIDE_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define WIDE_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (wide){__VA_ARGS__})
#endif
#define LOWER_HALVES(a, b) WIDE_SHUFFLE(a, b, 0, 1, 2, 3, 8, 9, 10, 11)
#define UPPER_HALVES(a, b) WIDE_SHUFFLE(a, b, 4, 5, 6, 7, 12, 13, 14, 15)
#else /* not needed */
#define LOWER_HALVES(a, b) (a)
#define UPPER_HALVES(a, b) (b)
#endif
INLINE void wide_store(uint32_t *p, wide v) { memcpy(p, &v, sizeof v); }

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

/* -- Operands -- */

#if FM_REAL_BITS == 32
typedef uint32_t words __attribute__((vector_size(FM_VECTOR_BYTES), may_alias));

/* To bfloat16, in the upper halves of the lanes: to nearest even; NaN stays NaN, quiet; what is denormal becomes 0. */
INLINE vec vec_rounded(vec a) {
    words x = (words)a, size = x & INT32_MAX, nearest = (x + 0x7fff + (x >> 16 & 1)) & 0xffff0000;
    ivec is_nan = (ivec)size > 0x7f800000, is_normal = (ivec)size >= 0x00800000;
    vec number = vec_select(is_normal, (vec)nearest, (vec)(x & 0x80000000));
    return vec_select(is_nan, (vec)((x & 0xffff0000) | 0x00400000), number);
}
#else /* not needed */
INLINE vec vec_rounded(vec a) { return a; }
#endif

/* neighbours: the elements of two registers, rounded, as pairs; pairs_of: pairs of the elements of two registers. vec_dot:
 * c + a b, where a and b are pairs or reals. */
#if FM_PAIRS
#ifdef FM_EMULATE_PAIRS /* for tests on a CPU that has not these instructions: what they compute */
/* Word i is word first + i / 2 * step + i % 2 * apart of the two. */
INLINE vec short_words(vec low, vec high, const int first, const int step, const int apart) {
    uint16_t from[64], to[32];
    memcpy(from, &low, sizeof low), memcpy(from + 32, &high, sizeof high);
    for (int i = 0; i < 32; i++) to[i] = from[first + i / 2 * step + i % 2 * apart];
    return memcpy(&low, to, sizeof low), low;
}
INLINE vec neighbours(vec low, vec high) { return short_words(vec_rounded(low), vec_rounded(high), 1, 4, 2); }
INLINE vec pairs_of(vec even, vec odd) {
    vec joined = neighbours(even, odd);
    return short_words(joined, joined, 0, 1, 16);
}
INLINE vec dot_of_pairs(vec a, vec b, vec c) {
    words odd_a = (words)a & 0xffff0000, odd_b = (words)b & 0xffff0000, even_a = (words)a << 16,
          even_b = (words)b << 16;
    return vec_fma((vec)even_a, (vec)even_b, vec_fma((vec)odd_a, (vec)odd_b, c));
}
#else
INLINE vec neighbours(vec low, vec high) { return (vec)_mm512_cvtne2ps_pbh((__m512)high, (__m512)low); }
INLINE vec pairs_of(vec even, vec odd) {
    static const uint16_t order[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                       8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    return (vec)_mm512_permutexvar_epi16(_mm512_loadu_si512(order), (__m512i)neighbours(even, odd));
}
INLINE vec dot_of_pairs(vec a, vec b, vec c) { return (vec)_mm512_dpbf16_ps((__m512)c, (__m512bh)a, (__m512bh)b); }
#endif
INLINE vec vec_dot(vec a, vec b, vec c, const int paired) { return paired ? dot_of_pairs(a, b, c) : vec_fma(a, b, c); }
#else /* not needed: reals that have changed places do as well */
INLINE vec neighbours(vec low, vec high) { return (void)high, low; }
INLINE vec pairs_of(vec even, vec odd) { return (void)odd, even; }
INLINE vec vec_dot(vec a, vec b, vec c, const int paired) { return (void)paired, vec_fma(a, b, c); }
#endif

/* 1, in every term. */
INLINE vec vec_ones(const int paired) { return paired ? (vec)(ivec_broadcast(0x3f803f80)) : vec_broadcast((real)1); }

/* Whether there are denormals from here on in this thread, or they are 0, as inputs and as results; and as it was before. */
#ifdef MM
typedef unsigned float_mode;
INLINE void denormals_back(float_mode before) { _mm_setcsr(before); }
INLINE float_mode denormals_are(int32_t kept) {
    float_mode before = _mm_getcsr();
    denormals_back(kept ? before & ~0x8040u : before | 0x8040u);
    return before;
}
#else
typedef uint64_t float_mode;
INLINE void denormals_back(float_mode before) { __asm__ __volatile__("msr fpcr, %0" : : "r"(before)); }
INLINE float_mode denormals_are(int32_t kept) {
    float_mode before;
    __asm__ __volatile__("mrs %0, fpcr" : "=r"(before));
    denormals_back(kept ? before & ~(1ull << 24) : before | 1ull << 24);
    return before;
}
#endif
