#!/usr/bin/env bash
# The whole way in a few minutes on 2 CPU cores, with nothing to download but the packages: a small MobileBERT with
# random weights as a Hugging Face checkpoint, converted to Paddle, compared with PyTorch, trained on samples/squad,
# evaluated, and three questions that it answers right. Everything it makes is under outputs/quickstart/. In a minimal
# environment (bash scripts/setup.sh --minimal) Paddle draws the weights, and nothing is compared.
#
#   bash scripts/quickstart.sh
#   bash scripts/quickstart.sh --seed 7                        any flag of run_squad.py, for the training
#   OUTPUT=FOLDER bash scripts/quickstart.sh                   instead of outputs/quickstart/; a new or empty folder,
#                                                              or one that this script made
#   SEED=3 bash scripts/quickstart.sh                          other data and other random weights

source "$(dirname "$0")/_common.sh"

output=${OUTPUT:-outputs/quickstart}
seed=${SEED:-0}
export MOBILEBERT_QUIET=${MOBILEBERT_QUIET:-1}
begin=$SECONDS
check_flags run_squad.py "$@"

step() {
    echo
    echo "== $1"
}

echo "quickstart: six steps, nothing to download; 1 to 2 minutes on 2 idle cores"

# fp32 and int8 are what demo.sh exports of the model.
renew_folder "$output" data torch paddle compare.json cache training evaluation fp32 int8

step "1/6 generate passages, questions and a vocabulary"
"$PYTHON" samples/squad/generate.py --output_dir "$output/data" --seed "$seed"

step "2/6 make a Hugging Face checkpoint with random weights"
"$PYTHON" samples/make_checkpoint.py \
    --config samples/squad/model.json \
    --vocab "$output/data/vocab.txt" \
    --dst "$output/torch" \
    --seed "$seed"

step "3/6 convert it to Paddle"
"$PYTHON" convert.py --src "$output/torch" --dst "$output/paddle"

step "4/6 compare both, layer by layer"
if [[ -e .venv/.minimal ]]; then
    echo "left out: PyTorch and transformers are not in a minimal environment; bash scripts/setup.sh adds them"
else
    "$PYTHON" compare.py \
        --torch "$output/torch" \
        --paddle "$output/paddle" \
        --head question-answering \
        --report "$output/compare.json"
fi

step "5/6 train, and keep the best"
training_begin=$SECONDS
"$PYTHON" run_squad.py \
    --recipe quickstart \
    --model_name_or_path "$output/paddle" \
    --train_file "$output/data/train.json" \
    --dev_file "$output/data/dev.json" \
    --cache_dir "$output/cache" \
    --output_dir "$output/training" \
    --do_train --do_eval \
    --keep_examples 3 \
    "$@"
training_seconds=$((SECONDS - training_begin))

step "6/6 evaluate the best on the dev set, in a process of its own; the checkpoint notes how it reads"
"$PYTHON" run_squad.py \
    --model_name_or_path "$output/training/best" \
    --dev_file "$output/data/dev.json" \
    --cache_dir "$output/cache" \
    --output_dir "$output/evaluation" \
    --do_eval

"$PYTHON" scripts/quickstart_table.py \
    --folder "$output" \
    --training_seconds "$training_seconds" \
    --total_seconds "$((SECONDS - begin))"
