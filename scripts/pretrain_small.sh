#!/usr/bin/env bash
# Pre-trains a small MobileBERT (4 layers, 256/128; scripts/sst2_from_scratch.json) on text of one's own, some minutes on 2 CPU
# cores: rows with masks that are drawn anew in each epoch, 1000 steps of 32 rows, scores on text that it has not seen.
# Everything it makes is under outputs/pretrain_small/. Text: a sentence a line, an empty line between documents.
#
#   bash scripts/pretrain_small.sh train.txt dev.txt
#   VOCAB=vocab.txt bash scripts/pretrain_small.sh train.txt dev.txt        a vocabulary at hand (it is downloaded)
#   bash scripts/pretrain_small.sh train.txt dev.txt --optimizer lamb --learning_rate 5e-3
#                                                                           any flag of run_pretrain.py
#   OUTPUT=FOLDER bash scripts/pretrain_small.sh train.txt dev.txt          a new or empty folder, or one that it made

source "$(dirname "$0")/_common.sh"

if [[ -z ${2:-} || $1 == -* || $2 == -* ]]; then
    fail "which text? the one to train on and the one to score on come first; see bash scripts/pretrain_small.sh --help"
fi
train=$1 dev=$2
shift 2
output=${OUTPUT:-outputs/pretrain_small}
vocabulary=${VOCAB:-google/mobilebert-uncased}
if [[ -f $vocabulary ]]; then
    vocabulary_flags=(--vocab "$vocabulary")
else
    vocabulary_flags=(--tokenizer "$vocabulary")
fi
check_flags run_pretrain.py "$@"
renew_folder "$output" rows training evaluation

for part in train dev; do
    "$PYTHON" -m mobilebert pretrain-data \
        --input "${!part}" \
        "${vocabulary_flags[@]}" \
        --masking dynamic \
        --out "$output/rows/$part"
done

"$PYTHON" run_pretrain.py \
    --recipe pretrain_small \
    --train_data "$output/rows/train" \
    --dev_data "$output/rows/dev" \
    --config_name scripts/sst2_from_scratch.json \
    --tokenizer_name "$vocabulary" \
    --output_dir "$output/training" \
    --do_train --do_eval \
    "$@"

"$PYTHON" run_pretrain.py \
    --model_name_or_path "$output/training/best" \
    --dev_data "$output/rows/dev" \
    --output_dir "$output/evaluation" \
    --do_eval
