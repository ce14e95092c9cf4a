#!/usr/bin/env bash
# Pre-trains MobileBERT with the published setting: 500,000 steps of 2048 rows, LAMB, a peak rate of 0.0015 after
# 10,000 steps. The rows, of 512 tokens: python -m mobilebert pretrain-data --max_seq_length 512. It goes on with
# --resume. The best model by the dev rows is kept in output_pretrain/best/.
#
#   GPUS=0,1,2,3,4,5,6,7 BATCH=32 bash scripts/pretrain.sh rows/train rows/dev
#                                                            BATCH rows in a forward pass of one device
#   INIT_FROM=weight/paddle bash scripts/pretrain.sh rows/train rows/dev --recipe continued --learning_rate 5e-5
#                                                            a checkpoint goes on with text of one's own
#   CONFIG=config.json VOCAB=vocab.txt bash scripts/pretrain.sh rows/train rows/dev --max_steps 1000
#                                                            another shape and vocabulary (google/mobilebert-uncased);
#                                                            any flag of run_pretrain.py
#   OUTPUT=FOLDER bash scripts/pretrain.sh rows/train rows/dev

source "$(dirname "$0")/_common.sh"
source scripts/_launch.sh

if [[ -z ${2:-} || $1 == -* || $2 == -* ]]; then
    fail "which rows? those to train on and those to score on come first; see bash scripts/pretrain.sh --help"
fi
train=$1 dev=$2
shift 2
if [[ -n ${INIT_FROM:-} ]]; then
    source_flags=(--init_from "$INIT_FROM")
else
    source_flags=(--config_name "${CONFIG:-google/mobilebert-uncased}" --tokenizer_name "${VOCAB:-google/mobilebert-uncased}")
fi
batch_flags=()
if [[ " $* " != *" --recipe"* ]]; then
    batch_flags=(--recipe paper --global_batch_size 2048 --batch_size "${BATCH:-32}")
fi

launch run_pretrain.py \
    ${batch_flags[@]+"${batch_flags[@]}"} \
    --train_data "$train" \
    --dev_data "$dev" \
    "${source_flags[@]}" \
    --output_dir "${OUTPUT:-output_pretrain}" \
    --do_train --do_eval \
    "$@"
