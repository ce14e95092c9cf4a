"""CPU fast path of the encoder layer: the function of ``modeling.MobileBertLayer`` in one autograd node.

modeling.py stays the reference, and what ``supports`` does not claim runs there. The same mathematics is arranged for
what Paddle does well on a CPU: large products, and element-wise operations between tensors of *one shape*. Slow
there, hence avoided: broadcasting (an outer product spreads a vector over the rows first), sums over rows (a product
with ones instead), ``softmax`` and ``dropout`` (NumPy on the same memory). Products that read one tensor are joined.
docs/performance.md has the measurements. Where a C compiler is at hand, float32 takes native.py's form of the same.

    N tokens of the batch, B * S   H hidden_size   D true_hidden_size   A attention heads   d = D / A

Each part has ``forward``, which keeps what its ``backward`` needs, and ``backward``, which takes the gradient of the
output and returns that of its inputs and of its parameters. Only first derivatives exist.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor, matmul, nn
from paddle.autograd import PyLayer

from mobilebert.accel import native
from mobilebert.model.precision import Linear

Pair = tuple[Tensor, Tensor]  # weight and bias of a linear layer or NoNorm, or their gradients

_enabled = os.environ.get("MOBILEBERT_FUSED", "1") != "0"

# Sums of exp(score) outside these bounds are computed again with the row's maximum taken off first.
_SAFE_SUM = 1e-12, 1e12


def set_enabled(enabled: bool) -> None:
    """Turn the fast path on or off for this process; ``MOBILEBERT_FUSED=0`` in the environment starts with off."""
    global _enabled
    _enabled = enabled


@contextmanager
def disabled() -> Iterator[None]:
    """Run the reference within a ``with`` block."""
    before = _enabled
    set_enabled(False)
    try:
        yield
    finally:
        set_enabled(before)


def supports(layer: nn.Layer, hidden: Tensor) -> bool:
    """Whether ``encoder_layer`` computes this layer on this input: on a CPU, NoNorm, ReLU, with a bottleneck.

    Args:
        layer: a ``MobileBertLayer``.
        hidden: its input.
    """
    if not _runs_here(hidden) or layer.bottleneck is None or layer.intermediate.activation is not F.relu:
        return False
    return _plain(_parts(layer), layer.output.LayerNorm) and not _hooked(layer.sublayers())


def supports_residual_norm(dense: nn.Layer, norm: nn.Layer, inputs: Tensor) -> bool:
    """Whether ``residual_norm`` computes these two layers on this input: on a CPU, NoNorm."""
    return _runs_here(inputs) and _plain([dense], norm) and not _hooked([dense, norm])


def residual_norm(dense: nn.Layer, norm: nn.Layer, inputs: Tensor, residual: Tensor) -> Tensor:
    """``norm(dense(inputs) + residual)``.

    Args:
        dense, norm: layers that ``supports_residual_norm`` accepts, K wide to H wide.
        inputs: [..., K].
        residual: [..., H].

    Returns:
        [..., H].
    """
    return _ResidualNormNode.apply(inputs, residual, dense.weight, dense.bias, norm.weight, norm.bias)


def encoder_layer(layer: nn.Layer, hidden: Tensor, attention_bias: Tensor | None) -> Tensor:
    """``MobileBertLayer.forward`` without the attention probabilities.

    Dropout draws its mask from NumPy, seeded by one number from Paddle's generator: whoever restores Paddle's random
    state restores the masks.

    Args:
        layer: a layer that ``supports`` accepts.
        hidden: [B, S, H].
        attention_bias: added to the scores, as ``prepare_bias`` returns it, or none.

    Returns:
        [B, S, H].
    """
    parameters = [p for part in _parts(layer) for p in (part.weight, part.bias)]
    if paddle.is_grad_enabled():
        return _Node.apply(layer, hidden, attention_bias, *parameters)
    return _computation(layer, hidden).forward(hidden, attention_bias, parameters)


def prepare_bias(attention_bias: Tensor | None, layer: nn.Layer, hidden: Tensor) -> Tensor | None:
    """A bias that broadcasts over [B, A, S, S] as ``encoder_layer`` wants it, made once for all layers."""
    if attention_bias is None:
        return None
    batch, length, _ = hidden.shape
    if _use_native(layer, hidden):
        shape = [*attention_bias.shape[:-1], length]
    else:
        shape = [batch, layer.attention.self.num_heads, length, length]
    return attention_bias.expand(shape).contiguous()


def dropout_mask(shape: Sequence[int], probability: float, dtype: paddle.dtype) -> Tensor:
    """1 where kept, 0 (with ``probability``, to 1 / 65536) where dropped; kept values are *not* scaled up."""
    kept = dropout_words(shape) >= dropout_threshold(probability)
    return paddle.from_dlpack(kept.astype(_numpy_type(dtype)))


def dropout_words(shape: Sequence[int]) -> np.ndarray:
    """Random uint16; what is below ``dropout_threshold`` is dropped."""
    seed = paddle.randint(0, 2**31 - 1, [1], dtype="int64").item()
    size = int(np.prod(shape))
    words = np.random.Generator(np.random.SFC64(seed)).integers(0, 2**64, -(-size // 4), dtype=np.uint64)
    return words.view(np.uint16)[:size].reshape(shape)


def dropout_threshold(probability: float) -> int:
    """``probability`` of 2^16."""
    return round(probability * 65536)


def _numpy_type(dtype: paddle.dtype) -> str:
    return "float64" if dtype == paddle.float64 else "float32"


def _runs_here(hidden: Tensor) -> bool:
    if not (_enabled and paddle.in_dynamic_mode() and hidden.place.is_cpu_place()):
        return False
    if paddle.is_autocast_enabled():  # its products are not precision.py's
        return False
    return hidden.size > 0 and hidden.dtype in (paddle.float32, paddle.float64)


def _plain(parts: Iterable[nn.Layer], norm: nn.Layer) -> bool:
    """Whether all are the model's own products and NoNorm; not one replaced by a quantised or low-rank layer."""
    own = (Linear, type(norm))
    return not isinstance(norm, nn.LayerNorm) and all(type(part) in own for part in parts)


