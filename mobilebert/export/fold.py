"""Exact folding: a checkpoint becomes a program without NoNorms.

NoNorm is gamma * x + beta. Written out over a whole layer, every gamma and beta ends up in a weight or bias next to it:

- A stream x between layers (or within one) is carried as the matrix u that exists at run time and two vectors, with
  x = scale * u + offset. Who reads x takes the scale into the rows of its weight and the offset into its bias; who adds
  to x divides its weight's columns by the scale, so the residual sum needs no multiplication.
- A division needs a scale that is neither 0 nor extreme. Otherwise (or everywhere, with ``divide=False``) gamma goes
  into the columns of the producer's weight, one multiplication of the residual stays, and the scale is 1 again.
- The key's bias is the same for all keys of a query, so softmax cancels it; the value's bias passes through the
  attention, whose weights sum to 1, into the bias of the output product.

Everything is computed in float64. LayerNorm configurations keep their norms and get the fused products only.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mobilebert.base.errors import InputError
from mobilebert.export.program import (
    Attention,
    FirstToken,
    LayerNorm,
    Linear,
    Operation,
    Output,
    Positions,
    Program,
    Scale,
    Vocabulary,
    Words,
)
from mobilebert.model.config import MobileBertConfig

LARGEST_SCALE = 2.0**24  # of a stream that is divided by; the smallest is its inverse
HEADS_ON_FIRST_TOKEN = ("next-sentence", "sequence-classification", "multiple-choice")


@dataclass(frozen=True)
class _Affine:
    """x -> x @ weight + bias; weight [in, out], bias [out]."""

    weight: np.ndarray
    bias: np.ndarray

    def times(self, factor: np.ndarray | float) -> "_Affine":
        return _Affine(self.weight * factor, self.bias * factor)

    def plus(self, offset: np.ndarray) -> "_Affine":
        return _Affine(self.weight, self.bias + offset)


@dataclass(frozen=True)
class _Stream:
    """scale * value + offset, where ``value`` names a matrix of the program."""

    value: str
    scale: np.ndarray
    offset: np.ndarray

    @classmethod
    def plain(cls, value: str, width: int) -> "_Stream":
        return cls(value, np.ones(width), np.zeros(width))

    def read_by(self, affine: _Affine) -> _Affine:
        """What ``affine`` of the stream is of the value."""
        return _Affine(self.scale[:, None] * affine.weight, self.offset @ affine.weight + affine.bias)


def fold(
    config: MobileBertConfig,
    state: Mapping[str, np.ndarray],
    head: str,
    *,
    divide: bool = True,
) -> Program:
    """Fold a checkpoint.

    Args:
        config: its configuration.
        state: its parameters by name, linear weights [in, out], as ``weights.model_state`` gives them.
        head: a key of ``heads.HEADS``.
        divide: carry scales along the residual streams, which is fastest; without, one multiplication a sum stays and
            activations keep their size, which is what int8 wants.

    Returns:
        The program, weights in float64. Heads that read [CLS] alone compute the last layer for [CLS] alone.

    Raises:
        InputError: a parameter is missing or not finite.
    """
    return _Folding(config, state, divide).run(head)


class _Folding:
    """The operations and weights written so far."""

    def __init__(self, config: MobileBertConfig, state: Mapping[str, np.ndarray], divide: bool):
        self.config = config
        self.state = state
        self.divide = divide
        self.no_norm = config.normalization_type == "no_norm"
        self.backbone = "mobilebert." if any(name.startswith("mobilebert.") for name in state) else ""
        self.first_tokens: set[str] = set()
        self.operations: list[Operation] = []
        self.weights: dict[str, np.ndarray] = {}

    def run(self, head: str) -> Program:
        first_only = head in HEADS_ON_FIRST_TOKEN
        stream = self._embeddings()
        last = self.config.num_hidden_layers - 1
        for index in range(last + 1):
            stream = self._layer(index, stream, first_only and index == last)
        outputs = self._head(head, stream)
        return Program(self.operations, self.weights, outputs, choices=head == "multiple-choice")

    # -- reading the checkpoint

    def _parameter(self, name: str) -> np.ndarray:
        if name not in self.state:
            raise InputError(f"the checkpoint has no {name}; is it complete, and is its head the one asked for?")
        value = np.asarray(self.state[name]).astype(np.float64)
        if not np.isfinite(value).all():
            raise InputError(f"{name} holds values that are not finite; the checkpoint is damaged or diverged")
        return value

    def _affine(self, name: str) -> _Affine:
        return _Affine(self._parameter(name + ".weight"), self._parameter(name + ".bias"))

    def _norm(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        return self._parameter(name + ".LayerNorm.weight"), self._parameter(name + ".LayerNorm.bias")

    # -- writing the program

    def _weight(self, name: str, value: np.ndarray) -> str:
        self.weights[name] = value
        return name

    def _emit(
        self,
        output: str,
        value: str,
        weight: np.ndarray,
        bias: np.ndarray | None = None,
        activation: str | None = None,
        residual: str | None = None,
    ) -> None:
        weight_name = self._weight(f"{output}.weight", weight)
        bias_name = None if bias is None or not bias.any() else self._weight(f"{output}.bias", bias)
        self.operations.append(Linear(output, value, weight_name, bias_name, activation, residual))

    def _linear(self, output: str, stream: _Stream, affine: _Affine, activation: str | None = None) -> None:
        """One product over a stream, bias and all."""
        affine = stream.read_by(affine)
        self._emit(output, stream.value, affine.weight, affine.bias, activation)

    def _products(self, stream: _Stream, parts: dict[str, tuple[_Affine, bool]]) -> dict[str, np.ndarray]:
        """The products of several readers of a stream: name -> (affine, whether its bias is added here).

        Each is a product of its own: taking the columns of one large product apart again costs a copy, which is
        slower in ONNX Runtime and in Paddle Inference.

        Returns:
            The bias of each part, added or not, by name.
        """
        affines = {name: stream.read_by(affine) for name, (affine, _) in parts.items()}
        added = {name: affines[name].bias * is_added for name, (_, is_added) in parts.items()}
        for name, affine in affines.items():
            self._emit(name, stream.value, affine.weight, added[name])
        return {name: affine.bias for name, affine in affines.items()}

    def _layer_norm(self, name: str, value: str, prefix: str, epsilon: float) -> _Stream:
        """A norm that stays."""
        gamma, beta = self._norm(prefix)
        weight, bias = self._weight(f"{name}.norm.weight", gamma), self._weight(f"{name}.norm.bias", beta)
        self.operations.append(LayerNorm(f"{name}.norm", value, weight, bias, epsilon))
        return _Stream.plain(f"{name}.norm", len(gamma))

    def _add_and_norm(
        self, name: str, stream: _Stream, affine: _Affine, residual: _Stream, prefix: str, epsilon: float
    ) -> _Stream:
        """norm(stream @ affine + residual), as a new stream."""
        affine = stream.read_by(affine)
        offset = affine.bias + residual.offset
        if not self.no_norm:  # no stream has a scale then
            self._emit(name, stream.value, affine.weight, offset, residual=residual.value)
            return self._layer_norm(name, name, prefix, epsilon)
        gamma, beta = self._norm(prefix)
        offset = gamma * offset + beta
        scale = gamma * residual.scale
        size = np.abs(scale)
        if self.divide and size.max() <= LARGEST_SCALE and size.min() >= 1 / LARGEST_SCALE:
            self._emit(name, stream.value, affine.weight / residual.scale, residual=residual.value)
            return _Stream(name, scale, offset)
        value = residual.value
        if (scale != 1).any():
            value = f"{name}.residual"
            self.operations.append(Scale(value, residual.value, self._weight(f"{value}.factor", scale)))
        self._emit(name, stream.value, affine.weight * gamma, residual=value)
        return _Stream(name, np.ones_like(scale), offset)

    # -- the model

    def _embeddings(self) -> _Stream:
        config, prefix = self.config, self.backbone + "embeddings"
        table = self._weight("words", self._parameter(f"{prefix}.word_embeddings.weight"))
        self.operations.append(Words("embedded", table, config.trigram_input))
        if config.trigram_input or config.embedding_size != config.hidden_size:
            affine = self._affine(f"{prefix}.embedding_transformation")
        else:
            affine = _Affine(np.eye(config.hidden_size), np.zeros(config.hidden_size))  # rare: one sum, no product
        positions = self._parameter(f"{prefix}.position_embeddings.weight")
        token_types = self._parameter(f"{prefix}.token_type_embeddings.weight")
        gamma, beta = (
            self._norm(prefix) if self.no_norm else (np.ones(config.hidden_size), np.zeros(config.hidden_size))
        )
        positions, token_types, affine = positions * gamma, token_types * gamma, affine.times(gamma)
        if not self.no_norm:
            positions = positions + affine.bias  # each token has one position: a sum less
        self.operations.append(
            Positions(
                "positions", self._weight("positions.table", positions), self._weight("token_types.table", token_types)
            )
        )
        self._emit("embeddings", "embedded", affine.weight, residual="positions")
        if not self.no_norm:
            return self._layer_norm("embeddings", "embeddings", prefix, 1e-5)
        return _Stream("embeddings", np.ones(config.hidden_size), affine.bias + beta)

    def _layer(self, index: int, stream: _Stream, first_only: bool) -> _Stream:
        config, name, prefix = self.config, f"layer{index}", f"{self.backbone}encoder.layer.{index}"
        epsilon = config.layer_norm_eps
        hidden, value_bias, residual, residual_has_gamma = self._attention(name, prefix, stream, first_only)
        output = self._affine(f"{prefix}.attention.output.dense")
        output = output.plus(value_bias @ output.weight)
        context = _Stream.plain(hidden, len(output.weight))
        attention_name = f"{name}.attention.output"
        if residual_has_gamma:
            gamma, beta = self._norm(f"{prefix}.attention.output")
            self._emit(attention_name, hidden, output.weight * gamma, residual=residual.value)
            hidden_stream = _Stream(attention_name, np.ones_like(gamma), gamma * output.bias + residual.offset + beta)
        else:
            hidden_stream = self._add_and_norm(
                attention_name, context, output, residual, f"{prefix}.attention.output", epsilon
            )
        for number in range(config.num_feedforward_networks):
            last = number == config.num_feedforward_networks - 1
            ffn_prefix = prefix if last else f"{prefix}.ffn.{number}"
            ffn = f"{name}.ffn{number}"
            self._linear(
                f"{ffn}.intermediate",
                hidden_stream,
                self._affine(f"{ffn_prefix}.intermediate.dense"),
                activation=config.hidden_act,
            )
            hidden_stream = self._add_and_norm(
                f"{ffn}.output",
                _Stream.plain(f"{ffn}.intermediate", config.intermediate_size),
                self._affine(f"{ffn_prefix}.output.dense"),
                hidden_stream,
                f"{ffn_prefix}.output",
                1e-5 if last else epsilon,  # transformers builds the last one without passing its epsilon
            )
        if not config.use_bottleneck:
            return hidden_stream
        return self._add_and_norm(
            f"{name}.output",
            hidden_stream,
            self._affine(f"{prefix}.output.bottleneck.dense"),
            self._first_token(stream) if first_only else stream,
            f"{prefix}.output.bottleneck",
            epsilon,
        )

    def _attention(
        self, name: str, prefix: str, stream: _Stream, first_only: bool
    ) -> tuple[str, np.ndarray, _Stream, bool]:
        """Write the attention up to the context.

        Returns:
            The context's name, the value's bias (not yet added), the residual of the attention's output, and whether
            the residual already carries the gamma of the norm after it.
        """
        config = self.config
        query, key, value = (self._affine(f"{prefix}.attention.self.{part}") for part in ("query", "key", "value"))
        query = query.times((config.true_hidden_size // config.num_attention_heads) ** -0.5)
        names = {part: f"{name}.{part}" for part in ("residual", "query", "key", "value", "shared")}
        source = stream  # what query, key and value read
        parts: dict[str, tuple[_Affine, bool]] = {}  # what is computed from the stream before query, key and value
        residual, has_gamma = stream, False
        shared = None
        if config.use_bottleneck:
            gamma = None
            residual_affine = self._bottleneck(f"{prefix}.bottleneck.input")
            if self.no_norm and not config.use_bottleneck_attention:
                gamma, _ = self._norm(f"{prefix}.attention.output")
                residual_affine, has_gamma = residual_affine.times(gamma), True
            parts[names["residual"]] = (residual_affine, not self.no_norm)
            if config.key_query_shared_bottleneck and not config.use_bottleneck_attention:
                shared = self._bottleneck(f"{prefix}.bottleneck.attention")
                parts[names["shared"]] = (shared, not self.no_norm)

        reads_residual = config.use_bottleneck and config.use_bottleneck_attention
        late = {names["query"]: (query, True), names["key"]: (key, False)}
        values = {names["value"]: (value, False)}
        if not (reads_residual or shared):
            parts, late = {**parts, **late}, {}
        if not reads_residual:
            parts, values = {**parts, **values}, {}

        biases = self._read(stream, parts, names, first_only and not late and not values)
        width = config.true_hidden_size
        if names["residual"] in parts:
            residual = self._bottleneck_stream(names["residual"], biases, f"{prefix}.bottleneck.input", width)
        if shared:
            source = self._bottleneck_stream(names["shared"], biases, f"{prefix}.bottleneck.attention", width)
        elif reads_residual:
            source = residual
        if late or values:
            biases |= self._read(source, {**late, **values}, names, first_only)
            if first_only and config.use_bottleneck:
                residual = self._first_token(residual)
        if first_only and not config.use_bottleneck:
            residual = self._first_token(stream)
        context = f"{name}.context"
        self.operations.append(
            Attention(context, names["query"], names["key"], names["value"], config.num_attention_heads)
        )
        return context, biases[names["value"]], residual, has_gamma

    def _read(
        self,
        stream: _Stream,
        parts: dict[str, tuple[_Affine, bool]],
        names: dict[str, str],
        first_only: bool,
    ) -> dict[str, np.ndarray]:
        """The products of ``parts``; with ``first_only`` of [CLS] alone where keys and values are not concerned."""
        if not parts:
            return {}
        if not first_only:
            return self._products(stream, parts)
        everywhere = {part: parts[part] for part in parts if part in (names["key"], names["value"])}
        at_first = {part: parts[part] for part in parts if part not in everywhere}
        biases = self._products(stream, everywhere)
        return biases | self._products(self._first_token(stream), at_first)

    def _bottleneck(self, prefix: str) -> _Affine:
        """A bottleneck's product, with its norm where that is a NoNorm."""
        affine = self._affine(f"{prefix}.dense")
        if not self.no_norm:
            return affine
        gamma, beta = self._norm(prefix)
        return affine.times(gamma).plus(beta)

    def _bottleneck_stream(self, name: str, biases: dict[str, np.ndarray], prefix: str, width: int) -> _Stream:
        if not self.no_norm:
            return self._layer_norm(name, name, prefix, self.config.layer_norm_eps)
        return _Stream(name, np.ones(width), biases[name])

    def _first_token(self, stream: _Stream) -> _Stream:
        name = f"{stream.value}.first"
        if name not in self.first_tokens:
            self.first_tokens.add(name)
            self.operations.append(FirstToken(name, stream.value))
        return _Stream(name, stream.scale, stream.offset)

    # -- heads

    def _head(self, head: str, stream: _Stream) -> list[Output]:
        config = self.config
        if head in HEADS_ON_FIRST_TOKEN:
            dense = "cls.seq_relationship" if head == "next-sentence" else "classifier"
            return [self._logits("logits", self._pool(stream), dense, per_token=False)]
        if head == "question-answering":
            affine = self._affine("qa_outputs")
            self._linear("qa_outputs", stream, affine)
            return [
                Output(name, "qa_outputs", i, i + 1, per_token=True, squeeze=True)
                for i, name in enumerate(("start_logits", "end_logits"))
            ]
        if head == "token-classification":
            return [self._logits("logits", stream, "classifier", per_token=True)]
        if head == "masked-lm":
            return [self._predictions("logits", stream)]
        first = self._first_token(stream)
        if head == "pretraining":
            return [
                self._predictions("prediction_logits", stream),
                self._logits("seq_relationship_logits", self._pool(first), "cls.seq_relationship", per_token=False),
            ]
        if head != "model":
            raise InputError(f"unknown head {head!r}")
        return [
            Output("last_hidden_state", self._materialise(stream), 0, config.hidden_size, per_token=True),
            Output("pooler_output", self._materialise(self._pool(first)), 0, config.hidden_size, per_token=False),
        ]

    def _pool(self, first_token: _Stream) -> _Stream:
        if not self.config.classifier_activation:
            return first_token
        affine = self._affine(f"{self.backbone}pooler.dense")
        self._linear("pooled", first_token, affine, activation="tanh")
        return _Stream.plain("pooled", self.config.hidden_size)

    def _logits(self, output: str, stream: _Stream, dense: str, per_token: bool) -> Output:
        affine = self._affine(dense)
        self._linear(dense, stream, affine)
        return Output(output, dense, 0, len(affine.bias), per_token)

    def _predictions(self, output: str, stream: _Stream) -> Output:
        config, prefix = self.config, "cls.predictions"
        self._linear("transform", stream, self._affine(f"{prefix}.transform.dense"), activation=config.hidden_act)
        hidden = self._layer_norm("transform", "transform", f"{prefix}.transform", config.layer_norm_eps)
        dense = self._weight("vocabulary.dense", self._parameter(f"{prefix}.dense.weight"))
        bias = self._weight("vocabulary.bias", self._parameter(f"{prefix}.bias"))
        self.operations.append(Vocabulary("vocabulary", hidden.value, "words", dense, bias))
        return Output(output, "vocabulary", 0, config.vocab_size, per_token=True)

    def _materialise(self, stream: _Stream) -> str:
        if (stream.scale == 1).all() and not stream.offset.any():
            return stream.value
        name = f"{stream.value}.plain"
        factor, offset = self._weight(f"{name}.factor", stream.scale), self._weight(f"{name}.offset", stream.offset)
        self.operations.append(Scale(name, stream.value, factor, offset))
        return name
