"""The encoder layer in C, csrc/layer_train.c, called through ctypes. Optional: build.py says when there is none.

csrc/mobilebert.h is the contract: ``Layer`` and the calls below repeat it, and ``library`` checks at load that version
and size agree.

    B batch   S tokens   H hidden_size   A attention heads
"""

import ctypes
import os
import subprocess
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import paddle
from paddle import Tensor, nn

from mobilebert.accel import build, dropout
from mobilebert.base import cli

# As in csrc/mobilebert.h.
ABI_VERSION = 1
MAX_NETWORKS = 16  # feed-forward networks in a layer


class Layer(ctypes.Structure):
    """``mb_layer`` of csrc/mobilebert.h: the same fields in the same order."""

    _fields_ = [
        *((name, ctypes.c_int) for name in ("batch", "length", "hidden", "width", "intermediate", "heads", "networks")),
        *((name, ctypes.c_int) for name in ("reads_bottleneck", "reads_shared")),
        *((name, ctypes.c_float) for name in ("scaling", "attention_keep", "hidden_keep")),
        *((name, ctypes.c_void_p) for name in ("attention_random", "hidden_random")),
        *((name, ctypes.c_int) for name in ("attention_threshold", "hidden_threshold")),
        ("bias", ctypes.c_void_p),
        *((name, ctypes.c_ssize_t) for name in ("bias_batch", "bias_head", "bias_query")),
    ]


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL | None:
    """The compiled layer, built at the first call; None where it cannot be, with the reason on standard error."""
    compiled, reason = _load()
    if reason:
        cli.notice(f"runtime: the encoder layer runs in Python, not in C ({reason})")
    return compiled


def describe() -> str:
    """In what the encoder layer runs, and why where it is not C."""
    compiled, reason = _load()
    return "in C" if compiled is not None else f"in Python, not in C ({reason or 'MOBILEBERT_NATIVE=0'})"


def _load() -> tuple[ctypes.CDLL | None, str]:
    """The compiled layer, or None and why; no reason where it is not wanted."""
    if os.environ.get("MOBILEBERT_NATIVE", "1") == "0":
        return None, ""
    try:
        return bind(build.load_or_build()), ""
    except (OSError, subprocess.SubprocessError, AttributeError) as error:
        printed = error.stderr if isinstance(error, subprocess.CalledProcessError) else ""
        return None, (printed.strip() or str(error)).splitlines()[0]


def bind(compiled: ctypes.CDLL) -> ctypes.CDLL:
    """Check that a compiled layer is of this module's version, declare its functions, and hand it Paddle's product.

    Raises:
        OSError: it has another version, or another idea of ``Layer``.
    """
    compiled.mb_layer_size.restype = ctypes.c_size_t
    found = compiled.mb_abi_version(), compiled.mb_layer_size()
    expected = ABI_VERSION, ctypes.sizeof(Layer)
    if found != expected:
        raise OSError(
            f"csrc has ABI version {found[0]} and a layer of {found[1]} bytes, native.py expects "
            f"version {expected[0]} and {expected[1]} bytes: reinstall mobilebert"
        )
    for name in ("mb_layer_saved_floats", "mb_layer_forward_scratch_floats", "mb_layer_backward_scratch_floats"):
        getattr(compiled, name).restype = ctypes.c_size_t
    compiled.mb_layer_forward.argtypes = [ctypes.c_void_p] * 6
    compiled.mb_layer_backward.argtypes = [ctypes.c_void_p] * 8
    for name in ("mb_layer_forward", "mb_layer_backward", "mb_set_sgemm"):
        getattr(compiled, name).restype = None
    compiled.mb_set_sgemm(ctypes.CDLL(str(build.paddle_library("libmklml_intel.so"))).cblas_sgemm)
    return compiled


def supports(layer: nn.Layer, hidden: Tensor) -> bool:
    """Whether the C code runs this ``MobileBertLayer``, which ``dispatch.supports`` accepts, on this input."""
    if hidden.dtype != paddle.float32 or len(layer.ffn) + 1 > MAX_NETWORKS:
        return False
    return library() is not None


