#!/usr/bin/env bash
# Scores a checkpoint on a GLUE task's dev set: task/TASK/, or MODEL_DIR. Writes outputs/eval_TASK/eval_results.json.
#
#   bash scripts/eval_glue.sh TASK                  cola sst2 mrpc stsb qqp mnli qnli rte wnli
#   MODEL_DIR=output_rte/best bash scripts/eval_glue.sh rte --data_dir GLUE
#   bash scripts/eval_glue.sh mnli --label_order contradiction,entailment,neutral
#                                                   for a checkpoint whose config.json does not name its classes
#   OUTPUT=FOLDER bash scripts/eval_glue.sh TASK    another place

source "$(dirname "$0")/_common.sh"
source scripts/_launch.sh

if [[ -z ${1:-} || $1 == -* ]]; then
    fail "which task? it comes first; see bash scripts/eval_glue.sh --help"
fi
task=$1
shift

launch run_glue.py \
    --task_name "$task" \
    --model_name_or_path "${MODEL_DIR:-task/$task}" \
    --output_dir "${OUTPUT:-outputs/eval_$task}" \
    --do_eval \
    "$@"
