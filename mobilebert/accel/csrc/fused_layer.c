/* The encoder layer of fused.py in C: forward and backward of one layer, float32, for mobilebert/accel/native.py.
 *
 * Matrix products are the math library's (cblas_sgemm, handed in by `set_sgemm`). What is gained is order: a thread
 * takes a tile of some hundred tokens through all products and element-wise steps while it lies in the core's cache,
 * and the [S, S] matrices of attention are made again in the backward pass instead of kept (Rabe and Staats 2021,
 * arXiv 2112.05682; Dao et al. 2022, arXiv 2205.14135). The formulas are those of fused.py, part by part.
 *
 *     N tokens of the batch, B * S   H hidden_size   D true_hidden_size   F intermediate_size   A attention heads
 */

#include <omp.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { ROW_MAJOR = 101, PLAIN = 111, TRANSPOSED = 112 };
enum { /* as in native.py */ MAX_NETWORKS = 16, MAX_PARTS = 2 * MAX_NETWORKS + 7 };
enum { D_BIAS, D_SCALE, D_SHIFT }; /* rows of a part's sums behind the weight's */
enum { ROWS = 128 }; /* tokens of a tile, and queries of a block of attention */

typedef void sgemm_t(int, int, int, int, int, int, float, const float *, int, const float *, int, float, float *, int);
static sgemm_t *sgemm;

/* native.py has the same fields in the same order. */
typedef struct {
    int batch, length, hidden, width, intermediate, heads, networks;
    int reads_bottleneck, reads_shared; /* what query, key and value read; see fused.py */
    float scaling;
    float attention_keep, hidden_keep;                       /* 1 - probability of dropout */
    const uint16_t *attention_words, *hidden_words;          /* NULL: no dropout. [B, A, S, S], [N, H] */
    int attention_threshold, hidden_threshold;               /* kept where word >= threshold */
    const float *bias;                                       /* NULL, or keys next to each other ... */
    ptrdiff_t bias_batch, bias_head, bias_query;             /* ... and the strides of the rest, in floats */
} Layer;

/* A linear layer W [in, out], b, and the NoNorm behind it (g, c) where there is one. */
typedef struct {
    int in, out;
    const float *weight, *bias, *scale, *shift;
    float *d_weight, *d_bias, *d_scale, *d_shift;
    const float *flipped; /* the weight transposed, [out, in]: what the backward pass multiplies with */
    size_t at; /* of its sums within a thread's share: d_weight, d_bias, d_scale, d_shift */
} Part;

typedef struct {
    Part *entry, *shared, *query, *key, *value, *attention, *widen[MAX_NETWORKS], *narrow[MAX_NETWORKS], *exit;
    Part parts[MAX_PARTS];
    int count;
    size_t sums; /* floats of a thread's share */
} Parts;

/* What the forward pass keeps for the backward pass. [N, D] where not said. */
typedef struct {
    float *narrow, *shared, *query, *key, *value, *context;
    float *stream[MAX_NETWORKS + 1]; /* input of each feed-forward network, and of the exit */
    float *active[MAX_NETWORKS];     /* [N, F] */
    float *largest, *inverse;        /* [B, A, S]: a query's largest score, 1 / sum of exp(score - largest) */
    size_t size;
} Kept;

static Part *add_part(Parts *p, int in, int out, int normed, float *const **parameters, float *const **gradients) {
    Part *part = &p->parts[p->count++];
    *part = (Part){.in = in, .out = out, .at = p->sums};
    part->weight = *(*parameters)++, part->bias = *(*parameters)++;
    if (normed) part->scale = *(*parameters)++, part->shift = *(*parameters)++;
    if (*gradients) {
        part->d_weight = *(*gradients)++, part->d_bias = *(*gradients)++;
        if (normed) part->d_scale = *(*gradients)++, part->d_shift = *(*gradients)++;
    }
    p->sums += ((size_t)in + 3) * out;
    return part;
}

