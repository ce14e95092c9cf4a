/* AVX2 and FMA. */

#include "kernels_avx2.h"

#define SET mb_avx2
#define SET_NAME "avx2"
#define IS_OFFSET 0
#define HAS_BF16 0

/* |a| <= 127 and |b| <= 127: two products of bytes fit into 16 bits. */
static inline I dot_int8(I sum, I inputs, I columns) {
    __m256i a = (__m256i)inputs;
    __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(a), _mm256_sign_epi8((__m256i)columns, a));
    return sum + (I)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}

#include "kernels_body.h"
