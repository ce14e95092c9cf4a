/* AVX-512 with dot products of bytes (AVX512_VNNI). */

#include "kernels_avx512.h"

#define SET mb_vnni
#define SET_NAME "vnni"
#define IS_OFFSET 1
#define HAS_BF16 0

static inline I dot_int8(I sum, I inputs, I columns) {
    return (I)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)inputs, (__m512i)columns);
}

#include "kernels_body.h"
