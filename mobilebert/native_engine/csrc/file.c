/* safetensors: eight bytes with the size of a header, the header in JSON, the tensors.
 * https://huggingface.co/docs/safetensors; of JSON only what such a header is made of. */

#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_HEADER = 16 << 20, MAX_TENSORS = 65536 };

mb_status mb_fail(char *error, mb_status status, const char *format, ...) {
    if (error) {
        va_list values;
        va_start(values, format);
        vsnprintf(error, MB_ERROR_SIZE, format, values);
        va_end(values);
    }
    return status;
}

/* Where the header is being read. Every function gives 0 where something else stands there. */
typedef struct {
    const char *at, *end;
} Reader;

static void skip_blanks(Reader *r) {
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\t' || *r->at == '\r')) r->at++;
}

static int take(Reader *r, char wanted) {
    skip_blanks(r);
    if (r->at >= r->end || *r->at != wanted) return 0;
    r->at++;
    return 1;
}

static int next_is(Reader *r, char wanted) {
    skip_blanks(r);
    return r->at < r->end && *r->at == wanted;
}

/* A string, allocated. Escapes of other characters than ASCII's are none of ours. */
static char *take_string(Reader *r) {
    if (!take(r, '"')) return NULL;
    const char *end = r->at;
    while (end < r->end && *end != '"') end += *end == '\\' ? 2 : 1;
    if (end >= r->end) return NULL;
    char *text = malloc((size_t)(end - r->at) + 1), *to = text;
    if (!text) return NULL;
    for (; r->at < end; r->at++) {
        char c = *r->at;
        if (c == '\\') {
            c = *++r->at;
            c = (char)(c == 'n' ? '\n' : c == 't' ? '\t' : c == '"' || c == '\\' || c == '/' ? c : 0);
        }
        if (!c) {
            free(text);
            return NULL;
        }
        *to++ = c;
    }
    *to = 0;
    r->at++;
    return text;
}

static int take_number(Reader *r, size_t *number) {
    skip_blanks(r);
    const char *first = r->at;
    size_t value = 0;
    for (; r->at < r->end && *r->at >= '0' && *r->at <= '9'; r->at++) {
        if (value > (SIZE_MAX >> 4) / 10) return 0;
        value = value * 10 + (size_t)(*r->at - '0');
    }
    *number = value;
    return r->at > first;
}

/* -> how many; -1 where it is no list of at most `most` numbers. */
static int take_numbers(Reader *r, size_t *numbers, int most) {
    int count = 0;
    if (!take(r, '[')) return -1;
    while (!next_is(r, ']')) {
        if (count == most || (count && !take(r, ',')) || !take_number(r, &numbers[count++])) return -1;
    }
    return take(r, ']') ? count : -1;
}

static int take_metadata(Reader *r, mb_file *file) {
    if (!take(r, '{')) return 0;
    for (int first = 1; !next_is(r, '}'); first = 0) {
        if (!first && !take(r, ',')) return 0;
        char *key = take_string(r);
        char *value = key && take(r, ':') ? take_string(r) : NULL;
        char **place = !value ? NULL : !strcmp(key, "program") ? &file->program : !strcmp(key, "checksum") ? &file->checksum : NULL;
        free(key);
        if (!value) return 0;
        if (place && !*place)
            *place = value;
        else
            free(value);
    }
    return take(r, '}');
}

static size_t size_of_type(mb_type type) { return type == MB_F32 ? 4 : type == MB_BF16 ? 2 : 1; }

/* {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]} in any order. */
static int take_tensor(Reader *r, mb_tensor *tensor, const char *data, size_t size) {
    size_t shape[MB_MAX_SHAPE] = {0}, offsets[2] = {0};
    int dimensions = -1, bounds = -1, type = -1;
    if (!take(r, '{')) return 0;
    for (int first = 1; !next_is(r, '}'); first = 0) {
        if (!first && !take(r, ',')) return 0;
        char *key = take_string(r);
        int is_known = key && take(r, ':');
        if (is_known && !strcmp(key, "dtype")) {
            char *word = take_string(r);
            type = !word ? -1 : !strcmp(word, "F32") ? MB_F32 : !strcmp(word, "BF16") ? MB_BF16 : !strcmp(word, "I8") ? MB_INT8 : -1;
            free(word);
            is_known = type >= 0;
        } else if (is_known && !strcmp(key, "shape")) {
            is_known = (dimensions = take_numbers(r, shape, MB_MAX_SHAPE)) > 0;
        } else if (is_known && !strcmp(key, "data_offsets")) {
            is_known = (bounds = take_numbers(r, offsets, 2)) == 2;
        } else {
            is_known = 0;
        }
        free(key);
        if (!is_known) return 0;
    }
    if (!take(r, '}') || type < 0 || dimensions < 1 || bounds != 2) return 0;
    if (dimensions == 1) shape[1] = shape[0], shape[0] = 1;
    for (int i = 0; i < MB_MAX_SHAPE; i++) {
        if (shape[i] < 1 || shape[i] > 1 << 24) return 0;
        tensor->shape[i] = (int)shape[i];
    }
    size_t bytes = shape[0] * shape[1] * size_of_type((mb_type)type);
    if (offsets[0] > offsets[1] || offsets[1] > size || offsets[1] - offsets[0] != bytes) return 0;
    tensor->type = (mb_type)type;
    tensor->data = data + offsets[0];
    return 1;
}

