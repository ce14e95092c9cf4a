#!/usr/bin/env bash
# Scores a SQuAD v1.1 checkpoint on the dev set: task/squadv1/, or MODEL_DIR. Writes to outputs/eval_squadv1/, or OUTPUT.
#
#   bash scripts/eval_squadv1.sh
#   MODEL_DIR=output_squadv1/best bash scripts/eval_squadv1.sh --dev_file dev.json --eval_batch_size 8

source "$(dirname "$0")/_common.sh"
source scripts/_launch.sh

launch run_squad.py \
    --model_name_or_path "${MODEL_DIR:-task/squadv1}" \
    --output_dir "${OUTPUT:-outputs/eval_squadv1}" \
    --do_eval \
    --no-version_2_with_negative \
    "$@"
