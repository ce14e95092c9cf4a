#!/usr/bin/env bash
# Runs a training script with N seeds and prints mean, standard deviation and best of every dev metric, beside the
# paper's value where there is one: of the dev set for SQuAD, but of the test server for GLUE, whose scores are lower. Dev-selected and final checkpoints are kept apart: the former are chosen by the
# dev set itself and so a little too good.
#
#   bash scripts/multi_seed.sh scripts/train_squadv1.sh 5
#   bash scripts/multi_seed.sh "scripts/train_glue.sh rte" 5 --data_dir GLUE     further arguments go to every run
#   SEEDS="7 8 9" RUNS=FOLDER bash scripts/multi_seed.sh scripts/train_mnli.sh 3
#
# Each run is in RUNS/seed_SEED/ (outputs/multi_seed/NAME/seed_SEED/); one that has finished is not repeated.

source "$(dirname "$0")/_common.sh"

read -r -a command <<<"${1:-}"
count="${2:-}"
if [[ ! -f ${command[0]:-} || ! $count =~ ^[1-9][0-9]*$ ]]; then
    fail "expected a script and a number of seeds, got '${1:-}' and '$count'; see bash scripts/multi_seed.sh --help"
fi
shift 2
name="$(basename "${command[0]}" .sh)"
runs="${RUNS:-outputs/multi_seed/${name}${command[1]:+_${command[1]}}}"

for seed in ${SEEDS:-$(seq 42 $((41 + count)))}; do
    if [[ ! -f $runs/seed_$seed/eval_results.json ]]; then
        echo "== seed $seed"
        bash "${command[@]}" "$@" --seed "$seed" --output_dir "$runs/seed_$seed" --overwrite_output_dir
    fi
done

"$PYTHON" scripts/seed_table.py "$runs" "${command[@]}"