def _hooked(parts: Iterable[nn.Layer]) -> bool:
    """Whether somebody wants to see the parts themselves run."""
    return any(part._forward_pre_hooks or part._forward_post_hooks for part in parts)


def _parts(layer: nn.Layer) -> list[nn.Layer]:
    """All that hold parameters in use, in the order in which ``_EncoderLayer`` reads them."""
    bottleneck, attention, output = layer.bottleneck, layer.attention, layer.output
    entries = [bottleneck.input]
    if bottleneck.key_query_shared_bottleneck and not bottleneck.use_bottleneck_attention:
        entries.append(bottleneck.attention)
    networks = [(ffn.intermediate.dense, ffn.output) for ffn in layer.ffn]
    networks.append((layer.intermediate.dense, output))
    return [
        *(part for entry in entries for part in (entry.dense, entry.LayerNorm)),
        *(attention.self.query, attention.self.key, attention.self.value),
        *(attention.output.dense, attention.output.LayerNorm),
        *(part for widen, narrow in networks for part in (widen, narrow.dense, narrow.LayerNorm)),
        *(output.bottleneck.dense, output.bottleneck.LayerNorm),
    ]


def _use_native(layer: nn.Layer, hidden: Tensor) -> bool:
    if hidden.dtype != paddle.float32 or len(layer.ffn) + 1 > native.MAX_NETWORKS:
        return False
    return native.library() is not None


def _computation(layer: nn.Layer, hidden: Tensor) -> "_EncoderLayer | _NativeLayer":
    return (_NativeLayer if _use_native(layer, hidden) else _EncoderLayer)(layer)


class _Node(PyLayer):
    """``_EncoderLayer`` or ``_NativeLayer`` as Paddle's autograd sees it."""

    @staticmethod
    def forward(ctx, layer: nn.Layer, hidden: Tensor, attention_bias: Tensor | None, *parameters: Tensor) -> Tensor:
        ctx.run = _computation(layer, hidden)
        ctx.inputs = [None if t is None else not t.stop_gradient for t in (hidden, attention_bias, *parameters)]
        return ctx.run.forward(hidden, attention_bias, parameters)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        hidden_gradient, parameter_gradients = ctx.run.backward(gradient)
        gradients = [hidden_gradient, None, *parameter_gradients]
        wanted = [
            (g if needed else None) for g, needed in zip(gradients, ctx.inputs, strict=True) if needed is not None
        ]
        return tuple(wanted)


