#!/usr/bin/env bash
# Checks the style of all Python code and the types of mobilebert/, and changes nothing.
#
#   bash scripts/lint.sh
#   bash scripts/lint.sh mobilebert tests/unit    only the style of these
#
# What mypy leaves out, and why: pyproject.toml.
# To have most of it put right: .venv/bin/ruff check --fix . && .venv/bin/ruff format .

needs_everything=true
source "$(dirname "$0")/_common.sh"

everything=false
if (($# == 0)); then
    everything=true
    set -- .
fi
"$PYTHON" -m ruff check "$@"
"$PYTHON" -m ruff format --check "$@"
if $everything; then
    "$PYTHON" -m mypy
fi
