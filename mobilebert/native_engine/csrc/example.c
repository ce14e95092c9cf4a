/* Token ids in, a head's outputs out:
 *
 *     cc example.c -o example ./libmobilebert-$(uname -m).so -Wl,-rpath,'$ORIGIN' && ./example native.safetensors 2 5 3
 *
 * The tokenizer is not in the library: ids come from tokenizer.json, with any library that reads it ([CLS] is 101 and
 * [SEP] 102 with the released vocabulary, 2 and 3 with those that this repository makes).
 */

#include <stdio.h>
#include <stdlib.h>

#include "mobilebert.h"

int main(int count, char **words) {
    char error[MB_ERROR_SIZE];
    mb_model *model;
    int32_t length = count - 2, ids[512];
    if (length < 1 || length > 512) {
        fprintf(stderr, "usage: %s MODEL ID...\n", words[0]);
        return 2;
    }
    for (int i = 0; i < length; i++) ids[i] = atoi(words[i + 2]);
    if (mb_open(words[1], 0, &model, error)) {
        fprintf(stderr, "error: %s: %s\n", words[1], error);
        return 1;
    }
    int results = mb_outputs(model);
    float **outputs = calloc(results, sizeof *outputs);
    for (int i = 0; i < results; i++)
        outputs[i] = calloc((size_t)length * mb_output_at(model, i).columns, sizeof(float));
    int status = mb_run(model, 1, &length, ids, NULL, NULL, outputs, error);
    if (status) fprintf(stderr, "error: %s\n", error);
    for (int i = 0; i < results && !status; i++) {
        mb_output output = mb_output_at(model, i);
        printf("%s", output.name);
        for (int j = 0; j < output.columns * (output.per_token ? length : 1); j++) printf(" %.6g", outputs[i][j]);
        printf("\n");
    }
    for (int i = 0; i < results; i++) free(outputs[i]);
    free(outputs);
    mb_close(model);
    return status != 0;
}
