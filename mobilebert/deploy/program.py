"""A MobileBERT for inference as a list of operations over named weights.

``fold.py`` writes a program; ``onnx_graph.py`` and ``paddle_export.py`` turn it into files, and ``run`` below computes
it in NumPy, in any precision: the judge of both.

All values between operations are matrices [n, width] with one row a token, n = B * S:

    B batch   S tokens   A attention heads   V vocabulary   E embedding_size   H hidden_size
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Words:
    """Rows of a [V, E] table; with ``trigram`` the next and the previous token's row left and right of each."""

    output: str
    table: str
    trigram: bool


@dataclass(frozen=True)
class Positions:
    """Sum of a row of the position table [P, H] and one of the token type table [T, H]."""

    output: str
    positions: str
    token_types: str


@dataclass(frozen=True)
class Linear:
    """activation(input @ weight + bias + residual); bias, activation and residual may be missing."""

    output: str
    input: str
    weight: str
    bias: str | None = None
    activation: str | None = None
    residual: str | None = None


@dataclass(frozen=True)
class Split:
    """The columns of a matrix dealt out, ``widths[i]`` to ``outputs[i]``."""

    outputs: tuple[str, ...]
    input: str
    widths: tuple[int, ...]


@dataclass(frozen=True)
class Scale:
    """input * factor + offset, by column; the offset may be missing."""

    output: str
    input: str
    factor: str
    offset: str | None = None


@dataclass(frozen=True)
class LayerNorm:
    """Layer normalization over the columns."""

    output: str
    input: str
    weight: str
    bias: str
    epsilon: float


@dataclass(frozen=True)
class Attention:
    """softmax(query @ key^T + mask) @ value within each row of the batch and each head; 1/sqrt(d) is in the query."""

    output: str
    query: str
    key: str
    value: str
    num_heads: int


@dataclass(frozen=True)
class FirstToken:
    """The first token of each row of the batch: [n, width] -> [B, width]."""

    output: str
    input: str


@dataclass(frozen=True)
class Vocabulary:
    """Logits over the vocabulary: input @ [words | dense]^T + bias, [V, E] and [V, H - E]."""

    output: str
    input: str
    words: str
    dense: str
    bias: str


Operation = Words | Positions | Linear | Split | Scale | LayerNorm | Attention | FirstToken | Vocabulary


@dataclass(frozen=True)
class Output:
    """A result: ``columns`` of ``value``, one row a token ([B, S, ...]) or one a text ([B, ...]).

    One column only is given as a [B, S] where ``squeeze``.
    """

    name: str
    value: str
    start: int
    stop: int
    per_token: bool
    squeeze: bool = False


@dataclass(frozen=True)
class Program:
    """Operations in order, the weights that they name, and what comes out.

    Attributes:
        operations: each reads what earlier ones wrote.
        weights: float64 arrays by name.
        outputs: results by name.
        choices: inputs are [B, C, S] and the one output is [B, C] (multiple choice).
    """

    operations: list[Operation] = field(default_factory=list)
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    outputs: list[Output] = field(default_factory=list)
    choices: bool = False

    def consumers(self) -> dict[str, list[Operation]]:
        """Value -> the operations that read it."""
        readers: dict[str, list[Operation]] = {}
        for operation in self.operations:
            for role in ("input", "residual", "query", "key", "value"):
                if (name := getattr(operation, role, None)) is not None:
                    readers.setdefault(name, []).append(operation)
        return readers


def _gelu(x: np.ndarray) -> np.ndarray:
    return x * 0.5 * (1 + np.vectorize(math.erf, otypes=[x.dtype])(x / math.sqrt(2)))


def _gelu_tanh(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * x))


ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "relu": lambda x: np.maximum(x, 0),
    "gelu": _gelu,
    "gelu_new": _gelu_tanh,
    "gelu_pytorch_tanh": _gelu_tanh,
    "silu": lambda x: x * _sigmoid(x),
    "swish": lambda x: x * _sigmoid(x),
    "tanh": np.tanh,
    "sigmoid": _sigmoid,
}


