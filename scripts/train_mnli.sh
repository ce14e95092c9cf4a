#!/usr/bin/env bash
# Fine-tunes MobileBERT on MNLI with the original's recipe and keeps the best checkpoint in output_mnli/best/.
# Evaluates on both dev sets, matched and mismatched, every 240 steps.
#
#   bash scripts/train_mnli.sh                                    data are downloaded
#   bash scripts/train_mnli.sh --data_dir GLUE --batch_size 32    any flag of run_glue.py, the last one counts;
#                                                                 2 forward passes a step: a step stays 64 examples
#   GPUS=0,1 bash scripts/train_mnli.sh                           two GPUs, 2 x 32 examples a step
#   MODEL=FOLDER OUTPUT=FOLDER bash scripts/train_mnli.sh         another checkpoint (weight/paddle), another place

source "$(dirname "$0")/_common.sh"
source scripts/_launch.sh

launch run_glue.py \
    --task_name mnli \
    --global_batch_size 64 \
    --model_name_or_path "${MODEL:-weight/paddle}" \
    --output_dir "${OUTPUT:-output_mnli}" \
    --do_train --do_eval \
    "$@"
