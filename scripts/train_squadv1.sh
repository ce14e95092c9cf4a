#!/usr/bin/env bash
# Fine-tunes MobileBERT on SQuAD v1.1 with the original's recipe and keeps the best checkpoint in output_squadv1/best/.
#
#   bash scripts/train_squadv1.sh                                  data are downloaded
#   bash scripts/train_squadv1.sh --train_file train.json --dev_file dev.json --batch_size 16
#                                                                  any flag of run_squad.py, the last one counts
#   GPUS=0,1 bash scripts/train_squadv1.sh --batch_size 32         two GPUs, 2 x 32 examples a step
#   MODEL=FOLDER OUTPUT=FOLDER bash scripts/train_squadv1.sh       another checkpoint (weight/paddle), another place

source "$(dirname "$0")/_common.sh"
source scripts/_launch.sh

launch run_squad.py \
    --model_name_or_path "${MODEL:-weight/paddle}" \
    --output_dir "${OUTPUT:-output_squadv1}" \
    --do_train --do_eval \
    --max_seq_length 384 \
    --doc_stride 128 \
    --batch_size 64 \
    --num_train_epochs 6 \
    --learning_rate 8e-5 \
    --min_lr 1e-6 \
    --lr_schedule cosine \
    --decay_ratio 0.7 \
    --warmup_ratio 0.1 \
    --weight_decay 0.1 \
    --adam_beta2 0.98 \
    --max_grad_norm 0 \
    --eval_steps 240 \
    "$@"
