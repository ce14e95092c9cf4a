# Sourced by setup.sh, whose variables these read: which commands bring the packages, how much that is, and whether a
# folder of wheels is the right one.

PADDLE_INDEX=https://www.paddlepaddle.org.cn/packages/stable
TORCH_INDEX=https://download.pytorch.org/whl/cpu

# For the CPU, with Python 3.11: MB to download, MB on the disk, minutes without the download. Measured as
# docs/install.md tells; tests/unit/test_setup.py compares them with it, and the disk with what is installed.
FULL=(673 2910 2)
MINIMAL=(370 1566 1)

# What a folder of wheels was filled for stands in it, in a file of this name.
FILLED_FOR=mobilebert-wheels.txt

# `check_wheels FOLDER`: fails where it was filled for something else; one that does not say for what is taken as it is.
check_wheels() {
    local again="fill one with bash scripts/setup.sh --download FOLDER, where there is a network"
    [[ -d $1 ]] || fail "$1: no such folder; $again"
    [[ -f $1/$FILLED_FOR ]] || return 0
    local its_version its_device its_cuda its_extent its_sum
    read -r its_version its_device its_cuda its_extent its_sum <"$1/$FILLED_FOR"
    [[ $its_version == "$version" ]] ||
        fail "$1: its wheels are for Python $its_version, and $python is $version; name another with PYTHON, or $again"
    [[ "$its_device $its_cuda" == "$device $cuda" ]] ||
        fail "$1: its wheels are for DEVICE=$its_device CUDA=$its_cuda, not $device and $cuda; $again"
    [[ $its_extent == full || $extent == minimal ]] ||
        fail "$1: its wheels are those of a minimal environment; say --minimal too, or $again"
    [[ $its_sum == "$(cksum <"$requirements")" ]] || fail "$1: its wheels are not those of this $requirements; $again"
}

# Says what will come, and fails where there is no room for it. What was not measured is not guessed.
announce() {
    local what="installing $requirements into $venv" amount=("${FULL[@]}") size='' place=. needed free
    if [[ $extent == minimal ]]; then
        amount=("${MINIMAL[@]}")
    elif [[ -e $minimal ]] && ! $anew; then # the rest
        amount=($((FULL[0] - MINIMAL[0])) $((FULL[1] - MINIMAL[1])) "${FULL[2]}")
    fi
    if [[ -n $download ]]; then
        what="fetching what $requirements names into $download"
        mkdir -p "$download" 2>/dev/null && [[ -w $download ]] || fail "$download: cannot be made, or written; name another folder"
        size="${amount[0]} MB" place=$download needed=${amount[0]}
    else
        size="${amount[1]} MB on the disk; some ${amount[2]} minutes" needed=${amount[1]}
        [[ -n $wheels ]] || size="${amount[0]} MB to download, $size and what the download takes"
    fi
    if [[ $device == gpu || $requirements != *.lock ]]; then
        size="how much it is was not measured"
    elif [[ -z $download && ($extent == minimal || ! -e $minimal) ]] && ! $anew; then
        size="only what has changed"
    else
        free=$(df -Pk "$place" | awk 'NR == 2 { print int($4 * 1.024 / 1000) }')
        ((free > needed)) || fail "$needed MB are needed in $place, and $free MB are free there; free some space"
    fi
    echo "setup: $what (Python $version, $device, $extent): $size" >&2
}

# `entry NAME FILE` and `without NAME FILE`: commands that print one package's lines of a lock, and all others.
entry() {
    echo "awk '/^$1==/, !/\\\\\$/' $2"
}
without() {
    echo "awk '/^$1==/, !/\\\\\$/ { next } 1' $2"
}

# Sets commands, one an element. They install into $venv, from the folder $wheels alone where that is set; where $download
# is, they put the wheels into that folder instead. %q keeps paths with spaces whole.
make_commands() {
    local pip="$venv/bin/python -m pip --disable-pip-version-check" get checked='' list=$requirements folder torch paddle
    local torch_index=" --index-url $TORCH_INDEX" paddle_index=" --index-url $PADDLE_INDEX/cu${cuda//./}/"
    folder=$(printf %q "$download$wheels")
    if [[ -n $download ]]; then
        get="$pip download --dest $folder"
    elif [[ -n $wheels ]]; then
        # pip's own settings may name other places and other versions.
        get="PIP_CONFIG_FILE=/dev/null $pip install --no-index --find-links $folder" torch_index='' paddle_index=''
    else
        get="$pip install"
    fi
    commands=()
    if [[ $venv == .venv-paddlenlp ]]; then
        commands+=("$get -r $requirements")
        return
    fi
    torch=$(grep -o '^torch==[^ ;]*' "$requirements") paddle=$(grep -o '^paddlepaddle==[^ ;]*' "$requirements")
    [[ $requirements != *.lock ]] || checked=" --no-deps --require-hashes --only-binary :all:"
    if [[ $extent == minimal ]]; then
        commands+=("sed '/^# ---- Not with --minimal/,\$d' $requirements >$venv/minimal.txt")
        list=$venv/minimal.txt
    else
        # The CPU build of torch; where PyTorch's index cannot be reached the ordinary index serves.
        local get_torch="$get --no-deps${checked# --no-deps} --retries 0 --timeout 10 -r $venv/torch.txt"
        commands+=("$(entry torch "$requirements") >$venv/torch.txt")
        commands+=("$get_torch$torch_index || true")
        if [[ -n $download ]]; then # which does not see what is there already
            commands+=("ls $folder/torch-* >/dev/null 2>&1 || $get_torch")
            commands+=("$(without torch "$requirements") >$venv/rest.txt")
            list=$venv/rest.txt
        fi
    fi
    if [[ $device == gpu ]]; then
        commands+=("$(without paddlepaddle "$list") >$venv/requirements.txt")
        commands+=("$get$checked -r $venv/requirements.txt")
        commands+=("echo 'setup: paddlepaddle-gpu and what it asks for come from the index of Paddle, without hashes'")
        commands+=("$get ${paddle/==/-gpu==}$paddle_index")
    else
        commands+=("$get$checked -r $list")
    fi
    if [[ $extent == full ]]; then
        # Torch for CUDA does not start without NVIDIA's libraries, which the lock leaves out.
        local works="$venv/bin/python -W ignore -c 'import torch'"
        [[ -z $download ]] || works="ls $folder/torch-*+cpu-* >/dev/null 2>&1"
        commands+=("$works || { echo 'setup: this torch is for CUDA; the libraries of NVIDIA come without hashes'; $get $torch; }")
    fi
}

# Says in one line why the last command failed, where pip's own lines would not be enough of a hint.
explain_failure() {
    local missing
    missing=$(grep -ao 'No matching distribution found for [^ ]*' "$log" | tail -n 1) || true
    if [[ -n $wheels && -n $missing ]]; then
        fail "$wheels: has no wheel of ${missing##* } for Python $version; fill it again: bash scripts/setup.sh --download FOLDER"
    fi
    grep -a '^ERROR' "$log" | tail -n 3 >&2 || true
    fail "pip could not install $requirements (all of it: $log); check the network, or name a mirror with PIP_INDEX_URL, and run again"
}
