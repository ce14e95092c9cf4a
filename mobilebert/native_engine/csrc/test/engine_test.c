/* Runs the library without Python: under sanitizers, under an emulator, on damaged files.
 *
 *     engine_test run MODEL                 prints the outputs of some texts
 *     engine_test fuzz MODEL SECONDS SEED   opens and runs damaged copies of a model; every one is refused or runs
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../mobilebert.h"

enum { TEXTS = 5, LONGEST = 130 };

static uint64_t state;

/* xorshift64* */
static uint32_t draw(uint32_t below) {
    state ^= state >> 12, state ^= state << 25, state ^= state >> 27;
    return (uint32_t)((state * 2685821657736338717u) >> 33) % below;
}

static int run(mb_model *model, int words, int print, char *error) {
    static const int32_t wanted[TEXTS] = {1, 7, 64, 65, LONGEST};
    int32_t lengths[TEXTS], ids[TEXTS * LONGEST];
    int tokens = 0, longest = mb_longest(model), count = mb_outputs(model);
    for (int b = 0; b < TEXTS; b++) {
        lengths[b] = wanted[b] < longest ? wanted[b] : longest;
        for (int t = 0; t < lengths[b]; t++) ids[tokens++] = (int32_t)((t * 7 + b) % words);
    }
    float **outputs = calloc((size_t)count, sizeof *outputs);
    size_t *sizes = calloc((size_t)count, sizeof *sizes);
    for (int i = 0; i < count; i++) {
        mb_output output = mb_output_at(model, i);
        sizes[i] = (size_t)(output.per_token ? tokens : TEXTS) * output.columns;
        outputs[i] = calloc(sizes[i], sizeof(float));
    }
    int status = mb_run(model, TEXTS, lengths, ids, NULL, NULL, outputs, error);
    for (int i = 0; i < count; i++) {
        for (size_t j = 0; print && !status && j < sizes[i]; j++) printf("%.9g\n", outputs[i][j]);
        free(outputs[i]);
    }
    free(outputs), free(sizes);
    return status;
}

static int fuzz(const char *path, double seconds, uint64_t seed) {
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END)) return 1;
    size_t size = (size_t)ftell(file), header = 8;
    char *whole = malloc(size), *copy = malloc(size + 64), error[MB_ERROR_SIZE];
    char name[4096];
    rewind(file);
    if (!whole || !copy || fread(whole, 1, size, file) != size) return 1;
    if (snprintf(name, sizeof name, "%s.damaged", path) >= (int)sizeof name) return 1; /* beside the model */
    fclose(file);
    for (int i = 0; i < 8; i++) header += (size_t)(unsigned char)whole[i] << 8 * i;
    state = seed * 2 + 1;
    long tried = 0, ran = 0;
    for (time_t end = time(NULL) + (time_t)seconds; time(NULL) < end; tried++) {
        size_t length = size;
        memcpy(copy, whole, size);
        /* Most damage goes to the header, where all that is decided stands. */
        for (uint32_t times = 1 + draw(3); times; times--) {
            size_t at = draw(4) ? draw((uint32_t)header) : draw((uint32_t)size);
            switch (draw(5)) {
                case 0: copy[at] = (char)draw(256); break;
                case 1: copy[at] = "0123456789,:[]{}\" -.\n"[draw(21)]; break;
                case 2: memmove(copy + at, copy + at + 1, size - at - 1); break;
                case 3: memcpy(copy + at, whole + draw((uint32_t)header), size - at < 16 ? size - at : 16); break;
                case 4: length = draw(8) ? length : at; break;
            }
        }
        FILE *damaged = fopen(name, "wb");
        if (!damaged || fwrite(copy, 1, length, damaged) != length || fclose(damaged)) return 1;
        mb_model *model;
        if (mb_open(name, 1 + (int)draw(2), &model, error)) continue;
        ran += !run(model, 8, 0, error);
        mb_close(model);
    }
    unlink(name), free(whole), free(copy);
    printf("%ld damaged files, %ld of them run, the others refused\n", tried, ran);
    return tried < 1;
}

int main(int count, char **words) {
    char error[MB_ERROR_SIZE];
    mb_model *model;
    if (count == 5 && !strcmp(words[1], "fuzz")) return fuzz(words[2], atof(words[3]), strtoull(words[4], NULL, 10));
    if (count != 3 || strcmp(words[1], "run")) return 2;
    int status = mb_open(words[2], 2, &model, error);
    if (!status) {
        fprintf(stderr, "%s\n", mb_kernels_name(model));
        status = run(model, 8, 1, error);
        mb_close(model);
    }
    if (status) fprintf(stderr, "error: %s\n", error);
    return status;
}
