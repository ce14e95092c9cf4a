#!/usr/bin/env bash
# Makes .venv and installs requirements.lock into it, every package checked by its hash; before, it says how much that is.
# A second run sees that nothing is to do and ends at once; an interrupted run is repaired by the next. Every other
# script calls this one.
#
#   bash scripts/setup.sh                            Paddle for the CPU, and everything else
#   bash scripts/setup.sh --minimal                  without PyTorch, transformers, tests and tools: to train, export, ask
#                                                    and show; the command above adds the rest at any time
#   DEVICE=gpu bash scripts/setup.sh                 Paddle for the GPU, CUDA 12.6, from Paddle's own package index
#   DEVICE=gpu CUDA=12.9 bash scripts/setup.sh       another CUDA: 11.8, 12.6, 12.9 or 13.0
#   PYTHON=python3.12 bash scripts/setup.sh          another Python: 3.10, 3.11, 3.12 or 3.13
#   bash scripts/setup.sh --download FOLDER          fetches the packages, for a machine without a network ...
#   bash scripts/setup.sh --wheels FOLDER            ... where this installs them; both with --minimal too
#   bash scripts/setup.sh paddlenlp                  .venv-paddlenlp with PaddleNLP, to compare with
#   bash scripts/setup.sh --print                    only prints the commands
#
# DEVICE is kept: once made for the GPU, .venv stays so until DEVICE=cpu is given. pip's own settings (PIP_INDEX_URL
# for a mirror, proxies) are honoured. Without hashes come Paddle for the GPU and, where PyTorch's index cannot be
# reached and the package index gives torch for CUDA, NVIDIA's libraries; it is said then.

set -euo pipefail
called_from=$PWD
cd "$(dirname "$0")/.."

fail() {
    echo "error: $1" >&2
    exit 2
}
source scripts/_python.sh
source scripts/_packages.sh

