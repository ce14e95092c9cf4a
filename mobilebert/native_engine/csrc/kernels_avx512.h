/* What the sets with vectors of 64 bytes have in common. */

#include <immintrin.h>

#include "kernels.h"

#define VECTOR_BYTES 64
#define VECTORS 4

typedef float F __attribute__((vector_size(VECTOR_BYTES), may_alias));
typedef int32_t I __attribute__((vector_size(VECTOR_BYTES), may_alias));

static inline F max2(F a, F b) { return (F)_mm512_max_ps((__m512)a, (__m512)b); }
static inline I to_int(F x) { return (I)_mm512_cvtps_epi32((__m512)x); }
static inline float largest(F x) { return _mm512_reduce_max_ps((__m512)x); }
static inline void store_bytes(void *at, I x) { _mm_storeu_si128(at, _mm512_cvtepi32_epi8((__m512i)x)); }
