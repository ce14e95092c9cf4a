"""ONNX Runtime, tokenizers and NumPy alone, with the lines of the card."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import onnxruntime
import plain

EXPORTS = {
    "answers, float32": ("reader-onnx", "big-reader-onnx", 600),
    "answers, int8": ("reader-onnx-int8", None, 590),
    "answers, dynamic int8": ("reader-onnx-dynamic", None, 590),
    "classes, float32": ("classifier-onnx", "big-classifier-onnx", 600),
}

plain.check(Path(sys.argv[1]), "ONNX Runtime (Python)", onnxruntime.__version__, plain.FIRST, EXPORTS)
