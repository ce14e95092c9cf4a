#!/usr/bin/env bash
# paddlepaddle 3.3.1: paddle.distributed.launch looks at the flags behind the script too. One that is the beginning of
# two of its own ends the job before the script starts: `launch train.py --train my.csv` says "ambiguous option: --train
# could match --trainers, --trainer_num". With "--" before the script its flags are its own.
#
#   bash findings/paddle_launch_takes_flags.sh
#
# Installs pinned packages into a temporary folder. Exit code 1 where the behaviour has changed.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check paddlepaddle==3.3.1 setuptools

echo 'import sys; print("the script got", *sys.argv[1:], flush=True)' >"$work/train.py"
cd "$work"
launch() {
    "$work/venv/bin/python" -W ignore -m paddle.distributed.launch --nproc_per_node 1 --log_dir "$work/log" "$@" 2>&1 |
        grep -E '^(the script got|.*error: )' || true
}
"$work/venv/bin/python" -W ignore -c 'import paddle; print("paddlepaddle", paddle.__version__)'
plain=$(launch train.py --train my.csv)
behind=$(launch -- train.py --train my.csv)
echo "launch train.py --train my.csv:     $plain"
echo "launch -- train.py --train my.csv:  $behind"
[[ $plain == *"ambiguous option: --train"* ]] || { echo "changed: the launcher leaves the script's flags alone" >&2; exit 1; }
[[ $behind == "the script got --train my.csv" ]] || { echo "changed: -- no longer ends the launcher's flags" >&2; exit 1; }
