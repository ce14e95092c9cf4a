/* Attention of one head, in blocks of ROWS queries, forward and backward. The [S, S] matrices are never whole: the
 * backward pass makes the probabilities again from each query's largest score and sum. d = D / A. */

#ifndef MB_ATTENTION_H
#define MB_ATTENTION_H

#include "rows.h"

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

/* Head `a` of row `b` of the batch. */
typedef struct {
    const mb_layer *layer;
    const Saved *saved;
    int b, a;
    size_t at; /* its first number in [N, D], where a token's d numbers lie D apart */
} Head;

static Head head_of(const mb_layer *l, const Saved *saved, int pair) {
    int b = pair / l->heads, a = pair % l->heads;
    return (Head){l, saved, b, a, (size_t)b * l->length * l->width + (size_t)a * (l->width / l->heads)};
}

/* Its place in [B, A, S]. */
static size_t query_at(Head h, int query) { return ((size_t)h.b * h.layer->heads + h.a) * h.layer->length + query; }

/* A query's random bits [S]; NULL without dropout. */
static const uint16_t *random_of_query(Head h, int query) {
    const mb_layer *l = h.layer;
    return l->attention_random ? l->attention_random + query_at(h, query) * l->length : NULL;
}

/* scores [rows, S] = scaling q k^T + bias, for queries from `first` on */
static void attention_scores(Head h, int first, int rows, float *scores) {
    const mb_layer *l = h.layer;
    int s = l->length, w = l->width, d = w / l->heads;
    sgemm(ROW_MAJOR, PLAIN, TRANSPOSED, rows, s, d, l->scaling, h.saved->query + h.at + (size_t)first * w, w,
          h.saved->key + h.at, w, 0, scores, s);
    if (!l->bias) return;
    for (int i = 0; i < rows; i++) {
        const float *bias = l->bias + h.b * l->bias_batch + h.a * l->bias_head + (first + i) * l->bias_query;
        float *row = scores + (size_t)i * s;
#pragma omp simd
        for (int j = 0; j < s; j++) row[j] += bias[j];
    }
}

/* A query's scores [S] become its probabilities, with dropout; the largest score and the sum are saved. */
static void softmax(Head h, int query, float *row) {
    const mb_layer *l = h.layer;
    int s = l->length, threshold = l->attention_threshold;
    float largest = row[0], sum = 0;
#pragma omp simd reduction(max : largest)
    for (int j = 0; j < s; j++) largest = largest < row[j] ? row[j] : largest;
#pragma omp simd reduction(+ : sum)
    for (int j = 0; j < s; j++) {
        row[j] = exponential(row[j] - largest);
        sum += row[j];
    }
    /* Saved apart: a fully masked query's scores are -3.4e38, where a logarithm would be lost. */
    h.saved->largest[query_at(h, query)] = largest, h.saved->inverse[query_at(h, query)] = 1 / sum;
    float inverse = 1 / (sum * l->attention_keep);
    const uint16_t *random = random_of_query(h, query);
    if (random) {
#pragma omp simd
        for (int j = 0; j < s; j++) row[j] = random[j] >= threshold ? row[j] * inverse : 0;
    } else {
#pragma omp simd
        for (int j = 0; j < s; j++) row[j] *= inverse;
    }
}

/* `scores` is [ROWS, S] */
static void attention(Head h, float *scores) {
    int s = h.layer->length, w = h.layer->width, d = w / h.layer->heads;
    for (int first = 0; first < s; first += ROWS) {
        int rows = at_most(ROWS, s - first);
        attention_scores(h, first, rows, scores);
        for (int i = 0; i < rows; i++) softmax(h, first + i, scores + (size_t)i * s);
        sgemm(ROW_MAJOR, PLAIN, PLAIN, rows, d, s, 1, scores, s, h.saved->value + h.at, w, 0,
              h.saved->context + h.at + (size_t)first * w, w);
    }
}

/* A query's scores [S] become its probabilities with dropout, d_row the gradient of its scores.
 * With p the probabilities, m the scaled mask and t = m * d_row: d_row = p * (t - sum(p * t)), row = p m.
 * The sum could be had from the context and its gradient; of the same t it cancels exactly where it should. */
static void softmax_backward(Head h, int query, float *row, float *d_row) {
    const mb_layer *l = h.layer;
    int s = l->length, threshold = l->attention_threshold;
    float largest = h.saved->largest[query_at(h, query)], inverse = h.saved->inverse[query_at(h, query)];
    float scale = 1 / l->attention_keep, delta = 0;
    const uint16_t *random = random_of_query(h, query);
    if (random) {
#pragma omp simd reduction(+ : delta)
        for (int j = 0; j < s; j++) {
            float m = random[j] >= threshold ? scale : 0;
            row[j] = exponential(row[j] - largest) * inverse;
            d_row[j] *= m;
            delta += row[j] * d_row[j];
        }
#pragma omp simd
        for (int j = 0; j < s; j++) {
            d_row[j] = row[j] * (d_row[j] - delta);
            row[j] *= random[j] >= threshold ? scale : 0;
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

/* Gradients of query, key and value from that of the context, all [N, D]; `scores` is [2, ROWS, S].
 * dv = (p m)^T do,  dscores from do v^T as above,  dq = scaling dscores k,  dk = scaling dscores^T q. */
static void attention_backward(Head h, const Scratch *d, float *scores) {
    int s = h.layer->length, w = h.layer->width, size = w / h.layer->heads;
    float *d_scores = scores + (size_t)ROWS * s, scaling = h.layer->scaling;
    const float *key = h.saved->key + h.at, *value = h.saved->value + h.at;
    for (int first = 0; first < s; first += ROWS) {
        int rows = at_most(ROWS, s - first);
        float beta = first ? 1 : 0; /* the first block sets the sums over queries */
        size_t block = h.at + (size_t)first * w;
        const float *d_context = d->context + block, *query = h.saved->query + block;
        attention_scores(h, first, rows, scores);
        sgemm(ROW_MAJOR, PLAIN, TRANSPOSED, rows, s, size, 1, d_context, w, value, w, 0, d_scores, s);
        for (int i = 0; i < rows; i++)
            softmax_backward(h, first + i, scores + (size_t)i * s, d_scores + (size_t)i * s);
        sgemm(ROW_MAJOR, TRANSPOSED, PLAIN, s, size, rows, 1, scores, s, d_context, w, beta, d->value + h.at, w);
        sgemm(ROW_MAJOR, TRANSPOSED, PLAIN, s, size, rows, scaling, d_scores, s, query, w, beta, d->key + h.at, w);
        sgemm(ROW_MAJOR, PLAIN, PLAIN, rows, size, s, scaling, d_scores, s, key, w, 0, d->query + block, w);
    }
}

#endif
