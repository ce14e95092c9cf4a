/* Linear layers on a tile of tokens, forward and backward. Arrays begin at the tile's first token. */

#ifndef MB_ROWS_H
#define MB_ROWS_H

#include <string.h>

#include "parts.h"

enum { ROW_MAJOR = 101, PLAIN = 111, TRANSPOSED = 112 };
enum { D_BIAS, D_SCALE, D_SHIFT }; /* rows of a part's sums behind the weight's */

static mb_sgemm *sgemm;

/* ---- forward ---- */

/* y = x W */
static void multiply(const Part *part, int rows, const float *x, float *y) {
    sgemm(ROW_MAJOR, PLAIN, PLAIN, rows, part->out, part->in, 1, x, part->in, part->weight, part->out, 0, y, part->out);
}

/* y = (x W + b) * g + c, or x W + b where there is no norm */
static void linear(const Part *part, int rows, const float *x, float *y) {
    int out = part->out;
    const float *b = part->bias, *g = part->scale, *c = part->shift;
    multiply(part, rows, x, y);
    for (int i = 0; i < rows; i++, y += out) {
        if (g) {
#pragma omp simd
            for (int j = 0; j < out; j++) y[j] = (y[j] + b[j]) * g[j] + c[j];
        } else {
#pragma omp simd
            for (int j = 0; j < out; j++) y[j] += b[j];
        }
    }
}

/* y = relu(x W + b) */
static void linear_relu(const Part *part, int rows, const float *x, float *y) {
    int out = part->out;
    const float *b = part->bias;
    multiply(part, rows, x, y);
    for (int i = 0; i < rows; i++, y += out) {
#pragma omp simd
        for (int j = 0; j < out; j++) {
            float v = y[j] + b[j];
            y[j] = v < 0 ? 0 : v; /* keeps what is not a number */
        }
    }
}

/* The part's random bits for a tile; NULL where it has no dropout. */
static const uint16_t *random_of(const Part *part, Tile tile) {
    return part->random ? part->random + (size_t)tile.first * part->out : NULL;
}

/* y = (m * (x W + b) + r) * g + c; m is 1 / keep where the random bits reach the threshold, else 0; 1 without dropout */
static void residual_norm(const Part *part, Tile tile, const float *x, const float *r, float *y) {
    int out = part->out;
    const float *b = part->bias, *g = part->scale, *c = part->shift;
    const uint16_t *random = random_of(part, tile);
    multiply(part, tile.rows, x, y);
    for (int i = 0; i < tile.rows; i++, y += out, r += out) {
        if (random) {
            for (int j = 0; j < out; j++) {
                float masked = random[j] >= part->threshold ? (y[j] + b[j]) / part->keep : 0;
                y[j] = (masked + r[j]) * g[j] + c[j];
            }
            random += out;
        } else {
#pragma omp simd
            for (int j = 0; j < out; j++) y[j] = (y[j] + b[j] + r[j]) * g[j] + c[j];
        }
    }
}

/* ---- backward: a thread's sums of the parameters' gradients, and the gradient of the input ---- */

/* A thread's own memory. */
typedef struct {
    float beta;   /* 0 at the thread's first tile, which sets the sums; 1 at the others, which add */
    float *sums;  /* of all parts, each at its `at` */
    float *spare; /* [2, rows, out] of the part at work */
} Work;

/* y = x W^T + beta * y */
static void multiply_flipped(const Part *part, int rows, const float *x, float beta, float *y) {
    sgemm(ROW_MAJOR, PLAIN, PLAIN, rows, part->in, part->out, 1, x, part->out, part->flipped, part->in, beta, y,
          part->in);
}

/* The math library's products with a transposed right side are a fifth slower, hence once for all tiles: */
static void flip(const Part *part, float *flipped) {
    enum { BLOCK = 16 };
    int in = part->in, out = part->out;
    for (int begin = 0; begin < in; begin += BLOCK)
        for (int j = 0; j < out; j++)
            for (int i = begin; i < at_most(begin + BLOCK, in); i++)
                flipped[(size_t)j * in + i] = part->weight[(size_t)i * out + j];
}

/* Add x^T dy, the gradient of the weight. */
static void add_weight(const Part *part, int rows, const float *x, const float *dy, Work work) {
    sgemm(ROW_MAJOR, TRANSPOSED, PLAIN, part->in, part->out, rows, 1, x, part->in, dy, part->out, work.beta,
          work.sums + part->at, part->out);
}

static float *row_of_sums(const Part *part, int which, Work work) {
    float *row = work.sums + part->at + ((size_t)part->in + which) * part->out;
    if (work.beta == 0) memset(row, 0, sizeof(float) * part->out);
    return row;
}