static int take_header(Reader *r, mb_file *file, const char *data, size_t size) {
    int room = 0;
    if (!take(r, '{')) return 0;
    for (int first = 1; !next_is(r, '}'); first = 0) {
        if (!first && !take(r, ',')) return 0;
        char *name = take_string(r);
        if (!name) return 0;
        if (!take(r, ':')) {
            free(name);
            return 0;
        }
        if (!strcmp(name, "__metadata__")) {
            free(name);
            if (!take_metadata(r, file)) return 0;
            continue;
        }
        if (file->count == room) {
            room = room ? 2 * room : 512;
            mb_tensor *larger = room > MAX_TENSORS ? NULL : realloc(file->tensors, (size_t)room * sizeof *larger);
            if (!larger) {
                free(name);
                return 0;
            }
            file->tensors = larger;
        }
        mb_tensor *tensor = &file->tensors[file->count++];
        *tensor = (mb_tensor){.name = name};
        if (!take_tensor(r, tensor, data, size)) return 0;
    }
    return take(r, '}') && (skip_blanks(r), r->at == r->end);
}

/* Two sums modulo 2^64 of the program and the tensors, eight bytes at a time: of the words, and of each times its number. */
static void checksum(const mb_file *file, const char *data, size_t size, char text[33]) {
    struct {
        const char *bytes;
        size_t size;
    } parts[] = {{file->program, strlen(file->program)}, {data, size}};
    uint64_t sum = 0, numbered = 0, number = 0;
    for (int i = 0; i < 2; i++)
        for (size_t at = 0; at < parts[i].size; at += 8) {
            uint64_t word = 0;
            memcpy(&word, parts[i].bytes + at, parts[i].size - at < 8 ? parts[i].size - at : 8);
            sum += word, numbered += word * ++number;
        }
    snprintf(text, 33, "%016llx%016llx", (unsigned long long)sum, (unsigned long long)numbered);
}

static mb_status check_contents(const mb_file *file, const char *data, size_t size, char *error) {
    char found[33];
    if (!file->program || !file->checksum)
        return mb_fail(error, MB_BAD_FILE, "has no program or no checksum; write it with export.py --format native");
    checksum(file, data, size, found);
    if (!strcmp(found, file->checksum)) return MB_OK;
#ifdef MB_IGNORE_CHECKSUM /* so that a fuzzer comes further than this */
    return MB_OK;
#endif
    return mb_fail(error, MB_BAD_FILE, "is damaged: its contents have the checksum %s, not %.32s", found, file->checksum);
}

mb_status mb_file_open(mb_file *file, const char *path, char *error) {
    *file = (mb_file){0};
    struct stat status;
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0) return mb_fail(error, MB_NO_FILE, "%s", strerror(errno));
    if (fstat(descriptor, &status) || !S_ISREG(status.st_mode) || status.st_size < 8) {
        close(descriptor);
        return mb_fail(error, MB_BAD_FILE, "is no safetensors file");
    }
    file->size = (size_t)status.st_size;
    file->map = mmap(NULL, file->size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    close(descriptor);
    if (file->map == MAP_FAILED) {
        file->map = NULL;
        return mb_fail(error, MB_NO_FILE, "%s", strerror(errno));
    }
    const unsigned char *bytes = file->map;
    uint64_t header = 0;
    for (int i = 7; i >= 0; i--) header = header << 8 | bytes[i];
    int is_whole = header <= MAX_HEADER && header <= file->size - 8;
    Reader reader = {(const char *)bytes + 8, (const char *)bytes + 8 + (is_whole ? header : 0)};
    if (!is_whole || !take_header(&reader, file, reader.end, file->size - 8 - header)) {
        size_t at = (size_t)(reader.at - (const char *)bytes);
        mb_file_close(file);
        return mb_fail(error, MB_BAD_FILE, "its header is not that of a model's file, or the file is cut off (byte %zu)", at);
    }
    mb_status checked = check_contents(file, reader.end, file->size - 8 - header, error);
    if (checked) mb_file_close(file);
    return checked;
}

void mb_file_close(mb_file *file) {
    for (int i = 0; i < file->count; i++) free(file->tensors[i].name);
    free(file->tensors);
    free(file->program), free(file->checksum);
    if (file->map) munmap(file->map, file->size);
    *file = (mb_file){0};
}

const mb_tensor *mb_file_find(const mb_file *file, const char *name) {
    for (int i = 0; i < file->count; i++)
        if (!strcmp(file->tensors[i].name, name)) return &file->tensors[i];
    return NULL;
}
