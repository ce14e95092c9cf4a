/* AVX-512 with dot products of bytes and of bfloat16 (AVX512_VNNI, AVX512_BF16). */

#include "kernels_avx512.h"

#define SET mb_bf16
#define SET_NAME "bf16"
#define IS_OFFSET 1
#define HAS_BF16 1

static inline I dot_int8(I sum, I inputs, I columns) {
    return (I)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)inputs, (__m512i)columns);
}

static inline F dot_bf16(F sum, I inputs, I columns) {
    return (F)_mm512_dpbf16_ps((__m512)sum, (__m512bh)inputs, (__m512bh)columns);
}

#include "kernels_body.h"
