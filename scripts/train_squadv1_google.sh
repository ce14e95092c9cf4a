#!/usr/bin/env bash
# Fine-tunes MobileBERT on SQuAD v1.1 with the recipe of Google's code; the best is in output_squadv1_google/best/.
#
# Differs from train_squadv1.sh in learning rate 4e-5, 5 epochs, batch 32, linear decay to 0, clipping at 1.0, weight
# decay 0.01 and beta2 0.999. For v2.0 add: --version_2_with_negative --output_dir output_squadv2_google
#
#   bash scripts/train_squadv1_google.sh --train_file train.json --dev_file dev.json
#   GPUS=0,1 bash scripts/train_squadv1_google.sh               two GPUs, 2 x 16 examples a step
#   MODEL=FOLDER OUTPUT=FOLDER bash scripts/train_squadv1_google.sh

source "$(dirname "$0")/_common.sh"
source scripts/_launch.sh

launch run_squad.py \
    --recipe squadv1_google \
    --global_batch_size 32 \
    --model_name_or_path "${MODEL:-weight/paddle}" \
    --output_dir "${OUTPUT:-output_squadv1_google}" \
    --do_train --do_eval \
    "$@"
