/* select.c: which engines this CPU and its operating system can run. */
#include "fastmlp.h"
#include <stddef.h>

#if defined(__x86_64__) || defined(_M_X64)
#include <cpuid.h>

extern const fm_engine fm_engine_x86_64_float32, fm_engine_x86_64_float64;
extern const fm_engine fm_engine_x86_64_v3_float32, fm_engine_x86_64_v3_float64;
extern const fm_engine fm_engine_x86_64_v4_float32, fm_engine_x86_64_v4_float64;

static int has(unsigned value, unsigned mask) { return (value & mask) == mask; }

/* The x86-64 psABI level (1, 3 or 4) that CPU and operating system support: Intel SDM volume 1, chapters 14 and 15. */
static int x86_64_level(void) {
    unsigned eax, ebx, ecx, edx;
    const unsigned fma = 1u << 12, movbe = 1u << 22, osxsave = 1u << 27, avx = 1u << 28, f16c = 1u << 29;
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !has(ecx, fma | movbe | osxsave | avx | f16c)) return 1;
    unsigned state, high;
    __asm__("xgetbv" : "=a"(state), "=d"(high) : "c"(0)); /* registers that the operating system saves */
    if (!has(state, 0x6)) return 1;
    const unsigned lzcnt = 1u << 5;
    if (!__get_cpuid(0x80000001, &eax, &ebx, &ecx, &edx) || !has(ecx, lzcnt)) return 1;
    const unsigned bmi1 = 1u << 3, avx2 = 1u << 5, bmi2 = 1u << 8;
    if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) || !has(ebx, bmi1 | avx2 | bmi2)) return 1;
#ifdef FM_EMULATE_AVX512
    return 4;
#endif
    const unsigned f = 1u << 16, dq = 1u << 17, cd = 1u << 28, bw = 1u << 30, vl = 1u << 31;
    return has(ebx, f | dq | cd | bw | vl) && has(state, 0xe6) ? 4 : 3;
}

/* AVX512_BF16, where the level is 4. */
static int multiplies_bfloat16(void) {
#ifdef FM_EMULATE_PAIRS
    return 1;
#else
    unsigned eax, ebx, ecx, edx;
    return __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && has(eax, 1u << 5);
#endif
}

const fm_engine *fm_engine_at(int32_t index, int32_t dtype) {
    static const fm_engine *const engines[][2] = {{&fm_engine_x86_64_v4_float32, &fm_engine_x86_64_v4_float64},
                                                  {&fm_engine_x86_64_v3_float32, &fm_engine_x86_64_v3_float64},
                                                  {&fm_engine_x86_64_float32, &fm_engine_x86_64_float64}};
    int level = x86_64_level();
    if (level < 4) index++;
    if (level < 3) index++;
    if (index < 0 || index > 2) return NULL;
    if (dtype == FM_BFLOAT16 && index == 0 && !multiplies_bfloat16()) index++;
    return engines[index][dtype == FM_FLOAT64];
}

#else

extern const fm_engine fm_engine_aarch64_float32, fm_engine_aarch64_float64;

const fm_engine *fm_engine_at(int32_t index, int32_t dtype) {
    if (index != 0) return NULL;
    return dtype == FM_FLOAT64 ? &fm_engine_aarch64_float64 : &fm_engine_aarch64_float32;
}

#endif
