/* MobileBERT in C: what mobilebert/accel/native.py may call. It repeats these types field by field and checks
 * mb_abi_version and mb_layer_size when it loads the library: whoever changes either side raises MB_ABI_VERSION here
 * and ABI_VERSION there.
 *
 *     B batch   S length   N = B * S tokens   H hidden   D width   F intermediate   A heads   (sizes of mb_layer)
 *
 * All arrays are float32, row-major and contiguous.
 */

#ifndef MOBILEBERT_H
#define MOBILEBERT_H

#include <stddef.h>
#include <stdint.h>

#define MB_ABI_VERSION 1
#define MB_MAX_NETWORKS 16

/* An encoder layer and the batch that it reads. */
typedef struct {
    int batch, length, hidden, width, intermediate, heads;
    int networks; /* feed-forward networks, 1 to MB_MAX_NETWORKS */
    /* What query and key read, and value: the stream [N, H]; or all three its bottleneck [N, D]; or query and key a
     * bottleneck of their own and value the stream. At most one is set. */
    int reads_bottleneck, reads_shared;
    float scaling;                                   /* of the attention scores */
    float attention_keep, hidden_keep;               /* 1 - probability of dropout */
    const uint16_t *attention_random;                /* [B, A, S, S] random bits; NULL: no dropout */
    const uint16_t *hidden_random;                   /* [N, H] */
    int attention_threshold, hidden_threshold;       /* an element is dropped where its random bits are below this */
    const float *bias;                               /* of the scores, or NULL; the keys of a row lie side by side */
    ptrdiff_t bias_batch, bias_head, bias_query;     /* strides of the other axes, in floats */
} mb_layer;

/* cblas_sgemm: order, transposed a, transposed b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc */
typedef void mb_sgemm(int, int, int, int, int, int, float, const float *, int, const float *, int, float, float *, int);

int mb_abi_version(void);

/* sizeof(mb_layer) */
size_t mb_layer_size(void);

/* The matrix product that all later calls use. Call it before anything is computed. */
void mb_set_sgemm(mb_sgemm *function);

/* Floats of the arrays `saved` and `scratch` below. The scratch of one thread count does not do for a larger one. */
size_t mb_layer_saved_floats(const mb_layer *layer);
size_t mb_layer_forward_scratch_floats(const mb_layer *layer);
size_t mb_layer_backward_scratch_floats(const mb_layer *layer);

/* Run the layer.
 *
 * hidden [N, H] is read; `output` [N, H] and `saved`, which the backward pass needs, are written.
 * parameters: weight [in, out] and bias [out] of each linear layer, scale and shift [out] of the norm behind it, in the
 * order of reference.parts:
 *     bottleneck, norm; shared bottleneck, norm (where reads_shared); query; key; value; attention output, norm;
 *     each network's up; down, norm; the way out, norm.
 * Without tokens nothing is written.
 */
void mb_layer_forward(const mb_layer *layer, const float *hidden, float *const *parameters, float *saved,
                      float *scratch, float *output);

/* Run it backward.
 *
 * layer, hidden, parameters, saved: as the forward pass had and left them. gradient [N, H] of the output is read;
 * d_hidden [N, H] and `gradients`, shaped as the parameters and in their order, are written.
 */
void mb_layer_backward(const mb_layer *layer, const float *hidden, float *const *parameters, float *saved,
                       float *scratch, const float *gradient, float *d_hidden, float *const *gradients);

#endif