class _ResidualNormNode(PyLayer):
    """``_ResidualNorm`` as Paddle's autograd sees it."""

    @staticmethod
    def forward(ctx, inputs: Tensor, residual: Tensor, *parameters: Tensor) -> Tensor:
        weight, bias, scale, shift = parameters
        ctx.run, ctx.shapes = _ResidualNorm(), (inputs.shape, residual.shape)
        ctx.wanted = [not tensor.stop_gradient for tensor in (inputs, residual, *parameters)]
        rows = [tensor.reshape([-1, tensor.shape[-1]]) for tensor in (inputs, residual)]
        return ctx.run.forward(rows[0], (weight, bias), rows[1], (scale, shift)).reshape(residual.shape)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        d_inputs, d_residual, pairs = ctx.run.backward(gradient.reshape([-1, gradient.shape[-1]]))
        rows = (d.reshape(shape) for d, shape in zip((d_inputs, d_residual), ctx.shapes, strict=True))
        gradients = [*rows, *(g for pair in pairs for g in pair)]
        return tuple(g if wanted else None for g, wanted in zip(gradients, ctx.wanted, strict=True))


# ---- small operations ----


@lru_cache(maxsize=16)
def _ones(count: int, dtype: paddle.dtype) -> Tensor:
    return paddle.ones([count], dtype)


def _array(tensor: Tensor) -> np.ndarray:
    """The same memory for NumPy."""
    return np.from_dlpack(tensor.detach())


def _times_row(matrix: Tensor, vector: Tensor) -> Tensor:
    """matrix * vector: [n, k], [k] -> a new [n, k]."""
    return paddle.from_dlpack(_array(matrix) * _array(vector))


def _times_row_(matrix: Tensor, vector: Tensor) -> Tensor:
    """matrix *= vector, in place."""
    view = _array(matrix)
    np.multiply(view, _array(vector), out=view)
    return matrix


def _plus_row_(matrix: Tensor, vector: Tensor) -> Tensor:
    """matrix += vector, in place: [n, k], [k]."""
    view = _array(matrix)
    np.add(view, _array(vector), out=view)
    return matrix


def _column_sums(matrix: Tensor) -> Tensor:
    """[n, k] -> [k]."""
    return matmul(_ones(matrix.shape[0], matrix.dtype), matrix)


def _product_sums(left: Tensor, right: Tensor) -> Tensor:
    """Column sums of left * right: [n, k], [n, k] -> [k]."""
    return _column_sums(left * right)


