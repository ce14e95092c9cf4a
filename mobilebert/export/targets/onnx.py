"""ONNX: one file, for ONNX Runtime, OpenVINO or (portable) any other engine."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mobilebert.inference.engines import ENGINES, Engine, EngineOptions
from mobilebert.inference.manifest import ONNX_FILE

if TYPE_CHECKING:
    from mobilebert.export.variant import Variant

NAME = "onnx"
TITLE = "ONNX"
ENGINE = "onnxruntime"
QUANTIZATIONS = ("int8", "dynamic-int8", "fp16")
LIBRARIES = {"onnx": "onnx", "onnxruntime": "onnxruntime"}


def write(variant: "Variant", folder: Path) -> None:
    """Write ``model.onnx``."""
    import onnx

    from mobilebert.export import onnx_graph

    model = onnx_graph.build(
        variant.program,
        portable=variant.portable,
        quantization=variant.quantization,
        half_weights=variant.half_weights,
    )
    onnx.checker.check_model(model)
    onnx.save(model, str(folder / ONNX_FILE))


def files() -> Sequence[str]:
    """``model.onnx``."""
    return (ONNX_FILE,)


def load(folder: Path, head: str, outputs: Sequence[str]) -> Engine:
    """ONNX Runtime."""
    return ENGINES[ENGINE](folder, head, outputs, EngineOptions())
