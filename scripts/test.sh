#!/usr/bin/env bash
# Runs the tests; arguments go to pytest.
#
#   bash scripts/test.sh                     everything
#   bash scripts/test.sh tests/unit -x       the fast tests, up to the first failure
#   MOBILEBERT_DATA=../shared/data bash scripts/test.sh
#                                            with the tests that read the real data sets; without it they are skipped

source "$(dirname "$0")/_common.sh"

export MOBILEBERT_QUIET="${MOBILEBERT_QUIET:-1}"
exec "$PYTHON" -m pytest "$@"
