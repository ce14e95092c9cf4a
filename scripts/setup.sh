#!/usr/bin/env bash
# Makes .venv and installs requirements.lock into it, every package checked by its hash. A second run sees that nothing
# is to do and ends at once; an interrupted run is repaired by the next. Every other script calls this one.
#
#   bash scripts/setup.sh                            Paddle for the CPU
#   DEVICE=gpu bash scripts/setup.sh                 Paddle for the GPU, CUDA 12.6, from Paddle's own package index
#   DEVICE=gpu CUDA=12.9 bash scripts/setup.sh       another CUDA: 11.8, 12.6, 12.9 or 13.0
#   PYTHON=python3.12 bash scripts/setup.sh          another Python: 3.10, 3.11, 3.12 or 3.13
#   bash scripts/setup.sh paddlenlp                  .venv-paddlenlp with PaddleNLP, to compare with
#   bash scripts/setup.sh --print                    only prints the commands
#
# DEVICE is kept: once made for the GPU, .venv stays so until DEVICE=cpu is given. pip's own settings (PIP_INDEX_URL
# for a mirror, proxies) are honoured. Without hashes come Paddle for the GPU and, where PyTorch's index cannot be
# reached and the package index gives torch for CUDA, NVIDIA's libraries; it is said then.

set -euo pipefail
cd "$(dirname "$0")/.."

PADDLE_INDEX=https://www.paddlepaddle.org.cn/packages/stable
TORCH_INDEX=https://download.pytorch.org/whl/cpu

fail() {
    echo "error: $1" >&2
    exit 2
}

venv=.venv requirements=requirements.lock print_only=false
# The lock is for Linux x86-64.
[[ $MACHTYPE == x86_64-*-linux-gnu ]] || requirements=requirements.txt
for argument in "$@"; do
    case "$argument" in
        paddlenlp) venv=.venv-paddlenlp requirements=requirements-paddlenlp.txt ;;
        --print) print_only=true ;;
        -h | --help)
            awk 'NR == 1 { next } !/^#/ { exit } { sub(/^# ?/, ""); print }' "$0"
            exit 0
            ;;
        *) fail "unknown argument $argument; see bash scripts/setup.sh --help" ;;
    esac
done
# What is complete, what is under way, for which device, and that this script made the folder.
stamp=$venv/.installed unfinished=$venv/.unfinished made_for=$venv/.device made_by=$venv/.made_by

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

# What is installed is named by the Python, the device and the content of the requirements.
version_of() {
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null
}
wanted_stamp() {
    echo "$1 $device $cuda $(cksum <"$requirements")"
}
installed() {
    [[ -f $stamp && ! -e $unfinished ]] || return 1
    local version
    version=$(version_of "$venv/bin/python") || return 1
    [[ $(<"$stamp") == "$(wanted_stamp "$version")" ]] || return 1
    [[ -z ${PYTHON:-} || $(version_of "$PYTHON") == "$version" ]]
}
if ! $print_only && installed; then
    exit 0
fi

supported() {
    [[ $(version_of "$1") =~ ^3\.(10|11|12|13)$ ]]
}
# What to do where there is none, on this release of the system.
how_to_get_python() {
    case "$(. /etc/os-release 2>/dev/null && echo "${ID:-} ${VERSION_ID:-}")" in
        "debian 12" | "debian 13" | "ubuntu 22.04" | "ubuntu 24.04")
            echo "sudo apt-get install python3 python3-venv, or" ;;
        *) echo "where the system's packages have none, get one with uv (uv python install 3.13), pyenv or conda, and" ;;
    esac
}
find_python() {
    local candidate found
    if [[ -n ${PYTHON:-} ]]; then
        supported "$PYTHON" || fail "PYTHON=$PYTHON is not a Python 3.10 to 3.13; give the path of one"
        echo "$PYTHON"
        return
    fi
    # 3.11 first: most of this repository's measurements were made with it.
    for candidate in "$venv/bin/python" python3.11 python3.12 python3.13 python3.10 python3 python; do
        if supported "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    found=$(version_of python3) || true
    fail "no Python 3.10 to 3.13 found${found:+ (python3 is $found)}; $(how_to_get_python) name it: PYTHON=/path/to/python bash scripts/setup.sh"
}
python=$(find_python)
version=$(version_of "$python")

