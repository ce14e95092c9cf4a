/* aarch64 without dot products of bytes. */

#include "kernels_neon.h"

#define SET mb_neon
#define SET_NAME "neon"
#define IS_OFFSET 0
#define HAS_BF16 0

/* |a|, |b| <= 127: two products fit into 16 bits. */
static inline I dot_int8(I sum, I inputs, I columns) {
    int8x16_t a = vreinterpretq_s8_s32((int32x4_t)inputs), b = vreinterpretq_s8_s32((int32x4_t)columns);
    int16x8_t low = vmull_s8(vget_low_s8(a), vget_low_s8(b)), high = vmull_s8(vget_high_s8(a), vget_high_s8(b));
    return (I)vpadalq_s16((int32x4_t)sum, vpaddq_s16(low, high));
}

#include "kernels_body.h"