def run(
    program: Program,
    input_ids: np.ndarray,
    attention_mask: np.ndarray,
    token_type_ids: np.ndarray,
    dtype: type = np.float64,
    observe: Callable[[str, np.ndarray], None] | None = None,
) -> dict[str, np.ndarray]:
    """Compute a program in NumPy.

    Args:
        program: what to compute.
        input_ids, attention_mask, token_type_ids: [B, S] int ([B, C, S] with ``choices``).
        dtype: float64 or float32.
        observe: called with the name and the array of every value, as it is made.

    Returns:
        The outputs by name.
    """
    num_choices = input_ids.shape[1] if program.choices else 1
    input_ids, attention_mask, token_type_ids = (
        array.reshape(-1, array.shape[-1]) for array in (input_ids, attention_mask, token_type_ids)
    )
    batch, length = input_ids.shape
    weights = {name: array.astype(dtype, copy=False) for name, array in program.weights.items()}
    bias = (1 - attention_mask[:, None, None].astype(dtype)) * np.finfo(np.float32).min  # [B, 1, 1, S]
    values: dict[str, np.ndarray] = {}
    for op in program.operations:
        match op:
            case Words():
                rows = weights[op.table][input_ids]  # [B, S, E]
                if op.trigram:
                    padded = np.pad(rows, ((0, 0), (1, 1), (0, 0)))
                    rows = np.concatenate([padded[:, 2:], rows, padded[:, :-2]], axis=2)
                result = rows.reshape(batch * length, -1)
            case Positions():
                rows = weights[op.positions][None, :length] + weights[op.token_types][token_type_ids]
                result = rows.reshape(batch * length, -1)
            case Linear():
                result = values[op.input] @ weights[op.weight]
                if op.bias is not None:
                    result = result + weights[op.bias]
                if op.residual is not None:
                    result = result + values[op.residual]
                if op.activation is not None:
                    result = ACTIVATIONS[op.activation](result)
            case Split():
                parts = np.split(values[op.input], np.cumsum(op.widths)[:-1], axis=1)
                values.update(zip(op.outputs, parts, strict=True))
                continue
            case Scale():
                result = values[op.input] * weights[op.factor]
                if op.offset is not None:
                    result = result + weights[op.offset]
            case LayerNorm():
                hidden = values[op.input]
                centred = hidden - hidden.mean(axis=1, keepdims=True)
                deviation = np.sqrt((centred**2).mean(axis=1, keepdims=True) + dtype(op.epsilon))
                result = centred / deviation * weights[op.weight] + weights[op.bias]
            case Attention():
                query, key, value = (
                    values[name].reshape(batch, -1, op.num_heads, values[name].shape[1] // op.num_heads)
                    for name in (op.query, op.key, op.value)
                )  # [B, S, A, d]
                scores = np.einsum("bqhd,bkhd->bhqk", query, key, optimize=True) + bias
                scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
                scores /= scores.sum(axis=-1, keepdims=True)
                context = np.einsum("bhqk,bkhd->bqhd", scores, value, optimize=True)
                result = context.reshape(context.shape[0] * context.shape[1], -1)
            case FirstToken():
                result = values[op.input].reshape(batch, length, -1)[:, 0]
            case Vocabulary():
                decoder = np.concatenate([weights[op.words], weights[op.dense]], axis=1)
                result = values[op.input] @ decoder.T + weights[op.bias]
        values[op.output] = result
        if observe is not None:
            observe(op.output, result)
    results = {}
    for output in program.outputs:
        columns = values[output.value][:, output.start : output.stop]
        if output.per_token:
            columns = columns.reshape(batch, length, -1)
        if output.squeeze:
            columns = columns[..., 0]
        results[output.name] = columns.reshape(-1, num_choices) if program.choices else columns
    return results
