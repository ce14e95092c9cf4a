/* Cuts a program into segments, and finds its values a place: see model.h. */

#include <stdlib.h>

#include "model.h"

static int segment_of(const mb_model *m, int op) {
    int segment = 0;
    while (m->segments[segment].last < op) segment++;
    return segment;
}

/* Whether an operation needs rows of a value that other threads make. */
static int reads_other_rows(const mb_op *op, int input) {
    return op->kind == OP_FIRST_TOKEN || (op->kind == OP_ATTENTION && input > 0);
}

static void cut(mb_model *m) {
    mb_segment *segment = NULL;
    for (int i = 0; i < m->op_count; i++) {
        const mb_op *op = &m->ops[i];
        int per_text = m->values[op->output].per_text, is_new = !segment || segment->per_text != per_text;
        for (int j = 0; j < 3 && !is_new; j++)
            is_new = op->inputs[j] >= 0 && reads_other_rows(op, j) && m->values[op->inputs[j]].made_by >= segment->first;
        if (is_new) {
            segment = &m->segments[m->segment_count++];
            *segment = (mb_segment){.first = i, .per_text = per_text};
        }
        segment->last = i;
    }
}

static void note_readers(mb_model *m) {
    for (int i = 0; i < m->op_count; i++) {
        const mb_op *op = &m->ops[i];
        int segment = segment_of(m, i);
        for (int j = 0; j < 3; j++) {
            if (op->inputs[j] < 0) continue;
            mb_value *value = &m->values[op->inputs[j]];
            /* Other tiles of the segment may read these rows later. */
            int until = reads_other_rows(op, j) ? m->segments[segment].last : i;
            if (op->kind == OP_ATTENTION && j && value->packed_as) {
                value->packed_until = until;
                continue;
            }
            value->last_read = until > value->last_read ? until : value->last_read;
            if (reads_other_rows(op, j) || segment_of(m, value->made_by) != segment)
                value->place = value->per_text ? IN_TEXTS : IN_TOKENS;
        }
    }
}

/* A slot that is free from operation `from` on, or a new one. */
static int give_slot(mb_model *m, mb_place place, size_t row_bytes, int from, int until) {
    int i = 0;
    while (i < m->slot_count && (m->slots[i].place != place || m->slots[i].row_bytes != row_bytes ||
                                 m->slots[i].busy_until >= from))
        i++;
    if (i == m->slot_count) m->slots[m->slot_count++] = (mb_slot){.place = place, .row_bytes = row_bytes};
    m->slots[i].busy_until = until;
    return i;
}

/* The converted input of a product: the first in a segment that wants it makes it, for the others too. */
static void place_converted(mb_model *m, int i) {
    mb_op *op = &m->ops[i];
    const mb_segment *segment = &m->segments[segment_of(m, i)];
    int last = i;
    for (int j = segment->first; j <= segment->last; j++) {
        const mb_op *other = &m->ops[j];
        if (other->kind != OP_LINEAR || other->inputs[0] != op->inputs[0] || other->weight->type != op->weight->type) continue;
        if (j < i) {
            op->converted_slot = other->converted_slot;
            return;
        }
        last = j;
    }
    op->converts = 1;
    op->converted_slot = give_slot(m, IN_TILE, (size_t)op->weight->steps * 4, i, last);
}

static void place_values(mb_model *m) {
    for (int i = 0; i < m->op_count; i++) {
        const mb_op *op = &m->ops[i];
        if (op->kind == OP_LINEAR && op->weight->type != MB_F32) place_converted(m, i);
        mb_value *value = &m->values[op->output];
        int until = value->last_read > i ? value->last_read : i;
        value->slot = give_slot(m, value->place, (size_t)value->width * sizeof(float), i, until);
        size_t packed = (size_t)value->width * (value->packed_type == MB_BF16 ? 2 : 4);
        if (value->packed_as) value->packed_slot = give_slot(m, IN_PANELS, packed, i, value->packed_until);
    }
}

mb_status mb_plan(mb_model *m, char *error) {
    m->segments = calloc((size_t)m->op_count, sizeof *m->segments);
    m->slots = calloc((size_t)m->op_count * 3, sizeof *m->slots);
    if (!m->segments || !m->slots) return mb_fail(error, MB_NO_MEMORY, "no memory for the program");
    cut(m);
    note_readers(m);
    place_values(m);
    return MB_OK;
}
