/* The engine of float32 for x86-64 (SSE2, no FMA). */
#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#define FM_ISA "x86-64"
#define FM_ENGINE fm_engine_x86_64_float32
#define FM_VECTOR_BYTES 16
#define FM_REAL_BITS 32
#include "engine/engine.c"
#endif
