/* The encoder layer against a naive loop in double: outputs, and gradients by differences of that loop.
 *
 *     cc -std=gnu11 -O2 -march=native -fopenmp layer_test.c ../layer_train.c -lm -o layer_test
 *     ./layer_test              exit code 0 if all agree, else 1
 *     ./layer_test control      spoils one number of each result, so that it must end with 1
 *
 * No math library: the product is a loop that is handed in through mb_set_sgemm.
 */

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../mobilebert.h"

enum { MAX_ARRAYS = 64 };
static const double STEP = 1e-5;       /* of a central difference */
static const double TOLERANCE = 5e-5;  /* of float32, relative to the largest number of an array */

/* A layer's arrays, in float for the library and in double for the loop. */
typedef struct {
    mb_layer layer;
    int count, size[MAX_ARRAYS]; /* parameters in the library's order */
    double *parameters[MAX_ARRAYS], *hidden, *weights; /* weights [N, H]: the loss is sum(output * weights) */
} Case;

/* ---- small things ---- */

static double uniform(void) { return rand() / (RAND_MAX + 1.0) - 0.5; }

static void *allocate(size_t count, size_t size) {
    void *memory = calloc(count ? count : 1, size);
    if (!memory) exit(2);
    return memory;
}

static double *random_array(size_t count, double scale, double mean) {
    double *array = allocate(count, sizeof(double));
    for (size_t i = 0; i < count; i++) array[i] = (float)(mean + scale * uniform()); /* a float holds it exactly */
    return array;
}

static float *as_float(const double *array, size_t count) {
    float *copy = allocate(count, sizeof(float));
    for (size_t i = 0; i < count; i++) copy[i] = (float)array[i];
    return copy;
}

static void naive_sgemm(int order, int a_transposed, int b_transposed, int m, int n, int k, float alpha, const float *a,
                        int lda, const float *b, int ldb, float beta, float *c, int ldc) {
    (void)order; /* rows */
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) {
            double sum = 0;
            for (int x = 0; x < k; x++)
                sum += (double)(a_transposed == 112 ? a[x * lda + i] : a[i * lda + x]) *
                       (b_transposed == 112 ? b[j * ldb + x] : b[x * ldb + j]);
            /* beta 0 does not read c, which may hold anything */
            c[i * ldc + j] = (float)(alpha * sum + (beta == 0 ? 0 : beta * (double)c[i * ldc + j]));
        }
}

/* ---- the naive layer ---- */

/* y = x W + b and, where there is a norm, y * g + c; r is added, and elements dropped, in between. Moves `next` on. */
static double *naive_linear(const Case *c, int *next, const double *x, int in, int out, const double *residual,
                            const uint16_t *random, int normed) {
    int tokens = c->layer.batch * c->layer.length;
    double *const *p = c->parameters + *next, *y = allocate((size_t)tokens * out, sizeof(double));
    for (int i = 0; i < tokens; i++)
        for (int j = 0; j < out; j++) {
            size_t at = (size_t)i * out + j;
            double value = p[1][j];
            for (int k = 0; k < in; k++) value += x[(size_t)i * in + k] * p[0][(size_t)k * out + j];
            if (random) value = random[at] >= c->layer.hidden_threshold ? value / c->layer.hidden_keep : 0;
            if (residual) value += residual[at];
            y[at] = normed ? value * p[2][j] + p[3][j] : value;
        }
    *next += normed ? 4 : 2;
    return y;
}

static double *naive_attention(const mb_layer *l, const double *query, const double *key, const double *value) {
    int s = l->length, w = l->width, d = w / l->heads;
    double *context = allocate((size_t)l->batch * s * w, sizeof(double)), *p = allocate(s, sizeof(double));
    for (int b = 0; b < l->batch; b++)
        for (int a = 0; a < l->heads; a++)
            for (int i = 0; i < s; i++) {
                double sum = 0, largest = -INFINITY;
                for (int j = 0; j < s; j++) {
                    p[j] = l->bias ? l->bias[b * l->bias_batch + a * l->bias_head + i * l->bias_query + j] : 0;
                    for (int k = 0; k < d; k++)
                        p[j] += l->scaling * query[(b * s + i) * w + a * d + k] * key[(b * s + j) * w + a * d + k];
                    largest = fmax(largest, p[j]);
                }
                for (int j = 0; j < s; j++) sum += p[j] = exp(p[j] - largest);
                for (int j = 0; j < s; j++) {
                    size_t at = (((size_t)b * l->heads + a) * s + i) * s + j;
                    int dropped = l->attention_random && l->attention_random[at] < l->attention_threshold;
                    p[j] = dropped ? 0 : p[j] / sum / l->attention_keep;
                    for (int k = 0; k < d; k++)
                        context[(b * s + i) * w + a * d + k] += p[j] * value[(b * s + j) * w + a * d + k];
                }
            }
    free(p);
    return context;
}

