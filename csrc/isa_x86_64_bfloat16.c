/* The engine of bfloat16 for x86-64 (SSE2, no FMA). */
#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#define FM_ISA "x86-64"
#define FM_ENGINE fm_engine_x86_64_bfloat16
#define FM_VECTOR_BYTES 16
#define FM_REAL_BITS 32
#define FM_PAIRS 1
#include "engine/engine.c"
#endif
