#!/usr/bin/env bash
# Knowledge transfer at a small size, on real text: the paragraphs of SQuAD's train set (13 MB), 8,192 tokens of the
# vocabulary, a student of 6 thin layers (scripts/distill_small/student.json) and an inverted-bottleneck teacher with the
# same feature maps (teacher.json), which is trained here first. Then, at equal steps, the paper's ablation: no transfer;
# pre-training distillation (PD); PD after feature-map transfer (FMT), after attention transfer (AT), after both layer by
# layer (PKT), after both in all layers at once (JKT), together with both (AKT). Last a table of held-out text, and
# whether its order is the paper's (tables 7 and 8). Then the best student is fine-tuned on SST-2 and on 20,000 questions
# of SQuAD v1.1, beside random weights.
#
#   DATA=FOLDER bash scripts/distill_small.sh              FOLDER holds squad/, glue/SST-2 and vocab.txt
#   ... bash scripts/distill_small.sh --seeds 3            three seeds, teachers included
#   ... bash scripts/distill_small.sh --stage pretrain     that stage alone: text, pretrain or finetune
#   ... OUTPUT=FOLDER STEPS=N TEACHER_STEPS=N ARMS="pd pkt" ...
#                                                          other places, lengths (900, 1500) and arms
#
# What has finished is not repeated, so a script that was stopped goes on with the arm that it was in, and that with its
# last checkpoint. What was made with other settings is refused.

source "$(dirname "$0")/_common.sh"

output=${OUTPUT:-outputs/distill_small}
data=${DATA:-${MOBILEBERT_DATA:-}}
steps=${STEPS:-900}
teacher_steps=${TEACHER_STEPS:-1500}
questions=${QUESTIONS:-20000}
dev_questions=${DEV_QUESTIONS:-2000}
sst2_steps=${SST2_STEPS:-1000}
squad_epochs=${SQUAD_EPOCHS:-2}
batch=${BATCH:-16}
arms=${ARMS:-pd pd_fmt pd_at akt jkt pkt}
configs=${CONFIGS:-scripts/distill_small} # student.json and teacher.json, of this vocabulary:
vocab_size=${VOCAB_SIZE:-8192}
seeds=1
stages="text pretrain finetune"
while [[ -n ${1:-} ]]; do
    case $1 in
        --seeds) seeds=${2:-} ;;
        --stage)
            stages=${2:-}
            [[ $stages =~ ^(text|pretrain|finetune)$ ]] || fail "--stage $stages: expected text, pretrain or finetune"
            ;;
        *) fail "$1: unknown; see bash scripts/distill_small.sh --help" ;;
    esac
    shift 2 || fail "$1: a value is missing"
done
[[ $seeds =~ ^[1-9]$ ]] || fail "--seeds $seeds: expected 1 to 9"
[[ -f $data/vocab.txt && -d $data/squad ]] || fail "DATA='$data': expected a folder with squad/, glue/SST-2 and vocab.txt"
export MOBILEBERT_QUIET=${MOBILEBERT_QUIET:-1}
transfer=$((steps / 3))

