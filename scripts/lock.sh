#!/usr/bin/env bash
# Makes requirements.lock of requirements.txt: every package of a CPU environment, with hashes, for Linux x86-64 and
# Python 3.10 to 3.13. Only what the package index had on the lock's day is taken, so that a second run gives the same.
#
#   bash scripts/lock.sh                  after a change of requirements.txt: the lock's day stays
#   bash scripts/lock.sh 2026-12-31       the newest of what the top level leaves open, as of another day
#   bash scripts/lock.sh --check          only compares; exit code 1 where the lock is not what this makes

needs_venv=false
source "$(dirname "$0")/_common.sh"

day=$(sed -n 's/^# As of \([0-9-]*\).*/\1/p' requirements.lock 2>/dev/null) || day=$(date -u +%F)
check=false
case "${1:-}" in
    "") ;;
    --check) check=true ;;
    20[0-9][0-9]-[01][0-9]-[0-3][0-9]) day=$1 ;;
    *) fail "$1: not a day (2026-12-31) and not --check; see bash scripts/lock.sh --help" ;;
esac

use_tools lock uv==0.13.9 packaging==26.4 tomli==2.5.0 || fail "uv could not be installed; see above"
scratch=.cache/tools/lock
sed '/^# ---- Not with --minimal/,$d' requirements.txt >"$scratch/minimal.txt"
# Not from what stands there: uv would keep those versions.
rm -f "$scratch"/pylock*.toml
resolve() {
    "$TOOLS/uv" --quiet pip compile "$1" --universal --python-version 3.10 --exclude-newer "$day" \
        --format pylock.toml -o "$2" || fail "uv could not resolve $1 as of $day; see above"
}
resolve requirements.txt "$scratch/pylock.toml"
resolve "$scratch/minimal.txt" "$scratch/pylock.minimal.toml"
"$TOOLS/python" scripts/lock.py "$scratch/pylock.toml" "$scratch/pylock.minimal.toml" "$day" >"$scratch/requirements.lock"
if $check; then
    diff requirements.lock "$scratch/requirements.lock"
else
    mv "$scratch/requirements.lock" requirements.lock
fi
