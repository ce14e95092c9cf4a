"""A program as the native engine's file: safetensors with the operations, a line each, in the metadata.

    words OUTPUT TABLE trigram|-
    positions OUTPUT POSITIONS TOKEN_TYPES
    linear OUTPUT INPUT WEIGHT BIAS|- ACTIVATION|- RESIDUAL|-
    scale OUTPUT INPUT FACTOR OFFSET|-
    layer_norm OUTPUT INPUT WEIGHT BIAS EPSILON
    attention OUTPUT QUERY KEY VALUE HEADS
    first_token OUTPUT INPUT
    output NAME VALUE START STOP

A tensor in int8 has its scales in float32 beside it, ``NAME.scale``: of a weight one a column, of a table one a row.
"""

import json
from pathlib import Path

import numpy as np

from mobilebert.base.files import atomic_path
from mobilebert.export.program import (
    Attention,
    FirstToken,
    LayerNorm,
    Linear,
    Operation,
    Positions,
    Scale,
    Vocabulary,
    Words,
)
from mobilebert.export.quantization import LEAST_WEIGHT_SIZE, quantize_weight
from mobilebert.export.variant import Variant

FORMAT = "mobilebert-native-1"
_ALIGNMENT = 64


def write(variant: Variant, path: Path) -> None:
    """Write a model: float32, and what the variant has in int8 or bfloat16."""
    writer = _Writer(variant)
    lines = [writer.line(operation) for operation in variant.program.operations]
    lines += [f"output {output.name} {output.value} {output.start} {output.stop}" for output in variant.program.outputs]
    save_tensors(path, writer.tensors, "\n".join(lines))


def save_tensors(path: Path, tensors: dict[str, tuple[str, np.ndarray]], program: str) -> None:
    """Write a safetensors file; name -> (``F32``, ``BF16`` or ``I8``, array of as many bytes a value).

    Ours, because NumPy has no bfloat16, which ``safetensors.numpy`` therefore does not write.
    """
    header: dict[str, object] = {}
    # The widest first, so that each begins at a multiple of its size.
    order = sorted(tensors, key=lambda name: -tensors[name][1].itemsize)
    at = 0
    for name in order:
        kind, array = tensors[name]
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [at, at + array.nbytes]}
        at += array.nbytes
    data = b"".join(tensors[name][1].tobytes() for name in order)
    header["__metadata__"] = {"format": FORMAT, "program": program, "checksum": checksum(program.encode(), data)}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(len(text) + 8) % _ALIGNMENT)
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + data)


def checksum(*parts: bytes) -> str:
    """As ``checksum`` of csrc/file.c: the sum of all words of eight bytes, and that of each times its number."""
    words = np.concatenate([np.frombuffer(part + bytes(-len(part) % 8), "<u8") for part in parts])
    numbered = words * np.arange(1, len(words) + 1, dtype=np.uint64)
    return f"{int(words.sum(dtype=np.uint64)):016x}{int(numbered.sum(dtype=np.uint64)):016x}"


def to_bfloat16(array: np.ndarray) -> np.ndarray:
    """The bits of the nearest bfloat16, ties to even, as uint16."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


class _Writer:
    """Collects the tensors that the lines name."""

    def __init__(self, variant: Variant):
        self.variant = variant
        self.weights = variant.program.weights
        self.tensors: dict[str, tuple[str, np.ndarray]] = {}

    def line(self, operation: Operation) -> str:
        """An operation's line."""
        return " ".join(map(str, (*self._words(operation),)))

    def _words(self, op: Operation) -> tuple[object, ...]:
        match op:
            case Words():
                return "words", op.output, self._table(op.table), "trigram" if op.trigram else "-"
            case Positions():
                return "positions", op.output, self._table(op.positions), self._vector(op.token_types)
            case Linear():
                weight = self._weight(op.weight, self.weights[op.weight])
                bias, activation, residual = self._vector(op.bias), op.activation or "-", op.residual or "-"
                return "linear", op.output, op.input, weight, bias, activation, residual
            case Scale():
                return "scale", op.output, op.input, self._vector(op.factor), self._vector(op.offset)
            case LayerNorm():
                return (
                    "layer_norm", op.output, op.input, self._vector(op.weight), self._vector(op.bias), repr(op.epsilon)
                )  # fmt: skip
            case Attention():
                return "attention", op.output, op.query, op.key, op.value, op.num_heads
            case FirstToken():
                return "first_token", op.output, op.input
            case Vocabulary():
                # The embeddings are a table of rows, which a product cannot read: the file has them twice.
                both = np.concatenate([self.weights[op.words].T, self.weights[op.dense].T])
                return "linear", op.output, op.input, self._weight(op.output, both), self._vector(op.bias), "-", "-"

    def _vector(self, name: str | None) -> str:
        if name is None:
            return "-"
        self.tensors[name] = "F32", self.weights[name].astype(np.float32)
        return name

    def _table(self, name: str) -> str:
        stored = self.variant.quantization.tables.get(name)
        return self._vector(name) if stored is None else self._int8(name, stored.values, stored.scale)

    def _weight(self, name: str, value: np.ndarray) -> str:
        name = f"{name}.matrix" if name not in self.weights else name
        if value.size < LEAST_WEIGHT_SIZE:
            self.tensors[name] = "F32", value.astype(np.float32)
        elif self.variant.quantization.weights:
            stored = self.variant.quantization.weights.get(name) or quantize_weight(value)
            self._int8(name, stored.values, stored.scale)
        elif self.variant.bfloat16:
            self.tensors[name] = "BF16", to_bfloat16(value)
        else:
            self.tensors[name] = "F32", value.astype(np.float32)
        return name

    def _int8(self, name: str, values: np.ndarray, scale: np.ndarray) -> str:
        self.tensors[name] = "I8", values
        self.tensors[f"{name}.scale"] = "F32", scale.reshape(-1).astype(np.float32)
        return name
