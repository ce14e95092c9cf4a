#!/usr/bin/env bash
# Fine-tunes every GLUE task, one after the other, and prints one table of dev scores beside the paper's of the test
# server and AIMET's of the dev sets.
# A task whose output_TASK/eval_results.json is there is not trained again; an interrupted one goes on where it was.
#
#   bash scripts/glue_all.sh                              data are downloaded
#   bash scripts/glue_all.sh --data_dir GLUE              arguments go to every run
#   FROM_MNLI=1 bash scripts/glue_all.sh                  RTE, MRPC and STS-B begin with the MNLI model
#   TASKS="cola rte" bash scripts/glue_all.sh             only these
#   RUNS=FOLDER bash scripts/glue_all.sh                  FOLDER/output_TASK/ instead of output_TASK/

source "$(dirname "$0")/_common.sh"

check_flags run_glue.py "$@"
runs="${RUNS:-.}"
for task in ${TASKS:-mnli cola sst2 mrpc stsb qqp qnli rte wnli}; do
    output="$runs/output_$task"
    if [[ -f $output/eval_results.json ]]; then
        continue
    fi
    init_from=
    case "${FROM_MNLI:-0} $task" in
        "1 rte" | "1 mrpc" | "1 stsb") init_from="$runs/output_mnli/best" ;;
    esac
    resume=()
    if compgen -G "$output/checkpoints/*" >/dev/null; then
        resume=(--resume)
    fi
    echo "== $task"
    INIT_FROM="$init_from" OUTPUT="$output" bash scripts/train_glue.sh "$task" "$@" ${resume[@]+"${resume[@]}"}
done

"$PYTHON" scripts/glue_table.py "$runs"