def _linear(inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return _plus_row_(matmul(inputs, weight), bias)


def _weight_gradient(inputs: Tensor, gradient: Tensor) -> Tensor:
    return matmul(inputs, gradient, transpose_x=True)


# ---- parts of the layer; tensors are [N, features] ----


class _Linear:
    """y = x W + b, and then, where there is a NoNorm, y * g + c.

    The norm is folded into the weights: W' = W * g, b' = b * g + c. From the gradients of W' and b':
    dW = dW' * g,  db = db' * g,  dg = colsum(dW' * W) + db' * b,  dc = db'.
    """

    def forward(self, inputs: Tensor, dense: Pair, norm: Pair | None = None) -> Tensor:
        self.inputs, self.dense, self.norm = inputs, dense, norm
        weight, bias = dense
        if norm is not None:
            scale, shift = norm
            weight, bias = _times_row(weight, scale), bias * scale + shift
        self.folded_weight = weight
        return _linear(inputs, weight, bias)

    def backward(self, gradient: Tensor) -> tuple[Tensor, list[Pair]]:
        """-> gradients of the input and of the parameters."""
        d_inputs = matmul(gradient, self.folded_weight, transpose_y=True)
        d_weight, d_bias = _weight_gradient(self.inputs, gradient), _column_sums(gradient)
        if self.norm is None:
            return d_inputs, [(d_weight, d_bias)]
        (weight, bias), (scale, _) = self.dense, self.norm
        d_scale = _product_sums(d_weight, weight) + d_bias * bias
        return d_inputs, [(_times_row_(d_weight, scale), d_bias * scale), (d_scale, d_bias)]


class _ResidualNorm:
    """y = (m * (x W + b) + r) * g + c, where m is the dropout mask, scaled up, or 1.

    Backward:  dc = colsum(dy),  dr = dy * g,  dx = (m * dr) W^T. With u = m * dy (the product's gradient but for g):
    dW = (x^T u) * g  and  db = colsum(u) * g;  and since  colsum(u * (x W)) = colsum((x^T u) * W),
    dg = colsum(dy * r) + colsum((x^T u) * W) + colsum(u) * b.
    """

    def forward(self, inputs: Tensor, dense: Pair, residual: Tensor, norm: Pair, dropout: float = 0.0) -> Tensor:
        self.inputs, self.dense, self.residual, self.norm, self.mask = inputs, dense, residual, norm, None
        (weight, bias), (scale, shift) = dense, norm
        output = matmul(inputs, weight)
        if dropout:
            self.mask = dropout_mask(output.shape, dropout, output.dtype).scale_(1 / (1 - dropout))
            _plus_row_(output, bias).multiply_(self.mask)
        else:
            shift = bias * scale + shift
        return _plus_row_(_times_row_(output.add_(residual), scale), shift)

    def backward(self, gradient: Tensor) -> tuple[Tensor, Tensor, list[Pair]]:
        """-> gradients of input, residual, parameters."""
        (weight, bias), (scale, _) = self.dense, self.norm
        d_residual = _times_row(gradient, scale)
        d_scale = _product_sums(gradient, self.residual)
        d_shift = product_sums = _column_sums(gradient)
        d_product, unscaled = d_residual, gradient
        if self.mask is not None:
            d_product, unscaled = d_residual * self.mask, gradient * self.mask
            product_sums = _column_sums(unscaled)
        d_weight = _weight_gradient(self.inputs, unscaled)
        d_scale.add_(_product_sums(d_weight, weight)).add_(product_sums * bias)
        d_inputs = matmul(d_product, weight, transpose_y=True)
        return d_inputs, d_residual, [(_times_row_(d_weight, scale), product_sums * scale), (d_scale, d_shift)]


class _FeedForward:
    """y = (relu(x W1 + b1) W2 + b2 + x) * g + c."""

    def forward(self, inputs: Tensor, widen: Pair, narrow: Pair, norm: Pair) -> Tensor:
        self.inputs, self.widen = inputs, widen
        self.active = F.relu_(_linear(inputs, *widen))
        self.narrow = _ResidualNorm()
        return self.narrow.forward(self.active, narrow, inputs, norm)

    def backward(self, gradient: Tensor) -> tuple[Tensor, list[Pair]]:
        """-> gradients of input and parameters."""
        d_active, d_inputs, d_narrow = self.narrow.backward(gradient)
        view = _array(d_active)
        np.multiply(view, _array(self.active) > 0, out=view)
        d_widen = _weight_gradient(self.inputs, d_active), _column_sums(d_active)
        d_inputs = matmul(d_active, self.widen[0], transpose_y=True).add_(d_inputs)
        return d_inputs, [d_widen, *d_narrow]


class _Attention:
    """softmax(q k^T * scaling + bias) with dropout, times v; heads are cut out and put back together here.

    Neither the row's maximum nor its sum is applied to the [S, S] matrices. With e = exp(scores), row sums l, kept mask
    m of probability 1 - p and f = e * m, the output is o = (f v) / (l (1 - p)). Backward, with do' = do / (l (1 - p)):

        dv = f^T do'      dscores = f * (do' v^T) - e * delta,   delta = (1 - p) rowsum(do' * o)

    and the second term, constant along a row but for e, is taken to the small side of its products:

        dq = (f * (do' v^T)) k - delta * (e k)      dk = (f * (do' v^T))^T q - e^T (delta * q)
    """

    def __init__(self, num_heads: int, scaling: float, dropout: float):
        self.num_heads, self.scaling, self.dropout = num_heads, scaling, dropout

    def forward(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, shape: list[int]) -> Tensor:
        """[N, D] three times, [B, A, S, S], [B, S] -> [N, D]."""
        self.shape = shape
        self.query = self._cut(query).scale_(self.scaling)  # [B, A, S, d]
        self.key, self.value = self._cut(key), self._cut(value)
        sums = self._exponentials(bias, shifted=False)
        low, high = _SAFE_SUM
        if not (low < _array(sums).min() and _array(sums).max() < high):
            sums = self._exponentials(bias, shifted=True)
        self.kept = self.exponentials
        if self.dropout:
            self.kept = dropout_mask(self.kept.shape, self.dropout, self.kept.dtype).multiply_(self.exponentials)
        width = value.shape[1] // self.num_heads
        inverse = paddle.full([1, width], 1 / (1 - self.dropout), sums.dtype)
        self.inverse_sums = matmul(1 / sums, inverse)  # [B, A, S, 1] -> [B, A, S, d]
        self.output = matmul(self.kept, self.value).multiply_(self.inverse_sums)
        return self._join(self.output)

    def backward(self, gradient: Tensor) -> list[Tensor]:
        """-> gradients of query, key, value [N, D]."""
        gradient = self._cut(gradient).multiply_(self.inverse_sums)
        width = gradient.shape[-1]
        ones = paddle.full([width, width], 1 - self.dropout, gradient.dtype)
        delta = matmul(gradient * self.output, ones)  # the row sum, in all d columns
        d_value = matmul(self.kept, gradient, transpose_x=True)
        d_scores = matmul(gradient, self.value, transpose_y=True).multiply_(self.kept)
        d_query = matmul(d_scores, self.key).subtract_(matmul(self.exponentials, self.key).multiply_(delta))
        d_key = matmul(d_scores, self.query, transpose_x=True)
        d_key.subtract_(matmul(self.exponentials, delta.multiply_(self.query), transpose_x=True))
        return [self._join(d_query.scale_(self.scaling)), self._join(d_key), self._join(d_value)]

    def _exponentials(self, bias: Tensor | None, shifted: bool) -> Tensor:
        """Set ``self.exponentials`` [B, A, S, S]; -> their row sums [B, A, S, 1]."""
        scores = matmul(self.query, self.key, transpose_y=True)
        if bias is not None:
            scores.add_(bias)
        if shifted:
            scores = scores - scores.max(axis=-1, keepdim=True)
        view = _array(scores)
        with np.errstate(over="ignore"):
            np.exp(view, out=view)
        self.exponentials = scores
        return matmul(scores, _ones(scores.shape[-1], scores.dtype)).unsqueeze(-1)

    def _cut(self, hidden: Tensor) -> Tensor:
        return hidden.reshape([*self.shape, self.num_heads, -1]).transpose([0, 2, 1, 3])  # [N, D] -> [B, A, S, d]

    def _join(self, heads: Tensor) -> Tensor:
        return heads.transpose([0, 2, 1, 3]).reshape([self.shape[0] * self.shape[1], -1])  # [B, A, S, d] -> [N, D]


class _EncoderLayer:
    """The whole layer in Python. Query, key, value read the stream x, the bottleneck r, or the shared bottleneck s."""

    def __init__(self, layer: nn.Layer):
        bottleneck, attention = layer.bottleneck, layer.attention.self
        self.reads_bottleneck = bottleneck.use_bottleneck_attention
        self.reads_shared = bottleneck.key_query_shared_bottleneck and not self.reads_bottleneck
        self.num_heads, self.scaling = attention.num_heads, attention.scaling
        self.num_networks = len(layer.ffn) + 1
        self.attention_dropout = attention.dropout.p if layer.training else 0.0
        self.dropout = layer.output.bottleneck.dropout.p if layer.training else 0.0

    def forward(self, hidden: Tensor, attention_bias: Tensor | None, parameters: Sequence[Tensor]) -> Tensor:
        """``parameters``: weight and bias of each of ``_parts``."""
        self.shape = hidden.shape
        stream = hidden.reshape([-1, self.shape[-1]])
        pairs = iter(zip(parameters[::2], parameters[1::2], strict=True))
        self.entry, self.shared_entry = _Linear(), _Linear()
        self.projections = [_Linear(), _Linear(), _Linear()]
        self.attention = _Attention(self.num_heads, self.scaling, self.attention_dropout)
        self.attention_output, self.exit = _ResidualNorm(), _ResidualNorm()
        self.networks = [_FeedForward() for _ in range(self.num_networks)]

        narrow = self.entry.forward(stream, next(pairs), next(pairs))
        sources = [narrow if self.reads_bottleneck else stream] * 3
        if self.reads_shared:
            sources[:2] = [self.shared_entry.forward(stream, next(pairs), next(pairs))] * 2
        projected = [part.forward(x, next(pairs)) for part, x in zip(self.projections, sources, strict=True)]
        context = self.attention.forward(*projected, attention_bias, self.shape[:2])
        narrow = self.attention_output.forward(context, next(pairs), narrow, next(pairs))
        for network in self.networks:
            narrow = network.forward(narrow, next(pairs), next(pairs), next(pairs))
        return self.exit.forward(narrow, next(pairs), stream, next(pairs), self.dropout).reshape(self.shape)

    def backward(self, gradient: Tensor) -> tuple[Tensor, list[Tensor]]:
        """-> gradients of ``hidden`` and of ``parameters``."""
        d_narrow, d_stream, pairs = self.exit.backward(gradient.reshape([-1, self.shape[-1]]))
        for network in reversed(self.networks):
            d_narrow, front = network.backward(d_narrow)
            pairs = front + pairs
        d_context, d_narrow, front = self.attention_output.backward(d_narrow)
        pairs = front + pairs
        d_projected = self.attention.backward(d_context)
        (d_query, query), (d_key, key), (d_value, value) = (
            part.backward(d) for part, d in zip(self.projections, d_projected, strict=True)
        )
        pairs = query + key + value + pairs
        (d_narrow if self.reads_bottleneck else d_stream).add_(d_value)
        if self.reads_shared:
            d_shared, front = self.shared_entry.backward(d_query.add_(d_key))
            d_stream.add_(d_shared)
            pairs = front + pairs
        else:
            (d_narrow if self.reads_bottleneck else d_stream).add_(d_query).add_(d_key)
        d_entry, front = self.entry.backward(d_narrow)
        return d_stream.add_(d_entry), [gradient for pair in front + pairs for gradient in pair]


class _NativeLayer:
    """The whole layer in C; the same function, with the same dropout."""

    def __init__(self, layer: nn.Layer):
        bottleneck, attention = layer.bottleneck, layer.attention.self
        self.attention_dropout = attention.dropout.p if layer.training else 0.0
        self.dropout = layer.output.bottleneck.dropout.p if layer.training else 0.0
        reads_bottleneck = bottleneck.use_bottleneck_attention
        self.description = native.Layer(
            hidden=layer.output.bottleneck.dense.weight.shape[1],
            width=bottleneck.input.dense.weight.shape[1],
            intermediate=layer.intermediate.dense.weight.shape[1],
            heads=attention.num_heads,
            networks=len(layer.ffn) + 1,
            reads_bottleneck=reads_bottleneck,
            reads_shared=bottleneck.key_query_shared_bottleneck and not reads_bottleneck,
            scaling=attention.scaling,
            attention_keep=1 - self.attention_dropout,
            hidden_keep=1 - self.dropout,
            attention_threshold=dropout_threshold(self.attention_dropout),
            hidden_threshold=dropout_threshold(self.dropout),
        )

    def forward(self, hidden: Tensor, attention_bias: Tensor | None, parameters: Sequence[Tensor]) -> Tensor:
        """As ``_EncoderLayer.forward``."""
        description, (batch, length, width) = self.description, hidden.shape
        self.hidden, self.parameters = hidden.contiguous(), [parameter.contiguous() for parameter in parameters]
        self.bias, self.words, self.hidden_words = attention_bias, None, None
        description.batch, description.length = batch, length
        if attention_bias is not None:
            description.bias = attention_bias.data_ptr()
            shape = attention_bias.shape
            strides = [int(np.prod(shape[axis + 1 :])) if shape[axis] > 1 else 0 for axis in range(3)]
            description.bias_batch, description.bias_head, description.bias_query = strides
        if self.attention_dropout:
            self.words = dropout_words([batch, description.heads, length, length])
        if self.dropout:
            self.hidden_words = dropout_words([batch, length, width])
        description.attention_words = native.address(self.words)
        description.hidden_words = native.address(self.hidden_words)
        output = paddle.empty_like(self.hidden)
        self.kept = native.forward(description, self.hidden, self.parameters, output)
        return output

    def backward(self, gradient: Tensor) -> tuple[Tensor, list[Tensor]]:
        """As ``_EncoderLayer.backward``."""
        return native.backward(self.description, self.hidden, self.parameters, self.kept, gradient.contiguous())