/* -> the output [N, H], to be freed */
static double *naive_layer(const Case *c) {
    const mb_layer *l = &c->layer;
    int h = l->hidden, d = l->width, next = 0, source = l->reads_bottleneck || l->reads_shared ? d : h;
    double *bottleneck = naive_linear(c, &next, c->hidden, h, d, NULL, NULL, 1), *shared = NULL;
    if (l->reads_shared) shared = naive_linear(c, &next, c->hidden, h, d, NULL, NULL, 1);
    const double *value_input = l->reads_bottleneck ? bottleneck : c->hidden, *query_input = shared ? shared : value_input;
    double *query = naive_linear(c, &next, query_input, source, d, NULL, NULL, 0);
    double *key = naive_linear(c, &next, query_input, source, d, NULL, NULL, 0);
    double *value = naive_linear(c, &next, value_input, l->reads_bottleneck ? d : h, d, NULL, NULL, 0);
    double *context = naive_attention(l, query, key, value);
    double *inner = naive_linear(c, &next, context, d, d, bottleneck, NULL, 1);
    for (int n = 0; n < l->networks; n++) {
        double *active = naive_linear(c, &next, inner, d, l->intermediate, NULL, NULL, 0), *before = inner;
        for (int i = 0; i < l->batch * l->length * l->intermediate; i++) active[i] = fmax(active[i], 0);
        inner = naive_linear(c, &next, active, l->intermediate, d, before, NULL, 1);
        free(active), free(before);
    }
    double *output = naive_linear(c, &next, inner, d, h, c->hidden, l->hidden_random, 1);
    free(bottleneck), free(shared), free(query), free(key), free(value), free(context), free(inner);
    return output;
}

static double naive_loss(const Case *c) {
    double *output = naive_layer(c), loss = 0;
    for (int i = 0; i < c->layer.batch * c->layer.length * c->layer.hidden; i++) loss += output[i] * c->weights[i];
    free(output);
    return loss;
}

/* ---- cases ---- */

static void add_linear(Case *c, int in, int out, int normed) {
    c->size[c->count] = in * out, c->parameters[c->count++] = random_array((size_t)in * out, 0.6, 0);
    c->size[c->count] = out, c->parameters[c->count++] = random_array(out, 0.6, 0);
    if (!normed) return;
    c->size[c->count] = out, c->parameters[c->count++] = random_array(out, 0.6, 1);
    c->size[c->count] = out, c->parameters[c->count++] = random_array(out, 0.6, 0);
}

static uint16_t *random_bits(size_t count) {
    uint16_t *bits = allocate(count, sizeof(uint16_t));
    for (size_t i = 0; i < count; i++) bits[i] = rand() & 0xffff;
    return bits;
}

static Case make_case(mb_layer l, double drop, int biased) {
    Case c = {.layer = l};
    int h = l.hidden, d = l.width, source = l.reads_bottleneck || l.reads_shared ? d : h;
    size_t tokens = (size_t)l.batch * l.length, scores = tokens * l.heads * l.length;
    add_linear(&c, h, d, 1);
    if (l.reads_shared) add_linear(&c, h, d, 1);
    add_linear(&c, source, d, 0), add_linear(&c, source, d, 0), add_linear(&c, l.reads_bottleneck ? d : h, d, 0);
    add_linear(&c, d, d, 1);
    for (int n = 0; n < l.networks; n++) add_linear(&c, d, l.intermediate, 0), add_linear(&c, l.intermediate, d, 1);
    add_linear(&c, d, h, 1);
    c.hidden = random_array(tokens * h, 2, 0), c.weights = random_array(tokens * h, 2, 0);
    c.layer.scaling = 0.7f;
    c.layer.attention_keep = c.layer.hidden_keep = (float)(1 - drop);
    c.layer.attention_threshold = c.layer.hidden_threshold = (int)(drop * 65536);
    if (drop > 0) c.layer.attention_random = random_bits(scores), c.layer.hidden_random = random_bits(tokens * h);
    if (biased) { /* one number for each row and key: the last key is hidden */
        double *bias = random_array(tokens, 1, 0);
        for (int b = 0; b < l.batch && l.length > 1; b++) bias[(b + 1) * l.length - 1] = -1e30;
        c.layer.bias = as_float(bias, tokens), c.layer.bias_batch = l.length;
        free(bias);
    }
    return c;
}

static void free_case(Case *c) {
    for (int i = 0; i < c->count; i++) free(c->parameters[i]);
    free(c->hidden), free(c->weights), free((void *)c->layer.bias);
    free((void *)c->layer.attention_random), free((void *)c->layer.hidden_random);
}

/* ---- comparison ---- */

static double worst; /* of the case at hand, relative */

static void compare(const float *found, const double *expected, int count, double floor) {
    double largest = floor, difference = 0;
    for (int i = 0; i < count; i++) largest = fmax(largest, fabs(expected[i]));
    for (int i = 0; i < count; i++) {
        double apart = fabs(found[i] - expected[i]);
        difference = fmax(difference, isnan(apart) ? INFINITY : apart);
    }
    worst = fmax(worst, largest > 0 ? difference / largest : difference);
}

