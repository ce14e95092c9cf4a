"""A program as a Paddle layer: the judge of a fold in float64, the source of calibration, and, saved, Paddle Inference.

B batch   C choices   S tokens   A heads   d head size   E embedding_size
"""

from collections.abc import Callable, Iterable, Mapping

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
    Positions,
    Program,
    Scale,
    Vocabulary,
    Words,
)
from mobilebert.model.modeling import ACTIVATION_FUNCTIONS


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
        """Int64 inputs [B, S] ([B, C, S] for multiple choice) -> the program's outputs, in order.

        A program's matrices [n, width] are [B, S, width] here ([B, 1, width] of [CLS] alone), so that no shape has to
        be computed: Paddle Inference spends about 10 us on every operation, however small.
        """
        weight = self._weight
        choices = paddle.shape(input_ids)[:2] if self.program.choices else None
        if self.program.choices:
            input_ids, attention_mask, token_type_ids = (
                tensor.flatten(0, 1) for tensor in (input_ids, attention_mask, token_type_ids)
            )
        lowest = float(np.finfo(np.float32).min)
        bias = ((1 - attention_mask.astype(self.float_type)) * lowest).unsqueeze([1, 2])  # [B, 1, 1, S]
        values: dict[str, Tensor] = {}
        for op in self.program.operations:
            if isinstance(op, Words):
                rows = F.embedding(input_ids, weight(op.table))  # [B, S, E]
                if op.trigram:
                    # Not F.pad: under oneDNN, Paddle 3.3 pads the wrong axis of an NLC tensor.
                    nothing = paddle.zeros_like(rows[:, :1])
                    padded = paddle.concat([nothing, rows, nothing], axis=1)
                    rows = paddle.concat([padded[:, 2:], rows, padded[:, :-2]], axis=2)
                values[op.output] = rows
            elif isinstance(op, Positions):
                position_ids = paddle.arange(paddle.shape(input_ids)[1]).unsqueeze(0)
                rows = F.embedding(token_type_ids, weight(op.token_types)) + F.embedding(
                    position_ids, weight(op.positions)
                )
                values[op.output] = rows
            elif isinstance(op, Linear):
                bias_row = None if op.bias is None else weight(op.bias)
                residual = None if op.residual is None else values[op.residual]
                values[op.output] = _linear(values[op.input], weight(op.weight), bias_row, residual, op.activation)
            elif isinstance(op, Scale):
                result = values[op.input] * weight(op.factor)
                values[op.output] = result if op.offset is None else result + weight(op.offset)
            elif isinstance(op, LayerNorm):
                hidden = values[op.input]
                values[op.output] = F.layer_norm(
                    hidden, hidden.shape[-1:], weight(op.weight), weight(op.bias), op.epsilon
                )
            elif isinstance(op, Attention):
                heads = (
                    values[name].reshape([0, 0, op.num_heads, values[name].shape[-1] // op.num_heads])
                    for name in (op.query, op.key, op.value)
                )  # [B, S, A, d]
                query, key, value = (tensor.transpose([0, 2, 1, 3]) for tensor in heads)  # [B, A, S, d]
                probabilities = F.softmax(paddle.matmul(query, key, transpose_y=True) + bias, axis=-1)
                context = paddle.matmul(probabilities, value).transpose([0, 2, 1, 3])
                values[op.output] = context.reshape([0, 0, values[op.value].shape[-1]])
            elif isinstance(op, FirstToken):
                values[op.output] = values[op.input][:, :1]
            elif isinstance(op, Vocabulary):
                decoder = paddle.concat([weight(op.words), weight(op.dense)], axis=1)
                values[op.output] = paddle.matmul(values[op.input], decoder, transpose_y=True) + weight(op.bias)
            if self.observe is not None:
                self.observe(op.output, values[op.output].flatten(0, 1))
        results = []
        for output in self.program.outputs:
            result = values[output.value][:, :, output.start : output.stop]
            if not output.per_token:
                result = result.squeeze(1)
            if output.squeeze:
                result = result.squeeze(-1)
            results.append(result.reshape(choices) if self.program.choices else result)
        return results


def _linear(
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
