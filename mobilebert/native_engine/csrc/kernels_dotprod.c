/* aarch64 with dot products of bytes (dotprod: every processor since 2018). */

#include "kernels_neon.h"

#define SET mb_dotprod
#define SET_NAME "dotprod"
#define IS_OFFSET 0
#define HAS_BF16 0

static inline I dot_int8(I sum, I inputs, I columns) {
    return (I)vdotq_s32((int32x4_t)sum, vreinterpretq_s8_s32((int32x4_t)inputs), vreinterpretq_s8_s32((int32x4_t)columns));
}

#include "kernels_body.h"
