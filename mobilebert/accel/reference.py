"""The encoder layer's fast path in Python: the formulas that csrc/layer_train.c repeats in C, part by part.

The same function as ``modeling.MobileBertLayer``, arranged for what Paddle does well on a CPU: large products, and
element-wise operations between tensors of *one shape*. Slow there, hence avoided: broadcasting (NumPy spreads a vector
over the rows, on the same memory), sums over rows (a product with ones instead), ``softmax`` and ``dropout`` (NumPy
again). docs/performance-notes.md has the measurements.

    N tokens of the batch, B * S   H hidden_size   D true_hidden_size   A attention heads   d = D / A

Each part has ``forward``, which saves what its ``backward`` needs, and ``backward``, which takes the gradient of the
output and returns that of its inputs and of its parameters. Only first derivatives exist.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor, matmul, nn

from mobilebert.accel import dropout

Pair = tuple[Tensor, Tensor]  # weight and bias of a linear layer or NoNorm, or their gradients

# Sums of exp(score) outside these bounds are computed again with the row's maximum taken off first.
_SAFE_SUM = 1e-12, 1e12


def parts(layer: nn.Layer) -> list[nn.Layer]:
    """The linear layers and NoNorms of a ``MobileBertLayer`` in the order in which they run; C has the same order."""
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
        *(part for up, down in networks for part in (up, down.dense, down.LayerNorm)),
        *(output.bottleneck.dense, output.bottleneck.LayerNorm),
    ]


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


class Linear:
    """y = x W + b, and then, where there is a NoNorm, y * g + c.

    The norm is folded into the weights: W' = W * g, b' = b * g + c. From the gradients of W' and b':
    dW = dW' * g,  db = db' * g,  dg = colsum(dW' * W) + db' * b,  dc = db'.
    """

    def forward(self, inputs: Tensor, dense: Pair, norm: Pair | None = None) -> Tensor:
        """[N, in] -> [N, out]."""
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


class ResidualNorm:
    """y = (m * (x W + b) + r) * g + c, where m is the dropout mask, scaled up, or 1.

    Backward:  dc = colsum(dy),  dr = dy * g,  dx = (m * dr) W^T. With u = m * dy (the product's gradient but for g):
    dW = (x^T u) * g  and  db = colsum(u) * g;  and since  colsum(u * (x W)) = colsum((x^T u) * W),
    dg = colsum(dy * r) + colsum((x^T u) * W) + colsum(u) * b.
    """

    def forward(self, inputs: Tensor, dense: Pair, residual: Tensor, norm: Pair, drop: float = 0.0) -> Tensor:
        """[N, in], residual [N, out] -> [N, out]; ``drop`` is dropout's probability."""
        self.inputs, self.dense, self.residual, self.norm, self.mask = inputs, dense, residual, norm, None
        (weight, bias), (scale, shift) = dense, norm
        output = matmul(inputs, weight)
        if drop:
            self.mask = dropout.mask(output.shape, drop, output.dtype).scale_(1 / (1 - drop))
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


class FeedForward:
    """y = (relu(x W1 + b1) W2 + b2 + x) * g + c."""

    def forward(self, inputs: Tensor, up: Pair, down: Pair, norm: Pair) -> Tensor:
        """[N, D] -> [N, D]."""
        self.inputs, self.up = inputs, up
        self.active = F.relu_(_linear(inputs, *up))
        self.down = ResidualNorm()
        return self.down.forward(self.active, down, inputs, norm)

    def backward(self, gradient: Tensor) -> tuple[Tensor, list[Pair]]:
        """-> gradients of input and parameters."""
        d_active, d_inputs, d_down = self.down.backward(gradient)
        view = _array(d_active)
        np.multiply(view, _array(self.active) > 0, out=view)
        d_up = _weight_gradient(self.inputs, d_active), _column_sums(d_active)
        d_inputs = matmul(d_active, self.up[0], transpose_y=True).add_(d_inputs)
        return d_inputs, [d_up, *d_down]


class Attention:
    """softmax(q k^T * scaling + bias) with dropout, times v; heads are cut out and put back together here.

    Neither the row's maximum nor its sum is applied to the [S, S] matrices. With e = exp(scores), row sums l, a mask m
    that is 1 with probability 1 - p, and f = e * m, the output is o = (f v) / (l (1 - p)).
    Backward, with do' = do / (l (1 - p)):

        dv = f^T do'      dscores = f * (do' v^T) - e * delta,   delta = (1 - p) rowsum(do' * o)

    and the second term, constant along a row but for e, is taken to the small side of its products:

        dq = (f * (do' v^T)) k - delta * (e k)      dk = (f * (do' v^T))^T q - e^T (delta * q)
    """

    def __init__(self, num_heads: int, scaling: float, drop: float):
        self.num_heads, self.scaling, self.drop = num_heads, scaling, drop

    def forward(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, shape: list[int]) -> Tensor:
        """[N, D] three times, [B, A, S, S], [B, S] -> [N, D]."""
        self.shape = shape
        self.query = self._cut(query).scale_(self.scaling)  # [B, A, S, d]
        self.key, self.value = self._cut(key), self._cut(value)
        sums = self._exponentials(bias, shifted=False)
        low, high = _SAFE_SUM
        if not (low < _array(sums).min() and _array(sums).max() < high):
            sums = self._exponentials(bias, shifted=True)
        self.masked = self.exponentials
        if self.drop:
            self.masked = dropout.mask(self.masked.shape, self.drop, self.masked.dtype).multiply_(self.exponentials)
        width = value.shape[1] // self.num_heads
        inverse = paddle.full([1, width], 1 / (1 - self.drop), sums.dtype)
        self.inverse_sums = matmul(1 / sums, inverse)  # [B, A, S, 1] -> [B, A, S, d]
        self.output = matmul(self.masked, self.value).multiply_(self.inverse_sums)
        return self._join(self.output)

    def backward(self, gradient: Tensor) -> list[Tensor]:
        """-> gradients of query, key, value [N, D]."""
        gradient = self._cut(gradient).multiply_(self.inverse_sums)
        width = gradient.shape[-1]
        ones = paddle.full([width, width], 1 - self.drop, gradient.dtype)
        delta = matmul(gradient * self.output, ones)  # the row sum, in all d columns
        d_value = matmul(self.masked, gradient, transpose_x=True)
        d_scores = matmul(gradient, self.value, transpose_y=True).multiply_(self.masked)
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


class EncoderLayer:
    """The whole layer. Query, key and value read the stream, its bottleneck, or a second bottleneck that they share."""

    def __init__(self, layer: nn.Layer):
        bottleneck, attention = layer.bottleneck, layer.attention.self
        self.reads_bottleneck = bottleneck.use_bottleneck_attention
        self.reads_shared = bottleneck.key_query_shared_bottleneck and not self.reads_bottleneck
        self.num_networks = len(layer.ffn) + 1
        self.drop = layer.output.bottleneck.dropout.p if layer.training else 0.0
        self.entry, self.shared_entry = Linear(), Linear()
        self.query, self.key, self.value = Linear(), Linear(), Linear()
        attention_drop = attention.dropout.p if layer.training else 0.0
        self.attention = Attention(attention.num_heads, attention.scaling, attention_drop)
        self.attention_output, self.exit = ResidualNorm(), ResidualNorm()
        self.networks = [FeedForward() for _ in range(self.num_networks)]

    def forward(self, hidden: Tensor, attention_bias: Tensor | None, parameters: Sequence[Tensor]) -> Tensor:
        """Run the layer.

        Args:
            hidden: [B, S, H].
            attention_bias: [B, A, S, S] or none.
            parameters: weight and bias of each of ``parts``.

        Returns:
            [B, S, H].
        """
        self.shape = hidden.shape
        stream = hidden.reshape([-1, self.shape[-1]])  # [N, H]
        pairs = iter(zip(parameters[::2], parameters[1::2], strict=True))
        bottleneck = self.entry.forward(stream, next(pairs), next(pairs))  # [N, D]
        value_input = query_input = bottleneck if self.reads_bottleneck else stream
        if self.reads_shared:
            query_input = self.shared_entry.forward(stream, next(pairs), next(pairs))
        query = self.query.forward(query_input, next(pairs))
        key = self.key.forward(query_input, next(pairs))
        value = self.value.forward(value_input, next(pairs))
        context = self.attention.forward(query, key, value, attention_bias, self.shape[:2])
        inner = self.attention_output.forward(context, next(pairs), bottleneck, next(pairs))
        for network in self.networks:
            inner = network.forward(inner, next(pairs), next(pairs), next(pairs))
        return self.exit.forward(inner, next(pairs), stream, next(pairs), self.drop).reshape(self.shape)

    def backward(self, gradient: Tensor) -> tuple[Tensor, list[Tensor]]:
        """[B, S, H] -> gradients of ``hidden`` and of ``parameters``."""
        d_inner, d_stream, pairs = self.exit.backward(gradient.reshape([-1, self.shape[-1]]))
        for network in reversed(self.networks):
            d_inner, front = network.backward(d_inner)
            pairs = front + pairs
        d_context, d_bottleneck, front = self.attention_output.backward(d_inner)
        pairs = front + pairs
        d_query, d_key, d_value = self.attention.backward(d_context)
        d_query, query = self.query.backward(d_query)
        d_key, key = self.key.backward(d_key)
        d_value, value = self.value.backward(d_value)
        pairs = query + key + value + pairs
        d_input = d_bottleneck if self.reads_bottleneck else d_stream
        d_input.add_(d_value)
        if self.reads_shared:
            d_shared, front = self.shared_entry.backward(d_query.add_(d_key))
            d_stream.add_(d_shared)
            pairs = front + pairs
        else:
            d_input.add_(d_query).add_(d_key)
        d_entry, front = self.entry.backward(d_bottleneck)
        return d_stream.add_(d_entry), [gradient for pair in front + pairs for gradient in pair]
