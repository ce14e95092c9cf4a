/* MobileBERT on a CPU: token ids in, a head's outputs out.
 *
 *     mb_model *model;
 *     char error[MB_ERROR_SIZE];
 *     if (mb_open("model.safetensors", 0, &model, error)) { puts(error); return 1; }
 *     mb_run(model, 1, &length, ids, types, NULL, outputs, error);
 *     mb_close(model);
 *
 * Texts stand one behind the other, without padding. A model may be run by several threads: they wait for each other. Models do not
 * share anything. Nothing is printed, and no signal or exit is caused by bad input.
 */

#ifndef MOBILEBERT_H
#define MOBILEBERT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MB_API __attribute__((visibility("default")))

enum { MB_ERROR_SIZE = 512 }; /* bytes for a message, its end included */

typedef enum {
    MB_OK = 0,
    MB_NO_FILE = 1,    /* cannot be opened or read */
    MB_BAD_FILE = 2,   /* not what this library writes and reads, cut off, or damaged */
    MB_BAD_INPUT = 3,  /* a token id, a type or a length that the model has no row for */
    MB_NO_MEMORY = 4,
    MB_NO_THREADS = 5, /* the system gives no more */
    MB_NO_KERNELS = 6  /* MOBILEBERT_KERNELS names none that this machine can run */
} mb_status;

typedef struct mb_model mb_model;

typedef struct {
    const char *name; /* of the model's; lives as long as it does */
    int columns;
    int per_token; /* one row for each token, else one for each text */
} mb_output;

/* What padded batches of other libraries have, and texts alone have not. Each may be NULL. */
typedef struct {
    const uint8_t *mask;   /* [sum of lengths] 0: no other token sees this one; in a text of 0 alone all are seen, alike */
    const int32_t *behind; /* [count] the id that stands behind a text (of [PAD]), which its last token reads; -1: none */
} mb_options;

/* Maps a model and packs its weights.
 *
 * path      the file that `export.py --format native` wrote; it may be removed after the call
 * threads   0: one for each processor that this process may use
 * model     where the model is put
 * error     MB_ERROR_SIZE bytes for what is wrong; or NULL
 */
MB_API mb_status mb_open(const char *path, int threads, mb_model **model, char *error);

/* Runs texts.
 *
 * count     texts
 * lengths   [count] tokens of each, 1 to mb_longest()
 * ids       [sum of lengths] token ids, [CLS] ... [SEP]
 * types     [sum of lengths] token types; NULL: all 0
 * options   NULL, or see mb_options
 * outputs   a buffer for each of mb_outputs(): [sum of lengths or count, columns] floats; NULL leaves one out
 */
MB_API mb_status mb_run(mb_model *model, int count, const int32_t *lengths, const int32_t *ids, const int32_t *types,
                        const mb_options *options, float *const *outputs, char *error);

MB_API void mb_close(mb_model *model); /* or NULL */

MB_API int mb_outputs(const mb_model *model);
MB_API mb_output mb_output_at(const mb_model *model, int index);
MB_API int mb_longest(const mb_model *model);          /* tokens of a text */
MB_API int mb_threads(const mb_model *model);          /* that it runs on */
MB_API const char *mb_kernels_name(const mb_model *model); /* instruction set: "vnni", "avx2", ... */
MB_API const char *mb_kernels_at(int index);            /* that this machine can run, best first; NULL: no more */

#ifdef __cplusplus
}
#endif
#endif