/* Compare a gradient with central differences at up to `limit` places of `array`. */
static void compare_gradient(const Case *c, double *array, int count, const float *found, int limit, double floor) {
    int step = count > limit ? count / limit : 1, places = 0;
    float *some = allocate(count, sizeof(float));
    double *expected = allocate(count, sizeof(double));
    for (int i = 0; i < count; i += step, places++) {
        double before = array[i];
        array[i] = before + STEP;
        double above = naive_loss(c);
        array[i] = before - STEP;
        double below = naive_loss(c);
        array[i] = before;
        some[places] = found[i], expected[places] = (above - below) / (2 * STEP);
    }
    compare(some, expected, places, floor);
    free(some), free(expected);
}

/* Run both passes and compare; `limit` gradients of each array. -> 1 where they differ */
static int check(const char *name, Case c, int limit, int spoil) {
    size_t stream = (size_t)c.layer.batch * c.layer.length * c.layer.hidden;
    float *parameters[MAX_ARRAYS], *gradients[MAX_ARRAYS];
    for (int i = 0; i < c.count; i++) {
        parameters[i] = as_float(c.parameters[i], c.size[i]), gradients[i] = allocate(c.size[i], sizeof(float));
        memset(gradients[i], 0xff, sizeof(float) * c.size[i]); /* not numbers, to be overwritten */
    }
    float *hidden = as_float(c.hidden, stream), *gradient = as_float(c.weights, stream);
    float *output = allocate(stream, sizeof(float)), *d_hidden = allocate(stream, sizeof(float));
    float *saved = allocate(mb_layer_saved_floats(&c.layer), sizeof(float));
    float *scratch = allocate(mb_layer_forward_scratch_floats(&c.layer), sizeof(float));
    mb_layer_forward(&c.layer, hidden, parameters, saved, scratch, output);
    free(scratch), scratch = allocate(mb_layer_backward_scratch_floats(&c.layer), sizeof(float));
    mb_layer_backward(&c.layer, hidden, parameters, saved, scratch, gradient, d_hidden, gradients);
    if (spoil) gradients[0][0] += 0.01f + 0.01f * fabsf(gradients[0][0]);

    worst = 0;
    double *expected = naive_layer(&c), floor = 0; /* a gradient that is nearly nothing is compared with the others */
    compare(output, expected, (int)stream, 0);
    for (size_t i = 0; i < stream; i++) floor = fmax(floor, 1e-2 * fabs(d_hidden[i]));
    compare_gradient(&c, c.hidden, (int)stream, d_hidden, limit, floor);
    for (int i = 0; i < c.count; i++) compare_gradient(&c, c.parameters[i], c.size[i], gradients[i], limit, floor);
    int failed = !(worst <= TOLERANCE);
    printf("%s %-48s largest relative difference %.1e\n", failed ? "FAILED" : "passed", name, worst);

    for (int i = 0; i < c.count; i++) free(parameters[i]), free(gradients[i]);
    free(hidden), free(gradient), free(output), free(d_hidden), free(saved), free(scratch), free(expected);
    free_case(&c);
    return failed;
}

int main(int count, char **arguments) {
    int spoil = count > 1 && strcmp(arguments[1], "control") == 0, failed = 0;
    const mb_layer shared = {.batch = 2, .length = 5, .hidden = 12, .width = 8, .intermediate = 10, .heads = 2,
                             .networks = 2, .reads_shared = 1};
    mb_layer bottleneck = shared, stream = shared, odd = shared, one = shared, none = shared, tiles = shared;
    bottleneck.reads_shared = 0, bottleneck.reads_bottleneck = 1;
    stream.reads_shared = 0, stream.networks = 1;
    odd.batch = 3, odd.length = 7, odd.hidden = 11, odd.width = 9, odd.intermediate = 5, odd.heads = 3;
    one.batch = one.length = 1;
    none.batch = 0;
    tiles.batch = 1, tiles.length = 131, tiles.hidden = 5, tiles.width = 4, tiles.intermediate = 3, tiles.networks = 1;
    if (mb_abi_version() != MB_ABI_VERSION || mb_layer_size() != sizeof(mb_layer)) {
        printf("FAILED: the library was built with another header\n");
        return 1;
    }
    mb_set_sgemm(naive_sgemm);
    for (int threads = 1; threads <= 3; threads += 2) {
        omp_set_num_threads(threads);
        srand(1);
        printf("%d threads\n", threads);
        failed |= check("query and key share a bottleneck", make_case(shared, 0, 1), 1000, spoil);
        failed |= check("all read the bottleneck, dropout", make_case(bottleneck, 0.25, 1), 1000, spoil);
        failed |= check("all read the stream, no bias", make_case(stream, 0, 0), 1000, spoil);
        failed |= check("odd sizes, dropout", make_case(odd, 0.25, 1), 1000, spoil);
        failed |= check("one token", make_case(one, 0, 0), 1000, spoil);
        failed |= check("no tokens", make_case(none, 0, 0), 1000, spoil);
        failed |= check("more tokens than a tile", make_case(tiles, 0.25, 1), 6, spoil);
    }
    return failed;
}
