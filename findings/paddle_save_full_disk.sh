#!/usr/bin/env bash
# Paddle 3.3.1: jit.save on a full disk ends without an error, and Paddle Inference runs what it left, with other numbers.
#
#   bash findings/paddle_save_full_disk.sh
#
# The weights' file (.pdiparams) is cut where the disk was full; no exception, no message, no status tells. Inference then
# loads the short file without a word, and the missing weights are whatever the memory holds. paddle.save, in the same
# process and under the same limit, raises OSError as it should. So a save of a program is only good after the sizes were
# compared, and a program that was copied in part is found out by nobody but who has a digest of it.
#
# The full disk is a limit on the size of a file (RLIMIT_FSIZE, as `ulimit -f` sets it). Installs pinned packages into a
# temporary folder (PYTHON: a Python 3.11 or newer). Exit code 1 where the behaviour has changed.

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
cat >"$folder/finding.py" <<'PYTHON'
import os
import resource
import signal
import subprocess
import sys

import numpy
import paddle
from paddle import inference

LIMIT = 50_000  # bytes
paddle.seed(0)
layer = paddle.nn.Linear(200, 200)
spec = [paddle.static.InputSpec([None, 200], "float32")]


def outcome(save):
    try:
        save()
    except Exception as error:
        return type(error).__name__
    return "no error"


def answer(name):
    """The output of a saved program, computed in a process of its own, whose memory has never held the weights."""
    done = subprocess.run([sys.executable, "-W", "ignore", __file__, sys.argv[1], name], capture_output=True, text=True)
    return done.stdout.splitlines()[-1] if done.returncode == 0 else "an error"


def compute(name):
    config = inference.Config(f"{name}.json", f"{name}.pdiparams")
    config.disable_gpu()
    config.disable_glog_info()
    predictor = inference.create_predictor(config)
    predictor.get_input_handle(predictor.get_input_names()[0]).copy_from_cpu(numpy.ones((1, 200), "float32"))
    predictor.run()
    print(predictor.get_output_handle(predictor.get_output_names()[0]).copy_to_cpu().tolist())


os.chdir(sys.argv[1])
if len(sys.argv) == 3:
    compute(sys.argv[2])
    sys.exit()
print(f"paddle {paddle.__version__}")
paddle.jit.save(layer, "whole", input_spec=spec)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # as a full disk: an error of write(), not a signal
resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT))
program = outcome(lambda: paddle.jit.save(layer, "cut", input_spec=spec))
state = outcome(lambda: paddle.save(layer.state_dict(), "state.pdparams"))
sizes = [os.path.getsize(f"{name}.pdiparams") for name in ("whole", "cut")]
print(f"jit.save on the full disk: {program}; {sizes[1]} bytes of {sizes[0]}")
print(f"paddle.save on the full disk: {state}")
whole, cut = answer("whole"), answer("cut")
runs = cut if cut == "an error" else "no error, " + ("the same numbers" if cut == whole else "other numbers")
print(f"Paddle Inference with the short file: {runs}")
if (program, state, runs, sizes[1]) != ("no error", "OSError", "no error, other numbers", LIMIT):
    sys.exit("the behaviour has changed")
PYTHON
"$folder/venv/bin/python" -W ignore "$folder/finding.py" "$folder"
