#!/usr/bin/env bash
# Fine-tunes MobileBERT on a GLUE task with the task's preset (mobilebert/tasks/recipes.py), keeps the best
# checkpoint in output_TASK/best/ and writes the test set's predictions for the GLUE server.
#
#   bash scripts/train_glue.sh TASK                 cola sst2 mrpc stsb qqp mnli qnli rte wnli; data are downloaded
#   bash scripts/train_glue.sh rte --data_dir GLUE --learning_rate 3e-5
#                                                   any flag of run_glue.py
#   INIT_FROM=output_mnli/best bash scripts/train_glue.sh rte
#                                                   begin with the encoder of an MNLI model, as the literature does
#   GPUS=0,1 bash scripts/train_glue.sh qqp         two GPUs
#   MODEL=FOLDER OUTPUT=FOLDER bash scripts/train_glue.sh TASK
#                                                   another checkpoint (weight/paddle), another place

source "$(dirname "$0")/_common.sh"
source scripts/_launch.sh

if [[ -z ${1:-} || $1 == -* ]]; then
    fail "which task? it comes first; see bash scripts/train_glue.sh --help"
fi
task=$1
shift
if [[ -n ${INIT_FROM:-} ]]; then
    source_flags=(--init_from "$INIT_FROM")
else
    source_flags=(--model_name_or_path "${MODEL:-weight/paddle}")
fi

launch run_glue.py \
    --task_name "$task" \
    "${source_flags[@]}" \
    --output_dir "${OUTPUT:-output_$task}" \
    --do_train --do_eval --do_predict \
    "$@"
