/* The engine of float64 for x86-64-v4 (AVX-512). */
#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#define FM_ISA "x86-64-v4"
#define FM_ENGINE fm_engine_x86_64_v4_float64
#define FM_VECTOR_BYTES 64
#define FM_REAL_BITS 64
#if defined(FM_EMULATE_AVX512) && defined(__clang__)
#error "AVX-512 is emulated with GCC"
#elif defined(FM_EMULATE_AVX512)
#pragma GCC target("avx2,fma,bmi2")
#elif defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,bmi2,avx512f,avx512dq,avx512vl"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,bmi2,avx512f,avx512dq,avx512vl")
#endif
#include "engine/engine.c"
#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
