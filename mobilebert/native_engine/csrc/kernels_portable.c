/* Kernels for any machine: vectors of 16 bytes as the compiler makes them. */

#include "kernels.h"

#define VECTOR_BYTES 16
#define VECTORS 2
#define SET mb_portable
#define SET_NAME "portable"
#define IS_OFFSET 0
#define HAS_BF16 0

typedef float F __attribute__((vector_size(VECTOR_BYTES), may_alias));
typedef int32_t I __attribute__((vector_size(VECTOR_BYTES), may_alias));

static inline F max2(F a, F b) {
    I greater = a > b;
    return (F)((greater & (I)a) | (~greater & (I)b));
}

/* Adding 1.5 * 2^23 leaves no bits behind the point; exact for |x| < 2^22. */
static inline I to_int(F x) {
    F moved = x + 12582912.0f;
    return (I)moved - 0x4b400000;
}

static inline float largest(F x) {
    float best = x[0];
    for (int i = 1; i < 4; i++) best = x[i] > best ? x[i] : best;
    return best;
}

static inline void store_bytes(void *at, I x) {
    for (int i = 0; i < 4; i++) ((uint8_t *)at)[i] = (uint8_t)x[i];
}

static inline I dot_int8(I sum, I inputs, I columns) {
    for (int shift = 24; shift >= 0; shift -= 8) sum += ((inputs << shift) >> 24) * ((columns << shift) >> 24);
    return sum;
}

#include "kernels_body.h"
