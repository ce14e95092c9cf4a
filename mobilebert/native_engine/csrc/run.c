/* Runs a model's segments: every thread takes tiles of rows through all operations of one, then they meet.
 *
 *     n tokens   B texts   R rows of a tile
 */

#include <assert.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"

/* Rows of a tile at most: few enough that they stay in a core's second cache with the weights that they meet. */
enum { MAX_TILE = 96, ALIGNMENT = 64 };

typedef struct mb_run {
    mb_model *model;
    int count, tokens;
    const int32_t *ids, *types;
    mb_options options;
    float *const *outputs;
    int *starts;       /* [B + 1] first token of each text */
    int *texts;        /* [n] the text of each token */
    int *first_panel;  /* [B + 1] of the keys, which begin a panel with each text */
    int longest;       /* tokens of a text */
    char *scratch;     /* [threads] */
    size_t scratch_size, scratch_room;
    size_t attention_offset, scale_offset; /* within a thread's scratch */
    atomic_int *next_tile; /* [segments] */
    size_t token_room, text_room, panel_room; /* rows that the buffers have place for */
    int is_ready;          /* buffers are there */
} Run;

/* Some rows, and where they stand. */
typedef struct {
    const Run *run;
    int first, rows;
    char *scratch;
} Tile;

static size_t rounded(size_t size) { return (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT; }

static void *slot_at(const Tile *tile, int slot) {
    const mb_slot *s = &tile->run->model->slots[slot];
    return s->place == IN_TILE ? tile->scratch + s->offset : s->memory + (size_t)tile->first * s->row_bytes;
}

static float *value_at(const Tile *tile, int value) { return slot_at(tile, tile->run->model->values[value].slot); }

static float *row_scale(const Tile *tile, int slot) {
    return (float *)(tile->scratch + tile->run->scale_offset) + (size_t)slot * MAX_TILE;
}

/* -- operations over the rows of a tile */

static void add_row(float *output, const mb_table *table, int row) {
    size_t width = (size_t)table->width;
    if (table->type == MB_F32) {
        const char *from = (const char *)table->data + (size_t)row * width * sizeof(float);
        for (size_t i = 0; i < width; i++) {
            float x;
            memcpy(&x, from + 4 * i, 4);
            output[i] += x;
        }
    } else {
        const int8_t *from = (const int8_t *)table->data + (size_t)row * width;
        for (size_t i = 0; i < width; i++) output[i] += table->scale[row] * from[i];
    }
}

static void do_words(const Tile *tile, const mb_op *op) {
    const Run *run = tile->run;
    const mb_table *words = op->tables[0];
    int width = words->width, parts = op->trigram ? 3 : 1;
    float *output = value_at(tile, op->output);
    memset(output, 0, (size_t)tile->rows * parts * width * sizeof *output);
    for (int r = 0; r < tile->rows; r++, output += parts * width) {
        int t = tile->first + r, text = run->texts[t];
        if (!op->trigram) {
            add_row(output, words, run->ids[t]);
            continue;
        }
        int next = t + 1 < run->starts[text + 1] ? run->ids[t + 1] : run->options.behind ? run->options.behind[text] : -1;
        if (next >= 0) add_row(output, words, next);
        add_row(output + width, words, run->ids[t]);
        if (t > run->starts[text]) add_row(output + 2 * width, words, run->ids[t - 1]);
    }
}

static void do_positions(const Tile *tile, const mb_op *op) {
    const Run *run = tile->run;
    int width = op->tables[0]->width;
    float *output = value_at(tile, op->output);
    memset(output, 0, (size_t)tile->rows * width * sizeof *output);
    for (int r = 0; r < tile->rows; r++, output += width) {
        int t = tile->first + r;
        add_row(output, op->tables[0], t - run->starts[run->texts[t]]);
        add_row(output, op->tables[1], run->types ? run->types[t] : 0);
    }
}

static float activate(mb_activation activation, float x) {
    switch (activation) {
        case ACT_NONE: return x;
        case ACT_RELU: return x > 0 ? x : 0;
        case ACT_GELU: return 0.5f * x * (1 + erff(x * 0.70710678f));
        case ACT_GELU_TANH: return 0.5f * x * (1 + tanhf(0.79788456f * (x + 0.044715f * x * x * x)));
        case ACT_SILU: return x / (1 + expf(-x));
        case ACT_TANH: return tanhf(x);
        case ACT_SIGMOID: return 1 / (1 + expf(-x));
    }
    return x;
}

static void do_linear(const Tile *tile, const mb_op *op) {
    const mb_model *m = tile->run->model;
    const mb_value *from = &m->values[op->inputs[0]];
    mb_product product = {.rows = tile->rows,
                          .input = value_at(tile, op->inputs[0]),
                          .input_stride = (size_t)from->width * sizeof(float),
                          .weight = op->weight,
                          .epilogue = op->activation == ACT_RELU ? MB_RELU : MB_NONE,
                          .output = value_at(tile, op->output),
                          .output_stride = (size_t)op->weight->outputs};
    if (op->inputs[1] >= 0) product.residual = value_at(tile, op->inputs[1]), product.residual_stride = product.output_stride;
    if (op->weight->type != MB_F32) {
        void *converted = slot_at(tile, op->converted_slot);
        float *scale = row_scale(tile, op->converted_slot);
        size_t stride = (size_t)op->weight->steps * 4;
        if (op->converts)
            m->kernels->convert(op->weight->type, tile->rows, from->width, product.input, (size_t)from->width, converted,
                                stride, scale);
        product.input = converted, product.input_stride = stride, product.row_scale = scale;
    }
    m->kernels->product(&product);
    if (op->activation > ACT_RELU)
        for (size_t i = 0; i < (size_t)tile->rows * product.output_stride; i++)
            product.output[i] = activate(op->activation, product.output[i]);
}

static void do_scale(const Tile *tile, const mb_op *op) {
    int width = tile->run->model->values[op->output].width;
    const float *input = value_at(tile, op->inputs[0]), *factor = op->vectors[0], *offset = op->vectors[1];
    float *output = value_at(tile, op->output);
    for (int r = 0; r < tile->rows; r++, input += width, output += width)
        for (int i = 0; i < width; i++) output[i] = input[i] * factor[i] + (offset ? offset[i] : 0);
}

static void do_attention(const Tile *tile, const mb_op *op) {
    const Run *run = tile->run;
    const mb_model *m = run->model;
    const mb_value *query = &m->values[op->inputs[0]], *key = &m->values[op->inputs[1]], *value = &m->values[op->inputs[2]];
    int width = query->width, size = width / op->heads, panel = m->kernels->panel;
    const char *keys = m->slots[key->packed_slot].memory;
    const char *values = m->slots[op->type == MB_BF16 ? value->packed_slot : value->slot].memory;
    size_t bytes = op->type == MB_BF16 ? 2 : 4;
    float *queries = value_at(tile, op->inputs[0]), *output = value_at(tile, op->output);
    for (int r = 0; r < tile->rows;) {
        int row = tile->first + r;
        int text = query->per_text ? row : run->texts[row];
        int end = query->per_text ? row + 1 : run->starts[text + 1];
        int rows = end - row < tile->rows - r ? end - row : tile->rows - r;
        mb_attention one = {.rows = rows,
                            .tokens = run->starts[text + 1] - run->starts[text],
                            .size = size,
                            .mask = run->options.mask ? run->options.mask + run->starts[text] : NULL,
                            .query_stride = (size_t)width,
                            .value_stride = (size_t)width,
                            .output_stride = (size_t)width,
                            .type = op->type,
                            .scratch = tile->scratch + run->attention_offset};
        size_t first_row = (size_t)run->first_panel[text] * panel, panels = run->first_panel[text + 1] - run->first_panel[text];
        if (op->type == MB_F32) first_row = run->starts[text];
        for (int head = 0; head < op->heads; head++) {
            one.query = queries + (size_t)r * width + head * size;
            one.output = output + (size_t)r * width + head * size;
            one.values = values + first_row * width * bytes + (size_t)head * size * 4;
            one.keys = keys + ((size_t)run->first_panel[text] * op->heads + panels * head) * size * panel * bytes;
            m->kernels->attention(&one);
        }
        r += rows;
    }
}

/* The upper half of a float, rounded to the nearest, ties to even. */
static uint16_t bf16_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* Keys as a product's columns: [B][heads][panels of the text][size / T][panel][T]. */
static void put_keys(const Tile *tile, const mb_value *key) {
    const Run *run = tile->run;
    int panel = run->model->kernels->panel, size = key->width / key->heads;
    char *keys = run->model->slots[key->packed_slot].memory;
    const float *row = slot_at(tile, key->slot);
    for (int r = 0; r < tile->rows; r++, row += key->width) {
        int t = tile->first + r, text = run->texts[t], at = t - run->starts[text];
        int first = run->first_panel[text], panels = run->first_panel[text + 1] - first;
        for (int head = 0; head < key->heads; head++) {
            size_t place = ((size_t)first * key->heads + (size_t)panels * head + at / panel) * size * panel;
            const float *from = row + head * size;
            if (key->packed_type == MB_F32) {
                float *to = (float *)keys + place + at % panel;
                for (int i = 0; i < size; i++) to[(size_t)i * panel] = from[i];
            } else {
                uint16_t *to = (uint16_t *)keys + place + at % panel * 2;
                for (int i = 0; i < size; i++) to[(size_t)(i / 2) * panel * 2 + i % 2] = bf16_of(from[i]);
            }
        }
    }
}

/* Values in bfloat16, two tokens of a column side by side: [B][tokens of the text's panels / 2][width][2].
 * What stands behind a text's last token is multiplied by a weight of next to 0: it must be a number, and no earlier run's. */
static void put_values(const Tile *tile, const mb_value *value) {
    const Run *run = tile->run;
    size_t width = (size_t)value->width, panel = (size_t)run->model->kernels->panel;
    uint16_t *values = (uint16_t *)run->model->slots[value->packed_slot].memory;
    const float *row = slot_at(tile, value->slot);
    for (int r = 0; r < tile->rows; r++, row += width) {
        int t = tile->first + r, text = run->texts[t];
        size_t at = run->first_panel[text] * panel + (size_t)(t - run->starts[text]);
        uint16_t *to = values + at / 2 * width * 2 + at % 2;
        for (size_t i = 0; i < width; i++) to[2 * i] = bf16_of(row[i]);
        if (t + 1 < run->starts[text + 1]) continue;
        size_t pair = at / 2 + 1, pairs = run->first_panel[text + 1] * panel / 2;
        for (size_t i = 0; i < width && at % 2 == 0; i++) to[2 * i + 1] = 0;
        memset(values + pair * width * 2, 0, (pairs - pair) * width * 2 * sizeof *values);
    }
}

static void do_first_token(const Tile *tile, const mb_op *op) {
    const Run *run = tile->run;
    const mb_value *from = &run->model->values[op->inputs[0]];
    const float *tokens = (const float *)run->model->slots[from->slot].memory;
    float *output = value_at(tile, op->output);
    for (int r = 0; r < tile->rows; r++)
        memcpy(output + (size_t)r * from->width, tokens + (size_t)run->starts[tile->first + r] * from->width,
               (size_t)from->width * sizeof *output);
}

static void do_layer_norm(const Tile *tile, const mb_op *op) {
    const mb_model *m = tile->run->model;
    size_t width = (size_t)m->values[op->output].width;
    m->kernels->layer_norm(tile->rows, (int)width, op->epsilon, op->vectors[0], op->vectors[1],
                           value_at(tile, op->inputs[0]), width, value_at(tile, op->output), width);
}

static void (*const DO[])(const Tile *, const mb_op *) = {
    [OP_WORDS] = do_words,           [OP_POSITIONS] = do_positions,   [OP_LINEAR] = do_linear,
    [OP_SCALE] = do_scale,           [OP_LAYER_NORM] = do_layer_norm, [OP_ATTENTION] = do_attention,
    [OP_FIRST_TOKEN] = do_first_token,
};

/* The columns of a value that the caller asked for. */
static void give(const Tile *tile, int value) {
    const mb_model *m = tile->run->model;
    size_t width = (size_t)m->values[value].width;
    for (int i = 0; i < m->result_count; i++) {
        const mb_result *result = &m->results[i];
        if (result->value != value || !tile->run->outputs[i]) continue;
        size_t columns = (size_t)result->shown.columns;
        const float *from = value_at(tile, value) + result->start;
        float *to = tile->run->outputs[i] + (size_t)tile->first * columns;
        for (int r = 0; r < tile->rows; r++) memcpy(to + r * columns, from + r * width, columns * sizeof *to);
    }
}

/* As many tiles for each thread, all of whole blocks. */
static int tile_rows(int rows, int threads, int block) {
    int rounds = (rows + threads * MAX_TILE - 1) / (threads * MAX_TILE);
    int tiles = rounds * threads;
    int each = (rows + tiles - 1) / tiles;
    return (each + block - 1) / block * block;
}

static void run_segments(void *context, int thread) {
    Run *run = context;
    mb_model *m = run->model;
    int threads = mb_pool_threads(m->pool);
    for (int s = 0; s < m->segment_count; s++) {
        const mb_segment *segment = &m->segments[s];
        int rows = segment->per_text ? run->count : run->tokens, each = tile_rows(rows, threads, m->kernels->block);
        int tiles = (rows + each - 1) / each;
        for (int i; (i = atomic_fetch_add(&run->next_tile[s], 1)) < tiles;) {
            int first = i * each;
            Tile tile = {run, first, rows - first < each ? rows - first : each, run->scratch + thread * run->scratch_size};
            for (int o = segment->first; o <= segment->last; o++) {
                const mb_op *op = &m->ops[o];
                DO[op->kind](&tile, op);
                const mb_value *value = &m->values[op->output];
                if (value->packed_as == AS_KEYS) put_keys(&tile, value);
                if (value->packed_as == AS_VALUES) put_values(&tile, value);
                give(&tile, op->output);
            }
        }
        mb_pool_meet(m->pool);
    }
}

/* -- buffers, kept from run to run */

static char *grown(char *old, size_t *room, size_t size) {
    if (size <= *room) return old;
    free(old);
    *room = 0;
    char *new = aligned_alloc(ALIGNMENT, rounded(size));
    if (!new) return NULL;
    *room = size;
    return new;
}

static int grow_slots(mb_model *m, mb_place place, size_t *room, size_t rows) {
    if (rows <= *room) return 1;
    *room = 0;
    for (int i = 0; i < m->slot_count; i++) {
        mb_slot *slot = &m->slots[i];
        if (slot->place != place) continue;
        free(slot->memory);
        slot->memory = aligned_alloc(ALIGNMENT, rounded(rows * slot->row_bytes));
        if (!slot->memory) return 0;
    }
    *room = rows;
    return 1;
}

static int prepare(Run *run, const int32_t *lengths) {
    mb_model *m = run->model;
    int threads = mb_pool_threads(m->pool), panel = m->kernels->panel;
    free(run->starts), free(run->first_panel), free(run->texts);
    run->starts = malloc(((size_t)run->count + 1) * sizeof(int));
    run->first_panel = malloc(((size_t)run->count + 1) * sizeof(int));
    run->texts = malloc((size_t)run->tokens * sizeof(int));
    if (!run->next_tile) run->next_tile = malloc((size_t)m->segment_count * sizeof *run->next_tile);
    if (!run->starts || !run->first_panel || !run->texts || !run->next_tile) return 0;
    run->longest = 0;
    run->starts[0] = run->first_panel[0] = 0;
    for (int b = 0; b < run->count; b++) {
        run->starts[b + 1] = run->starts[b] + lengths[b];
        run->first_panel[b + 1] = run->first_panel[b] + (lengths[b] + panel - 1) / panel;
        for (int t = run->starts[b]; t < run->starts[b + 1]; t++) run->texts[t] = b;
        run->longest = lengths[b] > run->longest ? lengths[b] : run->longest;
    }
    for (int s = 0; s < m->segment_count; s++) atomic_init(&run->next_tile[s], 0);
    size_t panel_rows = (size_t)run->first_panel[run->count] * panel;
    if (!grow_slots(m, IN_TOKENS, &run->token_room, (size_t)run->tokens) ||
        !grow_slots(m, IN_TEXTS, &run->text_room, (size_t)run->count) ||
        !grow_slots(m, IN_PANELS, &run->panel_room, panel_rows))
        return 0;
    size_t size = 0;
    for (int i = 0; i < m->slot_count; i++)
        if (m->slots[i].place == IN_TILE) {
            m->slots[i].offset = size;
            size += rounded(MAX_TILE * m->slots[i].row_bytes);
        }
    run->scale_offset = size;
    size += rounded((size_t)m->slot_count * MAX_TILE * sizeof(float));
    run->attention_offset = size;
    size += rounded(mb_attention_scratch(m->kernels->block, panel, run->longest, m->widest));
    run->scratch_size = size;
    run->scratch = grown(run->scratch, &run->scratch_room, size * threads);
    return run->scratch != NULL;
}

void mb_run_free(struct mb_run *run) {
    if (!run) return;
    for (int i = 0; i < run->model->slot_count; i++) free(run->model->slots[i].memory);
    free(run->starts), free(run->first_panel), free(run->texts), free(run->next_tile), free(run->scratch);
    free(run);
}

static mb_status check(const mb_model *m, int count, const int32_t *lengths, const int32_t *ids, const int32_t *types,
                       const mb_options *options, int *tokens, char *error) {
    if (count < 1 || count > 1 << 20) return mb_fail(error, MB_BAD_INPUT, "%d texts: expected 1 to %d", count, 1 << 20);
    long total = 0;
    for (int b = 0; b < count; b++) {
        if (lengths[b] < 1 || lengths[b] > m->longest)
            return mb_fail(error, MB_BAD_INPUT, "text %d has %d tokens: expected 1 to %d", b, lengths[b], m->longest);
        if (options && options->behind && options->behind[b] >= m->words)
            return mb_fail(error, MB_BAD_INPUT, "behind text %d: id %d: expected -1 to %d", b, options->behind[b], m->words - 1);
        total += lengths[b];
    }
    if (total > 1 << 26) return mb_fail(error, MB_BAD_INPUT, "%ld tokens: more than %d at once", total, 1 << 26);
    for (long t = 0; t < total; t++) {
        if (ids[t] < 0 || ids[t] >= m->words)
            return mb_fail(error, MB_BAD_INPUT, "token %ld has the id %d: expected 0 to %d", t, ids[t], m->words - 1);
        if (types && (types[t] < 0 || types[t] >= m->types))
            return mb_fail(error, MB_BAD_INPUT, "token %ld has the type %d: expected 0 to %d", t, types[t], m->types - 1);
    }
    *tokens = (int)total;
    return MB_OK;
}

mb_status mb_run(mb_model *m, int count, const int32_t *lengths, const int32_t *ids, const int32_t *types,
                 const mb_options *options, float *const *outputs, char *error) {
    int tokens = 0;
    mb_status status = check(m, count, lengths, ids, types, options, &tokens, error);
    if (status) return status;
    if (!mb_pool_is_here(m->pool))
        return mb_fail(error, MB_NO_THREADS, "the model was opened before fork(); open it again in this process");
    pthread_mutex_lock(&m->lock);
    if (!m->run && (m->run = calloc(1, sizeof *m->run))) m->run->model = m;
    Run *run = m->run;
    if (run) {
        run->count = count, run->tokens = tokens, run->ids = ids, run->types = types, run->outputs = outputs;
        run->options = options ? *options : (mb_options){0};
    }
    if (run && prepare(run, lengths))
        mb_pool_run(m->pool, run_segments, run);
    else
        status = mb_fail(error, MB_NO_MEMORY, "no memory for %d tokens", tokens);
    pthread_mutex_unlock(&m->lock);
    return status;
}
