"""Paddle Inference: a program and its weights, in float32."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mobilebert.base import extras
from mobilebert.base.files import check_written
from mobilebert.inference.engines import ENGINES, Engine, EngineOptions
from mobilebert.inference.manifest import PADDLE_PREFIX

if TYPE_CHECKING:
    from mobilebert.export.variant import Variant

NAME = "paddle"
TITLE = "Paddle"
ENGINE = "paddle"
QUANTIZATIONS = ()
LIBRARIES = {"paddle": "paddlepaddle"}


def write(variant: "Variant", folder: Path) -> None:
    """Write ``model.json`` and ``model.pdiparams``."""
    import paddle

    from mobilebert.data.collate import INPUT_NAMES
    from mobilebert.export.paddle_graph import ProgramLayer

    layer = ProgramLayer(variant.program)
    layer.eval()
    shape = [-1, -1, -1] if variant.program.choices else [-1, -1]
    inputs = [paddle.static.InputSpec(shape, "int64", name) for name in INPUT_NAMES]
    with extras.own_home():
        paddle.jit.save(layer, str(folder / PADDLE_PREFIX), input_spec=inputs)
    for name in files():
        check_written(folder / name)


def files() -> Sequence[str]:
    """The program and its weights."""
    return (f"{PADDLE_PREFIX}.json", f"{PADDLE_PREFIX}.pdiparams")


def load(folder: Path, head: str, outputs: Sequence[str]) -> Engine:
    """Paddle Inference."""
    return ENGINES[ENGINE](folder, head, outputs, EngineOptions())