/* Add the rows of dy, the gradient of the last vector that was added. */
static void add_rows(const Part *part, int rows, const float *dy, Work work) {
    float *row = row_of_sums(part, part->scale ? D_SHIFT : D_BIAS, work);
    for (int i = 0; i < rows; i++, dy += part->out) {
#pragma omp simd
        for (int j = 0; j < part->out; j++) row[j] += dy[j];
    }
}

/* scaled = dy * g */
static void scale_rows(const Part *part, int rows, const float *dy, float *scaled) {
    for (int i = 0; i < rows; i++, dy += part->out, scaled += part->out) {
#pragma omp simd
        for (int j = 0; j < part->out; j++) scaled[j] = dy[j] * part->scale[j];
    }
}

/* d_x = beta_x * d_x + (dy * g) W^T */
static void linear_backward(const Part *part, int rows, const float *x, const float *dy, Work work, float beta_x,
                            float *d_x) {
    add_weight(part, rows, x, dy, work);
    add_rows(part, rows, dy, work);
    if (part->scale) {
        row_of_sums(part, D_SCALE, work); /* nothing but finish_part's share */
        scale_rows(part, rows, dy, work.spare);
        dy = work.spare;
    }
    multiply_flipped(part, rows, dy, beta_x, d_x);
}

/* d_r = dy * g, d_x = (m * d_r) W^T, where u = m * dy is what the weight sees */
static void residual_norm_backward(const Part *part, Tile tile, const float *x, const float *r, const float *dy,
                                   Work work, float *d_r, float *d_x) {
    int rows = tile.rows, out = part->out;
    float *d_bias = row_of_sums(part, D_BIAS, work), *d_scale = row_of_sums(part, D_SCALE, work);
    float *d_shift = row_of_sums(part, D_SHIFT, work);
    float *unscaled = work.spare, *scaled = work.spare + (size_t)rows * out;
    const float *g = part->scale;
    const uint16_t *random = random_of(part, tile);
    for (int i = 0; i < rows; i++) {
        const float *gradient = dy + (size_t)i * out, *residual = r + (size_t)i * out;
        float *target = d_r + (size_t)i * out;
#pragma omp simd
        for (int j = 0; j < out; j++) {
            d_scale[j] += gradient[j] * residual[j];
            d_shift[j] += gradient[j];
            target[j] = gradient[j] * g[j];
        }
        if (!random) continue;
        for (int j = 0; j < out; j++) {
            size_t at = (size_t)i * out + j;
            unscaled[at] = random[at] >= part->threshold ? gradient[j] / part->keep : 0;
            scaled[at] = unscaled[at] * g[j];
            d_bias[j] += unscaled[at];
        }
    }
    if (!random) { /* the rows' sum is d_shift's, see finish_part */
        add_weight(part, rows, x, dy, work);
        multiply_flipped(part, rows, d_r, 0, d_x);
    } else {
        add_weight(part, rows, x, unscaled, work);
        multiply_flipped(part, rows, scaled, 0, d_x);
    }
}

/* Add up the threads' sums and take them to the gradients of W, b, g, c; for a norm see reference.Linear. */
static void finish_part(const Part *part, float *sums, size_t stride, int threads) {
    size_t size = ((size_t)part->in + 3) * part->out;
    int out = part->out;
    float *total = sums + part->at;
    const float *g = part->scale;
    for (int t = 1; t < threads; t++) {
        const float *other = sums + t * stride + part->at;
        size_t used = part->scale ? size : size - 2 * (size_t)out;
#pragma omp simd
        for (size_t i = 0; i < used; i++) total[i] += other[i];
    }
    float *d_bias = total + (size_t)part->in * out, *d_scale = d_bias + out, *d_shift = d_scale + out;
    if (!g) {
        memcpy(part->d_weight, total, sizeof(float) * part->in * out);
        memcpy(part->d_bias, d_bias, sizeof(float) * out);
        return;
    }
    if (!part->random) memcpy(d_bias, d_shift, sizeof(float) * out);
    for (int i = 0; i < part->in; i++) {
        const float *raw = total + (size_t)i * out, *weight = part->weight + (size_t)i * out;
        float *target = part->d_weight + (size_t)i * out;
#pragma omp simd
        for (int j = 0; j < out; j++) {
            d_scale[j] += raw[j] * weight[j];
            target[j] = raw[j] * g[j];
        }
    }
    for (int j = 0; j < out; j++) {
        part->d_scale[j] = d_scale[j] + d_bias[j] * part->bias[j];
        part->d_bias[j] = d_bias[j] * g[j];
        part->d_shift[j] = d_shift[j];
    }
}

static void clear_gradients(const Part *part) {
    size_t row = sizeof(float) * part->out;
    memset(part->d_weight, 0, row * part->in), memset(part->d_bias, 0, row);
    if (part->scale) memset(part->d_scale, 0, row), memset(part->d_shift, 0, row);
}

#endif
