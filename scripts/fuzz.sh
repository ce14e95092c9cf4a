#!/usr/bin/env bash
# Runs the fuzz tests (tests/fuzz) for a given time, each test for its share of it, from a seed; in the ordinary test run
# they try few examples, always the same. Prints the examples tried by each test.
#
#   bash scripts/fuzz.sh --minutes 30 --seed 7
#   bash scripts/fuzz.sh --minutes 5 --seed 7 -k tokenizer       only these tests; further arguments go to pytest

needs_everything=true
source "$(dirname "$0")/_common.sh"

minutes=30 seed=0
while (($#)); do
    case "$1" in
        --minutes) minutes=${2:-} ;;
        --seed) seed=${2:-} ;;
        *) break ;;
    esac
    [[ ${2:-} =~ ^[0-9]+$ ]] || fail "$1: expected a whole number"
    shift 2
done
tests=$("$PYTHON" -m pytest tests/fuzz -q --collect-only "$@" | grep -c '::') || fail "no such test; see bash scripts/fuzz.sh --help"
export MOBILEBERT_QUIET=1 MOBILEBERT_FUZZ_SEED=$seed MOBILEBERT_FUZZ_SECONDS=$((minutes * 60 / tests))
exec "$PYTHON" -m pytest tests/fuzz "$@"
