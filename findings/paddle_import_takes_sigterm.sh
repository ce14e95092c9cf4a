#!/usr/bin/env bash
# Paddle 3.3.1: `import paddle` takes SIGTERM away from the program, and Python goes on saying that the handler is there.
#
#   bash findings/paddle_import_takes_sigterm.sh
#
# Paddle's own handler is set in C during the import. signal.getsignal still answers with the program's function, which is
# called no more: SIGTERM prints Paddle's FatalError and ends the process, without finally blocks, atexit or a last
# checkpoint. A handler that is set again after the import works, and so does one that was set only then. Schedulers and
# container runtimes end jobs by SIGTERM, so a graceful stop that works before the import is lost without a sign.
#
# Installs pinned packages into a temporary folder (PYTHON: a Python 3.11 or newer). Exit code 1 where the behaviour has
# changed.

set -euo pipefail
case "${1:-}" in
    -h | --help)
        awk 'NR == 1 { next } !/^#/ { exit } { sub(/^# ?/, ""); print }' "$0"
        exit 0
        ;;
esac
folder=$(mktemp -d)
trap 'rm -rf -- "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    paddlepaddle==3.3.1 numpy==2.4.6 setuptools==84.2.1
cat >"$folder/child.py" <<'PYTHON'
import os
import signal
import sys


def mine(number, frame):
    print("called", flush=True)


signal.signal(signal.SIGTERM, mine)
import paddle  # noqa: E402, F401

print("known" if signal.getsignal(signal.SIGTERM) is mine else "unknown", flush=True)
if sys.argv[1] == "again":
    signal.signal(signal.SIGTERM, mine)
try:
    os.kill(os.getpid(), signal.SIGTERM)
finally:
    print("finally", flush=True)
PYTHON
cat >"$folder/finding.py" <<'PYTHON'
import subprocess
import sys
from importlib.metadata import version

print(f"paddle {version('paddlepaddle')}")
found = []
for case in ("before", "again"):
    done = subprocess.run([sys.executable, "-W", "ignore", sys.argv[1], case], capture_output=True, text=True)
    said = [word for word in done.stdout.split() if word in ("known", "unknown", "called", "finally")]
    found.append((said, done.returncode, "`Termination signal` is detected" in done.stdout + done.stderr))
    what = "set before the import" if case == "before" else "set again after it"
    print(f"handler {what}: printed {' '.join(found[-1][0])}; exit status {done.returncode}")
if found != [(["known"], -15, True), (["known", "called", "finally"], 0, False)]:
    sys.exit(f"the behaviour has changed: {found}")
PYTHON
"$folder/venv/bin/python" "$folder/finding.py" "$folder/child.py"
