/* AVX2 with dot products of bytes (AVX-VNNI). */

#include "kernels_avx2.h"

#define SET mb_avxvnni
#define SET_NAME "avxvnni"
#define IS_OFFSET 1
#define HAS_BF16 0

static inline I dot_int8(I sum, I inputs, I columns) {
    return (I)_mm256_dpbusd_avx_epi32((__m256i)sum, (__m256i)inputs, (__m256i)columns);
}

#include "kernels_body.h"
