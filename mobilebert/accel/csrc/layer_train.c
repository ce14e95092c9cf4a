/* The encoder layer in C, forward and backward, float32: reference.py's formulas, part by part.
 *
 * Matrix products are the math library's (mb_set_sgemm). What is gained is order: a thread takes a tile of some hundred
 * tokens through all products and element-wise steps while it lies in the core's cache, and the [S, S] matrices of
 * attention are made again in the backward pass instead of saved (Rabe and Staats 2021, arXiv 2112.05682; Dao et al.
 * 2022, arXiv 2205.14135). The headers beside this file belong to it: one compilation, so that all is inlined.
 */

#include "attention.h"
#include "mobilebert.h"
#include "parts.h"
#include "rows.h"

/* One call, as all threads see it. Scratch and gradients are the backward pass's. */
typedef struct {
    const mb_layer *layer;
    const float *hidden;
    Parts parts;
    Saved saved;
    float *output;
    Scratch scratch;
    const float *gradient;
    float *d_hidden;
} Pass;

int mb_abi_version(void) { return MB_ABI_VERSION; }

size_t mb_layer_size(void) { return sizeof(mb_layer); }

void mb_set_sgemm(mb_sgemm *function) { sgemm = function; }

size_t mb_layer_saved_floats(const mb_layer *layer) {
    Saved saved;
    name_saved(layer, &saved, NULL);
    return saved.size;
}

/* ---- forward ---- */

/* Of a tile: stream -> bottlenecks, query, key, value. */
static void project(const Pass *pass, Tile tile) {
    const mb_layer *l = pass->layer;
    const Parts *p = &pass->parts;
    const Saved *k = &pass->saved;
    int rows = tile.rows;
    size_t at = (size_t)tile.first * l->width;
    const float *stream = pass->hidden + (size_t)tile.first * l->hidden, *source = stream;
    linear(p->entry, rows, stream, k->bottleneck + at);
    if (l->reads_bottleneck) source = k->bottleneck + at;
    linear(p->value, rows, source, k->value + at);
    if (l->reads_shared) {
        linear(p->shared, rows, stream, k->shared + at);
        source = k->shared + at;
    }
    linear(p->query, rows, source, k->query + at);
    linear(p->key, rows, source, k->key + at);
}

/* Of a tile: context -> attention's output, feed-forward networks, output. */
static void feed_forward(const Pass *pass, Tile tile) {
    const mb_layer *l = pass->layer;
    const Parts *p = &pass->parts;
    const Saved *k = &pass->saved;
    size_t at = (size_t)tile.first * l->width, wide = (size_t)tile.first * l->hidden;
    residual_norm(p->attention, tile, k->context + at, k->bottleneck + at, k->inner[0] + at);
    for (int n = 0; n < l->networks; n++) {
        float *active = k->active[n] + (size_t)tile.first * l->intermediate, *inner = k->inner[n] + at;
        linear_relu(p->up[n], tile.rows, inner, active);
        residual_norm(p->down[n], tile, active, inner, k->inner[n + 1] + at);
    }
    residual_norm(p->exit, tile, k->inner[l->networks] + at, pass->hidden + wide, pass->output + wide);
}

size_t mb_layer_forward_scratch_floats(const mb_layer *layer) {
    return (size_t)omp_get_max_threads() * ROWS * layer->length;
}

void mb_layer_forward(const mb_layer *layer, const float *hidden, float *const *parameters, float *saved,
                      float *scratch, float *output) {
    if (is_empty(layer)) return;
    assert(sgemm);
    Pass pass = {.layer = layer, .hidden = hidden, .output = output};
    name_parts(layer, &pass.parts, parameters, NULL);
    name_saved(layer, &pass.saved, saved);
    int tokens = layer->batch * layer->length, pairs = layer->batch * layer->heads;
#pragma omp parallel
    {
        int thread = omp_get_thread_num(), threads = omp_get_num_threads(), heads = share_of(pairs, threads);
        Share share = share_of_tokens(tokens, thread, threads);
        for (int t = share.begin; t < share.end; t += share.size)
            project(&pass, (Tile){t, at_most(share.size, share.end - t)});
#pragma omp barrier
        for (int i = thread * heads; i < at_most((thread + 1) * heads, pairs); i++)
            attention(head_of(layer, &pass.saved, i), scratch + (size_t)thread * ROWS * layer->length);
#pragma omp barrier
        for (int t = share.begin; t < share.end; t += share.size)
            feed_forward(&pass, (Tile){t, at_most(share.size, share.end - t)});
    }
}

/* ---- backward ---- */

