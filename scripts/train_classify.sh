#!/usr/bin/env bash
# Fine-tunes MobileBERT on a table of your own (CSV, TSV, JSON): its columns of texts and labels are found by name or
# by shape, a tenth of the rows is the dev set, the best checkpoint is kept in output_FILE/best/.
# What there is to say about a table: docs/own-data.md.
#
#   bash scripts/train_classify.sh my.csv
#   bash scripts/train_classify.sh my.csv --dev dev.csv --class_weights balanced
#                                                   any flag of python -m mobilebert train classify
#   GPUS=0,1 bash scripts/train_classify.sh my.csv  two GPUs
#   MODEL=FOLDER OUTPUT=FOLDER bash scripts/train_classify.sh my.csv
#                                                   another checkpoint (weight/paddle), another place

source "$(dirname "$0")/_common.sh"
source scripts/_launch.sh

if [[ -z ${1:-} || $1 == -* ]]; then
    fail "which table? it comes first; see bash scripts/train_classify.sh --help"
fi
table=$1
shift

launch run_classify.py \
    --train "$table" \
    ${MODEL:+--model "$MODEL"} \
    ${OUTPUT:+--output_dir "$OUTPUT"} \
    "$@"
