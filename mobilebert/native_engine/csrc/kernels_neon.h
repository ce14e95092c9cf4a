/* What the sets of aarch64 have in common. */

#include <arm_neon.h>

#include "kernels.h"

#define VECTOR_BYTES 16
#define VECTORS 4

typedef float F __attribute__((vector_size(VECTOR_BYTES), may_alias));
typedef int32_t I __attribute__((vector_size(VECTOR_BYTES), may_alias));

static inline F max2(F a, F b) { return (F)vmaxq_f32((float32x4_t)a, (float32x4_t)b); }
static inline I to_int(F x) { return (I)vcvtnq_s32_f32((float32x4_t)x); }
static inline float largest(F x) { return vmaxvq_f32((float32x4_t)x); }

static inline void store_bytes(void *at, I x) {
    int8x8_t narrow = vmovn_s16(vcombine_s16(vmovn_s32((int32x4_t)x), vdup_n_s16(0)));
    vst1_lane_s32(at, vreinterpret_s32_s8(narrow), 0);
}
