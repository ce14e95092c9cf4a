"""The encoder layer in C, fused_layer.c: built once by the machine's C compiler, called through ctypes.

Optional. Where there is no compiler, no math library of Paddle's to multiply with, or ``MOBILEBERT_NATIVE=0`` in the
environment, ``library`` returns None and fused.py computes the same in Python. Built files lie in
``~/.cache/mobilebert`` (``XDG_CACHE_HOME`` moves it), one for each source, compiler, processor and Paddle. A file's
name carries its content's sha256: what is loaded is what was built, and nobody else could have put it there.
"""

import contextlib
import ctypes
import hashlib
import os
import platform
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import paddle
from paddle import Tensor

from mobilebert.base import cli
from mobilebert.base.files import atomic_path, file_digest

SOURCE = Path(__file__).parent / "csrc" / "fused_layer.c"
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
        return _load_or_build()
    except (OSError, subprocess.SubprocessError, AttributeError) as error:
        said = error.stderr if isinstance(error, subprocess.CalledProcessError) else ""
        detail = (said.strip() or str(error)).splitlines()[0]
        cli.notice(f"runtime: the encoder layer runs in Python, not in C ({detail})")
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


def _load_or_build() -> ctypes.CDLL:
    """Load the shared library, compiled where this source has not been compiled on this machine before."""
    compiler = next(filter(None, map(shutil.which, [os.environ.get("CC", ""), *_COMPILERS])), None)
    if compiler is None:
        raise OSError("no C compiler found (Debian and Ubuntu: apt install gcc)")
    threads = _paddle_library("libiomp5.so")
    made_of = [SOURCE.read_text("utf-8"), _run(compiler, "--version"), _processor(), str(threads), *_FLAGS]
    name = f"fused_layer-{hashlib.sha256(chr(0).join(made_of).encode()).hexdigest()[:16]}"
    cache = _cache()
    for path in cache.glob(f"{name}-*.so") if cache else ():
        if _is_sound(path):
            return _load(path)
        with contextlib.suppress(OSError):
            path.unlink()
    with tempfile.TemporaryDirectory(prefix="mobilebert-") as folder:
        begin = time.monotonic()
        built = _compile(compiler, threads, Path(folder))
        seconds = time.monotonic() - begin
        kept = cache and _keep(built, cache / f"{name}-{file_digest(built)}.so")
        where = f"kept in {cache}" if kept else "not kept: no cache folder that this user alone can write to"
        cli.notice(f"runtime: compiled {SOURCE.name} in {seconds:.1f} s, {where}")
        return _load(kept or built)  # a loaded file may be removed


def _cache() -> Path | None:
    """The folder of built files, made where missing; None where others could write to it or it cannot be made."""
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "mobilebert"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # In a parent that all may write to, without /tmp's sticky bit, anybody can put another folder in its place.
        if folder.is_symlink() or any(parent.stat().st_mode & 0o1002 == 0o002 for parent in folder.parents):
            return None
        mode, owner = stat.S_IMODE(folder.stat().st_mode), folder.stat().st_uid
        if owner == os.geteuid() and mode & 0o022:  # made under umask 002, say
            folder.chmod(mode & ~0o022)
            for path in folder.glob("fused_layer-*"):  # of which nobody knows who wrote it
                path.unlink()
        return folder if _is_private(folder.stat()) else None
    except (OSError, RuntimeError):  # RuntimeError: this user has no home folder
        return None


def _is_private(status: os.stat_result) -> bool:
    return status.st_uid == os.geteuid() and not status.st_mode & 0o022


def _is_sound(path: Path) -> bool:
    """Whether a built file is complete, as it was written, and this user's."""
    try:
        status = path.lstat()
        return stat.S_ISREG(status.st_mode) and _is_private(status) and path.stem.endswith(f"-{file_digest(path)}")
    except OSError:  # another process may have removed it
        return False


def _compile(compiler: str, threads: Path, folder: Path) -> Path:
    compiled, linked = folder / "fused_layer.o", folder / "fused_layer.so"
    _run(compiler, *_FLAGS, "-c", str(SOURCE), "-o", str(compiled))
    # Paddle's own OpenMP library, named at the link: a second one's waiting threads would fight with its threads.
    _run(compiler, "-shared", str(compiled), str(threads), f"-Wl,-rpath,{threads.parent}", "-o", str(linked))
    return linked


def _keep(built: Path, path: Path) -> Path | None:
    """Copy a built file to its place in the cache; None where that is full or read-only."""
    try:
        with atomic_path(path) as temporary:
            shutil.copyfile(built, temporary)
            temporary.chmod(0o600)
        return path
    except OSError:
        return None


def _run(*command: str) -> str:
    """-> standard output; a compiler may speak any language in any encoding."""
    done = subprocess.run(
        command, check=True, capture_output=True, timeout=120, encoding="utf-8", errors="backslashreplace"
    )
    return done.stdout


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
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())