class EncoderLayer:
    """``reference.EncoderLayer`` in C: the same function, with the same dropout."""

    def __init__(self, layer: nn.Layer):
        bottleneck, attention = layer.bottleneck, layer.attention.self
        self.attention_drop = attention.dropout.p if layer.training else 0.0
        self.hidden_drop = layer.output.bottleneck.dropout.p if layer.training else 0.0
        reads_bottleneck = bottleneck.use_bottleneck_attention
        self.description = Layer(
            hidden=layer.output.bottleneck.dense.weight.shape[1],
            width=bottleneck.input.dense.weight.shape[1],
            intermediate=layer.intermediate.dense.weight.shape[1],
            heads=attention.num_heads,
            networks=len(layer.ffn) + 1,
            reads_bottleneck=reads_bottleneck,
            reads_shared=bottleneck.key_query_shared_bottleneck and not reads_bottleneck,
            scaling=attention.scaling,
            attention_keep=1 - self.attention_drop,
            hidden_keep=1 - self.hidden_drop,
            attention_threshold=dropout.threshold(self.attention_drop),
            hidden_threshold=dropout.threshold(self.hidden_drop),
        )

    def forward(self, hidden: Tensor, attention_bias: Tensor | None, parameters: Sequence[Tensor]) -> Tensor:
        """As ``reference.EncoderLayer.forward``; the bias may have 1 for every axis but the last."""
        description, (batch, length, width) = self.description, hidden.shape
        self.hidden, self.parameters = hidden.contiguous(), [parameter.contiguous() for parameter in parameters]
        # What the description's pointers point to must live until the backward pass has run.
        self.bias, self.attention_random, self.hidden_random = attention_bias, None, None
        description.batch, description.length = batch, length
        if attention_bias is not None:
            description.bias = attention_bias.data_ptr()
            shape = attention_bias.shape
            strides = [int(np.prod(shape[axis + 1 :])) if shape[axis] > 1 else 0 for axis in range(3)]
            description.bias_batch, description.bias_head, description.bias_query = strides
        if self.attention_drop:
            self.attention_random = dropout.random_bits([batch, description.heads, length, length])
        if self.hidden_drop:
            self.hidden_random = dropout.random_bits([batch, length, width])
        description.attention_random = _address(self.attention_random)
        description.hidden_random = _address(self.hidden_random)
        output = paddle.empty_like(self.hidden)
        self.saved = forward(description, self.hidden, self.parameters, output)
        return output

    def backward(self, gradient: Tensor) -> tuple[Tensor, list[Tensor]]:
        """As ``reference.EncoderLayer.backward``."""
        return backward(self.description, self.hidden, self.parameters, self.saved, gradient.contiguous())


def forward(layer: Layer, hidden: Tensor, parameters: Sequence[Tensor], output: Tensor) -> Tensor:
    """Run the layer.

    Args:
        layer: sizes and switches; what its pointers point to must live until this returns.
        hidden: [B, S, H] float32, contiguous, as are all others.
        parameters: weights and biases in the order of ``reference.parts``.
        output: [B, S, H], to be written.

    Returns:
        What ``backward`` needs, one-dimensional.
    """
    compiled, shape = library(), ctypes.byref(layer)
    saved = paddle.empty([compiled.mb_layer_saved_floats(shape)], "float32")
    scratch = paddle.empty([compiled.mb_layer_forward_scratch_floats(shape)], "float32")
    compiled.mb_layer_forward(shape, hidden.data_ptr(), _pointers(parameters), *_addresses(saved, scratch, output))
    return saved


def backward(
    layer: Layer, hidden: Tensor, parameters: Sequence[Tensor], saved: Tensor, gradient: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """Run the layer backward.

    Args:
        layer, hidden, parameters: as ``forward`` had them.
        saved: what it returned.
        gradient: of its output, [B, S, H].

    Returns:
        Gradients of ``hidden`` and of each of ``parameters``.
    """
    compiled, shape = library(), ctypes.byref(layer)
    scratch = paddle.empty([compiled.mb_layer_backward_scratch_floats(shape)], "float32")
    # The operator itself: paddle.empty_like takes as long again in Python, a thousand times a step.
    d_hidden, *gradients = (paddle._C_ops.empty_like(t, t.dtype, t.place) for t in (hidden, *parameters))
    addresses = _addresses(saved, scratch, gradient, d_hidden)
    compiled.mb_layer_backward(shape, hidden.data_ptr(), _pointers(parameters), *addresses, _pointers(gradients))
    return d_hidden, gradients


def _address(array: np.ndarray | None) -> int | None:
    """Where a C-contiguous array begins; None, C's NULL, for None."""
    return None if array is None else array.ctypes.data


def _addresses(*tensors: Tensor) -> list[int]:
    return [tensor.data_ptr() for tensor in tensors]


def _pointers(tensors: Sequence[Tensor]) -> ctypes.Array:
    return (ctypes.c_void_p * len(tensors))(*_addresses(*tensors))
