/* What the engine computes with, one set of functions for each instruction set.
 *
 * Every set is made of one text, kernels_body.h, compiled with vectors of another width; the sets stand side by side in
 * the library and one is chosen when a model is opened (kernels.c).
 *
 * A product is  output = activation(input @ weight + bias + residual)  over rows of tokens. Its weight is packed in panels of
 * `panel` columns. Within a panel, four bytes of the input meet four bytes of each column at a time: one float, two
 * bfloat16 or four int8, so that one loop does for all three:
 *
 *     R rows   K inputs   N outputs   P = panel   T = values in four bytes: 1, 2 or 4
 *
 *     packed[N / P][K / T][P][T]
 */

#ifndef MB_KERNELS_H
#define MB_KERNELS_H

#include <stddef.h>
#include <stdint.h>

typedef enum { MB_F32, MB_BF16, MB_INT8 } mb_type;
typedef enum { MB_NONE, MB_RELU } mb_epilogue;

enum { MB_BLOCK = 6 };      /* rows that a kernel computes at once, but for AMX */
enum { MB_MAX_PANEL = 64 }; /* of any set */

/* A weight [K, N], packed. K and N are padded with zeros to whole steps and panels. */
typedef struct {
    mb_type type;
    int inputs, outputs; /* as they are in the file */
    int steps;           /* K / T, rounded up */
    void *packed;
    float *scale;  /* int8: [N] of each column, padded */
    int32_t *init; /* int8: [N] what a sum begins with: -128 * sum of the column where inputs are stored as x + 128 */
    float *bias;   /* [N], padded; NULL: none */
} mb_weight;

/* One product over a tile of rows. */
typedef struct {
    int rows;
    const void *input; /* [R, K] of the weight's type */
    size_t input_stride; /* bytes from row to row */
    const mb_weight *weight;
    const float *row_scale; /* int8: [R] */
    const float *residual;  /* [R, N]; NULL: none. May be the output itself. */
    size_t residual_stride; /* floats, as output_stride */
    mb_epilogue epilogue;
    float *output; /* [R, N] */
    size_t output_stride;
} mb_product;

/* The attention of one head over queries of one text. S tokens, D = size of a head, P = panel. */
typedef struct {
    int rows, tokens, size;
    mb_type type;       /* of the products: MB_F32 or MB_BF16 */
    const float *query; /* [R, D]; divided by sqrt(D) already */
    size_t query_stride;
    const void *keys;   /* [S / P][D / T][P][T]: as a weight whose columns are tokens */
    const void *values; /* [S / T][D][T] */
    size_t value_stride; /* in four bytes, from row to row */
    const uint8_t *mask; /* [S] 0: not to be seen; NULL: all are */
    float *output;       /* [R, D] */
    size_t output_stride;
    char *scratch; /* mb_attention_scratch() bytes */
} mb_attention;

/* For `block` rows: scores and, in bfloat16, weights over the tokens of whole panels, and queries. */
static inline size_t mb_attention_scratch(int block, int panel, int tokens, int size) {
    size_t columns = ((size_t)tokens + panel - 1) / panel * panel;
    return (size_t)block * (columns * 6 + (size_t)size * 2 + 128);
}

typedef struct {
    const char *name;
    int panel;         /* columns */
    int block;         /* rows that a product computes at once; it may read, and not use, up to so many */
    int is_offset;     /* int8 inputs are stored as x + 128 */
    int has_bf16;      /* products of bfloat16 are faster than of float32 */
    void (*product)(const mb_product *);
    void (*attention)(const mb_attention *);
    /* [R, width] float32 -> the type of a product's input, zeros up to a whole step; int8: with a scale a row. */
    void (*convert)(mb_type, int rows, int width, const float *input, size_t input_stride, void *output, size_t output_stride,
                    float *row_scale);
    void (*layer_norm)(int rows, int width, float epsilon, const float *weight, const float *bias, const float *input,
                       size_t input_stride, float *output, size_t output_stride);
} mb_kernels;

extern const mb_kernels mb_portable, mb_avx2, mb_avxvnni, mb_avx512, mb_vnni, mb_bf16, mb_amx, mb_neon, mb_dotprod;

/* The best set of this machine, or a lower one that the environment variable MOBILEBERT_KERNELS names; NULL: it names none. */
const mb_kernels *mb_choose_kernels(void);

#endif
