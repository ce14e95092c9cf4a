"""What folding is made of: affine functions, streams with a scale and an offset, and the program as it is written."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mobilebert.base.errors import InputError
from mobilebert.export.program import FirstToken, LayerNorm, Linear, Operation, Scale
from mobilebert.model.config import MobileBertConfig

LARGEST_SCALE = 2.0**24  # of a stream that is divided by; the smallest is its inverse


@dataclass(frozen=True)
class Affine:
    """x -> x @ weight + bias; weight [in, out], bias [out]."""

    weight: np.ndarray
    bias: np.ndarray

    def times(self, factor: np.ndarray | float) -> "Affine":
        """The function times ``factor`` [out]."""
        return Affine(self.weight * factor, self.bias * factor)

    def plus(self, offset: np.ndarray) -> "Affine":
        """The function plus ``offset`` [out]."""
        return Affine(self.weight, self.bias + offset)


@dataclass(frozen=True)
class Stream:
    """scale * value + offset, where ``value`` names a matrix [n, width] of the program; both vectors are [width]."""

    value: str
    scale: np.ndarray
    offset: np.ndarray

    @classmethod
    def plain(cls, value: str, width: int) -> "Stream":
        """The value itself."""
        return cls(value, np.ones(width), np.zeros(width))

    def read_by(self, affine: Affine) -> Affine:
        """``affine`` of the stream, as a function of the value."""
        return Affine(self.scale[:, None] * affine.weight, self.offset @ affine.weight + affine.bias)


class Writer:
    """Reads a checkpoint's parameters and writes operations and weights.

    Args:
        config: of the checkpoint.
        state: its parameters by name.
        divide: see ``fold``.
    """

    def __init__(self, config: MobileBertConfig, state: Mapping[str, np.ndarray], divide: bool):
        self.config = config
        self.divide = divide
        self.no_norm = config.normalization_type == "no_norm"
        self.backbone = "mobilebert." if any(name.startswith("mobilebert.") for name in state) else ""
        self.operations: list[Operation] = []
        self.weights: dict[str, np.ndarray] = {}
        self._state = state

    # -- reading the checkpoint

    def parameter(self, name: str) -> np.ndarray:
        """A parameter in float64."""
        if name not in self._state:
            raise InputError(f"the checkpoint has no {name}; is it complete, and is its head the one asked for?")
        value = np.asarray(self._state[name]).astype(np.float64)
        if not np.isfinite(value).all():
            raise InputError(f"{name} holds values that are not finite; the checkpoint is damaged or diverged")
        return value

    def affine(self, prefix: str) -> Affine:
        """The weight and bias of a linear layer."""
        return Affine(self.parameter(f"{prefix}.weight"), self.parameter(f"{prefix}.bias"))

    def norm(self, prefix: str) -> tuple[np.ndarray, np.ndarray]:
        """The gamma and beta of ``prefix``'s norm."""
        return self.parameter(f"{prefix}.LayerNorm.weight"), self.parameter(f"{prefix}.LayerNorm.bias")

    # -- writing the program

    def weight(self, name: str, value: np.ndarray) -> str:
        """Keep a weight; gives its name."""
        self.weights[name] = value
        return name

    def product(self, output: str, value: str, affine: Affine, activation: str | None = None) -> None:
        """activation(value @ weight + bias); a bias of zeros is left out."""
        weight = self.weight(f"{output}.weight", affine.weight)
        bias = self.weight(f"{output}.bias", affine.bias) if affine.bias.any() else None
        self.operations.append(Linear(output, value, weight, bias, activation))

    def product_plus(self, output: str, value: str, weight: np.ndarray, residual: str) -> None:
        """value @ weight + residual."""
        self.operations.append(Linear(output, value, self.weight(f"{output}.weight", weight), residual=residual))

    def linear(self, output: str, stream: Stream, affine: Affine, activation: str | None = None) -> Stream:
        """activation(affine(stream)), a matrix without scale and offset."""
        self.product(output, stream.value, stream.read_by(affine), activation)
        return Stream.plain(output, len(affine.bias))

    def linear_without_bias(self, output: str, stream: Stream, affine: Affine) -> Stream:
        """affine(stream), whose bias is not added but carried as the new stream's offset."""
        affine = stream.read_by(affine)
        self.product(output, stream.value, Affine(affine.weight, np.zeros_like(affine.bias)))
        return Stream(output, np.ones_like(affine.bias), affine.bias)

    def layer_norm(self, value: str, prefix: str, epsilon: float) -> Stream:
        """A LayerNorm of a value, which stays in the program."""
        gamma, beta = self.norm(prefix)
        name = f"{value}.norm"
        weight, bias = self.weight(f"{name}.weight", gamma), self.weight(f"{name}.bias", beta)
        self.operations.append(LayerNorm(name, value, weight, bias, epsilon))
        return Stream.plain(name, len(gamma))

    def first_token(self, stream: Stream) -> Stream:
        """[CLS] of each row of the batch."""
        name = f"{stream.value}.first"
        self.operations.append(FirstToken(name, stream.value))
        return Stream(name, stream.scale, stream.offset)

    def add_and_norm(self, output: str, stream: Stream, prefix: str, residual: Stream, epsilon: float) -> Stream:
        """norm(dense(stream) + residual), with the ``dense`` and the norm of ``prefix``."""
        dense = stream.read_by(self.affine(f"{prefix}.dense"))
        offset = dense.bias + residual.offset
        if not self.no_norm:  # no stream has a scale or an offset then
            bias = self.weight(f"{output}.bias", offset) if offset.any() else None
            weight = self.weight(f"{output}.weight", dense.weight)
            self.operations.append(Linear(output, stream.value, weight, bias, residual=residual.value))
            return self.layer_norm(output, prefix, epsilon)
        gamma, beta = self.norm(prefix)
        offset, scale = gamma * offset + beta, gamma * residual.scale
        size = np.abs(scale)
        if self.divide and size.max() <= LARGEST_SCALE and size.min() >= 1 / LARGEST_SCALE:
            self.product_plus(output, stream.value, dense.weight / residual.scale, residual.value)
            return Stream(output, scale, offset)
        value = residual.value
        if (scale != 1).any():
            value = f"{output}.residual"
            self.operations.append(Scale(value, residual.value, self.weight(f"{value}.factor", scale)))
        self.product_plus(output, stream.value, dense.weight * gamma, value)
        return Stream(output, np.ones_like(scale), offset)

    def add_to_multiplied(self, output: str, stream: Stream, prefix: str, residual: Stream) -> Stream:
        """NoNorm(dense(stream) + residual), where ``residual`` was made with the NoNorm's gamma in it."""
        gamma, beta = self.norm(prefix)
        dense = stream.read_by(self.affine(f"{prefix}.dense"))
        self.product_plus(output, stream.value, dense.weight * gamma, residual.value)
        return Stream(output, np.ones_like(gamma), gamma * dense.bias + residual.offset + beta)
