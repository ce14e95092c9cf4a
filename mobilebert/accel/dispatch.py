"""Whether a model runs on the CPU's fast path, and the fast path as Paddle's autograd sees it.

``modeling.fast_path`` asks ``find`` before each run of the embeddings and of the encoder. What is not claimed here runs
in modeling.py. Of what is, float32 runs in C (native.py) where a compiler is at hand, all else in NumPy and Paddle
(reference.py). Docs: docs/performance-notes.md.

    B batch   S tokens   E embedding_size   H hidden_size   A attention heads
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn
from paddle.autograd import PyLayer

from mobilebert.accel import native, reference
from mobilebert.model.modeling import MobileBertEmbeddings
from mobilebert.model.precision import Linear

_enabled = os.environ.get("MOBILEBERT_FUSED", "1") != "0"


def set_enabled(enabled: bool) -> None:
    """Turn the fast path on or off for this process; ``MOBILEBERT_FUSED=0`` in the environment starts with off."""
    global _enabled
    _enabled = enabled


@contextmanager
def disabled() -> Iterator[None]:
    """Run modeling.py within a ``with`` block."""
    before = _enabled
    set_enabled(False)
    try:
        yield
    finally:
        set_enabled(before)


def find(module: nn.Layer, inputs: Tensor, attention_bias: Tensor | None = None) -> Callable[..., Tensor] | None:
    """Look for a faster function than the module's own.

    Args:
        module: ``MobileBertEmbeddings`` or ``MobileBertEncoder``.
        inputs: what it is about to read: trigrams [B, S, 3E], or the encoder's input [B, S, H].
        attention_bias: of the encoder, broadcasts over [B, A, S, S].

    Returns:
        For the embeddings a function of the module, ``inputs``, ``position_ids`` and ``token_type_ids``; for the
        encoder one of a layer and its input. None where the module has to run itself.
    """
    if isinstance(module, MobileBertEmbeddings):
        claimed = supports_residual_norm(module.embedding_transformation, module.LayerNorm, inputs)
        return embed if claimed else None
    layers = module.layer
    if not all(supports(layer, inputs) for layer in layers):
        return None
    bias = prepare_bias(attention_bias, layers[0], inputs)  # once for all layers
    return lambda layer, hidden: encoder_layer(layer, hidden, bias)


def supports(layer: nn.Layer, hidden: Tensor) -> bool:
    """Whether ``encoder_layer`` computes this layer on this input: on a CPU, NoNorm, ReLU, with a bottleneck.

    Args:
        layer: a ``MobileBertLayer``.
        hidden: its input.
    """
    if not _runs_here(hidden) or layer.bottleneck is None or layer.intermediate.activation is not F.relu:
        return False
    return _plain(reference.parts(layer), layer.output.LayerNorm) and not _hooked(layer.sublayers())


def supports_residual_norm(dense: nn.Layer, norm: nn.Layer, inputs: Tensor) -> bool:
    """Whether ``residual_norm`` computes these two layers on this input: on a CPU, NoNorm."""
    return _runs_here(inputs) and _plain([dense], norm) and not _hooked([dense, norm])


def embed(module: nn.Layer, inputs: Tensor, position_ids: Tensor, token_type_ids: Tensor) -> Tensor:
    """The last product and norm of the embeddings.

    Args:
        module: a ``MobileBertEmbeddings``.
        inputs: [B, S, 3E].
        position_ids, token_type_ids: int, broadcast over [B, S].

    Returns:
        [B, S, H], before dropout.
    """
    shape = inputs.shape[:2]  # an embedding for each token: the gradient's sums over spread axes would be slow
    embeddings = module.position_embeddings(position_ids.expand(shape))
    embeddings = embeddings + module.token_type_embeddings(token_type_ids.expand(shape))
    return residual_norm(module.embedding_transformation, module.LayerNorm, inputs, embeddings)


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
    parameters = [p for part in reference.parts(layer) for p in (part.weight, part.bias)]
    if paddle.is_grad_enabled():
        return _LayerNode.apply(layer, hidden, attention_bias, *parameters)
    return _computation(layer, hidden).forward(hidden, attention_bias, parameters)


def prepare_bias(attention_bias: Tensor | None, layer: nn.Layer, hidden: Tensor) -> Tensor | None:
    """A bias that broadcasts over [B, A, S, S] as ``encoder_layer`` wants it."""
    if attention_bias is None:
        return None
    batch, length, _ = hidden.shape
    if native.supports(layer, hidden):
        shape = [*attention_bias.shape[:-1], length]
    else:
        shape = [batch, layer.attention.self.num_heads, length, length]
    return attention_bias.expand(shape).contiguous()


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


def _computation(layer: nn.Layer, hidden: Tensor) -> reference.EncoderLayer | native.EncoderLayer:
    return (native if native.supports(layer, hidden) else reference).EncoderLayer(layer)


class _LayerNode(PyLayer):
    """An encoder layer, in C or in Python, as one node of Paddle's autograd."""

    @staticmethod
    def forward(ctx, layer: nn.Layer, hidden: Tensor, attention_bias: Tensor | None, *parameters: Tensor) -> Tensor:
        ctx.run = _computation(layer, hidden)
        ctx.wanted = [None if t is None else not t.stop_gradient for t in (hidden, attention_bias, *parameters)]
        return ctx.run.forward(hidden, attention_bias, parameters)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        d_hidden, d_parameters = ctx.run.backward(gradient)
        gradients = zip([d_hidden, None, *d_parameters], ctx.wanted, strict=True)
        return tuple(d if wanted else None for d, wanted in gradients if wanted is not None)  # none for no bias


class _ResidualNormNode(PyLayer):
    """``reference.ResidualNorm`` as one node of Paddle's autograd."""

    @staticmethod
    def forward(ctx, inputs: Tensor, residual: Tensor, *parameters: Tensor) -> Tensor:
        weight, bias, scale, shift = parameters
        ctx.run, ctx.shapes = reference.ResidualNorm(), (inputs.shape, residual.shape)
        ctx.wanted = [not tensor.stop_gradient for tensor in (inputs, residual, *parameters)]
        rows = [tensor.reshape([-1, tensor.shape[-1]]) for tensor in (inputs, residual)]
        return ctx.run.forward(rows[0], (weight, bias), rows[1], (scale, shift)).reshape(residual.shape)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        d_inputs, d_residual, pairs = ctx.run.backward(gradient.reshape([-1, gradient.shape[-1]]))
        rows = (d.reshape(shape) for d, shape in zip((d_inputs, d_residual), ctx.shapes, strict=True))
        gradients = [*rows, *(g for pair in pairs for g in pair)]
        return tuple(g if wanted else None for g, wanted in zip(gradients, ctx.wanted, strict=True))
