"""A program in the precision in which it is to be written; of no format."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from mobilebert.export.program import Program

if TYPE_CHECKING:
    from mobilebert.export.checkpoint import Checkpoint


@dataclass(frozen=True)
class QuantizedWeight:
    """``values`` int8 [in, out], ``scale`` float32 [out]: weight = values * scale."""

    values: np.ndarray
    scale: np.ndarray


@dataclass(frozen=True)
class Quantization:
    """What is int8; all else stays float32.

    Attributes:
        weights: of ``Linear`` operations, by name.
        tables: of embeddings, by name; ``values`` [rows, width], ``scale`` [rows].
        activations: value -> (scale, zero point) of its uint8 form; a value that is not here is measured at run time.
    """

    weights: Mapping[str, QuantizedWeight] = field(default_factory=dict)
    tables: Mapping[str, QuantizedWeight] = field(default_factory=dict)
    activations: Mapping[str, tuple[float, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Variant:
    """What a target writes.

    Attributes:
        program: the operations and weights.
        quantization: what is int8.
        half_weights: store matrices as float16 (computed in float32) where they fit its range.
        bfloat16: store matrices as bfloat16, and multiply them so, where the format can.
        portable: use a standard's operators only, where the format has others too.
        checkpoint: what the program was made of, for a format whose files hold labels and vocabulary.
        max_seq_length: tokens, for a format whose inputs have a size.
    """

    program: Program
    quantization: Quantization = Quantization()
    half_weights: bool = False
    bfloat16: bool = False
    portable: bool = False
    checkpoint: "Checkpoint | None" = None
    max_seq_length: int = 0
