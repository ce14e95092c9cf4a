/* One set of kernels, for vectors of VECTOR_BYTES. See kernels.h for what each function is to do.
 *
 * Whoever includes this has defined
 *     VECTOR_BYTES          16, 32 or 64
 *     VECTORS               vectors of a panel: 4 where there are 32 registers, 2 where there are 16
 *     SET, SET_NAME         the mb_kernels to define, and its name
 *     BLOCK, PRODUCT, ATTENTION     where the set has its own in place of MB_BLOCK, product and attention
 *     IS_OFFSET, HAS_BF16   see mb_kernels
 * and, over  typedef float F / int32_t I  of VECTOR_BYTES,
 *     F  max2(F, F)         elementwise
 *     I  to_int(F)          to the nearest, ties to even
 *     float largest(F)      of the lanes
 *     void store_bytes(void *, I)      the lowest byte of each lane
 *     I  dot_int8(I sum, I inputs, I columns)    sum + four products a lane
 *     F  dot_bf16(F sum, I inputs, I columns)    where HAS_BF16
 */

#include <assert.h>
#include <float.h>
#include <math.h>
#include <string.h>

enum { LANES = VECTOR_BYTES / 4, PANEL = LANES * VECTORS };

typedef float Fu __attribute__((vector_size(VECTOR_BYTES), aligned(4), may_alias));
typedef int32_t Iu __attribute__((vector_size(VECTOR_BYTES), aligned(4), may_alias));
typedef int32_t Word __attribute__((aligned(1), may_alias)); /* four bytes of an input */

#define ALWAYS static inline __attribute__((always_inline))

ALWAYS F load(const float *at) { return *(const Fu *)at; }
ALWAYS void store(float *at, F value) { *(Fu *)at = value; }
ALWAYS F all(float x) { return x - (F){0}; }
ALWAYS F zero(void) { return (F){0}; }
ALWAYS F size_of(F x) { return (F)((I)x & 0x7fffffff); }
ALWAYS F dot_f32(F sum, I inputs, I columns) { return sum + (F)inputs * (F)columns; }
#if !HAS_BF16
/* The upper half of a float is a bfloat16. */
ALWAYS F dot_bf16(F sum, I inputs, I columns) {
    I upper = (I){0} - 65536;
    sum += (F)(inputs << 16) * (F)(columns << 16);
    return sum + (F)(inputs & upper) * (F)(columns & upper);
}
#endif

/* exp(x) for x <= 0, to 2 ulp; 0 becomes exactly 1. Cody and Waite's reduction and Taylor's polynomial. */
ALWAYS F exp_of_negative(F x) {
    x = max2(x, all(-87.0f));
    I power = to_int(x * 1.44269504f);
    F whole = __builtin_convertvector(power, F);
    F r = x - whole * 0.693359375f + whole * 2.12194440e-4f;
    F sum = all(1.0f / 720);
    sum = sum * r + 1.0f / 120;
    sum = sum * r + 1.0f / 24;
    sum = sum * r + 1.0f / 6;
    sum = sum * r + 0.5f;
    sum = sum * r + 1.0f;
    sum = sum * r + 1.0f;
    return (F)((I)sum + (power << 23));
}

ALWAYS float total(F x) {
    for (int half = LANES / 2; half; half /= 2)
        for (int i = 0; i < half; i++) x[i] += x[i + half];
    return x[0];
}

/* The sums of six rows and one panel stand in named variables: gcc keeps an array of them in memory. */
#define OVER_ROWS(X) X(0) X(1) X(2) X(3) X(4) X(5)
#define OVER_2(X, r) X(r, 0) X(r, 1)
#if VECTORS == 4
#define OVER_PANEL(X, r) X(r, 0) X(r, 1) X(r, 2) X(r, 3)
#else
#define OVER_PANEL OVER_2
#endif
#define OVER_ALL(X) \
    OVER_PANEL(X, 0) OVER_PANEL(X, 1) OVER_PANEL(X, 2) OVER_PANEL(X, 3) OVER_PANEL(X, 4) OVER_PANEL(X, 5)
#define OVER_ALL_2(X) OVER_2(X, 0) OVER_2(X, 1) OVER_2(X, 2) OVER_2(X, 3) OVER_2(X, 4) OVER_2(X, 5)

#define LOAD_COLUMN(r, v) I b##v = *(const Iu *)(columns + v * LANES);
#define LOAD_INPUT(r) I a##r = ((I){0} + i##r[k]);
#define POINT(r) const Word *i##r = (const Word *)rows[r];

