"""The encoder layer in C, fused_layer.c: built once by the machine's C compiler, called through ctypes.

Optional. Where there is no compiler, no math library of Paddle's to multiply with, or ``MOBILEBERT_NATIVE=0`` in the
environment, ``library`` returns None and fused.py computes the same in Python. Built files lie in
``~/.cache/mobilebert`` (``XDG_CACHE_HOME`` moves it), one for each source, compiler, processor and Paddle.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import paddle
from paddle import Tensor

from mobilebert import cli
from mobilebert.files import atomic_path

SOURCE = Path(__file__).with_name("fused_layer.c")
MAX_NETWORKS = 16  # feed-forward networks in a layer, of fused_layer.c
_FLAGS = ["-std=gnu11", "-O3", "-march=native", "-fPIC", "-fopenmp"]
_COMPILERS = ("cc", "gcc", "clang")


class Layer(ctypes.Structure):
    """``Layer`` of fused_layer.c: the same fields in the same order."""

    _fields_ = [
        *((name, ctypes.c_int) for name in ("batch", "length", "hidden", "width", "intermediate", "heads", "networks")),
        *((name, ctypes.c_int) for name in ("reads_bottleneck", "reads_shared")),
        *((name, ctypes.c_float) for name in ("scaling", "attention_keep", "hidden_keep")),
        *((name, ctypes.c_void_p) for name in ("attention_words", "hidden_words")),
        *((name, ctypes.c_int) for name in ("attention_threshold", "hidden_threshold")),
        ("bias", ctypes.c_void_p),
        *((name, ctypes.c_ssize_t) for name in ("bias_batch", "bias_head", "bias_query")),
    ]


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL | None:
    """The compiled layer, built at the first call; None where it cannot be, with the reason on standard error."""
    if os.environ.get("MOBILEBERT_NATIVE", "1") == "0":
        return None
    try:
        return _load(_build())
    except (OSError, subprocess.SubprocessError, AttributeError) as error:
        detail = getattr(error, "stderr", None) or str(error)
        cli.notice(f"runtime: the encoder layer runs in Python, not in C ({detail.strip().splitlines()[0]})")
        return None


def forward(layer: Layer, hidden: Tensor, parameters: Sequence[Tensor], output: Tensor) -> Tensor:
    """Run the layer.

    Args:
        layer: sizes and switches; what its pointers point to must live until this returns.
        hidden: [B, S, H] float32, contiguous, as are all others.
        parameters: weights and biases in the order of ``fused._parts``.
        output: [B, S, H], to be written.

    Returns:
        what ``backward`` needs, one-dimensional.
    """
    compiled, shape = library(), ctypes.byref(layer)
    kept = paddle.empty([compiled.kept_size(shape)], "float32")
    scratch = paddle.empty([compiled.forward_scratch_size(shape)], "float32")
    compiled.forward(shape, hidden.data_ptr(), _pointers(parameters), *_addresses(kept, scratch, output))
    return kept


def backward(
    layer: Layer, hidden: Tensor, parameters: Sequence[Tensor], kept: Tensor, gradient: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """Run the layer backward.

    Args:
        layer, hidden, parameters: as ``forward`` had them.
        kept: what it returned.
        gradient: of its output, [B, S, H].

    Returns:
        gradients of ``hidden`` and of each of ``parameters``.
    """
    compiled, shape = library(), ctypes.byref(layer)
    scratch = paddle.empty([compiled.backward_scratch_size(shape)], "float32")
    # The operator itself: paddle.empty_like takes as long again in Python, a thousand times a step.
    d_hidden, *gradients = (paddle._C_ops.empty_like(t, t.dtype, t.place) for t in (hidden, *parameters))
    addresses = _addresses(kept, scratch, gradient, d_hidden)
    compiled.backward(shape, hidden.data_ptr(), _pointers(parameters), *addresses, _pointers(gradients))
    return d_hidden, gradients


def address(array: np.ndarray | None) -> int | None:
    """Where a C-contiguous array begins; None, C's NULL, for None."""
    return None if array is None else array.ctypes.data


def _addresses(*tensors: Tensor) -> list[int]:
    return [tensor.data_ptr() for tensor in tensors]


def _pointers(tensors: Sequence[Tensor]) -> ctypes.Array:
    return (ctypes.c_void_p * len(tensors))(*_addresses(*tensors))


def _build() -> Path:
    """-> the shared library, compiled where this source has not been compiled on this machine before."""
    compiler = next(filter(None, map(shutil.which, [os.environ.get("CC", ""), *_COMPILERS])), None)
    if compiler is None:
        raise OSError("no C compiler found (Debian and Ubuntu: apt install gcc)")
    threads = _paddle_library("libiomp5.so")
    version = subprocess.run([compiler, "--version"], check=True, capture_output=True, text=True).stdout
    made_of = [SOURCE.read_text(), version, _processor(), str(threads), *_FLAGS]
    digest = hashlib.sha256("\0".join(made_of).encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mobilebert"
    path = cache / f"fused_layer-{digest}.so"
    if path.exists():
        return path
    cache.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    with atomic_path(path) as temporary:
        compiled = f"{temporary}.o"
        # Paddle's own OpenMP library, named at the link: a second one's waiting threads would fight with its threads.
        commands = [
            [compiler, *_FLAGS, "-c", str(SOURCE), "-o", compiled],
            [compiler, "-shared", compiled, str(threads), f"-Wl,-rpath,{threads.parent}", "-o", str(temporary)],
        ]
        try:
            for command in commands:
                subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
        finally:
            Path(compiled).unlink(missing_ok=True)
    cli.notice(f"runtime: compiled {SOURCE.name} in {time.monotonic() - begin:.1f} s, kept in {path.parent}")
    return path


def _load(path: Path) -> ctypes.CDLL:
    compiled = ctypes.CDLL(str(path))
    for name in ("kept_size", "forward_scratch_size", "backward_scratch_size"):
        getattr(compiled, name).restype = ctypes.c_size_t
    compiled.forward.argtypes = [ctypes.c_void_p] * 6
    compiled.backward.argtypes = [ctypes.c_void_p] * 8
    for name in ("forward", "backward", "set_sgemm"):
        getattr(compiled, name).restype = None
    products = ctypes.CDLL(str(_paddle_library("libmklml_intel.so")))
    compiled.set_sgemm(products.cblas_sgemm)
    return compiled


def _paddle_library(name: str) -> Path:
    path = Path(paddle.__file__).parent / "libs" / name
    if not path.exists():
        raise OSError(f"this Paddle has no {name}")
    return path


def _processor() -> str:
    """What -march=native looks at."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())
