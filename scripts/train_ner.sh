#!/usr/bin/env bash
# Fine-tunes MobileBERT to find named entities, or other tags of words, in files of your own, and keeps the best checkpoint in
# output_ner/best/. The files: CoNLL's columns, CoNLL-U, JSON lines (docs/own-data.md).
#
#   bash scripts/train_ner.sh train.conll dev.conll
#   bash scripts/train_ner.sh train.jsonl dev.jsonl --num_train_epochs 3 --batch_size 16
#                                                            any flag of run_ner.py; 2 forward passes a step of 32
#   INIT_FROM=output_mnli/best bash scripts/train_ner.sh train.conll dev.conll
#                                                            begin with the encoder of another task's model
#   bash scripts/train_ner.sh train.conll dev.conll --recipe ner_sample --config_name CONFIG --tokenizer_name VOCAB
#                                                            begin with random weights
#   GPUS=0,1 bash scripts/train_ner.sh train.conll dev.conll
#   MODEL=FOLDER OUTPUT=FOLDER bash scripts/train_ner.sh train.conll dev.conll
#                                                            another checkpoint (weight/paddle), another place

source "$(dirname "$0")/_common.sh"
source scripts/_launch.sh

if [[ -z ${2:-} || $1 == -* || $2 == -* ]]; then
    fail "which files? train and dev come first; see bash scripts/train_ner.sh --help"
fi
train=$1 dev=$2
shift 2
if [[ " $* " == *" --config_name"* ]]; then
    source_flags=() # random weights
elif [[ -n ${INIT_FROM:-} ]]; then
    source_flags=(--init_from "$INIT_FROM")
else
    source_flags=(--model_name_or_path "${MODEL:-weight/paddle}")
fi

launch run_ner.py \
    --global_batch_size 32 \
    --train_file "$train" \
    --dev_file "$dev" \
    ${source_flags[@]+"${source_flags[@]}"} \
    --output_dir "${OUTPUT:-output_ner}" \
    --do_train --do_eval \
    "$@"
