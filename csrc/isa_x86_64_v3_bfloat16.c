/* The engine of bfloat16 for x86-64-v3 (AVX2 and FMA), and for x86-64-v4 without AVX512_BF16. */
#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#define FM_ISA "x86-64-v3"
#define FM_ENGINE fm_engine_x86_64_v3_bfloat16
#define FM_VECTOR_BYTES 32
#define FM_REAL_BITS 32
#define FM_PAIRS 1
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma,bmi2"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,bmi2")
#endif
#include "engine/engine.c"
#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
