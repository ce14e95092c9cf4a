#!/usr/bin/env bash
# Line coverage of mobilebert/ by the tests, with the processes that they start; arguments go to pytest. Ends with 1 where
# a test fails, or where all tests together leave more than 5 % of the lines out. Takes about twice as long as the tests.
#
#   bash scripts/coverage.sh                           all tests
#   bash scripts/coverage.sh tests/unit/test_fold.py   what these tests reach
#
# Settings, and what is not counted: pyproject.toml. The lines: .venv/bin/python -m coverage report -m

needs_everything=true
source "$(dirname "$0")/_common.sh"

export MOBILEBERT_QUIET="${MOBILEBERT_QUIET:-1}"
"$PYTHON" -m coverage erase
failed=0
"$PYTHON" -m coverage run -m pytest "$@" || failed=$?
((failed < 2)) || exit "$failed"
"$PYTHON" -m coverage combine --quiet
echo "files with less than 95 % of their lines reached, and all together:"
"$PYTHON" -m coverage report --format=text | awk 'NR <= 2 || $NF + 0 < 95 || /^TOTAL/'
least=0
(($#)) || least=95
"$PYTHON" -m coverage report --format=total --fail-under="$least" >/dev/null || failed=1
exit "$failed"
