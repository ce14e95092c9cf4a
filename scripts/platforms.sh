#!/usr/bin/env bash
# Asks the package index what can be installed where this repository has never run: whether all of requirements.txt, the
# minimal part of it, or only what runs an exported model without Paddle ('.[deploy]') has wheels. A table, for
# docs/install.md. Nothing is installed, and that it would run is not said.
#
#   bash scripts/platforms.sh                Python 3.10 to 3.13
#   PYTHONS="3.12" bash scripts/platforms.sh

needs_venv=false
source "$(dirname "$0")/_common.sh"

((!$#)) || fail "$1: unknown; see bash scripts/platforms.sh --help"
use_tools platforms uv==0.13.9 || fail "uv could not be installed; see above"
scratch=.cache/tools/platforms
day=$(sed -n 's/^# As of \([0-9-]*\).*/\1/p' requirements.lock)
sed '/^# ---- Not with --minimal/,$d' requirements.txt >"$scratch/minimal.txt"

# `resolves PLATFORM PYTHON REQUIREMENTS...`: whether there is a wheel for each of them and for all that they need.
resolves() {
    local platform=$1 python=$2
    shift 2
    "$TOOLS/uv" --quiet pip compile "$@" --only-binary :all: --python-platform "$platform" --python-version "$python" \
        --exclude-newer "$day" >/dev/null 2>"$scratch/reason"
}

echo "| platform | Python | everything | minimal | '.[deploy]' | the first that is missing |"
echo "| --- | --- | --- | --- | --- | --- |"
# As uv names them; for macOS the oldest release that is asked about.
for platform in "aarch64-apple-darwin 13.0" "aarch64-apple-darwin 14.0" x86_64-apple-darwin x86_64-pc-windows-msvc \
    aarch64-unknown-linux-gnu x86_64-unknown-linux-musl x86_64-unknown-linux-gnu; do
    read -r name release <<<"$platform"
    for python in ${PYTHONS:-3.10 3.11 3.12 3.13}; do
        export MACOSX_DEPLOYMENT_TARGET=${release:-13.0}
        row= missing=-
        for part in requirements.txt "$scratch/minimal.txt" "pyproject.toml --extra deploy"; do
            if resolves "$name" "$python" $part; then
                row+="| yes "
            else
                row+="| no "
                missing=$(tr '\n' ' ' <"$scratch/reason" | grep -o 'Because [^ ]*' | head -n 1)
            fi
        done
        echo "| $name${release:+, macOS $release} | $python $row| ${missing#Because } |"
    done
done
