#!/usr/bin/env bash
# Fine-tunes MobileBERT on SQuAD v2.0 with the original's recipe and keeps the best checkpoint in output_squadv2/best/.
#
#   bash scripts/train_squadv2.sh                                  data are downloaded
#   bash scripts/train_squadv2.sh --train_file train.json --dev_file dev.json --batch_size 16
#                                                                  any flag of run_squad.py, the last one counts;
#                                                                  4 forward passes a step: a step stays 64 examples
#   GPUS=0,1 bash scripts/train_squadv2.sh                         two GPUs, 2 x 32 examples a step
#   MODEL=FOLDER OUTPUT=FOLDER bash scripts/train_squadv2.sh       another checkpoint (weight/paddle), another place

source "$(dirname "$0")/_common.sh"
source scripts/_launch.sh

launch run_squad.py \
    --recipe squadv2 \
    --global_batch_size 64 \
    --model_name_or_path "${MODEL:-weight/paddle}" \
    --output_dir "${OUTPUT:-output_squadv2}" \
    --do_train --do_eval \
    "$@"
