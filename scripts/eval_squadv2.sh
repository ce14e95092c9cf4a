#!/usr/bin/env bash
# Scores a SQuAD v2.0 checkpoint on the dev set: task/squadv2/, or MODEL_DIR. Writes to outputs/eval_squadv2/, or OUTPUT.
#
#   bash scripts/eval_squadv2.sh
#   MODEL_DIR=output_squadv2/best bash scripts/eval_squadv2.sh --dev_file dev.json --eval_batch_size 8

source "$(dirname "$0")/_common.sh"
source scripts/_launch.sh

launch run_squad.py \
    --recipe squadv2 \
    --version_2_with_negative \
    --model_name_or_path "${MODEL_DIR:-task/squadv2}" \
    --output_dir "${OUTPUT:-outputs/eval_squadv2}" \
    --do_eval \
    "$@"
