#!/usr/bin/env bash
# Builds and runs the test program of the C code; needs a C compiler and nothing else. A spoilt result must fail, too.
#
#   bash scripts/test_c.sh
#   bash scripts/test_c.sh other/csrc        the sources of another folder

set -euo pipefail
if [[ ${1:-} == -h || ${1:-} == --help ]]; then
    sed -n '2,/^$/ s/^# \{0,1\}//p' "$0"
    exit 0
fi
if [[ ${1:-} == -* ]]; then
    echo "error: unknown argument $1; see bash scripts/test_c.sh --help" >&2
    exit 2
fi
cd "$(dirname "$0")/.."

sources="${1:-mobilebert/accel/csrc}"
compiler="${CC:-cc}"
if ! command -v "$compiler" >/dev/null; then
    echo "no C compiler ($compiler): the C tests are left out" >&2
    exit 0
fi
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"$compiler" -std=gnu11 -O2 -march=native -fopenmp -Wall -Wextra -Werror \
    "$sources/test/layer_test.c" "$sources/layer_train.c" -lm -o "$folder/layer_test"
"$folder/layer_test"
if "$folder/layer_test" control >"$folder/control"; then
    cat "$folder/control"
    echo "error: the C test passes results that were spoilt" >&2
    exit 1
fi
