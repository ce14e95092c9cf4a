"""Builds csrc/ once with the machine's C compiler and finds the result again.

Optional. Where there is no compiler, no math library of Paddle's to multiply with, or ``MOBILEBERT_NATIVE=0`` in the
environment, ``native.library`` returns None and reference.py computes the same in Python. Built files lie in
``~/.cache/mobilebert`` (``XDG_CACHE_HOME`` moves it), one for each state of the sources, compiler, processor and
Paddle. A file's name carries its content's sha256: what is loaded is what was built, and nobody else could have put it
there.
"""

import contextlib
import ctypes
import hashlib
import os
import platform
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from pathlib import Path

import paddle

from mobilebert.base import cli
from mobilebert.base.files import atomic_path, file_digest, make_cache

FOLDER = Path(__file__).parent / "csrc"
SOURCE = "layer_train.c"  # it includes the headers beside it
_FLAGS = ["-std=gnu11", "-O3", "-march=native", "-fPIC", "-fopenmp"]
_COMPILERS = ("cc", "gcc", "clang")
_STEM = Path(SOURCE).stem
_SECONDS = 120  # of one call of the compiler


def load_or_build() -> ctypes.CDLL:
    """Load the shared library, compiled where these sources have not been compiled on this machine before.

    Raises:
        OSError: there is no compiler, or this Paddle lacks a library.
        subprocess.SubprocessError: the compiler failed, or took longer than two minutes.
    """
    compiler = next(filter(None, map(shutil.which, [os.environ.get("CC", ""), *_COMPILERS])), None)
    if compiler is None:
        raise OSError("no C compiler found (Debian and Ubuntu: apt install gcc)")
    threads = paddle_library("libiomp5.so")
    made_of = [*_sources(), _run(compiler, "--version"), _processor(), str(threads), *_FLAGS]
    name = f"{_STEM}-{hashlib.sha256(chr(0).join(made_of).encode()).hexdigest()[:16]}"
    cache = _cache()
    for path in cache.glob(f"{name}-*.so") if cache else ():
        if _is_sound(path):
            return ctypes.CDLL(str(path))
        with contextlib.suppress(OSError):
            path.unlink()
    with tempfile.TemporaryDirectory(prefix="mobilebert-") as folder:
        begin = time.monotonic()
        built = _compile(compiler, threads, Path(folder))
        seconds = time.monotonic() - begin
        library = ctypes.CDLL(str(built))  # before it is kept: what cannot be loaded would be found for ever
        copied = cache and _copy(built, cache / f"{name}-{file_digest(built)}.so")
        where = f"kept in {cache}" if copied else "not kept: no cache folder that this user alone can write to"
        cli.notice(f"runtime: compiled {SOURCE} in {seconds:.1f} s, {where}")
        return library  # a loaded file may be removed


def paddle_library(name: str) -> Path:
    """The path of a shared library that comes with Paddle.

    Raises:
        OSError: this Paddle has none of that name.
    """
    path = Path(paddle.__file__).parent / "libs" / name
    if not path.exists():
        raise OSError(f"this Paddle has no {name}")
    return path


def _sources() -> list[str]:
    """Names and texts of all that is compiled."""
    paths = sorted([*FOLDER.glob("*.c"), *FOLDER.glob("*.h")])
    return [text for path in paths for text in (path.name, path.read_text("utf-8"))]


def _cache() -> Path | None:
    """The folder of built files, made where missing; None where others could write to it or it cannot be made."""
    try:
        folder = make_cache()
        # In a parent that all may write to, without /tmp's sticky bit, anybody can put another folder in its place.
        if folder.is_symlink() or any(parent.stat().st_mode & 0o1002 == 0o002 for parent in folder.parents):
            return None
        mode, owner = stat.S_IMODE(folder.stat().st_mode), folder.stat().st_uid
        if owner == os.geteuid() and mode & 0o022:  # made under umask 002, say
            folder.chmod(mode & ~0o022)
            for path in folder.glob(f"{_STEM}-*"):  # of which nobody knows who wrote it
                path.unlink(missing_ok=True)
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
    compiled, linked = folder / f"{_STEM}.o", folder / f"{_STEM}.so"
    _run(compiler, *_FLAGS, "-c", str(FOLDER / SOURCE), "-o", str(compiled))
    # Paddle's own OpenMP library, named at the link: a second one's waiting threads would fight with its threads.
    _run(compiler, "-shared", str(compiled), str(threads), f"-Wl,-rpath,{threads.parent}", "-o", str(linked))
    return linked


def _copy(built: Path, path: Path) -> Path | None:
    """Copy a built file to its place in the cache; None where that is full or read-only."""
    try:
        with atomic_path(path) as temporary:
            shutil.copyfile(built, temporary)
            temporary.chmod(0o600)
        return path
    except OSError:
        return None


def _run(*command: str) -> str:
    """-> standard output; a compiler may speak any language in any encoding, and hang."""
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="backslashreplace",
        start_new_session=True,
    ) as process:
        try:
            output, errors = process.communicate(timeout=_SECONDS)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # with all that it started: who holds the pipes is waited for
            raise
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, output, errors)
    return output


def _processor() -> str:
    """What -march=native looks at."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())
