/* Chooses the kernels of this machine. */

#include "kernels.h"
#include "mobilebert.h"

#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <sys/syscall.h>
#include <unistd.h>

/* A compiler that does not know some kernels does not know their names either. */
#pragma GCC diagnostic ignored "-Wunused-function"
static int has_avx2(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
#ifdef MB_HAS_AVX512
static int has_avx512(void) {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}
#endif
#ifdef MB_HAS_VNNI
static int has_vnni(void) { return has_avx512() && __builtin_cpu_supports("avx512vnni"); }
#endif
#ifdef MB_HAS_BF16
static int has_bf16(void) { return has_vnni() && __builtin_cpu_supports("avx512bf16"); }
#endif
#ifdef MB_HAS_AMX
/* The system gives a process the tiles when it asks (Linux 5.16). */
static int has_amx(void) {
    unsigned a = 7, b, c = 0, d;
    if (!has_bf16()) return 0;
    __asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    int has_all = (d >> 22 & 1) && (d >> 24 & 1) && (d >> 25 & 1); /* bf16, tiles, int8 */
    return has_all && !syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */, 18 /* XTILEDATA */);
}
#endif
/* gcc 12 does not know the name: leaf 7, part 1, bit 4 of eax. */
static int has_avxvnni(void) {
    unsigned a = 7, b, c = 1, d;
    if (!has_avx2()) return 0;
    __asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    return a >> 4 & 1;
}
#elif defined(__aarch64__)
#include <sys/auxv.h>
static int has_dotprod(void) { return getauxval(AT_HWCAP) >> 20 & 1; } /* HWCAP_ASIMDDP */
#endif
static int always(void) { return 1; }

/* Best first; MB_HAS_... are those that the compiler knew. */
static const struct {
    const mb_kernels *kernels;
    int (*runs_here)(void);
} SETS[] = {
#ifdef MB_HAS_AMX
    {&mb_amx, has_amx},
#endif
#ifdef MB_HAS_BF16
    {&mb_bf16, has_bf16},
#endif
#ifdef MB_HAS_VNNI
    {&mb_vnni, has_vnni},
#endif
#ifdef MB_HAS_AVX512
    {&mb_avx512, has_avx512},
#endif
#ifdef MB_HAS_AVXVNNI
    {&mb_avxvnni, has_avxvnni},
#endif
#ifdef MB_HAS_AVX2
    {&mb_avx2, has_avx2},
#endif
#ifdef MB_HAS_DOTPROD
    {&mb_dotprod, has_dotprod},
#endif
#ifdef MB_HAS_NEON
    {&mb_neon, always},
#endif
    {&mb_portable, always},
};

const mb_kernels *mb_choose_kernels(void) {
    const char *wanted = getenv("MOBILEBERT_KERNELS");
    for (size_t i = 0; i < sizeof SETS / sizeof *SETS; i++) {
        if (wanted && *wanted && strcmp(wanted, SETS[i].kernels->name)) continue;
        if (SETS[i].runs_here()) return SETS[i].kernels;
    }
    return NULL;
}

const char *mb_kernels_at(int index) {
    for (size_t i = 0; i < sizeof SETS / sizeof *SETS; i++)
        if (SETS[i].runs_here() && index-- == 0) return SETS[i].kernels->name;
    return NULL;
}
