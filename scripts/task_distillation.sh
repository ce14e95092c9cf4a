#!/usr/bin/env bash
# What a fine-tuned teacher adds to a smaller student, with three seeds: on SST-2, and on the quickstart's questions. A
# teacher is trained on each first, then students of its even layers (--student_layers), with its answers and without.
#
#   DATA=FOLDER bash scripts/task_distillation.sh          FOLDER holds glue/SST-2 and vocab.txt
#   ... bash scripts/task_distillation.sh --seeds 1        one seed (default: 3)
#   ... OUTPUT=FOLDER STEPS=N TEACHER_STEPS=N ...          other places and lengths (outputs/task_distillation, 400, 1000)
#
# What has finished is not repeated; what was made with other settings is refused.

source "$(dirname "$0")/_common.sh"

output=${OUTPUT:-outputs/task_distillation}
data=${DATA:-${MOBILEBERT_DATA:-}}
steps=${STEPS:-400}
teacher_steps=${TEACHER_STEPS:-1000}
seeds=3
if [[ ${1:-} == --seeds ]]; then
    seeds=${2:-}
    shift 2 || fail "--seeds: a value is missing"
fi
[[ -z ${1:-} ]] || fail "$1: unknown; see bash scripts/task_distillation.sh --help"
[[ $seeds =~ ^[1-9]$ ]] || fail "--seeds $seeds: expected 1 to 9"
[[ -f $data/vocab.txt && -d $data/glue ]] || fail "DATA='$data': expected a folder with glue/SST-2 and vocab.txt"
export MOBILEBERT_QUIET=${MOBILEBERT_QUIET:-1}

# `train FOLDER SCRIPT FLAGS...`: a training, unless it has finished.
train() {
    local folder=$1 script=$2 begin=$SECONDS
    shift 2
    local settings="$script $*"
    settings=${settings//"$output"/OUTPUT}
    note_settings "$folder" "${settings//"$data"/DATA}"
    [[ -f $folder/eval_results.json ]] && return
    mkdir -p "$folder"
    "$PYTHON" "$script" --do_train --do_eval --output_dir "$folder" --overwrite_output_dir --eval_steps 0 --save_steps 0 \
        --log_steps 50 --cache_dir "$output/cache" "$@" >"$folder.log" 2>&1 || {
        tail -5 "$folder.log" >&2
        return 1
    }
    echo "$folder: $((SECONDS - begin)) s"
}

sst2() { train "$1" run_glue.py --task_name sst2 --data_dir "$data/glue" --recipe sst2_from_scratch "${@:2}"; }
squad() {
    train "$1" run_squad.py --recipe quickstart --train_file "$output/quickstart/train.json" \
        --dev_file "$output/quickstart/dev.json" "${@:2}"
}

mkdir -p "$output"
[[ -f $output/quickstart/dev.json ]] ||
    "$PYTHON" samples/squad/generate.py --output_dir "$output/quickstart" --seed 0
sed "1s/{/{ \"vocab_size\": $(wc -l <"$output/quickstart/vocab.txt"),/" samples/squad/model.json >"$output/quickstart/model.json"
sst2 "$output/sst2/teacher" --config_name scripts/sst2_from_scratch.json --tokenizer_name "$data/vocab.txt" \
    --max_steps "$teacher_steps"
squad "$output/squad/teacher" --config_name "$output/quickstart/model.json" --tokenizer_name "$output/quickstart/vocab.txt" \
    --max_steps "$teacher_steps"
for seed in $(seq 1 "$seeds"); do
    for task in sst2 squad; do
        layers=2
        [[ $task == squad ]] && layers=1 # of two
        from="--teacher $output/$task/teacher/best --student_layers $layers --seed $seed --max_steps $steps"
        $task "$output/$task/seed_$seed/alone" $from --alpha 1
        $task "$output/$task/seed_$seed/answers" $from
        $task "$output/$task/seed_$seed/layers" $from --hidden_weight 1
    done
done
"$PYTHON" scripts/task_distillation_table.py "$output"
