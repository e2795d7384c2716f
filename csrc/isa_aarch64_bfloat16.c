/* The engine of bfloat16 for aarch64 (NEON). */
#if defined(__aarch64__) || defined(_M_ARM64)
#include <arm_neon.h>
#define FM_ISA "aarch64"
#define FM_ENGINE fm_engine_aarch64_bfloat16
#define FM_VECTOR_BYTES 16
#define FM_REAL_BITS 32
#define FM_PAIRS 1
#include "engine/engine.c"
#endif
