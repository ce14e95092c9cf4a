/* AVX-512 with matrix tiles of bytes and of bfloat16 (AMX): a tile is 16 rows of 64 bytes, and a panel's layout is theirs.
 *
 * Four sums of 16 x 16 are under way: two tiles of inputs meet two of columns.
 */

#include "kernels_avx512.h"

#define IS_OFFSET 1
#define HAS_BF16 1

static inline I dot_int8(I sum, I inputs, I columns) {
    return (I)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)inputs, (__m512i)columns);
}

static inline F dot_bf16(F sum, I inputs, I columns) {
    return (F)_mm512_dpbf16_ps((__m512)sum, (__m512bh)inputs, (__m512bh)columns);
}

#include "kernels_body.h"

enum { SIDE = 16, STEPS = 16, TWO = 2 * SIDE };

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

#define MULTIPLY(DOT)                                                        \
    for (int k = 0; k < steps; k += STEPS, inputs += 64, columns += STEPS * PANEL * 4) { \
        _tile_loadd(4, inputs, (long)p->input_stride);                       \
        _tile_loadd(6, columns, PANEL * 4);                                  \
        _tile_loadd(7, columns + SIDE * 4, PANEL * 4);                       \
        DOT(0, 4, 6);                                                        \
        DOT(1, 4, 7);                                                        \
        if (both) {                                                          \
            _tile_loadd(5, inputs + SIDE * p->input_stride, (long)p->input_stride); \
            DOT(2, 5, 6);                                                    \
            DOT(3, 5, 7);                                                    \
        }                                                                    \
    }

/* Up to 32 rows and 32 columns: rows up to the next 16 are read, whatever stands there. */
static void tiles(const mb_product *p, int first, int column) {
    const mb_weight *w = p->weight;
    int steps = w->steps, both = p->rows - first > SIDE;
    const char *inputs = (const char *)p->input + first * p->input_stride;
    const char *columns = (const char *)w->packed + ((size_t)(column / PANEL) * steps * PANEL + column % PANEL) * 4;
    float sums[TWO * TWO] __attribute__((aligned(64)));
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    if (w->type == MB_INT8) {
        MULTIPLY(_tile_dpbusd)
    } else {
        MULTIPLY(_tile_dpbf16ps)
    }
    _tile_stored(0, sums, TWO * 4);
    _tile_stored(1, sums + SIDE, TWO * 4);
    _tile_stored(2, sums + SIDE * TWO, TWO * 4);
    _tile_stored(3, sums + SIDE * TWO + SIDE, TWO * 4);
    int rows = p->rows - first < TWO ? p->rows - first : TWO;
    for (int half = 0; half < TWO; half += SIDE) {
        if (column + half >= w->outputs) break;
        F scale = zero(), bias = w->bias ? load(w->bias + column + half) : zero();
        I init = {0};
        if (w->type == MB_INT8) scale = load(w->scale + column + half), init = *(const Iu *)(w->init + column + half);
        for (int r = 0; r < rows; r++) {
            F value = load(sums + r * TWO + half);
            if (w->type == MB_INT8) value = __builtin_convertvector((I)value + init, F) * (scale * p->row_scale[first + r]);
            put(p, first + r, column + half, value + bias);
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
        for (int row = 0; row < p->rows; row += TWO) tiles(p, row, column);
    _tile_release();
}

const mb_kernels mb_amx = {.name = "amx",
                           .panel = PANEL,
                           .block = TWO,
                           .is_offset = IS_OFFSET,
                           .has_bf16 = HAS_BF16,
                           .product = tile_product,
                           .attention = attention,
                           .convert = convert,
                           .layer_norm = layer_norm};