# `train FOLDER SCRIPT FLAGS...`: a training, unless it has finished; goes on where there is a checkpoint.
train() {
    local folder=$1 script=$2 begin=$SECONDS
    shift 2
    local settings="$script $*"
    settings=${settings//"$output"/OUTPUT}
    note_settings "$folder" "${settings//"$data"/DATA}"
    [[ -f $folder/eval_results.json ]] && return
    echo "== $folder"
    mkdir -p "$folder"
    local start=--overwrite_output_dir
    if compgen -G "$folder/checkpoints/step_*" >/dev/null; then start=--resume; fi
    "$PYTHON" "$script" --do_train --do_eval --output_dir "$folder" --eval_steps 0 --save_steps 300 --log_steps 50 \
        --keep_checkpoints 1 "$start" "$@" >"$folder.log" 2>&1 || {
        tail -5 "$folder.log" >&2
        return 1
    }
    rm -rf "$folder/checkpoints"
    echo "   $((SECONDS - begin)) s"
}

pretrain() {
    local folder=$1 script=$2 seed=$3
    shift 3
    train "$folder" "$script" --train_data "$output/rows/train" --dev_data "$output/rows/dev" \
        --tokenizer_name "$output/text/vocab.txt" --batch_size "$batch" --learning_rate 1e-3 --warmup_ratio 0.1 \
        --seed "$seed" "$@"
}

student() {
    local name=$1 seed=$2
    shift 2
    pretrain "$output/seed_$seed/$name" run_distill.py "$seed" --config_name "$configs"/student.json \
        --teacher "$output/seed_$seed/teacher/best" "$@"
}

if [[ $stages == *text* ]]; then
    note_settings "$output/text" "$vocab_size tokens, $questions and $dev_questions questions"
    [[ -f $output/text/vocab.txt ]] || "$PYTHON" scripts/squad_paragraphs.py --data "$data" --out "$output/text" \
        --vocab_size "$vocab_size" --questions "$questions" "$dev_questions"
    # Stored masks: every arm sees the same.
    for kind in train dev; do
        "$PYTHON" -m mobilebert pretrain-data --input "$output/text/$kind.txt" --vocab "$output/text/vocab.txt" \
            --out "$output/rows/$kind" --max_seq_length 128 --max_predictions_per_seq 20 --dupe_factor 1
    done
fi

if [[ $stages == *pretrain* ]]; then
    no_maps="--feature_map_weight 0 --mean_weight 0 --variance_weight 0"
    two="--transfer_steps $transfer --max_steps $((steps - transfer))"
    one="--transfer_steps 0 --max_steps $steps"
    for seed in $(seq 1 "$seeds"); do
        pretrain "$output/seed_$seed/teacher" run_pretrain.py "$seed" --recipe pretrain_small \
            --config_name "$configs"/teacher.json --max_steps "$teacher_steps"
        pretrain "$output/seed_$seed/none" run_pretrain.py "$seed" --recipe pretrain_small \
            --config_name "$configs"/student.json --max_steps "$steps"
        for arm in $arms; do
            case $arm in
                pd) student pd "$seed" --strategy auxiliary $no_maps --attention_weight 0 $one ;;
                pd_fmt) student pd_fmt "$seed" --strategy progressive --attention_weight 0 $two ;;
                pd_at) student pd_at "$seed" --strategy progressive $no_maps $two ;;
                akt) student akt "$seed" --strategy auxiliary $one ;;
                jkt) student jkt "$seed" --strategy joint $two ;;
                pkt) student pkt "$seed" --strategy progressive $two ;;
                *) fail "ARMS='$arms': expected some of pd pd_fmt pd_at akt jkt pkt" ;;
            esac
        done
    done
    "$PYTHON" scripts/distill_small_table.py "$output"
fi

if [[ $stages == *finetune* ]]; then
    best=$("$PYTHON" scripts/distill_small_table.py "$output" --best)
    for seed in $(seq 1 "$seeds"); do
        for start in random "$best"; do
            if [[ $start == random ]]; then
                from="--config_name $configs/student.json --tokenizer_name $output/text/vocab.txt"
                squad_from=$from
            else
                from="--init_from $output/seed_$seed/$best/best"
                squad_from="--model_name_or_path $output/seed_$seed/$best/best"
            fi
            train "$output/seed_$seed/finetuned/sst2_$start" run_glue.py --task_name sst2 --data_dir "$data/glue" \
                --recipe sst2_from_scratch --max_steps "$sst2_steps" --cache_dir "$output/cache" --seed "$seed" $from
            train "$output/seed_$seed/finetuned/squad_$start" run_squad.py --train_file "$output/text/train.json" \
                --dev_file "$output/text/dev.json" --recipe squad_small --num_train_epochs "$squad_epochs" \
                --on_bad_answer drop --cache_dir "$output/cache" --seed "$seed" $squad_from
        done
    done
    "$PYTHON" scripts/distill_small_table.py "$output" --finetuned
fi
