#!/usr/bin/env bash
# Scores a model of entities on a tagged file: output_ner/best/, or MODEL_DIR. Writes scores, the table of types and the tags of
# all words to outputs/eval_ner/, or OUTPUT.
#
#   bash scripts/eval_ner.sh test.conll
#   MODEL_DIR=task/ner bash scripts/eval_ner.sh test.conllu --tag_column upos

source "$(dirname "$0")/_common.sh"
source scripts/_launch.sh

if [[ -z ${1:-} || $1 == -* ]]; then
    fail "which file? it comes first; see bash scripts/eval_ner.sh --help"
fi
file=$1
shift

launch run_ner.py \
    --model_name_or_path "${MODEL_DIR:-output_ner/best}" \
    --dev_file "$file" \
    --output_dir "${OUTPUT:-outputs/eval_ner}" \
    --do_eval \
    "$@"