# --kept is for the other scripts: an environment that is minimal stays so.
venv=.venv requirements=requirements.lock extent=full kept=false print_only=false wheels='' download=''
while (($#)); do
    case "$1" in
        paddlenlp) venv=.venv-paddlenlp requirements=requirements-paddlenlp.txt ;;
        --minimal) extent=minimal ;;
        --kept) kept=true ;;
        --print) print_only=true ;;
        --wheels | --download)
            [[ -n ${2:-} && $2 != -* ]] || fail "$1: name the folder of wheels behind it"
            [[ $2 == /* ]] && folder=$2 || folder=$called_from/$2
            printf -v "${1#--}" %s "$folder"
            shift
            ;;
        -h | --help)
            awk 'NR == 1 { next } !/^#/ { exit } { sub(/^# ?/, ""); print }' "$0"
            exit 0
            ;;
        *) fail "unknown argument $1; see bash scripts/setup.sh --help" ;;
    esac
    shift
done
[[ -z $wheels || -z $download ]] || fail "--wheels and --download: one of them at a time"
[[ $venv == .venv || $extent$wheels$download == full ]] || fail "paddlenlp: without --minimal, --wheels and --download"
case "$MACHTYPE" in
    x86_64-*-linux-gnu) ;; # whose lock it is
    *-linux-*) fail "this is $MACHTYPE, and on Linux Paddle has wheels for x86_64 with glibc only; see docs/install.md" ;;
    *) requirements=${requirements/.lock/.txt} ;;
esac
[[ -z $download ]] || venv=.cache/download
# What is complete, what is under way, for which device, that it is minimal, and that this script made the folder.
stamp=$venv/.installed unfinished=$venv/.unfinished made_for=$venv/.device minimal=$venv/.minimal made_by=$venv/.made_by
if $kept && [[ -e $minimal ]]; then
    extent=minimal
fi

device=${DEVICE:-} cuda=${CUDA:-12.6}
if [[ $venv == .venv-paddlenlp ]]; then
    device=cpu
elif [[ -z $device && -f $made_for ]]; then
    read -r device cuda <"$made_for"
fi
case "${device:=cpu}" in
    cpu) cuda=- ;;
    gpu) ;;
    *) fail "DEVICE=$device is not known; use DEVICE=cpu or DEVICE=gpu" ;;
esac
case "$cuda" in
    - | 11.8 | 12.6 | 12.9 | 13.0) ;;
    *) fail "CUDA=$cuda: Paddle has no build for it; use CUDA=11.8, 12.6, 12.9 or 13.0 (the driver may be newer)" ;;
esac

# What is installed is named by the Python, the device, the extent and the content of the requirements.
wanted_stamp() {
    echo "$1 $device $cuda $2 $(cksum <"$requirements")"
}
# `installed EXTENT`: whether that much is there.
installed() {
    [[ -f $stamp && ! -e $unfinished ]] || return 1
    local version
    version=$(version_of "$venv/bin/python") || return 1
    [[ $(<"$stamp") == "$(wanted_stamp "$version" "$1")" ]] || return 1
    [[ -z ${PYTHON:-} || $(version_of "$PYTHON") == "$version" ]]
}
if ! $print_only; then
    if installed "$extent"; then
        exit 0
    fi
    if [[ $extent == minimal ]] && installed full; then
        echo "setup: $venv has everything already; for a small one, delete it and run this again" >&2
        exit 0
    fi
fi

python=$(find_python "$venv/bin/python" .venv/bin/python)
version=$(version_of "$python")
[[ -z $wheels ]] || check_wheels "$wheels"
make_commands

if [[ $device == cpu && -z ${DEVICE:-} && $venv != .venv-paddlenlp ]] && timeout 10 nvidia-smi -L >/dev/null 2>&1; then
    echo "setup: warning: there is a GPU (nvidia-smi), and this is Paddle for the CPU; the other: DEVICE=gpu bash scripts/setup.sh" >&2
fi

if $print_only; then
    echo "$python -m venv $venv"
    printf '%s\n' "${commands[@]}"
    exit 0
fi

mkdir -p .cache
if command -v flock >/dev/null; then
    exec 9>".cache/setup${venv##*/}.lock"
    if ! flock -n 9; then
        echo "setup: waiting for another setup to end" >&2
        flock 9
    fi
    if installed "$extent"; then
        exit 0
    fi
fi

"$python" -c 'import venv, ensurepip' 2>/dev/null ||
    fail "$python has no venv or no pip (module ensurepip); Debian, Ubuntu: sudo apt-get install python$version-venv"

# Anew where an installation broke off (packages may be half there), the Python or the device is another, or pip is gone.
anew=false
if [[ -e $unfinished || $(version_of "$venv/bin/python") != "$version" ]] ||
    { [[ -f $made_for ]] && [[ $(<"$made_for") != "$device $cuda" ]]; } ||
    ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    anew=true
    if [[ $python == "$venv/bin/python" ]]; then
        python=$("$python" -c 'import sys; print(sys._base_executable)')
    fi
    if [[ -n $(ls -A "$venv" 2>/dev/null) && ! -e $made_by ]]; then
        fail "$venv: not made by scripts/setup.sh (no .made_by in it), and not fit for Python $version on $device; move it away or delete it, and run again"
    fi
fi

announce
if $anew; then
    rm -rf "$venv"
    mkdir -p "$venv"
    echo setup.sh >"$made_by"
    "$python" -m venv "$venv"
fi
touch "$unfinished"
rm -f "$stamp"
echo "$device $cuda" >"$made_for"
if [[ $extent == minimal ]]; then
    touch "$minimal"
fi

log=$venv/install.log
: >"$log"
# `interrupted CODE`: pip and what it has started end too; they are a process group of their own.
interrupted() {
    trap - INT TERM HUP
    kill -TERM -- "-$job" 2>/dev/null && wait "$job" || true
    exit "$1"
}
for command in "${commands[@]}"; do
    echo "$command" >>"$log"
    set -m
    bash -c "$command" >>"$log" 2>&1 </dev/null 9>&- &
    job=$!
    set +m
    trap 'interrupted 130' INT
    trap 'interrupted 143' TERM
    trap 'interrupted 129' HUP
    while kill -0 $job 2>/dev/null; do
        # On a screen, one line that shows what pip is at.
        if [[ -t 2 ]]; then
            printf '\r\033[K%s' "$(grep -aE '^ *(Collecting|Downloading|Installing)' "$log" | tail -n 1 | cut -c -"${COLUMNS:-79}")" >&2
        fi
        sleep 0.5
    done
    [[ ! -t 2 ]] || printf '\r\033[K' >&2
    code=0
    wait $job || code=$?
    # A command's note to the user.
    ! grep -a '^setup: ' "$log" >&2 || sed -i 's/^setup: /said: /' "$log"
    if ((code)); then
        # pip that ends by itself leaves whole packages; pip that was killed may not.
        ((code > 128)) || rm -f "$unfinished"
        explain_failure
    fi
done
trap - INT TERM HUP

if [[ -n $download ]]; then
    echo "$version $device $cuda $extent $(cksum <"$requirements")" >"$download/$FILLED_FOR"
    rm -rf "$venv"
    echo "setup: done, $(du -sk "$download" | awk '{ print int($1 * 1.024 / 1000) }') MB in $download; there: bash scripts/setup.sh --wheels FOLDER" >&2
    exit 0
fi
"$venv/bin/python" -W ignore -c 'import paddle' >>"$log" 2>&1 ||
    fail "Paddle is installed but does not start: $(tail -n 1 "$log"); see $log"
# Ahead of its first use; without a C compiler the other engines serve.
"$venv/bin/python" -W ignore -c 'from mobilebert.native_engine.library import library; library()' >>"$log" 2>&1 || true
wanted_stamp "$version" "$extent" >"$stamp"
if [[ $extent == full ]]; then
    rm -f "$minimal"
fi
rm -f "$unfinished"
echo "setup: done, in $SECONDS s" >&2