/* The columns that there are of the last vector; apart, because it would stand in every kernel two dozen times. */
static __attribute__((noinline)) void put_some(const mb_product *p, int row, int column, const float *values) {
    float *at = p->output + row * p->output_stride + column;
    const float *residual = p->residual ? p->residual + row * p->residual_stride + column : NULL;
    for (int i = 0; i < p->weight->outputs - column; i++) {
        float x = values[i] + (residual ? residual[i] : 0);
        at[i] = p->epilogue == MB_RELU && x < 0 ? 0 : x;
    }
}

/* output[r, c] = activation(value + residual), for the columns that there are. */
ALWAYS void put(const mb_product *p, int row, int column, F value) {
    if (p->weight->outputs - column < LANES) {
        float values[LANES];
        store(values, value);
        put_some(p, row, column, values);
        return;
    }
    if (p->residual) value += load(p->residual + row * p->residual_stride + column);
    if (p->epilogue == MB_RELU) value = max2(value, zero());
    store(p->output + row * p->output_stride + column, value);
}

/* The rows of a block; behind the last one it stands again, and is not stored. */
ALWAYS void point(const mb_product *p, int first, const char *rows[MB_BLOCK]) {
    for (int r = 0; r < MB_BLOCK; r++) {
        int row = first + r < p->rows ? first + r : p->rows - 1;
        rows[r] = (const char *)p->input + row * p->input_stride;
    }
}

#define FLOAT_BLOCK(NAME, DOT)                                                                        \
    static void NAME(const mb_product *p, int first, int panel) {                                     \
        const mb_weight *w = p->weight;                                                               \
        const int32_t *columns = (const int32_t *)w->packed + (size_t)panel * w->steps * PANEL;       \
        const float *bias = w->bias ? w->bias + panel * PANEL : NULL;                                 \
        const char *rows[MB_BLOCK];                                                                   \
        point(p, first, rows);                                                                        \
        OVER_ROWS(POINT)                                                                              \
        OVER_ALL(BEGIN_FLOAT)                                                                         \
        for (int k = 0; k < w->steps; k++, columns += PANEL) {                                        \
            OVER_PANEL(LOAD_COLUMN, 0)                                                                \
            OVER_ROWS(LOAD_INPUT)                                                                     \
            OVER_ALL(DOT)                                                                             \
        }                                                                                             \
        OVER_ALL(END_FLOAT)                                                                           \
    }
