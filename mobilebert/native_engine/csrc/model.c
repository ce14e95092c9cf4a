/* Reads a model's file: its program, line by line, and the weights that it names. */

#include "model.h"

#include <locale.h>
#include <math.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MAX_WIDTH = 1 << 16, MAX_FIELDS = 9, MAX_THREADS = 256, ALIGNMENT = 64 };

/* A line of the program, cut into words. */
typedef struct {
    mb_model *model;
    char *error;
    int number, count;
    char *words[MAX_FIELDS];
} Line;

static int fail(const Line *line, const char *what, const char *name) {
    mb_fail(line->error, MB_BAD_FILE, "program, line %d: %s %s", line->number, what, name);
    return 0;
}

static int is_none(const char *word) { return !strcmp(word, "-"); }

/* -> the number of a value, -1 */
static int find_value(const mb_model *m, const char *name) {
    for (int i = m->value_count - 1; i >= 0; i--)
        if (!strcmp(m->values[i].name, name)) return i;
    return -1;
}

static int read_value(const Line *line, int word, int *value) {
    *value = find_value(line->model, line->words[word]);
    return *value >= 0 || fail(line, "no such value:", line->words[word]);
}

static const mb_tensor *find_tensor(const Line *line, const char *name, int rows, int columns) {
    const mb_tensor *tensor = mb_file_find(&line->model->file, name);
    if (!tensor)
        fail(line, "no such tensor:", name);
    else if ((rows && tensor->shape[0] != rows) || (columns && tensor->shape[1] != columns) || tensor->shape[1] > MAX_WIDTH)
        fail(line, "other sizes than the program needs:", name);
    else
        return tensor;
    return NULL;
}

