/* The linear layers of an encoder layer, what a pass saves for the next, and how tokens are shared among threads.
 * Sizes as in mobilebert.h. */

#ifndef MB_PARTS_H
#define MB_PARTS_H

#include <assert.h>
#include <omp.h>

#include "mobilebert.h"

enum { MAX_PARTS = 2 * MB_MAX_NETWORKS + 7 };
enum { ROWS = 128 }; /* tokens of a tile, and queries of a block of attention */

/* A linear layer W [in, out], b, and the NoNorm behind it (g, c) where there is one. */
typedef struct {
    int in, out;
    const float *weight, *bias, *scale, *shift;
    float *d_weight, *d_bias, *d_scale, *d_shift;
    const float *flipped; /* the weight transposed, [out, in]: what the backward pass multiplies with */
    size_t at;            /* of its sums within a thread's share: d_weight, d_bias, d_scale, d_shift */
    const uint16_t *random; /* dropout between the product and the residual, [N, out]; NULL: none */
    int threshold;
    float keep;
} Part;

typedef struct {
    Part *entry, *shared, *query, *key, *value, *attention, *up[MB_MAX_NETWORKS], *down[MB_MAX_NETWORKS], *exit;
    Part parts[MAX_PARTS];
    int count;
    size_t sums; /* floats of a thread's share */
} Parts;

/* What the forward pass saves for the backward pass. [N, D] unless noted. */
typedef struct {
    float *bottleneck, *shared, *query, *key, *value, *context;
    float *inner[MB_MAX_NETWORKS + 1]; /* input of each feed-forward network, and of the way out */
    float *active[MB_MAX_NETWORKS];    /* [N, F] */
    float *largest, *inverse;          /* [B, A, S]: a query's largest score, 1 / sum of exp(score - largest) */
    size_t size;
} Saved;

static Part *add_part(Parts *p, int in, int out, int normed, float *const **parameters, float *const **gradients) {
    Part *part = &p->parts[p->count++];
    *part = (Part){.in = in, .out = out, .at = p->sums, .keep = 1};
    part->weight = *(*parameters)++, part->bias = *(*parameters)++;
    if (normed) part->scale = *(*parameters)++, part->shift = *(*parameters)++;
    if (*gradients) {
        part->d_weight = *(*gradients)++, part->d_bias = *(*gradients)++;
        if (normed) part->d_scale = *(*gradients)++, part->d_shift = *(*gradients)++;
    }
    p->sums += ((size_t)in + 3) * out;
    return part;
}

/* In the order of reference.parts; `gradients` may be NULL. */
static void name_parts(const mb_layer *l, Parts *p, float *const *parameters, float *const *gradients) {
    assert(l->networks >= 1 && l->networks <= MB_MAX_NETWORKS && l->heads >= 1 && l->width % l->heads == 0);
    assert(!(l->reads_bottleneck && l->reads_shared));
    int h = l->hidden, d = l->width, source = l->reads_bottleneck || l->reads_shared ? d : h;
    p->count = 0, p->sums = 0, p->shared = NULL;
    p->entry = add_part(p, h, d, 1, &parameters, &gradients);
    if (l->reads_shared) p->shared = add_part(p, h, d, 1, &parameters, &gradients);
    p->query = add_part(p, source, d, 0, &parameters, &gradients);
    p->key = add_part(p, source, d, 0, &parameters, &gradients);
    p->value = add_part(p, l->reads_bottleneck ? d : h, d, 0, &parameters, &gradients);
    p->attention = add_part(p, d, d, 1, &parameters, &gradients);
    for (int n = 0; n < l->networks; n++) {
        p->up[n] = add_part(p, d, l->intermediate, 0, &parameters, &gradients);
        p->down[n] = add_part(p, l->intermediate, d, 1, &parameters, &gradients);
    }
    p->exit = add_part(p, d, h, 1, &parameters, &gradients);
    p->exit->random = l->hidden_random, p->exit->threshold = l->hidden_threshold, p->exit->keep = l->hidden_keep;
}