#define BEGIN_FLOAT(r, v) F s##r##v = bias ? load(bias + v * LANES) : zero();
#define DOT_F32(r, v) s##r##v = dot_f32(s##r##v, a##r, b##v);
#define DOT_BF16(r, v) s##r##v = dot_bf16(s##r##v, a##r, b##v);
#define END_FLOAT(r, v) \
    if (first + r < p->rows) put(p, first + r, panel * PANEL + v * LANES, s##r##v);

FLOAT_BLOCK(block_f32, DOT_F32)
FLOAT_BLOCK(block_bf16, DOT_BF16)

#define BEGIN_INT8(r, v) I s##r##v = *(const Iu *)(init + v * LANES);
#define DOT_INT8(r, v) s##r##v = dot_int8(s##r##v, a##r, b##v);
#define END_INT8(r, v)                                                                        \
    if (first + r < p->rows) {                                                                \
        F value = __builtin_convertvector(s##r##v, F) * (load(scale + v * LANES) * p->row_scale[first + r]); \
        if (bias) value += load(bias + v * LANES);                                            \
        put(p, first + r, panel * PANEL + v * LANES, value);                                  \
    }

static void block_int8(const mb_product *p, int first, int panel) {
    const mb_weight *w = p->weight;
    const int32_t *columns = (const int32_t *)w->packed + (size_t)panel * w->steps * PANEL;
    const int32_t *init = w->init + panel * PANEL;
    const float *scale = w->scale + panel * PANEL, *bias = w->bias ? w->bias + panel * PANEL : NULL;
    const char *rows[MB_BLOCK];
    point(p, first, rows);
    OVER_ROWS(POINT)
    OVER_ALL(BEGIN_INT8)
    for (int k = 0; k < w->steps; k++, columns += PANEL) {
        OVER_PANEL(LOAD_COLUMN, 0)
        OVER_ROWS(LOAD_INPUT)
        OVER_ALL(DOT_INT8)
    }
    OVER_ALL(END_INT8)
}

static void product(const mb_product *p) {
    void (*block)(const mb_product *, int, int) =
        p->weight->type == MB_F32 ? block_f32 : p->weight->type == MB_BF16 ? block_bf16 : block_int8;
    int panels = (p->weight->outputs + PANEL - 1) / PANEL;
    for (int panel = 0; panel < panels; panel++)
        for (int row = 0; row < p->rows; row += MB_BLOCK) block(p, row, panel);
}

/* Symmetric, one scale a row. Rows of zeros have scale 0. */
static float row_to_int8(int width, const float *x, uint8_t *output) {
    F best[4] = {0}; /* a maximum takes four cycles: four of them are under way */
    int i = 0;
    for (; i + 4 * LANES <= width; i += 4 * LANES)
        for (int v = 0; v < 4; v++) best[v] = max2(best[v], size_of(load(x + i + v * LANES)));
    float peak = largest(max2(max2(best[0], best[1]), max2(best[2], best[3])));
    for (; i < width; i++) peak = fabsf(x[i]) > peak ? fabsf(x[i]) : peak;
    float inverse = peak > 0 ? 127 / peak : 0;
    for (i = 0; i + LANES <= width; i += LANES) {
        store_bytes(output + i, to_int(load(x + i) * inverse) + (IS_OFFSET ? 128 : 0));
    }
    for (; i < width; i++) output[i] = (uint8_t)((int)nearbyintf(x[i] * inverse) + (IS_OFFSET ? 128 : 0));
    for (; i % 4; i++) output[i] = IS_OFFSET ? 128 : 0;
    return peak / 127;
}

/* To the nearest, ties to even. */
static void row_to_bf16(int width, const float *x, uint16_t *output) {
    int i = 0;
    typedef uint16_t H __attribute__((vector_size(LANES * 2), aligned(2), may_alias));
    for (; i + LANES <= width; i += LANES) {
        I bits = (I)load(x + i);
        bits = ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16) & 0xffff;
        *(H *)(output + i) = __builtin_convertvector(bits, H);
    }
    for (; i < width; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, 4);
        output[i] = (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
    }
    for (; i % 2; i++) output[i] = 0;
}

/* What an attention's scratch is cut into. */
typedef struct {
    float *scores;     /* [rows, stride], later weights */
    uint16_t *weights; /* the same in bfloat16 */
    uint16_t *queries; /* [rows, D] */
    size_t stride;     /* tokens of whole panels */
} Scratch;

static Scratch cut_scratch(const mb_attention *a, int rows) {
    size_t stride = ((size_t)a->tokens + PANEL - 1) / PANEL * PANEL;
    float *scores = (float *)a->scratch;
    uint16_t *weights = (uint16_t *)(scores + rows * stride);
    return (Scratch){scores, weights, weights + rows * stride, stride};
}

/* The queries' part of a product with the keys, from row `first` on. */
static mb_product score_product(const mb_attention *a, const Scratch *s, const mb_weight *keys, int first, int rows) {
    mb_product product = {.rows = rows, .weight = keys, .output = s->scores, .output_stride = s->stride};
    const float *query = a->query + first * a->query_stride;
    product.input = query, product.input_stride = a->query_stride * sizeof(float);
    if (a->type == MB_BF16) {
        for (int r = 0; r < rows; r++) row_to_bf16(a->size, query + r * a->query_stride, s->queries + (size_t)r * a->size);
        product.input = s->queries, product.input_stride = (size_t)a->size * sizeof(uint16_t);
    }
    return product;
}

/* Scores become weights, which are not divided by their sums yet. */
static void soften(const mb_attention *a, const Scratch *s, int rows, float *sums) {
    for (int r = 0; r < rows; r++) {
        float *row = s->scores + r * s->stride;
        for (size_t t = a->tokens; t < s->stride; t++) row[t] = -INFINITY;
        for (int t = 0; a->mask && t < a->tokens; t++)
            if (!a->mask[t]) row[t] = -FLT_MAX; /* where none is seen, all are alike */
        F best = load(row);
        for (size_t t = LANES; t < s->stride; t += LANES) best = max2(best, load(row + t));
        F peak = all(largest(best)), sum = zero();
        for (size_t t = 0; t < s->stride; t += LANES) {
            F weight = exp_of_negative(load(row + t) - peak);
            sum += weight;
            store(row + t, weight);
        }
        sums[r] = total(sum); /* every token that is not seen has added exp(-87) */
        if (a->type == MB_BF16) row_to_bf16((int)s->stride, row, s->weights + r * s->stride);
    }
}

/* output[r, :] = sum over t of weights[r, t] * values[t, :] / sums[r], two vectors of columns at once. */
#define WEIGH(NAME, DOT)                                                                                     \
    static void NAME(const mb_attention *a, const void *weights, size_t stride, int first, const float *sums, int column) { \
        const char *rows[MB_BLOCK];                                                                          \
        for (int r = 0; r < MB_BLOCK; r++) rows[r] = (const char *)weights + r * stride;                     \
        OVER_ROWS(POINT)                                                                                     \
        OVER_ALL_2(BEGIN_VALUE)                                                                              \
        const int32_t *columns = (const int32_t *)a->values + column;                                        \
        int steps = a->type == MB_BF16 ? (a->tokens + 1) / 2 : a->tokens;                                    \
        for (int k = 0; k < steps; k++, columns += a->value_stride) {                                        \
            OVER_2(LOAD_COLUMN, 0)                                                                           \
            OVER_ROWS(LOAD_INPUT)                                                                            \
            OVER_ALL_2(DOT)                                                                                  \
        }                                                                                                    \
        OVER_ALL_2(END_VALUE)                                                                                \
    }
#define BEGIN_VALUE(r, v) F s##r##v = zero();
#define END_VALUE(r, v)      \
    if (first + r < a->rows) \
        store(a->output + (first + r) * a->output_stride + column + v * LANES, s##r##v * (1 / sums[r]));

WEIGH(weigh_f32, DOT_F32)
WEIGH(weigh_bf16, DOT_BF16)

/* The columns of a head that are no two whole vectors. */
static void weigh_rest(const mb_attention *a, const Scratch *s, int first, int rows, const float *sums, int column) {
    int together = a->type == MB_BF16 ? 2 : 1;
    for (int r = 0; r < rows; r++)
        for (int c = column; c < a->size; c++) {
            float sum = 0;
            for (int t = 0; t < a->tokens; t++) {
                const int32_t *word = (const int32_t *)a->values + t / together * a->value_stride + c;
                float value;
                int32_t bits = together == 1 ? *word : t % 2 ? *word & ~0xffff : (int32_t)((uint32_t)*word << 16);
                memcpy(&value, &bits, 4);
                sum += s->scores[r * s->stride + t] * value;
            }
            a->output[(first + r) * a->output_stride + c] = sum / sums[r];
        }
}

static void attention(const mb_attention *a) {
    Scratch s = cut_scratch(a, MB_BLOCK);
    int together = a->type == MB_BF16 ? 2 : 1, panels = (int)(s.stride / PANEL);
    mb_weight keys = {.type = a->type, .outputs = (int)s.stride, .steps = a->size / together, .packed = (void *)a->keys};
    for (int first = 0; first < a->rows; first += MB_BLOCK) {
        int rows = a->rows - first < MB_BLOCK ? a->rows - first : MB_BLOCK;
        mb_product scores = score_product(a, &s, &keys, first, rows);
        for (int panel = 0; panel < panels; panel++) (together == 2 ? block_bf16 : block_f32)(&scores, 0, panel);
        float sums[MB_BLOCK];
        soften(a, &s, rows, sums);
        for (int r = rows; r < MB_BLOCK; r++) sums[r] = 1;
        int column = 0;
        for (; column + 2 * LANES <= a->size; column += 2 * LANES)
            if (together == 2)
                weigh_bf16(a, s.weights, s.stride * sizeof(uint16_t), first, sums, column);
            else
                weigh_f32(a, s.scores, s.stride * sizeof(float), first, sums, column);
        weigh_rest(a, &s, first, rows, sums, column);
    }
}

static void convert(mb_type type, int rows, int width, const float *input, size_t input_stride, void *output,
                    size_t output_stride, float *row_scale) {
    for (int r = 0; r < rows; r++) {
        const float *x = input + r * input_stride;
        char *y = (char *)output + r * output_stride;
        if (type == MB_INT8)
            row_scale[r] = row_to_int8(width, x, (uint8_t *)y);
        else
            row_to_bf16(width, x, (uint16_t *)y);
    }
}

static void layer_norm(int rows, int width, float epsilon, const float *weight, const float *bias, const float *input,
                       size_t input_stride, float *output, size_t output_stride) {
    for (int r = 0; r < rows; r++) {
        const float *x = input + r * input_stride;
        float *y = output + r * output_stride;
        double sum = 0, squares = 0;
        for (int i = 0; i < width; i++) sum += x[i];
        float mean = (float)(sum / width);
        for (int i = 0; i < width; i++) squares += (double)(x[i] - mean) * (x[i] - mean);
        float inverse = (float)(1 / sqrt(squares / width + epsilon));
        for (int i = 0; i < width; i++) y[i] = (x[i] - mean) * inverse * weight[i] + bias[i];
    }
}

#ifndef BLOCK
#define BLOCK MB_BLOCK
#define PRODUCT product
#define ATTENTION attention
#endif
const mb_kernels SET = {.name = SET_NAME,
                        .panel = PANEL,
                        .block = BLOCK,
                        .is_offset = IS_OFFSET,
                        .has_bf16 = HAS_BF16,
                        .product = PRODUCT,
                        .attention = ATTENTION,
                        .convert = convert,
                        .layer_norm = layer_norm};
