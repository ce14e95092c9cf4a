/* What the sets with vectors of 32 bytes have in common. */

#include <immintrin.h>

#include "kernels.h"

#define VECTOR_BYTES 32
#define VECTORS 2

typedef float F __attribute__((vector_size(VECTOR_BYTES), may_alias));
typedef int32_t I __attribute__((vector_size(VECTOR_BYTES), may_alias));

static inline F max2(F a, F b) { return (F)_mm256_max_ps((__m256)a, (__m256)b); }
static inline I to_int(F x) { return (I)_mm256_cvtps_epi32((__m256)x); }

static inline float largest(F x) {
    __m128 four = _mm_max_ps(_mm256_castps256_ps128((__m256)x), _mm256_extractf128_ps((__m256)x, 1));
    four = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
}

static inline void store_bytes(void *at, I x) {
    const __m256i lowest = _mm256_set1_epi32(0x0c080400);
    __m256i fours = _mm256_shuffle_epi8((__m256i)x, lowest);
    __m128i low = _mm256_castsi256_si128(fours), high = _mm256_extracti128_si256(fours, 1);
    _mm_storel_epi64(at, _mm_unpacklo_epi32(low, high));
}
