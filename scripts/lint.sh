#!/usr/bin/env bash
# Checks the style of all Python code and changes nothing.
#
#   bash scripts/lint.sh
#   bash scripts/lint.sh mobilebert tests/unit       only these
#
# To have most of it put right: .venv/bin/ruff check --fix . && .venv/bin/ruff format .

source "$(dirname "$0")/_common.sh"

if (($# == 0)); then
    set -- .
fi
"$PYTHON" -m ruff check "$@"
"$PYTHON" -m ruff format --check "$@"
