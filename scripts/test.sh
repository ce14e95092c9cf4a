#!/usr/bin/env bash
# Runs the tests; arguments go to pytest.
#
#   bash scripts/test.sh                     everything: the C tests, then pytest
#   bash scripts/test.sh tests/unit -x       the fast tests, up to the first failure
#   bash scripts/test.sh tests/fuzz          the fuzz tests, few examples and always the same; scripts/fuzz.sh tries more
#   bash scripts/test.sh -m "not slow"       without those that take more than some 5 s each
#   bash scripts/test.sh -m "not browser"    without those that open a page in Chromium
#   MOBILEBERT_DATA=../shared/data bash scripts/test.sh
#                                            with the tests that read the real data sets; without it they are skipped

needs_everything=true
source "$(dirname "$0")/_common.sh"

export MOBILEBERT_QUIET="${MOBILEBERT_QUIET:-1}"
if (($#)); then
    exec "$PYTHON" -m pytest "$@"
fi
bash scripts/test_c.sh
# Two at a time: many tests wait for the processes that they start. The second one's output comes when it has ended.
log=$(mktemp)
"$PYTHON" -m pytest tests/unit tests/parity >"$log" 2>&1 &
other=$!
trap 'kill $other 2>/dev/null || true; rm -f "$log"' EXIT
code=0
"$PYTHON" -m pytest tests/e2e tests/fuzz || code=$?
wait $other || code=$?
cat "$log"
exit $code
