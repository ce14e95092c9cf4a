"""A MobileBERT for inference as a list of operations over named weights.

``fold.py`` writes a program; ``onnx_graph.py`` turns it into an ONNX file, ``paddle_graph.py`` into a Paddle layer that
runs in float32 or float64 and can be saved.

All values between operations are matrices [n, width] with one row a token, n = B * S:

    B batch   S tokens   A attention heads   V vocabulary   E embedding_size   H hidden_size
"""

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


Operation = Words | Positions | Linear | Scale | LayerNorm | Attention | FirstToken | Vocabulary
_ROLES = ("input", "residual", "query", "key", "value")


def reads(operation: Operation) -> dict[str, str]:
    """The values that an operation reads, by role (``"input"``, ``"residual"``, ``"query"``, ...)."""
    values = {role: getattr(operation, role, None) for role in _ROLES}
    return {role: value for role, value in values.items() if value is not None}


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
            for value in reads(operation).values():
                readers.setdefault(value, []).append(operation)
        return readers
