/* AVX-512 without dot products of bytes (AVX512F and BW). */

#include "kernels_avx512.h"

#define SET mb_avx512
#define SET_NAME "avx512"
#define IS_OFFSET 0
#define HAS_BF16 0

/* |a| <= 127 and |b| <= 127: two products of bytes fit into 16 bits. */
static inline I dot_int8(I sum, I inputs, I columns) {
    __m512i a = (__m512i)inputs, b = (__m512i)columns;
    __m512i flipped = _mm512_mask_sub_epi8(b, _mm512_movepi8_mask(a), _mm512_setzero_si512(), b);
    __m512i pairs = _mm512_maddubs_epi16(_mm512_abs_epi8(a), flipped);
    return sum + (I)_mm512_madd_epi16(pairs, _mm512_set1_epi16(1));
}

#include "kernels_body.h"