/* A vector, copied to `room` floats, what is behind it zeros. */
static int read_vector(const Line *line, const char *name, int size, int room, float **vector) {
    const mb_tensor *tensor = find_tensor(line, name, 1, size);
    if (!tensor) return 0;
    if (tensor->type != MB_F32) return fail(line, "not F32:", name);
    size_t bytes = ((size_t)room * sizeof(float) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    *vector = aligned_alloc(ALIGNMENT, bytes);
    if (!*vector) return fail(line, "no memory for", name);
    memset(*vector, 0, bytes);
    memcpy(*vector, tensor->data, (size_t)size * sizeof(float));
    for (int i = 0; i < size; i++)
        if (!isfinite((*vector)[i])) return fail(line, "not finite:", name);
    return 1;
}

static int read_scale(const Line *line, const char *name, int size, int room, float **scale) {
    char of[256];
    if ((size_t)snprintf(of, sizeof of, "%s.scale", name) >= sizeof of) return fail(line, "a long name:", name);
    return read_vector(line, of, size, room, scale);
}

static int are_finite(const mb_tensor *tensor) {
    size_t count = (size_t)tensor->shape[0] * tensor->shape[1];
    uint32_t largest = 0;
    if (tensor->type == MB_F32)
        for (size_t i = 0; i < count; i++) {
            uint32_t bits;
            memcpy(&bits, (const char *)tensor->data + 4 * i, 4);
            bits &= 0x7fffffff;
            largest = bits > largest ? bits : largest;
        }
    if (tensor->type == MB_BF16)
        for (size_t i = 0; i < count; i++) {
            uint16_t bits;
            memcpy(&bits, (const char *)tensor->data + 2 * i, 2);
            uint32_t size = (uint32_t)(bits & 0x7fff) << 16;
            largest = size > largest ? size : largest;
        }
    return largest < 0x7f800000;
}

static int read_table(const Line *line, int word, mb_table **table) {
    mb_model *m = line->model;
    const char *name = line->words[word];
    const mb_tensor *tensor = find_tensor(line, name, 0, 0);
    if (!tensor) return 0;
    *table = &m->tables[m->table_count++];
    **table = (mb_table){.rows = tensor->shape[0], .width = tensor->shape[1], .type = tensor->type, .data = tensor->data};
    if (tensor->type == MB_BF16) return fail(line, "a table is F32 or I8:", name);
    if (!are_finite(tensor)) return fail(line, "not finite:", name);
    return tensor->type == MB_F32 || read_scale(line, name, tensor->shape[0], tensor->shape[0], &(*table)->scale);
}

/* The weight's description; it is packed later, with all others. */
static int read_weight(const Line *line, const char *name, const char *bias, int inputs, mb_weight **weight, int *outputs) {
    mb_model *m = line->model;
    const mb_tensor *tensor = find_tensor(line, name, inputs, 0);
    if (!tensor) return 0;
    if (!are_finite(tensor)) return fail(line, "not finite:", name);
    int together = tensor->type == MB_F32 ? 1 : tensor->type == MB_BF16 ? 2 : 4;
    int panel = m->kernels->panel, room = (tensor->shape[1] + panel - 1) / panel * panel;
    mb_weight *w = *weight = &m->weights[m->weight_count++];
    *w = (mb_weight){.type = tensor->type, .inputs = inputs, .outputs = *outputs = tensor->shape[1]};
    w->steps = (inputs + together - 1) / together;
    w->packed = (void *)tensor->data; /* until it is packed */
    if (!is_none(bias) && !read_vector(line, bias, w->outputs, room, &w->bias)) return 0;
    return w->type != MB_INT8 || read_scale(line, name, w->outputs, room, &w->scale);
}

static const struct {
    const char *name;
    mb_activation activation;
} ACTIVATIONS[] = {{"-", ACT_NONE},         {"relu", ACT_RELU}, {"gelu", ACT_GELU}, {"gelu_new", ACT_GELU_TANH},
                   {"gelu_pytorch_tanh", ACT_GELU_TANH}, {"silu", ACT_SILU}, {"swish", ACT_SILU}, {"tanh", ACT_TANH},
                   {"sigmoid", ACT_SIGMOID}};

static int read_activation(const Line *line, int word, mb_activation *activation) {
    for (size_t i = 0; i < sizeof ACTIVATIONS / sizeof *ACTIVATIONS; i++)
        if (!strcmp(line->words[word], ACTIVATIONS[i].name)) {
            *activation = ACTIVATIONS[i].activation;
            return 1;
        }
    return fail(line, "no such activation:", line->words[word]);
}

/* The output of the operation that a line describes. */
static int make_value(const Line *line, mb_op *op, int width, int per_text) {
    mb_model *m = line->model;
    const char *name = line->words[1];
    if (find_value(m, name) >= 0) return fail(line, "two values of one name:", name);
    if (width < 1 || width > MAX_WIDTH) return fail(line, "a value of a strange width:", name);
    op->output = m->value_count;
    mb_value *value = &m->values[m->value_count++];
    *value = (mb_value){.name = strdup(name), .width = width, .per_text = per_text, .made_by = m->op_count};
    value->slot = value->packed_slot = -1;
    m->widest = width > m->widest ? width : m->widest;
    return value->name != NULL || fail(line, "no memory for", name);
}

/* An id has to have a row in every table that it may be looked up in. */
static void narrow(int *rows, const mb_table *table) {
    if (!*rows || table->rows < *rows) *rows = table->rows;
}

static int read_words(const Line *line, mb_op *op) {
    if (!read_table(line, 2, &op->tables[0])) return 0;
    op->trigram = !strcmp(line->words[3], "trigram");
    narrow(&line->model->words, op->tables[0]);
    return make_value(line, op, op->tables[0]->width * (op->trigram ? 3 : 1), 0);
}

static int read_positions(const Line *line, mb_op *op) {
    if (!read_table(line, 2, &op->tables[0]) || !read_table(line, 3, &op->tables[1])) return 0;
    if (op->tables[0]->width != op->tables[1]->width) return fail(line, "tables of two widths:", line->words[3]);
    narrow(&line->model->longest, op->tables[0]);
    narrow(&line->model->types, op->tables[1]);
    return make_value(line, op, op->tables[0]->width, 0);
}

static int read_linear(const Line *line, mb_op *op) {
    const mb_model *m = line->model;
    int outputs;
    if (!read_value(line, 2, &op->inputs[0])) return 0;
    const mb_value *input = &m->values[op->inputs[0]];
    if (!read_weight(line, line->words[3], line->words[4], input->width, &op->weight, &outputs)) return 0;
    if (!read_activation(line, 5, &op->activation)) return 0;
    if (!is_none(line->words[6])) {
        if (!read_value(line, 6, &op->inputs[1])) return 0;
        const mb_value *residual = &m->values[op->inputs[1]];
        if (residual->width != outputs || residual->per_text != input->per_text)
            return fail(line, "a residual of another size:", line->words[6]);
    }
    return make_value(line, op, outputs, input->per_text);
}

static int read_vectors(const Line *line, mb_op *op) {
    if (!read_value(line, 2, &op->inputs[0])) return 0;
    const mb_value *input = &line->model->values[op->inputs[0]];
    for (int i = 0; i < 2; i++)
        if (!is_none(line->words[3 + i]) && !read_vector(line, line->words[3 + i], input->width, input->width, &op->vectors[i]))
            return 0;
    if (!op->vectors[0] || (op->kind == OP_LAYER_NORM && !op->vectors[1])) return fail(line, "a vector is missing:", "-");
    if (op->kind == OP_LAYER_NORM) {
        locale_t plain = newlocale(LC_NUMERIC_MASK, "C", (locale_t)0); /* a caller's may want a decimal comma */
        op->epsilon = plain ? strtof_l(line->words[5], NULL, plain) : 0;
        if (plain) freelocale(plain);
        if (!(op->epsilon > 0 && op->epsilon < 1)) return fail(line, "a strange epsilon:", line->words[5]);
    }
    return make_value(line, op, input->width, input->per_text);
}

static int read_attention(const Line *line, mb_op *op) {
    mb_model *m = line->model;
    for (int i = 0; i < 3; i++)
        if (!read_value(line, 2 + i, &op->inputs[i])) return 0;
    mb_value *query = &m->values[op->inputs[0]], *key = &m->values[op->inputs[1]], *value = &m->values[op->inputs[2]];
    op->heads = atoi(line->words[5]);
    if (op->heads < 1 || op->heads > query->width || query->width % op->heads || query->width != key->width ||
        query->width != value->width || key->per_text || value->per_text)
        return fail(line, "an attention of strange sizes:", line->words[1]);
    if (key == value || key->heads || value->heads) return fail(line, "shares its key or value:", line->words[1]);
    /* Where the query comes out of a product of few bits, bfloat16 adds little to its error. */
    const mb_op *maker = &m->ops[query->made_by];
    int few_bits = maker->kind == OP_LINEAR && maker->weight->type != MB_F32;
    op->type = few_bits && m->kernels->has_bf16 && query->width / op->heads % 2 == 0 ? MB_BF16 : MB_F32;
    key->heads = value->heads = op->heads;
    key->packed_as = AS_KEYS, key->packed_type = op->type;
    if (op->type == MB_BF16) value->packed_as = AS_VALUES, value->packed_type = op->type;
    return make_value(line, op, query->width, query->per_text);
}

static int read_first_token(const Line *line, mb_op *op) {
    if (!read_value(line, 2, &op->inputs[0])) return 0;
    const mb_value *input = &line->model->values[op->inputs[0]];
    if (input->per_text) return fail(line, "has no tokens:", line->words[2]);
    return make_value(line, op, input->width, 1);
}

/* output NAME VALUE START STOP */
static int read_output(const Line *line) {
    mb_model *m = line->model;
    mb_result *result = &m->results[m->result_count];
    if (!read_value(line, 2, &result->value)) return 0;
    const mb_value *value = &m->values[result->value];
    int start = atoi(line->words[3]), stop = atoi(line->words[4]);
    if (start < 0 || start >= stop || stop > value->width) return fail(line, "has no such columns:", line->words[2]);
    char *name = strdup(line->words[1]);
    if (!name) return fail(line, "no memory for", line->words[1]);
    result->shown = (mb_output){.name = name, .columns = stop - start, .per_token = !value->per_text};
    result->start = start;
    m->result_count++;
    return 1;
}

static const struct {
    const char *name;
    int words;
    mb_kind kind;
    int (*read)(const Line *, mb_op *);
} OPERATIONS[] = {
    {"words", 4, OP_WORDS, read_words},
    {"positions", 4, OP_POSITIONS, read_positions},
    {"linear", 7, OP_LINEAR, read_linear},
    {"scale", 5, OP_SCALE, read_vectors},
    {"layer_norm", 6, OP_LAYER_NORM, read_vectors},
    {"attention", 6, OP_ATTENTION, read_attention},
    {"first_token", 3, OP_FIRST_TOKEN, read_first_token},
};

static int read_line(const Line *line) {
    mb_model *m = line->model;
    if (!strcmp(line->words[0], "output")) return line->count == 5 ? read_output(line) : fail(line, "is cut off:", "output");
    for (size_t i = 0; i < sizeof OPERATIONS / sizeof *OPERATIONS; i++)
        if (!strcmp(line->words[0], OPERATIONS[i].name)) {
            mb_op *op = &m->ops[m->op_count];
            *op = (mb_op){.kind = OPERATIONS[i].kind, .inputs = {-1, -1, -1}, .output = -1};
            if (line->count != OPERATIONS[i].words) return fail(line, "is cut off:", line->words[0]);
            if (!OPERATIONS[i].read(line, op)) return 0;
            m->op_count++;
            return 1;
        }
    return fail(line, "no such operation:", line->words[0]);
}

static int read_program(mb_model *m, char *error) {
    char *text = m->file.program, *rest = NULL;
    int lines = 1;
    for (const char *c = text; *c; c++) lines += *c == '\n';
    m->ops = calloc((size_t)lines + 1, sizeof *m->ops);
    m->values = calloc((size_t)lines, sizeof *m->values);
    m->results = calloc((size_t)lines, sizeof *m->results);
    m->weights = calloc((size_t)lines, sizeof *m->weights);
    m->tables = calloc((size_t)lines * 2, sizeof *m->tables);
    if (!m->ops || !m->values || !m->results || !m->weights || !m->tables) {
        mb_fail(error, MB_NO_MEMORY, "no memory for the program");
        return 0;
    }
    Line line = {.model = m, .error = error};
    for (char *one = strtok_r(text, "\n", &rest); one; one = strtok_r(NULL, "\n", &rest)) {
        char *place = NULL;
        line.number++, line.count = 0;
        for (char *word = strtok_r(one, " ", &place); word && line.count < MAX_FIELDS; word = strtok_r(NULL, " ", &place))
            line.words[line.count++] = word;
        if (line.count && !read_line(&line)) return 0;
    }
    if (m->result_count && m->words && m->longest) return 1;
    mb_fail(error, MB_BAD_FILE, "the program has no words, no positions or no output");
    return 0;
}

/* -- packing */

typedef struct {
    mb_model *model;
    char **places; /* [weight_count] in the arena */
    atomic_int next;
} Packing;

/* rows [K, N] of the weight's type -> packed [N / P][K / T][P][T], zeroed before, and what sums begin with. */
static void pack(const mb_kernels *kernels, mb_weight *w, const char *rows, char *packed) {
    int size = w->type == MB_F32 ? 4 : w->type == MB_BF16 ? 2 : 1, together = 4 / size, panel = kernels->panel;
    for (int k = 0; k < w->inputs; k++)
        for (int first = 0; first < w->outputs; first += panel) {
            int there = w->outputs - first < panel ? w->outputs - first : panel;
            const char *from = rows + ((size_t)k * w->outputs + first) * size;
            char *to = packed + ((size_t)(first / panel) * w->steps + k / together) * panel * 4 + k % together * size;
            if (size == 4)
                memcpy(to, from, (size_t)there * 4);
            else if (size == 2)
                for (int c = 0; c < there; c++) memcpy(to + c * 4, from + c * 2, 2);
            else
                for (int c = 0; c < there; c++) to[c * 4] = from[c];
            if (size == 1 && kernels->is_offset)
                for (int c = 0; c < there; c++) w->init[first + c] -= 128 * (int8_t)from[c];
        }
    w->packed = packed;
}

static void pack_some(void *context, int thread) {
    Packing *packing = context;
    (void)thread;
    for (int i; (i = atomic_fetch_add(&packing->next, 1)) < packing->model->weight_count;) {
        mb_weight *weight = &packing->model->weights[i];
        pack(packing->model->kernels, weight, weight->packed, packing->places[i]);
    }
}

static mb_status pack_all(mb_model *m, char *error) {
    size_t total = 0, panel = (size_t)m->kernels->panel, large = 2 << 20;
    Packing packing = {.model = m, .places = calloc((size_t)m->weight_count + 1, sizeof(char *))};
    if (!packing.places) return mb_fail(error, MB_NO_MEMORY, "no memory for the weights");
    for (int i = 0; i < m->weight_count; i++) {
        mb_weight *w = &m->weights[i];
        size_t columns = ((size_t)w->outputs + panel - 1) / panel * panel;
        packing.places[i] = (char *)total; /* from the arena's beginning */
        total += columns * (size_t)w->steps * 4;
        if (w->type == MB_INT8 && !(w->init = calloc(columns, sizeof *w->init))) total = SIZE_MAX / 2;
    }
    m->arena = total < SIZE_MAX / 4 ? aligned_alloc(large, (total + large - 1) / large * large) : NULL;
    if (!m->arena) {
        free(packing.places);
        return mb_fail(error, MB_NO_MEMORY, "no memory for the weights");
    }
#ifdef MADV_HUGEPAGE
    madvise(m->arena, (total + large - 1) / large * large, MADV_HUGEPAGE);
#endif
    memset(m->arena, 0, total);
    for (int i = 0; i < m->weight_count; i++) packing.places[i] = m->arena + (size_t)packing.places[i];
    mb_pool_run(m->pool, pack_some, &packing);
    free(packing.places);
    return MB_OK;
}

/* -- the interface */

static int processors(void) {
#ifdef CPU_COUNT
    cpu_set_t set;
    if (!sched_getaffinity(0, sizeof set, &set)) return CPU_COUNT(&set);
#endif
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count > 0 ? (int)count : 1;
}

static mb_status open_model(mb_model *m, const char *path, int threads, char *error) {
    m->kernels = mb_choose_kernels();
    if (!m->kernels) return mb_fail(error, MB_NO_KERNELS, "MOBILEBERT_KERNELS names none of this machine");
    mb_status status = mb_file_open(&m->file, path, error);
    if (status) return status;
    if (!read_program(m, error)) return MB_BAD_FILE;
    if ((status = mb_plan(m, error))) return status;
    threads = threads > 0 ? threads : processors();
    m->pool = mb_pool_open(threads < MAX_THREADS ? threads : MAX_THREADS);
    if (!m->pool) return mb_fail(error, MB_NO_THREADS, "the system gives no %d threads", threads);
    return pack_all(m, error);
}

mb_status mb_open(const char *path, int threads, mb_model **model, char *error) {
    mb_model *m = calloc(1, sizeof *m);
    *model = NULL;
    if (!m) return mb_fail(error, MB_NO_MEMORY, "no memory");
    pthread_mutex_init(&m->lock, NULL);
    mb_status status = open_model(m, path, threads, error);
    if (status)
        mb_close(m);
    else
        *model = m;
    return status;
}

void mb_close(mb_model *m) {
    if (!m) return;
    mb_run_free(m->run);
    mb_pool_close(m->pool);
    for (int i = 0; m->ops && i <= m->op_count; i++) /* the last one may have failed half way */
        for (int j = 0; j < 2; j++) free(m->ops[i].vectors[j]);
    for (int i = 0; i < m->weight_count; i++) free(m->weights[i].bias), free(m->weights[i].scale), free(m->weights[i].init);
    for (int i = 0; i < m->table_count; i++) free(m->tables[i].scale);
    for (int i = 0; i < m->value_count; i++) free(m->values[i].name);
    for (int i = 0; i < m->result_count; i++) free((char *)m->results[i].shown.name);
    free(m->arena), free(m->ops), free(m->values), free(m->results), free(m->weights), free(m->tables);
    free(m->segments), free(m->slots);
    mb_file_close(&m->file);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

int mb_outputs(const mb_model *m) { return m->result_count; }
mb_output mb_output_at(const mb_model *m, int index) { return m->results[index].shown; }
int mb_longest(const mb_model *m) { return m->longest; }
int mb_threads(const mb_model *m) { return mb_pool_threads(m->pool); }
const char *mb_kernels_name(const mb_model *m) { return m->kernels->name; }
