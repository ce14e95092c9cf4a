"""A program as a Paddle layer: the judge of a fold in float64, the source of calibration, and, saved, Paddle Inference.

A program's matrices [n, width] are [B, S, width] here ([B, 1, width] of [CLS] alone), so that no shape has to be
computed: Paddle Inference spends about 10 us on every operation, however small.

B batch   C choices   S tokens   A heads   d head size   E embedding_size
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from mobilebert.data.collate import INPUT_NAMES
from mobilebert.export.program import (
    Attention,
    FirstToken,
    LayerNorm,
    Linear,
    Output,
    Positions,
    Program,
    Scale,
    Vocabulary,
    Words,
)
from mobilebert.model.modeling import ACTIVATION_FUNCTIONS


@dataclass
class _Run:
    """One forward pass: its inputs, and the values made so far by name."""

    weight: Callable[[str], Tensor]
    input_ids: Tensor  # [B, S]
    token_type_ids: Tensor  # [B, S]
    bias: Tensor  # [B, 1, 1, S], added to attention scores
    values: dict[str, Tensor] = field(default_factory=dict)


class ProgramLayer(nn.Layer):
    """Runs a program, operation by operation.

    Args:
        program: what to run.
        dtype: ``"float32"`` or ``"float64"``.
        observe: called with the name and the content of every value, as it is made.
    """

    def __init__(self, program: Program, dtype: str = "float32", observe: Callable[[str, Tensor], None] | None = None):
        super().__init__()
        self.program = program
        self.float_type = dtype
        self.observe = observe
        self.keys = {}
        for number, (name, value) in enumerate(program.weights.items()):
            parameter = self.create_parameter(list(value.shape), dtype=dtype)
            parameter.set_value(value.astype(dtype))
            self.keys[name] = f"weight_{number}"
            self.add_parameter(self.keys[name], parameter)

    def _weight(self, name: str) -> Tensor:
        return getattr(self, self.keys[name])

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> list[Tensor]:
        """Int64 inputs [B, S] ([B, C, S] for multiple choice) -> the program's outputs, in order."""
        choices = paddle.shape(input_ids)[:2] if self.program.choices else None
        if self.program.choices:
            input_ids, attention_mask, token_type_ids = (
                tensor.flatten(0, 1) for tensor in (input_ids, attention_mask, token_type_ids)
            )
        lowest = float(np.finfo(np.float32).min)
        bias = ((1 - attention_mask.astype(self.float_type)) * lowest).unsqueeze([1, 2])  # [B, 1, 1, S]
        run = _Run(self._weight, input_ids, token_type_ids, bias)
        for op in self.program.operations:
            run.values[op.output] = _OPERATIONS[type(op)](op, run)
            if self.observe is not None:
                self.observe(op.output, run.values[op.output].flatten(0, 1))
        results = [_result(output, run) for output in self.program.outputs]
        return [result.reshape(choices) for result in results] if self.program.choices else results


def _words(op: Words, run: _Run) -> Tensor:
    rows = F.embedding(run.input_ids, run.weight(op.table))  # [B, S, E]
    if not op.trigram:
        return rows
    # Not F.pad: under oneDNN, Paddle 3.3 pads the wrong axis of an NLC tensor.
    nothing = paddle.zeros_like(rows[:, :1])
    padded = paddle.concat([nothing, rows, nothing], axis=1)
    return paddle.concat([padded[:, 2:], rows, padded[:, :-2]], axis=2)  # [B, S, 3E]


def _positions(op: Positions, run: _Run) -> Tensor:
    position_ids = paddle.arange(paddle.shape(run.input_ids)[1]).unsqueeze(0)
    token_types = F.embedding(run.token_type_ids, run.weight(op.token_types))
    return token_types + F.embedding(position_ids, run.weight(op.positions))


def _linear(op: Linear, run: _Run) -> Tensor:
    bias = None if op.bias is None else run.weight(op.bias)
    residual = None if op.residual is None else run.values[op.residual]
    return _product(run.values[op.input], run.weight(op.weight), bias, residual, op.activation)


def _product(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, residual: Tensor | None, activation: str | None
) -> Tensor:
    """activation(hidden @ weight + bias + residual), without what is None."""
    if bias is not None and not paddle.in_dynamic_mode():
        # One operation of Paddle Inference for three; dygraph has none like it.
        fused = "relu" if activation == "relu" and residual is None else ""
        result = paddle._C_ops.fc(hidden, weight, bias, hidden.ndim - 1, fused, False)
        if fused:
            return result
    else:
        result = paddle.matmul(hidden, weight)
        if bias is not None:
            result = result + bias
    if residual is not None:
        result = result + residual
    return result if activation is None else ACTIVATION_FUNCTIONS[activation](result)


def _scale(op: Scale, run: _Run) -> Tensor:
    result = run.values[op.input] * run.weight(op.factor)
    return result if op.offset is None else result + run.weight(op.offset)


def _layer_norm(op: LayerNorm, run: _Run) -> Tensor:
    hidden = run.values[op.input]
    return F.layer_norm(hidden, hidden.shape[-1:], run.weight(op.weight), run.weight(op.bias), op.epsilon)


def _attention(op: Attention, run: _Run) -> Tensor:
    heads = (
        run.values[name].reshape([0, 0, op.num_heads, run.values[name].shape[-1] // op.num_heads])
        for name in (op.query, op.key, op.value)
    )  # [B, S, A, d]
    query, key, value = (tensor.transpose([0, 2, 1, 3]) for tensor in heads)  # [B, A, S, d]
    probabilities = F.softmax(paddle.matmul(query, key, transpose_y=True) + run.bias, axis=-1)
    context = paddle.matmul(probabilities, value).transpose([0, 2, 1, 3])
    return context.reshape([0, 0, run.values[op.value].shape[-1]])


def _first_token(op: FirstToken, run: _Run) -> Tensor:
    return run.values[op.input][:, :1]


def _vocabulary(op: Vocabulary, run: _Run) -> Tensor:
    decoder = paddle.concat([run.weight(op.words), run.weight(op.dense)], axis=1)
    return paddle.matmul(run.values[op.input], decoder, transpose_y=True) + run.weight(op.bias)


_OPERATIONS = {
    Words: _words,
    Positions: _positions,
    Linear: _linear,
    Scale: _scale,
    LayerNorm: _layer_norm,
    Attention: _attention,
    FirstToken: _first_token,
    Vocabulary: _vocabulary,
}


def _result(output: Output, run: _Run) -> Tensor:
    result = run.values[output.value][:, :, output.start : output.stop]
    if not output.per_token:
        result = result.squeeze(1)
    return result.squeeze(-1) if output.squeeze else result


def compute(
    program: Program,
    batches: Iterable[Mapping[str, np.ndarray]],
    dtype: str = "float32",
    observe: Callable[[str, Tensor], None] | None = None,
) -> list[dict[str, np.ndarray]]:
    """A program's outputs by name, for each batch; ``dtype`` and ``observe`` as in ``ProgramLayer``."""
    layer = ProgramLayer(program, dtype, observe)
    names = [output.name for output in program.outputs]
    results = []
    with paddle.no_grad():
        for batch in batches:
            outputs = layer(*(paddle.to_tensor(batch[name]) for name in INPUT_NAMES))
            results.append({name: output.numpy() for name, output in zip(names, outputs, strict=True)})
    return results
