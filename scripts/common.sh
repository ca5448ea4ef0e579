# Shared by the drivers; source it.
set -euo pipefail
REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# usage FEWEST "$@": with --help, or with fewer arguments than that, print the head of the script and end.
usage() {
    local fewest=$1 status=2
    shift
    case ${1:-} in
    -h | --help) status=0 ;;
    *) [ $# -lt "$fewest" ] || return 0 ;;
    esac
    sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
    exit $status
}

fail() {
    echo "error: $*" >&2
    exit 2
}

# The interpreter: $PYTHON, else that of an active virtual environment, else the checkout's, else python3.
if [ -z "${PYTHON:-}" ]; then
    PYTHON=python3
    if [ -n "${VIRTUAL_ENV:-}" ]; then
        PYTHON=$VIRTUAL_ENV/bin/python
    elif [ -x "$REPO/.venv/bin/python" ]; then
        PYTHON=$REPO/.venv/bin/python
    fi
fi

# reproduce TABLE ...: the runs that a part of a table takes, see scripts/reproduce.py.
reproduce() {
    exec "$PYTHON" "$REPO/scripts/reproduce.py" "$@"
}
