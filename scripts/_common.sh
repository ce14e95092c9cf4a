# Sourced first by every script here: strict mode, --help, errors, the repository's root, the environment, $PYTHON.

set -euo pipefail

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

case "${1:-}" in
    -h | --help)
        print_help "$0"
        exit 0
        ;;
esac

cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh
PYTHON="$PWD/.venv/bin/python"
