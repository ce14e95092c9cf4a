#!/usr/bin/env bash
# Asks PyPI for published advisories on the packages of requirements.lock, with pip-audit. Exit code 0: there are none;
# 1: there are these; 3: not checked, or not all of it.
#
#   bash scripts/advisories.sh
#   SERVICE=osv bash scripts/advisories.sh    osv.dev is asked instead

needs_venv=false
source "$(dirname "$0")/_common.sh"

((!$#)) || fail "$1: unknown; see bash scripts/advisories.sh --help"

not_checked() {
    echo "not checked: $1" >&2
    exit 3
}

use_tools advisories pip-audit==2.10.1 || not_checked "pip-audit could not be installed, see above"
# pip-audit takes one version of a package: the n-th of each goes into the n-th list, without hashes and Pythons.
lists=$(mktemp -d)
trap 'rm -rf "$lists"' EXIT
awk -v lists="$lists" -F '[=; ]+' '/==/ { print $1 "==" $2 >(lists "/" ++seen[$1] ".txt") }' requirements.lock
for list in "$lists"/*.txt; do
    "$TOOLS/pip-audit" --no-deps --disable-pip --progress-spinner off --format json -s "${SERVICE:-pypi}" -r "$list" \
        >"$list.json" 2>"$lists/log" || true # 1 where there are advisories
    [[ -s $list.json ]] || not_checked "$(tail -n 1 "$lists/log")"
done
"$TOOLS/python" scripts/advisories.py "$lists"/*.json
