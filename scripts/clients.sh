#!/usr/bin/env bash
# Runs what this repository exports in the programs of others: their pinned versions are installed into environments of
# their own (.venv-clients/, tests/clients/*/node_modules/), models are trained and exported in outputs/clients/, each
# client's answers are compared with ours, and the table of README.md, "Runs in", is printed.
# What is there from an earlier run is kept. It needs node and npm for some, and Chromium for the browsers'.
#
#   bash scripts/clients.sh                       all of them
#   bash scripts/clients.sh litert optimum        some: the folders of tests/clients/
#   bash scripts/clients.sh --anew litert         models, exports and answers made again
#   OUTPUT=FOLDER bash scripts/clients.sh         instead of outputs/clients/

needs_everything=true
source "$(dirname "$0")/_common.sh"

work=${OUTPUT:-outputs/clients}
anew=false
if [[ ${1:-} == --anew ]]; then
    anew=true
    shift
fi
for client in "$@"; do
    [[ $client != -* ]] || fail "unknown argument $client; see bash scripts/clients.sh --help"
    [[ -d tests/clients/$client ]] || fail "$client: no such client; they are the folders of tests/clients/"
done
if $anew; then
    renew_folder "$work" models exports reference rows quickstart own classifier-training
else
    renew_folder "$work"
fi
work=$(cd "$work" && pwd)
clients=("$@")
if ((!$#)); then
    for check in tests/clients/*/check.*; do
        clients+=("$(basename "$(dirname "$check")")")
    done
fi
export MOBILEBERT_PYTHON=$PYTHON MOBILEBERT_QUIET=${MOBILEBERT_QUIET:-1}
# Nothing is reported to anybody; mobilebert/base/extras.py says of whom.
export ORT_DISABLE_TELEMETRY=1 HF_HUB_DISABLE_TELEMETRY=1

# `install CLIENT`: its environment, unless the same requirements are installed; $RUN is then what runs its check.
install() {
    local folder=tests/clients/$1 venv=.venv-clients/$1 wanted
    RUN=("$PYTHON" "$folder/check.py")
    if [[ -f $folder/package-lock.json ]]; then
        command -v npm >/dev/null || fail "$1: needs node and npm"
        wanted=$(cksum <"$folder/package-lock.json")
        if [[ $(cat "$folder/node_modules/.installed" 2>/dev/null) != "$wanted" ]]; then
            npm ci --ignore-scripts --no-audit --no-fund --loglevel=error --prefix "$folder" >&2
            echo "$wanted" >"$folder/node_modules/.installed"
        fi
        [[ ! -f $folder/check.mjs ]] || RUN=(node "$folder/check.mjs")
    fi
    if [[ -f $folder/requirements.txt ]]; then
        wanted=$(cksum <"$folder/requirements.txt")
        if [[ $(cat "$venv/.installed" 2>/dev/null) != "$wanted" ]]; then
            rm -rf "$venv"
            "$PYTHON" -m venv "$venv"
            local flags=()
            ! grep -q '^# --no-deps' "$folder/requirements.txt" || flags=(--no-deps) # all that is needed is named there
            "$venv/bin/python" -m pip install --quiet --disable-pip-version-check ${flags[@]+"${flags[@]}"} -r "$folder/requirements.txt" >&2
            echo "$wanted" >"$venv/.installed"
        fi
        RUN=("$venv/bin/python" "$folder/check.py")
    fi
}

for client in "${clients[@]}"; do
    if grep -qs -e '--format litert' "tests/clients/$client/exports.txt"; then
        install litert # what writes these files checks them with it
        break
    fi
done
"$PYTHON" tests/clients/prepare.py "$work" "${clients[@]}"
mkdir -p "$work/rows"
failed=()
for client in "${clients[@]}"; do
    echo "== $client" >&2
    install "$client"
    # A client that failed leaves no row: an older run's is not its answer today.
    rm -f "$work/rows/$client.jsonl"
    if "${RUN[@]}" "$work" >"$work/rows/.part"; then
        mv "$work/rows/.part" "$work/rows/$client.jsonl"
    else
        failed+=("$client")
    fi
done
"$PYTHON" tests/clients/table.py "$work/rows"
((!${#failed[@]})) || fail "failed: ${failed[*]}"
