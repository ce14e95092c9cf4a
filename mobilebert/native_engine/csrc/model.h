/* A model as it is kept: a program of operations over values, cut into segments.
 *
 * A value is a matrix with a row for each token, or for each text. Almost every operation makes a row of its output of the same row of its inputs,
 * so a thread takes some rows (a tile) through many operations while they stay in its cache. A segment is such a
 * run of operations; a new one begins where an operation reads other rows: an attention its keys and values, a pooler
 * the first token. All threads meet between two segments.
 *
 *     segment 0: embeddings, query, key and value of layer 0
 *     segment 1: attention of layer 0, its networks, query, key and value of layer 1
 *     ...
 */

#ifndef MB_MODEL_H
#define MB_MODEL_H

#include <pthread.h>

#include "file.h"
#include "pool.h"

typedef enum {
    OP_WORDS,       /* tables[0]: words; with trigram the next and the previous token's row beside each */
    OP_POSITIONS,   /* tables[0]: positions, tables[1]: token types */
    OP_LINEAR,      /* weight, activation; inputs[1] is the residual or -1 */
    OP_SCALE,       /* vectors[0] * input + vectors[1] */
    OP_LAYER_NORM,  /* vectors[0], vectors[1], epsilon */
    OP_ATTENTION,   /* inputs: query, key, value; heads */
    OP_FIRST_TOKEN
} mb_kind;

typedef enum { ACT_NONE, ACT_RELU, ACT_GELU, ACT_GELU_TANH, ACT_SILU, ACT_TANH, ACT_SIGMOID } mb_activation;

/* Where a value's rows stand. */
typedef enum { IN_TILE, IN_TOKENS, IN_TEXTS, IN_PANELS } mb_place;

/* How an attention reads a value: row by row, or packed (kernels.h) with each text beginning a panel. */
typedef enum { AS_ROWS, AS_KEYS, AS_VALUES } mb_reading;

typedef struct {
    char *name;
    int width, per_text, made_by, last_read; /* operations */
    mb_place place;
    int slot;
    mb_reading packed_as; /* besides */
    mb_type packed_type;
    int heads; /* of the one attention whose key or value it is; 0: none */
    int packed_slot, packed_until; /* of what is packed; the last operation that reads that */
} mb_value;

typedef struct {
    int rows, width;
    mb_type type; /* MB_F32 or MB_INT8 */
    const void *data;
    float *scale; /* int8: [rows] */
} mb_table;

typedef struct {
    mb_kind kind;
    int output, inputs[3]; /* values; -1: none */
    int heads, trigram;
    mb_type type; /* of an attention's products */
    float epsilon;
    mb_activation activation;
    mb_weight *weight;
    int converted_slot, converts; /* of inputs[0] in the weight's type; whether this operation is the first to want it */
    mb_table *tables[2];
    float *vectors[2]; /* [width]; NULL: none */
} mb_op;

typedef struct {
    int first, last, per_text; /* operations, and whether its rows are texts */
} mb_segment;

/* Memory that values take turns in: those of one place and row size that are not needed at the same time. */
typedef struct {
    mb_place place;
    size_t row_bytes;
    int busy_until;   /* the last operation that reads it; while slots are given out */
    char *memory;     /* in tokens, in texts; while running */
    size_t offset;    /* in a tile's scratch, while running */
} mb_slot;

typedef struct {
    mb_output shown;
    int value, start;
} mb_result;

struct mb_model {
    const mb_kernels *kernels;
    mb_pool *pool;
    pthread_mutex_t lock;
    mb_file file;
    mb_op *ops;
    mb_value *values;
    mb_segment *segments;
    mb_slot *slots;
    mb_result *results;
    int op_count, value_count, segment_count, slot_count, result_count;
    int longest, words, types, widest; /* rows of the shortest tables; columns of the widest value */
    mb_weight *weights; /* [op_count] */
    mb_table *tables;   /* [2 * op_count] */
    int weight_count, table_count;
    char *arena; /* of all packed weights */
    struct mb_run *run; /* buffers of earlier runs, kept */
};

/* plan.c */
mb_status mb_plan(mb_model *model, char *error); /* segments, places and slots of a program that has been read */
/* run.c */
void mb_run_free(struct mb_run *run);

#endif