/* Of a tile: gradient of the output -> of the context and the bottleneck, and the stream's share of d_hidden. */
static void feed_forward_backward(const Pass *pass, Tile tile, Work work) {
    const mb_layer *l = pass->layer;
    const Parts *p = &pass->parts;
    const Saved *k = &pass->saved;
    int rows = tile.rows;
    size_t at = (size_t)tile.first * l->width, wide = (size_t)tile.first * l->hidden;
    float *d_active = work.spare, *d_inner = d_active + (size_t)ROWS * l->intermediate; /* [rows, F], [rows, D] */
    float *d_before = d_inner + (size_t)ROWS * l->width;
    work.spare = d_before + (size_t)ROWS * l->width;
    residual_norm_backward(p->exit, tile, k->inner[l->networks] + at, pass->hidden + wide, pass->gradient + wide, work,
                           pass->d_hidden + wide, d_inner);
    for (int n = l->networks - 1; n >= 0; n--) {
        const float *active = k->active[n] + (size_t)tile.first * l->intermediate, *inner = k->inner[n] + at;
        residual_norm_backward(p->down[n], tile, active, inner, d_inner, work, d_before, d_active);
#pragma omp simd
        for (int i = 0; i < rows * l->intermediate; i++) d_active[i] = active[i] > 0 ? d_active[i] : 0;
        linear_backward(p->up[n], rows, inner, d_active, work, 1, d_before);
        float *swap = d_before;
        d_before = d_inner, d_inner = swap;
    }
    residual_norm_backward(p->attention, tile, k->context + at, k->bottleneck + at, d_inner, work,
                           pass->scratch.bottleneck + at, pass->scratch.context + at);
}

/* Of a tile: gradients of query, key, value and bottleneck -> the rest of d_hidden. */
static void project_backward(const Pass *pass, Tile tile, Work work) {
    const mb_layer *l = pass->layer;
    const Parts *p = &pass->parts;
    const Saved *k = &pass->saved;
    const Scratch *d = &pass->scratch;
    int rows = tile.rows;
    size_t at = (size_t)tile.first * l->width, wide = (size_t)tile.first * l->hidden;
    const float *stream = pass->hidden + wide, *source = stream;
    float *d_stream = pass->d_hidden + wide, *d_source = d_stream;
    if (l->reads_bottleneck) source = k->bottleneck + at, d_source = d->bottleneck + at;
    linear_backward(p->value, rows, source, d->value + at, work, 1, d_source);
    if (l->reads_shared) source = k->shared + at, d_source = d->shared + at;
    linear_backward(p->query, rows, source, d->query + at, work, l->reads_shared ? 0 : 1, d_source);
    linear_backward(p->key, rows, source, d->key + at, work, 1, d_source);
    if (l->reads_shared) linear_backward(p->shared, rows, stream, d_source, work, 1, d_stream);
    linear_backward(p->entry, rows, stream, d->bottleneck + at, work, 1, d_stream);
}

size_t mb_layer_backward_scratch_floats(const mb_layer *layer) {
    float *none[4 * MAX_PARTS] = {NULL};
    Parts parts;
    Scratch scratch;
    name_parts(layer, &parts, none, NULL);
    name_scratch(layer, &parts, &scratch, NULL);
    return scratch.size;
}

/* One thread's part of the backward pass; all threads meet at the barriers. */
static void backward_of_thread(Pass *pass) {
    const mb_layer *l = pass->layer;
    Parts *p = &pass->parts;
    Scratch *d = &pass->scratch;
    int thread = omp_get_thread_num(), threads = omp_get_num_threads();
    int pairs = l->batch * l->heads, heads = share_of(pairs, threads);
    Share share = share_of_tokens(l->batch * l->length, thread, threads);
    float *sums = d->own + thread * d->own_size;
    Work work = {.sums = sums, .spare = sums + p->sums};

    for (int i = thread; i < p->count; i += threads) {
        flip(&p->parts[i], d->flipped + p->parts[i].at);
        p->parts[i].flipped = d->flipped + p->parts[i].at;
    }
#pragma omp barrier
    for (int t = share.begin; t < share.end; t += share.size) {
        work.beta = t > share.begin;
        feed_forward_backward(pass, (Tile){t, at_most(share.size, share.end - t)}, work);
    }
#pragma omp barrier
    for (int i = thread * heads; i < at_most((thread + 1) * heads, pairs); i++)
        attention_backward(head_of(l, &pass->saved, i), d, work.spare);
#pragma omp barrier
    for (int t = share.begin; t < share.end; t += share.size) {
        work.beta = t > share.begin;
        project_backward(pass, (Tile){t, at_most(share.size, share.end - t)}, work);
    }
#pragma omp barrier
    for (int i = thread; i < p->count; i += threads) finish_part(&p->parts[i], d->own, d->own_size, share.used);
}

void mb_layer_backward(const mb_layer *layer, const float *hidden, float *const *parameters, float *saved,
                       float *scratch, const float *gradient, float *d_hidden, float *const *gradients) {
    Pass pass = {.layer = layer, .hidden = hidden, .gradient = gradient, .d_hidden = d_hidden};
    name_parts(layer, &pass.parts, parameters, gradients);
    if (is_empty(layer)) {
        for (int i = 0; i < pass.parts.count; i++) clear_gradients(&pass.parts.parts[i]);
        return;
    }
    assert(sgemm);
    name_saved(layer, &pass.saved, saved);
    name_scratch(layer, &pass.parts, &pass.scratch, scratch);
#pragma omp parallel
    backward_of_thread(&pass);
}
