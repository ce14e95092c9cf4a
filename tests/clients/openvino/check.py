"""OpenVINO, tokenizers and NumPy alone, with the lines of the card; and does it read what the card says it does not?"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import openvino
import plain

WORK = Path(sys.argv[1])
EXPORTS = {
    "answers, float32": ("reader-onnx", "big-reader-onnx", 600),
    "answers, dynamic int8": ("reader-onnx-dynamic", None, 590),
    "classes, float32": ("classifier-onnx", "big-classifier-onnx", 600),
}

plain.check(WORK, "OpenVINO (Python)", openvino.__version__.partition("-")[0], "import openvino", EXPORTS)
REFUSED = WORK / "exports" / "reader-onnx-int8"
if "OpenVINO 2026.4.1 does not read the int8 file" not in (REFUSED / "README.md").read_text(encoding="utf-8"):
    raise SystemExit(f"{REFUSED}: its card does not say that OpenVINO cannot read it")
try:
    openvino.Core().read_model(REFUSED / "model.onnx")
except RuntimeError:
    pass
else:
    raise SystemExit("OpenVINO reads the int8 file now: change the card")