/* In the order of fused._parts. */
static void name_parts(const Layer *l, Parts *p, float *const *parameters, float *const *gradients) {
    int h = l->hidden, d = l->width, source = l->reads_bottleneck || l->reads_shared ? d : h;
    p->count = 0, p->sums = 0, p->shared = NULL;
    p->entry = add_part(p, h, d, 1, &parameters, &gradients);
    if (l->reads_shared) p->shared = add_part(p, h, d, 1, &parameters, &gradients);
    p->query = add_part(p, source, d, 0, &parameters, &gradients);
    p->key = add_part(p, source, d, 0, &parameters, &gradients);
    p->value = add_part(p, l->reads_bottleneck ? d : h, d, 0, &parameters, &gradients);
    p->attention = add_part(p, d, d, 1, &parameters, &gradients);
    for (int n = 0; n < l->networks; n++) {
        p->widen[n] = add_part(p, d, l->intermediate, 0, &parameters, &gradients);
        p->narrow[n] = add_part(p, l->intermediate, d, 1, &parameters, &gradients);
    }
    p->exit = add_part(p, d, h, 1, &parameters, &gradients);
}

static float *take(float *base, size_t *size, size_t count) {
    float *begin = base ? base + *size : NULL;
    *size += (count + 15) / 16 * 16; /* whole cache lines */
    return begin;
}

static void name_kept(const Layer *l, Kept *k, float *base) {
    size_t tokens = (size_t)l->batch * l->length, narrow = tokens * l->width;
    k->size = 0;
    k->narrow = take(base, &k->size, narrow);
    k->shared = l->reads_shared ? take(base, &k->size, narrow) : NULL;
    k->query = take(base, &k->size, narrow);
    k->key = take(base, &k->size, narrow);
    k->value = take(base, &k->size, narrow);
    k->context = take(base, &k->size, narrow);
    for (int n = 0; n < l->networks; n++) {
        k->stream[n] = take(base, &k->size, narrow);
        k->active[n] = take(base, &k->size, tokens * l->intermediate);
    }
    k->stream[l->networks] = take(base, &k->size, narrow);
    k->largest = take(base, &k->size, tokens * l->heads);
    k->inverse = take(base, &k->size, tokens * l->heads);
}

/* ---- threads and tiles ---- */

static int at_most(int value, int bound) { return value < bound ? value : bound; }

/* Tokens of a tile: at most ROWS, and as many tiles for one thread as for another. */
static int tile_rows(int tokens, int threads) {
    int tiles = (tokens + ROWS * threads - 1) / (ROWS * threads) * threads;
    return (tokens + tiles - 1) / tiles;
}

/* Tiles, or heads, that fall to each thread; the first ones may be all that have any. */
static int share_of(int count, int threads) { return (count + threads - 1) / threads; }

/* ---- small operations on rows ---- */

/* y = x W */
static void multiply(const float *x, int rows, const Part *part, float *y) {
    sgemm(ROW_MAJOR, PLAIN, PLAIN, rows, part->out, part->in, 1, x, part->in, part->weight, part->out, 0, y, part->out);
}

