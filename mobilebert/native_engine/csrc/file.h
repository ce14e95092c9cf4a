/* A model's file: safetensors, mapped. */

#ifndef MB_FILE_H
#define MB_FILE_H

#include "kernels.h"
#include "mobilebert.h"

enum { MB_MAX_SHAPE = 2 };

typedef struct {
    char *name;
    mb_type type;
    int shape[MB_MAX_SHAPE]; /* a vector has 1 as its first */
    const void *data;        /* in the mapped file, at any address */
} mb_tensor;

typedef struct {
    void *map;
    size_t size;
    mb_tensor *tensors;
    int count;
    char *program, *checksum; /* of the metadata */
} mb_file;

/* Opens and checks: what is described lies within the file. `error` has MB_ERROR_SIZE bytes. */
mb_status mb_file_open(mb_file *file, const char *path, char *error);
void mb_file_close(mb_file *file);

/* NULL: there is none of this name. */
const mb_tensor *mb_file_find(const mb_file *file, const char *name);

/* Writes a message, cut at its size; gives the status. */
mb_status mb_fail(char *error, mb_status status, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
