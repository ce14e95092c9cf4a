"""Outputs of converted folders, in the environment of this repository: JSON in, an .npz out.

MOBILEBERT_PYTHON outputs.py OUT.npz <<< '[["name", "paddle", "FOLDER", "pretraining"], ...]'
"""

import json
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support import tf_outputs  # noqa: E402 (found where the line above says)

outputs = {}
for name, library, folder, head in json.load(sys.stdin):
    if library == "torch":
        found = tf_outputs.of_torch(Path(folder), head, eps=1e-12)
    else:
        found = tf_outputs.of_paddle(Path(folder), head)
    outputs |= {f"{name} {key}": value for key, value in found.items()}
np.savez(sys.argv[1], **outputs)
