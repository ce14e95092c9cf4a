#!/usr/bin/env bash
# Trains a small MobileBERT (4 layers, 256/128; scripts/sst2_from_scratch.json) on SST-2 from random weights: a check
# of the whole chain that needs no checkpoint. At least 79 % on dev within 20 minutes on 2 CPU cores.
# benchmarks/sst2_torch.py trains the same model on the same batches in transformers/torch.
#
#   bash scripts/sst2_from_scratch.sh                                       data and vocabulary are downloaded
#   DATA_DIR=GLUE VOCAB=vocab.txt bash scripts/sst2_from_scratch.sh         data and vocabulary at hand
#   bash scripts/sst2_from_scratch.sh --seed 7                              any flag of run_glue.py
#   OUTPUT=FOLDER bash scripts/sst2_from_scratch.sh                         instead of output_sst2_from_scratch/

source "$(dirname "$0")/_common.sh"

data_flags=()
if [[ -n ${DATA_DIR:-} ]]; then
    data_flags=(--data_dir "$DATA_DIR")
fi

exec "$PYTHON" run_glue.py \
    --task_name sst2 \
    --recipe sst2_from_scratch \
    --config_name scripts/sst2_from_scratch.json \
    --tokenizer_name "${VOCAB:-google/mobilebert-uncased}" \
    ${data_flags[@]+"${data_flags[@]}"} \
    --output_dir "${OUTPUT:-output_sst2_from_scratch}" \
    --do_train --do_eval \
    "$@"
