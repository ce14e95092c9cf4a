"""Builds csrc/: one library with the kernels of every instruction set that the compiler knows, chosen when it runs."""

import ctypes
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mobilebert.base import c_library

FOLDER = Path(__file__).parent / "csrc"
FLAGS = ("-std=c11", "-D_GNU_SOURCE", "-O3", "-fPIC", "-fvisibility=hidden", "-ffp-contract=fast")
_AVX512 = ("-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mfma")
_VNNI = (*_AVX512, "-mavx512vnni")
_BF16 = (*_VNNI, "-mavx512bf16")
_LIBRARIES = ("-lm", "-lpthread")
# Architecture -> set of kernels -> the flags that its source needs. A compiler that does not know them leaves it out.
KERNELS: dict[str, dict[str, tuple[str, ...]]] = {
    "x86_64": {
        "avx2": ("-mavx2", "-mfma"),
        "avxvnni": ("-mavx2", "-mfma", "-mavxvnni"),
        "avx512": _AVX512,
        "vnni": _VNNI,
        "bf16": _BF16,
        "amx": (*_BF16, "-mamx-tile", "-mamx-int8", "-mamx-bf16"),
    },
    "aarch64": {
        "neon": (),
        "dotprod": ("-march=armv8.2-a+dotprod",),
    },
}


def load_or_build() -> ctypes.CDLL:
    """Load the library, compiled where it is not in the cache.

    Raises:
        OSError: there is no compiler.
        subprocess.SubprocessError: the compiler failed, or took longer than two minutes.
    """
    made_of = [*FLAGS, repr(KERNELS)]
    return c_library.load_or_build(
        "libmobilebert", FOLDER, lambda compiler, folder: build(compiler, folder, platform.machine()), made_of
    )


def save(path: Path) -> None:
    """Write the library to ``path``, for programs that are not this package.

    Raises:
        OSError, subprocess.SubprocessError: as ``load_or_build``.
    """
    kept = Path(load_or_build()._name)
    if kept.exists():
        shutil.copyfile(kept, path)
        return
    with tempfile.TemporaryDirectory(prefix="mobilebert-") as folder:  # there is no cache that it could lie in
        shutil.copyfile(build(c_library.find_compiler(), Path(folder), platform.machine()), path)


def build(compiler: str, folder: Path, machine: str) -> Path:
    """Compile the library into ``folder``.

    Args:
        compiler: a C compiler for ``machine``.
        folder: where the objects and the library are put.
        machine: a key of ``KERNELS``; for any other there are the portable kernels.

    Raises:
        subprocess.SubprocessError: the compiler failed.
    """
    linked = folder / "libmobilebert.so"
    c_library.run(compiler, "-shared", *compile_all(compiler, folder, machine), *_LIBRARIES, "-o", str(linked))
    return linked


def build_program(compiler: str, folder: Path, source: Path, flags: Sequence[str] = (), machine: str = "") -> Path:
    """Compile a program with the library in it, for tests; ``flags`` go to all calls of the compiler."""
    objects = compile_all(compiler, folder, machine or platform.machine(), flags)
    program = folder / source.stem
    c_library.run(compiler, *flags, str(source), *objects, *_LIBRARIES, "-o", str(program))
    return program


def compile_all(compiler: str, folder: Path, machine: str, flags: Sequence[str] = ()) -> list[str]:
    """Compile everything that is for ``machine``; gives the paths of the objects."""
    kernels = KERNELS.get(machine, {})

    def compile_source(source: str, *more: str) -> str:
        compiled = folder / f"{Path(source).stem}.o"
        c_library.run(compiler, *FLAGS, *flags, *more, "-c", str(FOLDER / source), "-o", str(compiled))
        return str(compiled)

    def compile_kernels(name: str) -> str | None:
        try:
            return compile_source(f"kernels_{name}.c", *kernels[name])
        except subprocess.CalledProcessError:
            return None

    apart = {"kernels.c", "example.c", *(f"kernels_{name}.c" for name in kernel_names())} - {"kernels_portable.c"}
    sources = sorted(path.name for path in FOLDER.glob("*.c") if path.name not in apart)
    with ThreadPoolExecutor(2) as pool:
        sets = dict(zip(kernels, pool.map(compile_kernels, kernels), strict=True))
        objects = list(pool.map(compile_source, sources))
    there = [f"-DMB_HAS_{name.upper()}" for name, compiled in sets.items() if compiled]
    return [*objects, compile_source("kernels.c", *there), *filter(None, sets.values())]


def kernel_names() -> list[str]:
    """Every set of kernels that there is, of any architecture."""
    return [*(name for sets in KERNELS.values() for name in sets), "portable"]
