"""LiteRT: one file for Android, iOS and browsers, and for MediaPipe's text classifier as it is."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mobilebert.base.errors import InputError
from mobilebert.base.files import check_written
from mobilebert.inference.engines import ENGINES, Engine, EngineOptions
from mobilebert.inference.manifest import LITERT_FILE

if TYPE_CHECKING:
    from mobilebert.export.variant import Variant

NAME = "litert"
TITLE = "LiteRT"
ENGINE = "litert"
QUANTIZATIONS = ("dynamic-int8", "fp16")
LIBRARIES = {"ai_edge_litert": "ai-edge-litert", "flatbuffers": "flatbuffers"}
HEADS = ("question-answering", "sequence-classification", "token-classification")


def write(variant: "Variant", folder: Path) -> None:
    """Write ``model.tflite``: inputs ``[1, max_seq_length]``, which may be resized.

    Raises:
        InputError: another head than ``HEADS``, or a class or token with a line break in its name.
    """
    from mobilebert.export import litert_graph, litert_metadata

    checkpoint = variant.checkpoint
    if checkpoint.head not in HEADS:
        raise InputError(f"`format=litert`: has no {checkpoint.head}, only {', '.join(HEADS)}")
    files = litert_metadata.files(checkpoint)
    model = litert_graph.build(
        variant,
        variant.max_seq_length,
        litert_metadata.probability(checkpoint),
        lambda outputs: litert_metadata.metadata(checkpoint, outputs),
    )
    (folder / LITERT_FILE).write_bytes(litert_metadata.with_files(model, files))
    check_written(folder / LITERT_FILE)


def files() -> Sequence[str]:
    """``model.tflite``."""
    return (LITERT_FILE,)


def load(folder: Path, head: str, outputs: Sequence[str]) -> Engine:
    """LiteRT's interpreter."""
    return ENGINES[ENGINE](folder, head, outputs, EngineOptions())
