/* AVX-512 with matrix tiles of bytes and of bfloat16 (AMX): a tile is 16 rows of 64 bytes, and a panel's layout is theirs.
 *
 * Four sums of 16 x 16 are under way: two tiles of inputs meet two of columns.
 */

#include "kernels_avx512.h"

#define SET mb_amx
#define SET_NAME "amx"
#define IS_OFFSET 1
#define HAS_BF16 1

static inline I dot_int8(I sum, I inputs, I columns) {
    return (I)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)inputs, (__m512i)columns);
}

static inline F dot_bf16(F sum, I inputs, I columns) {
    return (F)_mm512_dpbf16_ps((__m512)sum, (__m512bh)inputs, (__m512bh)columns);
}

enum { SIDE = 16, STEPS = 16, TWO = 2 * SIDE };

static void tile_product(const mb_product *p);
static void tile_attention(const mb_attention *a);
#define BLOCK TWO
#define PRODUCT tile_product
#define ATTENTION tile_attention

#include "kernels_body.h"

/* All eight tiles of 16 rows of 64 bytes. */
static void configure(void) {
    struct {
        uint8_t palette, start, zeros[14];
        uint16_t bytes[16];
        uint8_t rows[16];
    } tiles = {.palette = 1};
    for (int i = 0; i < 8; i++) tiles.bytes[i] = 64, tiles.rows[i] = SIDE;
    _tile_loadconfig(&tiles);
}

/* Two tiles of inputs meet two of columns, step by step. Rows up to the next 16 are read, whatever stands there. */
#define MULTIPLY(DOT)                                                                                          \
    for (int k = 0; k < steps; k += STEPS, inputs += 64, columns += STEPS * column_stride) {                   \
        _tile_loadd(4, inputs, input_stride);                                                                  \
        _tile_loadd(6, columns, column_stride);                                                                \
        _tile_loadd(7, columns + SIDE * 4, column_stride);                                                     \
        DOT(0, 4, 6);                                                                                          \
        DOT(1, 4, 7);                                                                                          \
        if (both) {                                                                                            \
            _tile_loadd(5, inputs + SIDE * input_stride, input_stride);                                        \
            DOT(2, 5, 6);                                                                                      \
            DOT(3, 5, 7);                                                                                      \
        }                                                                                                      \
    }

/* sums[r, c] of up to 32 rows and 32 columns; strides in bytes, of the columns from step to step. */
static inline void multiply(mb_type type, int rows, int steps, const char *inputs, long input_stride, const char *columns,
                            long column_stride, float *sums, long sum_stride) {
    int both = rows > SIDE;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    if (type == MB_INT8) {
        MULTIPLY(_tile_dpbusd)
    } else {
        MULTIPLY(_tile_dpbf16ps)
    }
    _tile_stored(0, sums, sum_stride);
    _tile_stored(1, sums + SIDE, sum_stride);
    if (!both) return;
    _tile_stored(2, sums + SIDE * sum_stride / 4, sum_stride);
    _tile_stored(3, sums + SIDE * sum_stride / 4 + SIDE, sum_stride);
}

static void tile_block(const mb_product *p, int first, int column) {
    const mb_weight *w = p->weight;
    const char *columns = (const char *)w->packed + ((size_t)(column / PANEL) * w->steps * PANEL + column % PANEL) * 4;
    float sums[TWO * TWO] __attribute__((aligned(64)));
    int rows = p->rows - first < TWO ? p->rows - first : TWO;
    multiply(w->type, rows, w->steps, (const char *)p->input + first * p->input_stride, (long)p->input_stride, columns,
             PANEL * 4, sums, TWO * 4);
    for (int half = 0; half < TWO; half += SIDE) {
        if (column + half >= w->outputs) break;
        F scale = zero(), bias = w->bias ? load(w->bias + column + half) : zero();
        I init = {0};
        if (w->type == MB_INT8) scale = load(w->scale + column + half), init = *(const Iu *)(w->init + column + half);
        for (int r = 0; r < rows; r++) {
            F value = load(sums + r * TWO + half);
            if (w->type == MB_INT8) { /* in so many words: gcc fuses a sum in some of a loop's copies and not in others */
                F factor = scale * p->row_scale[first + r];
                value = (F)_mm512_fmadd_ps((__m512)__builtin_convertvector((I)value + init, F), (__m512)factor, (__m512)bias);
            } else {
                value += bias;
            }
            put(p, first + r, column + half, value);
        }
    }
}

static void tile_product(const mb_product *p) {
    if (p->weight->type == MB_F32 || p->weight->steps % STEPS) {
        product(p);
        return;
    }
    configure();
    for (int column = 0; column < p->weight->outputs; column += TWO)
        for (int row = 0; row < p->rows; row += TWO) tile_block(p, row, column);
    _tile_release();
}

/* As attention(), 32 queries at once. */
static void tile_attention(const mb_attention *a) {
    if (a->type != MB_BF16 || a->size % TWO) {
        attention(a);
        return;
    }
    Scratch s = cut_scratch(a, TWO);
    mb_weight keys = {.type = MB_BF16, .outputs = (int)s.stride, .steps = a->size / 2, .packed = (void *)a->keys};
    long row_bytes = (long)(s.stride * sizeof(float)), weight_bytes = (long)(s.stride * sizeof(uint16_t));
    configure();
    for (int first = 0; first < a->rows; first += TWO) {
        int rows = a->rows - first < TWO ? a->rows - first : TWO;
        mb_product p = score_product(a, &s, &keys, first, rows);
        for (size_t column = 0; column < s.stride; column += TWO)
            multiply(MB_BF16, rows, keys.steps, p.input, (long)p.input_stride,
                     (const char *)a->keys + (column / PANEL * keys.steps * PANEL + column % PANEL) * 4, PANEL * 4,
                     s.scores + column, row_bytes);
        float sums[TWO];
        soften(a, &s, rows, sums);
        for (int column = 0; column < a->size; column += TWO) {
            float found[TWO * TWO] __attribute__((aligned(64)));
            multiply(MB_BF16, rows, (int)s.stride / 2, (const char *)s.weights, weight_bytes,
                     (const char *)a->values + column * 4, (long)a->value_stride * 4, found, TWO * 4);
            for (int r = 0; r < rows; r++)
                for (int half = 0; half < TWO; half += SIDE)
                    store(a->output + (first + r) * a->output_stride + column + half, load(found + r * TWO + half) * (1 / sums[r]));
        }
    }
    _tile_release();
}
