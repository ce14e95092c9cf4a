# Sourced first by every script here: strict mode, --help, errors, the repository's root, the environment, $PYTHON.
# A script that needs no .venv sets needs_venv=false before; one that a minimal .venv will not do for needs_everything=true.

set -euo pipefail
trap 'exit 130' INT

# Prints the comment at the top of the script that was called, without its "# ".
print_help() {
    awk 'NR == 1 && /^#!/ { next } !/^#/ { exit } { sub(/^# ?/, ""); print }' "$1"
}

fail() {
    echo "error: $1" >&2
    exit 2
}

# `check_flags SCRIPT.py FLAGS...`: refuses flags that the script does not know, before anything is done.
check_flags() {
    "$PYTHON" "$@" --help >/dev/null
}

# `renew_folder FOLDER NAMES...`: makes FOLDER, or takes NAMES out of it, which an earlier run of this script made there.
# A folder without this script's mark belongs to somebody else and stays as it is. A second run at the same time is
# refused.
renew_folder() {
    local folder=$1 script=${0##*/}
    shift
    if [[ -e $folder && ! -d $folder ]]; then
        fail "$folder: a file, but a folder is to be made; name another with OUTPUT"
    fi
    if [[ -n $(ls -A "$folder" 2>/dev/null) && $(cat "$folder/.made_by" 2>/dev/null) != "$script" ]]; then
        fail "$folder: $script did not make it (no .made_by in it says so) and deletes nothing there; name another with OUTPUT"
    fi
    mkdir -p "$folder" && echo "$script" >"$folder/.made_by" || fail "$folder: cannot be written; name another with OUTPUT"
    lock=$folder/.mobilebert.lock
    # The lock is on a file that bash keeps open: it ends with this script and whatever it started.
    exec 9<>"$lock"
    "$PYTHON" -m mobilebert.base.outputs 9 "$folder"
    trap 'rm -f -- "$lock"' EXIT
    (cd "$folder" && rm -rf -- "$@")
}

# `note_settings RESULT TEXT`: notes beside RESULT what it is made with; refuses one that was made with something else.
note_settings() {
    if [[ -e $1 && $(cat "$1.settings" 2>/dev/null) != "$2" ]]; then
        fail "$1: was made with other settings than now (see ${1##*/}.settings beside it); remove it, or name another OUTPUT"
    fi
    mkdir -p "$(dirname "$1")" && echo "$2" >"$1.settings"
}

# `use_tools NAME PACKAGES...`: an environment for tools of the maintainers, .cache/tools/NAME; $TOOLS is its programs' folder.
use_tools() {
    local place=.cache/tools/$1
    shift
    TOOLS=$PWD/$place/bin
    if [[ $(cat "$place/.installed" 2>/dev/null) != "$*" ]]; then
        rm -rf "$place"
        "$PYTHON" -m venv "$place" || fail "$PYTHON cannot make an environment (Debian, Ubuntu: python3-venv)"
        "$TOOLS/python" -m pip install --disable-pip-version-check "$@" >"$place/install.log" 2>&1 ||
            { grep '^ERROR' "$place/install.log" >&2; return 1; }
        echo "$*" >"$place/.installed"
    fi
}

case "${1:-}" in
    -h | --help)
        print_help "$0"
        exit 0
        ;;
esac

cd "$(dirname "${BASH_SOURCE[0]}")/.."
if ${needs_venv:-true}; then
    bash scripts/setup.sh --kept
    PYTHON="$PWD/.venv/bin/python"
    if ${needs_everything:-false} && [[ -e .venv/.minimal ]]; then
        fail "$0: .venv is minimal, and this needs the rest too; bash scripts/setup.sh adds it"
    fi
else
    source scripts/_python.sh
    PYTHON=$(find_python .venv/bin/python)
fi