/* y = x W^T + beta * y */
static void multiply_flipped(const float *x, int rows, const Part *part, float beta, float *y) {
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

static void linear(const float *x, int rows, const Part *part, float *y) {
    int out = part->out;
    const float *b = part->bias, *g = part->scale, *c = part->shift;
    multiply(x, rows, part, y);
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

static void linear_relu(const float *x, int rows, const Part *part, float *y) {
    int out = part->out;
    const float *b = part->bias;
    multiply(x, rows, part, y);
    for (int i = 0; i < rows; i++, y += out) {
#pragma omp simd
        for (int j = 0; j < out; j++) {
            float v = y[j] + b[j];
            y[j] = v < 0 ? 0 : v; /* keeps what is not a number */
        }
    }
}

/* y = (m * (x W + b) + r) * g + c; m is 1 / keep where word >= threshold, else 0, or 1 where there are no words. */
static void residual_norm(const float *x, int rows, const Part *part, const float *r, const uint16_t *words,
                          int threshold, float keep, float *y) {
    int out = part->out;
    const float *b = part->bias, *g = part->scale, *c = part->shift;
    multiply(x, rows, part, y);
    for (int i = 0; i < rows; i++, y += out, r += out) {
        if (words) {
            for (int j = 0; j < out; j++) {
                float kept = words[j] >= threshold ? (y[j] + b[j]) / keep : 0;
                y[j] = (kept + r[j]) * g[j] + c[j];
            }
            words += out;
        } else {
#pragma omp simd
            for (int j = 0; j < out; j++) y[j] = (y[j] + b[j] + r[j]) * g[j] + c[j];
        }
    }
}

/* sums = beta * sums + x^T dy, the gradient of the weight; dy is [rows, out] */
static void add_weight(const float *x, const float *dy, int rows, const Part *part, float beta, float *sums) {
    sgemm(ROW_MAJOR, TRANSPOSED, PLAIN, part->in, part->out, rows, 1, x, part->in, dy, part->out, beta,
          sums + part->at, part->out);
}

static float *row_of_sums(const Part *part, float *sums, int which, float beta) {
    float *row = sums + part->at + ((size_t)part->in + which) * part->out;
    if (beta == 0) memset(row, 0, sizeof(float) * part->out);
    return row;
}

static void add_rows(const float *dy, int rows, const Part *part, float beta, float *sums) {
    float *row = row_of_sums(part, sums, part->scale ? D_SHIFT : D_BIAS, beta);
    for (int i = 0; i < rows; i++, dy += part->out) {
#pragma omp simd
        for (int j = 0; j < part->out; j++) row[j] += dy[j];
    }
}

/* scaled = dy * g */
static void scale_rows(const float *dy, int rows, const Part *part, float *scaled) {
    for (int i = 0; i < rows; i++, dy += part->out, scaled += part->out) {
#pragma omp simd
        for (int j = 0; j < part->out; j++) scaled[j] = dy[j] * part->scale[j];
    }
}

/* ---- backward of the parts: sums of the parameters' gradients, and the gradient of the input ---- */

/* d_x = beta_x * d_x + (dy * g) W^T; `scratch` is [rows, out] */
static void linear_backward(const float *x, const float *dy, int rows, const Part *part, float beta, float *sums,
                            float *scratch, float beta_x, float *d_x) {
    add_weight(x, dy, rows, part, beta, sums);
    add_rows(dy, rows, part, beta, sums);
    if (part->scale) {
        row_of_sums(part, sums, D_SCALE, beta); /* nothing but finish_part's share */
        scale_rows(dy, rows, part, scratch);
        dy = scratch;
    }
    multiply_flipped(dy, rows, part, beta_x, d_x);
}

/* d_r = dy * g, d_x = (m * d_r) W^T, where u = m * dy is what the weight sees; `scratch` is [2, rows, out] */
static void residual_norm_backward(const float *x, const float *r, const float *dy, int rows, const Part *part,
                                   const uint16_t *words, int threshold, float keep, float beta, float *sums,
                                   float *scratch, float *d_r, float *d_x) {
    int out = part->out;
    float *d_bias = row_of_sums(part, sums, D_BIAS, beta), *d_scale = row_of_sums(part, sums, D_SCALE, beta);
    float *d_shift = row_of_sums(part, sums, D_SHIFT, beta);
    float *unscaled = scratch, *scaled = scratch + (size_t)rows * out;
    const float *g = part->scale;
    for (int i = 0; i < rows; i++) {
        const float *gradient = dy + (size_t)i * out, *residual = r + (size_t)i * out;
        float *target = d_r + (size_t)i * out;
#pragma omp simd
        for (int j = 0; j < out; j++) {
            d_scale[j] += gradient[j] * residual[j];
            d_shift[j] += gradient[j];
            target[j] = gradient[j] * g[j];
        }
        if (!words) continue;
        for (int j = 0; j < out; j++) {
            size_t at = (size_t)i * out + j;
            unscaled[at] = words[at] >= threshold ? gradient[j] / keep : 0;
            scaled[at] = unscaled[at] * g[j];
            d_bias[j] += unscaled[at];
        }
    }
    if (!words) { /* the rows' sum is d_shift's, see finish_part */
        add_weight(x, dy, rows, part, beta, sums);
        multiply_flipped(d_r, rows, part, 0, d_x);
    } else {
        add_weight(x, unscaled, rows, part, beta, sums);
        multiply_flipped(scaled, rows, part, 0, d_x);
    }
}

/* Add up the threads' sums and take them to the gradients of W, b, g, c; for a norm see fused._Linear. */
static void finish_part(const Part *part, float *sums, size_t stride, int threads, int bias_is_shift) {
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
    if (bias_is_shift) memcpy(d_bias, d_shift, sizeof(float) * out);
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

/* ---- attention: one head of one sequence, in blocks of ROWS queries ---- */

/* e^x for x <= 0: 2^n times a polynomial of degree 6 on [-ln 2 / 2, ln 2 / 2]; 0 below -87; relative error 1e-7. */
static inline float exponential(float x) {
    float bounded = x < -87.0f ? -87.0f : x;
    float n = (bounded * 1.44269504f + 12582912.0f) - 12582912.0f; /* to the nearest integer */
    float r = bounded - n * 0.693359375f + n * 2.12194440e-4f;     /* ln 2 in two pieces */
    float p = 1.0f / 720;
    p = p * r + 1.0f / 120, p = p * r + 1.0f / 24, p = p * r + 1.0f / 6;
    p = p * r + 0.5f, p = p * r + 1.0f, p = p * r + 1.0f;
    union { int32_t bits; float value; } power = {((int32_t)n + 127) << 23};
    return x < -87.0f ? 0 : p * power.value;
}

/* scores [rows, S] = scaling q k^T + bias, for queries from `first` on */
static void attention_scores(const Layer *l, const Kept *k, int b, int a, int first, int rows, float *scores) {
    int s = l->length, d = l->width / l->heads;
    size_t at = (size_t)b * s * l->width + (size_t)a * d;
    sgemm(ROW_MAJOR, PLAIN, TRANSPOSED, rows, s, d, l->scaling, k->query + at + (size_t)first * l->width, l->width,
          k->key + at, l->width, 0, scores, s);
    if (!l->bias) return;
    for (int i = 0; i < rows; i++) {
        const float *bias = l->bias + b * l->bias_batch + a * l->bias_head + (first + i) * l->bias_query;
        float *row = scores + (size_t)i * s;
#pragma omp simd
        for (int j = 0; j < s; j++) row[j] += bias[j];
    }
}

static const uint16_t *words_of(const Layer *l, int b, int a, int query) {
    return l->attention_words + (((size_t)b * l->heads + a) * l->length + query) * l->length;
}

static void attention(const Layer *l, const Kept *k, int b, int a, float *scores) {
    int s = l->length, d = l->width / l->heads;
    size_t at = (size_t)b * s * l->width + (size_t)a * d;
    for (int first = 0; first < s; first += ROWS) {
        int rows = s - first < ROWS ? s - first : ROWS;
        attention_scores(l, k, b, a, first, rows, scores);
        for (int i = 0; i < rows; i++) {
            float *row = scores + (size_t)i * s, largest = row[0], sum = 0;
#pragma omp simd reduction(max : largest)
            for (int j = 0; j < s; j++) largest = largest < row[j] ? row[j] : largest;
#pragma omp simd reduction(+ : sum)
            for (int j = 0; j < s; j++) {
                row[j] = exponential(row[j] - largest);
                sum += row[j];
            }
            /* Kept apart: a fully masked query's scores are -3.4e38, where a logarithm would be lost. */
            size_t query = ((size_t)b * l->heads + a) * s + first + i;
            k->largest[query] = largest, k->inverse[query] = 1 / sum;
            float inverse = 1 / (sum * l->attention_keep);
            if (l->attention_words) {
                const uint16_t *words = words_of(l, b, a, first + i);
#pragma omp simd
                for (int j = 0; j < s; j++) row[j] = words[j] >= l->attention_threshold ? row[j] * inverse : 0;
            } else {
#pragma omp simd
                for (int j = 0; j < s; j++) row[j] *= inverse;
            }
        }
        sgemm(ROW_MAJOR, PLAIN, PLAIN, rows, d, s, 1, scores, s, k->value + at, l->width, 0,
              k->context + at + (size_t)first * l->width, l->width);
    }
}

/* With p the probabilities, m the scaled mask and t = m * (do v^T):
 * dv = (p m)^T do,  dscores = p * (t - rowsum(p * t)),  dq = scaling dscores k,  dk = scaling dscores^T q.
 * The row's sum could be had from do and the output; of the same t it cancels exactly where it should.
 * `scores` and `d_scores` are [ROWS, S]; the rest [N, D]. */
static void attention_backward(const Layer *l, const Kept *k, int b, int a, const float *d_context, float *scores,
                               float *d_scores, float *d_query, float *d_key, float *d_value) {
    int s = l->length, w = l->width, d = w / l->heads;
    size_t at = (size_t)b * s * w + (size_t)a * d;
    for (int first = 0; first < s; first += ROWS) {
        int rows = s - first < ROWS ? s - first : ROWS;
        float beta = first ? 1 : 0;
        size_t block = at + (size_t)first * w;
        attention_scores(l, k, b, a, first, rows, scores);
        sgemm(ROW_MAJOR, PLAIN, TRANSPOSED, rows, s, d, 1, d_context + block, w, k->value + at, w, 0, d_scores, s);
        for (int i = 0; i < rows; i++) {
            float *row = scores + (size_t)i * s, *d_row = d_scores + (size_t)i * s, delta = 0;
            size_t query = ((size_t)b * l->heads + a) * s + first + i;
            float largest = k->largest[query], inverse = k->inverse[query], scale = 1 / l->attention_keep;
            if (l->attention_words) {
                const uint16_t *words = words_of(l, b, a, first + i);
#pragma omp simd reduction(+ : delta)
                for (int j = 0; j < s; j++) {
                    float m = words[j] >= l->attention_threshold ? scale : 0;
                    row[j] = exponential(row[j] - largest) * inverse;
                    d_row[j] *= m;
                    delta += row[j] * d_row[j];
                }
#pragma omp simd
                for (int j = 0; j < s; j++) {
                    d_row[j] = row[j] * (d_row[j] - delta);
                    row[j] *= words[j] >= l->attention_threshold ? scale : 0;
                }
            } else {
#pragma omp simd reduction(+ : delta)
                for (int j = 0; j < s; j++) {
                    row[j] = exponential(row[j] - largest) * inverse;
                    delta += row[j] * d_row[j];
                }
#pragma omp simd
                for (int j = 0; j < s; j++) d_row[j] = row[j] * (d_row[j] - delta);
            }
        }
        sgemm(ROW_MAJOR, TRANSPOSED, PLAIN, s, d, rows, 1, scores, s, d_context + block, w, beta, d_value + at, w);
        sgemm(ROW_MAJOR, TRANSPOSED, PLAIN, s, d, rows, l->scaling, d_scores, s, k->query + block, w, beta, d_key + at,
              w);
        sgemm(ROW_MAJOR, PLAIN, PLAIN, rows, d, s, l->scaling, d_scores, s, k->key + at, w, 0, d_query + block, w);
    }
}

/* ---- what native.py calls ---- */

void set_sgemm(sgemm_t *function) { sgemm = function; }

/* Floats that `kept` of the two passes must hold. */
size_t kept_size(const Layer *l) {
    Kept k;
    name_kept(l, &k, NULL);
    return k.size;
}

/* Floats that `scratch` of each pass must hold. */
size_t forward_scratch_size(const Layer *l) { return (size_t)omp_get_max_threads() * ROWS * l->length; }

/* No tokens: nothing to compute, and no tile to divide by. */
static int is_empty(const Layer *l) { return l->batch <= 0 || l->length <= 0; }

/* hidden, output: [N, H]; parameters: weights and biases in the order of fused._parts */
void forward(const Layer *l, const float *hidden, float *const *parameters, float *kept, float *scratch,
             float *output) {
    Parts p;
    Kept k;
    if (is_empty(l)) return;
    name_parts(l, &p, parameters, NULL);
    name_kept(l, &k, kept);
    int tokens = l->batch * l->length, pairs = l->batch * l->heads;
#pragma omp parallel
    {
        int id = omp_get_thread_num(), threads = omp_get_num_threads();
        int size = tile_rows(tokens, threads), tiles = (tokens + size - 1) / size, mine = share_of(tiles, threads);
        int begin = at_most(id * mine * size, tokens), end = at_most((id + 1) * mine * size, tokens);
        for (int t = begin; t < end; t += size) {
            int rows = at_most(size, end - t);
            size_t at = (size_t)t * l->width;
            const float *stream = hidden + (size_t)t * l->hidden, *source = stream;
            linear(stream, rows, p.entry, k.narrow + at);
            if (l->reads_bottleneck) source = k.narrow + at;
            linear(source, rows, p.value, k.value + at);
            if (l->reads_shared) {
                linear(stream, rows, p.shared, k.shared + at);
                source = k.shared + at;
            }
            linear(source, rows, p.query, k.query + at);
            linear(source, rows, p.key, k.key + at);
        }
#pragma omp barrier
        mine = share_of(pairs, threads);
        for (int i = id * mine; i < at_most((id + 1) * mine, pairs); i++)
            attention(l, &k, i / l->heads, i % l->heads, scratch + (size_t)id * ROWS * l->length);
#pragma omp barrier
        for (int t = begin; t < end; t += size) {
            int rows = at_most(size, end - t);
            size_t at = (size_t)t * l->width, wide = (size_t)t * l->hidden;
            residual_norm(k.context + at, rows, p.attention, k.narrow + at, NULL, 0, 1, k.stream[0] + at);
            for (int n = 0; n < l->networks; n++) {
                float *active = k.active[n] + (size_t)t * l->intermediate, *stream = k.stream[n] + at;
                linear_relu(stream, rows, p.widen[n], active);
                residual_norm(active, rows, p.narrow[n], stream, NULL, 0, 1, k.stream[n + 1] + at);
            }
            residual_norm(k.stream[l->networks] + at, rows, p.exit, hidden + wide,
                          l->hidden_words ? l->hidden_words + wide : NULL, l->hidden_threshold, l->hidden_keep,
                          output + wide);
        }
    }
}

/* What the backward pass works on: gradients [N, D], and each thread's own. */
typedef struct {
    float *context, *narrow, *shared, *query, *key, *value;
    float *flipped; /* all weights, each at its part's `at` */
    float *own;
    size_t own_size, size;
} Scratch;

/* A thread's own: sums of the parameters' gradients, two blocks of attention, and four tiles. */
static void name_scratch(const Layer *l, const Parts *p, Scratch *s, float *base) {
    size_t narrow = (size_t)l->batch * l->length * l->width;
    size_t widest = l->hidden > l->intermediate ? l->hidden : l->intermediate;
    size_t blocks = 2 * (size_t)ROWS * l->length, tiles = ROWS * (2 * widest + l->intermediate + 2 * l->width);
    s->size = 0;
    s->context = take(base, &s->size, narrow);
    s->narrow = take(base, &s->size, narrow);
    s->shared = take(base, &s->size, narrow);
    s->query = take(base, &s->size, narrow);
    s->key = take(base, &s->size, narrow);
    s->value = take(base, &s->size, narrow);
    s->flipped = take(base, &s->size, p->sums);
    s->own_size = (p->sums + (blocks > tiles ? blocks : tiles) + 15) / 16 * 16;
    s->own = take(base, &s->size, s->own_size * omp_get_max_threads());
}

size_t backward_scratch_size(const Layer *l) {
    float *none[4 * MAX_PARTS] = {NULL};
    Parts p;
    Scratch s;
    name_parts(l, &p, none, NULL);
    name_scratch(l, &p, &s, NULL);
    return s.size;
}

/* gradient: of the output [N, H]; d_hidden: of the input; gradients: of the parameters, in their order */
void backward(const Layer *l, const float *hidden, float *const *parameters, float *kept, float *scratch,
              const float *gradient, float *d_hidden, float *const *gradients) {
    Parts p;
    Kept k;
    Scratch s;
    int tokens = l->batch * l->length, pairs = l->batch * l->heads, last = l->networks;
    name_parts(l, &p, parameters, gradients);
    if (is_empty(l)) {
        for (int i = 0; i < p.count; i++) clear_gradients(&p.parts[i]);
        return;
    }
    name_kept(l, &k, kept);
    name_scratch(l, &p, &s, scratch);
#pragma omp parallel
    {
        int id = omp_get_thread_num(), threads = omp_get_num_threads();
        int size = tile_rows(tokens, threads), tiles = (tokens + size - 1) / size, mine = share_of(tiles, threads);
        int begin = at_most(id * mine * size, tokens), end = at_most((id + 1) * mine * size, tokens);
        int used = share_of(tiles, mine); /* threads that have tiles */
        float *sums = s.own + id * s.own_size, *blocks = sums + p.sums;
        float *d_active = blocks, *d_stream = d_active + (size_t)ROWS * l->intermediate;
        float *d_front = d_stream + (size_t)ROWS * l->width, *spare = d_front + (size_t)ROWS * l->width;

        for (int i = id; i < p.count; i += threads) {
            flip(&p.parts[i], s.flipped + p.parts[i].at);
            p.parts[i].flipped = s.flipped + p.parts[i].at;
        }
#pragma omp barrier
        for (int t = begin; t < end; t += size) {
            int rows = at_most(size, end - t);
            size_t at = (size_t)t * l->width, wide = (size_t)t * l->hidden;
            float beta = t > begin;
            residual_norm_backward(k.stream[last] + at, hidden + wide, gradient + wide, rows, p.exit,
                                   l->hidden_words ? l->hidden_words + wide : NULL, l->hidden_threshold,
                                   l->hidden_keep, beta, sums, spare, d_hidden + wide, d_stream);
            for (int n = last - 1; n >= 0; n--) {
                const float *active = k.active[n] + (size_t)t * l->intermediate, *stream = k.stream[n] + at;
                residual_norm_backward(active, stream, d_stream, rows, p.narrow[n], NULL, 0, 1, beta, sums, spare,
                                       d_front, d_active);
#pragma omp simd
                for (int i = 0; i < rows * l->intermediate; i++) d_active[i] = active[i] > 0 ? d_active[i] : 0;
                linear_backward(stream, d_active, rows, p.widen[n], beta, sums, NULL, 1, d_front);
                float *swap = d_front;
                d_front = d_stream, d_stream = swap;
            }
            residual_norm_backward(k.context + at, k.narrow + at, d_stream, rows, p.attention, NULL, 0, 1, beta, sums,
                                   spare, s.narrow + at, s.context + at);
        }
#pragma omp barrier
        int heads = share_of(pairs, threads);
        for (int i = id * heads; i < at_most((id + 1) * heads, pairs); i++)
            attention_backward(l, &k, i / l->heads, i % l->heads, s.context, blocks,
                               blocks + (size_t)ROWS * l->length, s.query, s.key, s.value);
#pragma omp barrier
        for (int t = begin; t < end; t += size) {
            int rows = at_most(size, end - t);
            size_t at = (size_t)t * l->width, wide = (size_t)t * l->hidden;
            float beta = t > begin, *target = d_hidden + wide;
            const float *stream = hidden + wide, *source = stream;
            if (l->reads_bottleneck) source = k.narrow + at, target = s.narrow + at;
            linear_backward(source, s.value + at, rows, p.value, beta, sums, NULL, 1, target);
            if (l->reads_shared) source = k.shared + at, target = s.shared + at;
            linear_backward(source, s.query + at, rows, p.query, beta, sums, NULL, l->reads_shared ? 0 : 1, target);
            linear_backward(source, s.key + at, rows, p.key, beta, sums, NULL, 1, target);
            if (l->reads_shared)
                linear_backward(stream, target, rows, p.shared, beta, sums, spare, 1, d_hidden + wide);
            linear_backward(stream, s.narrow + at, rows, p.entry, beta, sums, spare, 1, d_hidden + wide);
        }
#pragma omp barrier
        for (int i = id; i < p.count; i += threads) {
            Part *part = &p.parts[i];
            finish_part(part, s.own, s.own_size, used, !(part == p.exit && l->hidden_words));
        }
    }
}