# The commands, one an element; %q keeps paths with spaces whole.
pip="$venv/bin/python -m pip install --disable-pip-version-check"
commands=()
if [[ $venv == .venv ]]; then
    checked=
    [[ $requirements != *.lock ]] || checked=" --no-deps --require-hashes --only-binary :all:"
    # The CPU build of torch; where PyTorch's index cannot be reached the ordinary index serves.
    commands+=("awk '/^torch==/, !/\\\\$/' $requirements >$venv/torch.txt")
    commands+=("$pip --no-deps${checked#" --no-deps"} --retries 0 --timeout 10 -r $venv/torch.txt --index-url $TORCH_INDEX || true")
    if [[ $device == gpu ]]; then
        commands+=("awk '/^paddlepaddle==/, !/\\\\$/ { next } 1' $requirements >$venv/requirements.txt")
        commands+=("$pip$checked -r $venv/requirements.txt")
        paddle=$(grep -o '^paddlepaddle==[^ ;]*' $requirements)
        commands+=("echo 'setup: paddlepaddle-gpu and what it asks for come from the index of Paddle, without hashes'")
        commands+=("$pip paddlepaddle-gpu==${paddle#*==} --index-url $PADDLE_INDEX/cu${cuda//./}/")
    else
        commands+=("$pip$checked -r $requirements")
    fi
    # Torch for CUDA does not start without NVIDIA's libraries, which the lock leaves out.
    torch=$(grep -o '^torch==[^ ;]*' $requirements)
    commands+=("$venv/bin/python -W ignore -c 'import torch' || { echo 'setup: this torch is for CUDA; the libraries of NVIDIA come without hashes'; $pip $torch; }")
else
    commands+=("$pip -r $requirements")
fi

if [[ $venv == .venv && $device == cpu && -z ${DEVICE:-} ]] && timeout 10 nvidia-smi -L >/dev/null 2>&1; then
    echo "setup: warning: there is a GPU (nvidia-smi), and this is Paddle for the CPU; the other: DEVICE=gpu bash scripts/setup.sh" >&2
fi

if $print_only; then
    echo "$python -m venv $venv"
    printf '%s\n' "${commands[@]}"
    exit 0
fi

mkdir -p .cache
if command -v flock >/dev/null; then
    exec 9>".cache/setup$venv.lock"
    if ! flock -n 9; then
        echo "setup: waiting for another setup to end" >&2
        flock 9
    fi
    if installed; then
        exit 0
    fi
fi

"$python" -c 'import venv, ensurepip' 2>/dev/null ||
    fail "$python has no venv or no pip (module ensurepip); Debian, Ubuntu: sudo apt-get install python$version-venv"

# Anew where an installation broke off (packages may be half there), the Python or the device is another, or pip is gone.
if [[ -e $unfinished || $(version_of "$venv/bin/python") != "$version" ]] ||
    { [[ -f $made_for ]] && [[ $(<"$made_for") != "$device $cuda" ]]; } ||
    ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    if [[ $python == "$venv/bin/python" ]]; then
        python=$("$python" -c 'import sys; print(sys._base_executable)')
    fi
    if [[ -n $(ls -A "$venv" 2>/dev/null) && ! -e $made_by ]]; then
        fail "$venv: not made by scripts/setup.sh (no .made_by in it), and not fit for Python $version on $device; move it away or delete it, and run again"
    fi
    rm -rf "$venv"
    mkdir "$venv"
    echo setup.sh >"$made_by"
    "$python" -m venv "$venv"
fi
touch "$unfinished"
rm -f "$stamp"
echo "$device $cuda" >"$made_for"

echo "setup: installing $requirements into $venv (Python $version, $device); the first time takes some minutes" >&2
log=$venv/install.log
: >"$log"
for command in "${commands[@]}"; do
    echo "$command" >>"$log"
    bash -c "$command" >>"$log" 2>&1 9>&- &
    job=$!
    trap 'kill $job 2>/dev/null; exit 130' INT TERM
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
        grep -a '^ERROR' "$log" | tail -n 3 >&2 || true
        fail "pip could not install $requirements (all of it: $log); check the network, or name a mirror with PIP_INDEX_URL, and run again"
    fi
done
trap - INT TERM

"$venv/bin/python" -W ignore -c 'import paddle' >>"$log" 2>&1 ||
    fail "Paddle is installed but does not start: $(tail -n 1 "$log"); see $log"
wanted_stamp "$version" >"$stamp"
rm -f "$unfinished"
echo "setup: done" >&2
