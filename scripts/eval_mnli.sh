#!/usr/bin/env bash
# Scores an MNLI checkpoint on both dev sets: task/mnli/, or MODEL_DIR.
#
#   bash scripts/eval_mnli.sh
#   MODEL_DIR=output_mnli/best bash scripts/eval_mnli.sh --data_dir GLUE
#   bash scripts/eval_mnli.sh --label_order contradiction,entailment,neutral
#                                               for a checkpoint whose config.json does not name its classes

source "$(dirname "$0")/_common.sh"

exec bash scripts/eval_glue.sh mnli "$@"