/* Cut `count` floats off an array at `base`, of which `*size` are taken; with NULL it only counts. */
static float *take(float *base, size_t *size, size_t count) {
    float *begin = base ? base + *size : NULL;
    *size += (count + 15) / 16 * 16; /* whole cache lines */
    return begin;
}

static void name_saved(const mb_layer *l, Saved *k, float *base) {
    size_t tokens = (size_t)l->batch * l->length, inner = tokens * l->width;
    k->size = 0;
    k->bottleneck = take(base, &k->size, inner);
    k->shared = l->reads_shared ? take(base, &k->size, inner) : NULL;
    k->query = take(base, &k->size, inner);
    k->key = take(base, &k->size, inner);
    k->value = take(base, &k->size, inner);
    k->context = take(base, &k->size, inner);
    for (int n = 0; n < l->networks; n++) {
        k->inner[n] = take(base, &k->size, inner);
        k->active[n] = take(base, &k->size, tokens * l->intermediate);
    }
    k->inner[l->networks] = take(base, &k->size, inner);
    k->largest = take(base, &k->size, tokens * l->heads);
    k->inverse = take(base, &k->size, tokens * l->heads);
}

/* What the backward pass works on: gradients [N, D] of what `Saved` names, and each thread's own. */
typedef struct {
    float *context, *bottleneck, *shared, *query, *key, *value;
    float *flipped; /* all weights, each at its part's `at` */
    float *own;
    size_t own_size, size;
} Scratch;

/* A thread's own: sums of the parameters' gradients, then two blocks of attention or, at another time, four tiles. */
static void name_scratch(const mb_layer *l, const Parts *p, Scratch *s, float *base) {
    size_t inner = (size_t)l->batch * l->length * l->width;
    size_t widest = l->hidden > l->intermediate ? l->hidden : l->intermediate;
    size_t blocks = 2 * (size_t)ROWS * l->length, tiles = ROWS * (2 * widest + l->intermediate + 2 * l->width);
    s->size = 0;
    s->context = take(base, &s->size, inner);
    s->bottleneck = take(base, &s->size, inner);
    s->shared = take(base, &s->size, inner);
    s->query = take(base, &s->size, inner);
    s->key = take(base, &s->size, inner);
    s->value = take(base, &s->size, inner);
    s->flipped = take(base, &s->size, p->sums);
    s->own_size = (p->sums + (blocks > tiles ? blocks : tiles) + 15) / 16 * 16;
    s->own = take(base, &s->size, s->own_size * omp_get_max_threads());
}

/* No tokens: nothing to compute, and no tile to divide by. */
static int is_empty(const mb_layer *l) { return l->batch <= 0 || l->length <= 0; }

/* ---- threads and tiles ---- */

/* Tokens `first` to `first + rows` of all N. */
typedef struct {
    int first, rows;
} Tile;

/* The tokens `begin` to `end` of a thread, in tiles of `size`; `used` threads have any. */
typedef struct {
    int size, begin, end, used;
} Share;

static int at_most(int value, int bound) { return value < bound ? value : bound; }

/* Tiles, or heads, that fall to each thread; the first ones may be all that have any. */
static int share_of(int count, int threads) { return (count + threads - 1) / threads; }

/* Tokens of a tile: at most ROWS, and as many tiles for one thread as for another. */
static int tile_rows(int tokens, int threads) {
    int tiles = (tokens + ROWS * threads - 1) / (ROWS * threads) * threads;
    return (tokens + tiles - 1) / tiles;
}

static Share share_of_tokens(int tokens, int thread, int threads) {
    int size = tile_rows(tokens, threads), tiles = (tokens + size - 1) / size, mine = share_of(tiles, threads);
    int begin = at_most(thread * mine * size, tokens), end = at_most((thread + 1) * mine * size, tokens);
    return (Share){.size = size, .begin = begin, .end = end, .used = share_of(tiles, mine)};
}

#endif
