# Sourced by setup.sh and _common.sh, which define fail: which Pythons will do, and where one is.

version_of() {
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null
}

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

# `find_python CANDIDATES...`: prints PYTHON, or else the first that will do of the candidates and those on the PATH.
find_python() {
    local candidate found
    if [[ -n ${PYTHON:-} ]]; then
        found=$(version_of "$PYTHON") || fail "PYTHON=$PYTHON is not a Python 3.10 to 3.13; give the path of one"
        supported "$PYTHON" || fail "PYTHON=$PYTHON is Python $found, not 3.10 to 3.13; give the path of one"
        echo "$PYTHON"
        return
    fi
    # 3.11 first: most of this repository's measurements were made with it.
    for candidate in "$@" python3.11 python3.12 python3.13 python3.10 python3 python; do
        if supported "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    found=$(version_of python3) || true
    fail "no Python 3.10 to 3.13 found${found:+ (python3 is $found)}; $(how_to_get_python) name it: PYTHON=/path/to/python bash scripts/setup.sh"
}
