"""Builds csrc/ with the machine's C compiler.

Optional. Where there is no compiler, no math library of Paddle's to multiply with, or ``MOBILEBERT_NATIVE=0`` in the
environment, ``native.library`` returns None and reference.py computes the same in Python.
"""

import ctypes
from pathlib import Path

import paddle

from mobilebert.base import c_library

FOLDER = Path(__file__).parent / "csrc"
SOURCE = "layer_train.c"  # it includes the headers beside it
_FLAGS = ["-std=gnu11", "-O3", "-march=native", "-fPIC", "-fopenmp"]


def load_or_build() -> ctypes.CDLL:
    """Load the shared library, compiled where it is not in the cache.

    Raises:
        OSError: there is no compiler, or this Paddle lacks a library.
        subprocess.SubprocessError: the compiler failed, or took longer than two minutes.
    """
    threads = paddle_library("libiomp5.so")

    def build(compiler: str, folder: Path) -> Path:
        compiled, linked = folder / "layer_train.o", folder / "layer_train.so"
        c_library.run(compiler, *_FLAGS, "-c", str(FOLDER / SOURCE), "-o", str(compiled))
        # Paddle's own OpenMP library, named at the link: a second one's waiting threads would fight with its threads.
        c_library.run(
            compiler, "-shared", str(compiled), str(threads), f"-Wl,-rpath,{threads.parent}", "-o", str(linked)
        )
        return linked

    return c_library.load_or_build(
        Path(SOURCE).stem, FOLDER, build, [str(threads), *_FLAGS], is_for_this_processor=True
    )


def paddle_library(name: str) -> Path:
    """The path of a shared library that comes with Paddle.

    Raises:
        OSError: this Paddle has none of that name.
    """
    path = Path(paddle.__file__).parent / "libs" / name
    if not path.exists():
        raise OSError(f"this Paddle has no {name}")
    return path
