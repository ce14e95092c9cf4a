#!/usr/bin/env bash
# safetensors 0.8.0 reads bfloat16 into NumPy only if something else in the process has imported ml_dtypes.
#
#   bash findings/safetensors_bfloat16.sh
#
# NumPy has no bfloat16; the library asks it for a type of that name. By itself that is a TypeError; after `import onnx`
# (or ml_dtypes, jax, TensorFlow) the same call on the same file gives numbers. The 8-bit floats fail in both cases, with
# an AttributeError about numpy. So a loader that works in one program fails in another, and a handler of
# SafetensorError, the library's own exception, sees none of it.
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
    safetensors==0.8.0 numpy==2.4.6 onnx==1.23.2 ml_dtypes==0.6.0
cat >"$folder/finding.py" <<'PYTHON'
import json
import struct
import sys

import numpy
import safetensors
from safetensors import safe_open


def read(dtype, data):
    """What reading a tensor of these bytes gives, in words."""
    header = json.dumps({"x": {"dtype": dtype, "shape": [3], "data_offsets": [0, len(data)]}}).encode()
    with open(sys.argv[1], "wb") as handle:
        handle.write(struct.pack("<Q", len(header)) + header + data)
    try:
        with safe_open(sys.argv[1], framework="np") as tensors:
            return str(tensors.get_tensor("x").astype("float32").tolist())
    except Exception as error:
        return f"{type(error).__name__}: {error}"


ONE_TWO_THREE = struct.pack("<3H", 0x3F80, 0x4000, 0x4040)
print(f"safetensors {safetensors.__version__}, numpy {numpy.__version__}")
found = {"BF16 alone": read("BF16", ONE_TWO_THREE), "F8_E4M3 alone": read("F8_E4M3", bytes(3))}
import onnx  # noqa: E402, F401

found["BF16 after import onnx"] = read("BF16", ONE_TWO_THREE)
found["F8_E4M3 after import onnx"] = read("F8_E4M3", bytes(3))
for case, outcome in found.items():
    print(f"{case}: {outcome}")
no_float8 = "AttributeError: module 'numpy' has no attribute 'float8_e4m3fn'"
expected = ["TypeError: data type 'bfloat16' not understood", no_float8, "[1.0, 2.0, 3.0]", no_float8]
if list(found.values()) != expected:
    sys.exit("the behaviour has changed")
PYTHON
"$folder/venv/bin/python" "$folder/finding.py" "$folder/x.safetensors"
