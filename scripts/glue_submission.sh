#!/usr/bin/env bash
# Collects the test predictions of every task, checks each file as the GLUE server would, and zips them for
# https://gluebenchmark.com/submit: outputs/glue_submission.zip.
# Predictions that are not there yet are made: from output_TASK/best/, AX with the MNLI model.
#
#   bash scripts/glue_submission.sh                        after scripts/glue_all.sh
#   bash scripts/glue_submission.sh --data_dir GLUE        arguments go to every run of run_glue.py
#   RUNS=FOLDER OUTPUT=FILE.zip bash scripts/glue_submission.sh

source "$(dirname "$0")/_common.sh"

check_flags run_glue.py "$@"
runs="${RUNS:-.}"
archive="${OUTPUT:-outputs/glue_submission.zip}"
collected="$(mktemp -d)"
trap 'rm -rf "$collected"' EXIT

for task in cola sst2 mrpc stsb qqp mnli qnli rte wnli ax; do
    model="$runs/output_${task/ax/mnli}/best"
    files=$("$PYTHON" -c "
from mobilebert.data.glue.tasks import TASKS
print(*(name for name, _ in TASKS['$task'].submissions.values()))")
    for file in $files; do
        if [[ ! -f $runs/output_$task/$file ]]; then
            "$PYTHON" run_glue.py \
                --task_name "$task" \
                --model_name_or_path "$model" \
                --output_dir "$runs/output_$task" \
                --do_predict \
                "$@"
            break
        fi
    done
    for file in $files; do
        if [[ -f $runs/output_$task/$file ]]; then
            cp "$runs/output_$task/$file" "$collected/"
        fi
    done
done

"$PYTHON" scripts/glue_submission.py "$collected" "$archive"
