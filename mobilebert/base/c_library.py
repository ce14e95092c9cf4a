"""Compiles C once with the machine's compiler and finds the result again.

Built files lie in ``~/.cache/mobilebert`` (``XDG_CACHE_HOME`` moves it), one for each state of the sources, the
compiler and whatever else they are made of. A file's name carries its content's sha256: what is loaded is what was
built, and nobody else could have put it there.
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
from collections.abc import Callable, Sequence
from pathlib import Path

from mobilebert.base import cli
from mobilebert.base.files import atomic_path, file_digest, make_cache

_COMPILERS = ("cc", "gcc", "clang")
_SECONDS = 120  # of one call of the compiler

# (compiler, an empty folder) -> the shared library that was made there.
Compile = Callable[[str, Path], Path]


def load_or_build(
    name: str, sources: Path, build: Compile, made_of: Sequence[str] = (), is_for_this_processor: bool = False
) -> ctypes.CDLL:
    """Load a shared library, compiled where these sources have not been compiled on this machine before.

    Args:
        name: what messages and the file's name call it.
        sources: a folder of ``.c`` and ``.h`` files.
        build: see ``Compile``.
        made_of: whatever else the result depends on: flags, other libraries.
        is_for_this_processor: whether another one needs a library of its own (``-march=native``).

    Raises:
        OSError: there is no compiler, or the library cannot be loaded.
        subprocess.SubprocessError: the compiler failed, or took longer than two minutes.
    """
    compiler = find_compiler()
    processor = _processor() if is_for_this_processor else platform.machine()
    ingredients = [*_texts(sources), run(compiler, "--version"), processor, *made_of]
    stem = f"{name}-{hashlib.sha256(chr(0).join(ingredients).encode()).hexdigest()[:16]}"
    cache = private_cache(name)
    for path in cache.glob(f"{stem}-*.so") if cache else ():
        if is_sound(path):
            return ctypes.CDLL(str(path))
        with contextlib.suppress(OSError):
            path.unlink()
    with tempfile.TemporaryDirectory(prefix="mobilebert-") as folder:
        begin = time.monotonic()
        built = build(compiler, Path(folder))
        seconds = time.monotonic() - begin
        library = ctypes.CDLL(str(built))  # before it is kept: what cannot be loaded would be found for ever
        copied = cache and _copy(built, cache / f"{stem}-{file_digest(built)}.so")
        where = f"kept in {cache}" if copied else "not kept: no cache folder that this user alone can write to"
        cli.notice(f"runtime: compiled {name} in {seconds:.1f} s, {where}")
        return library  # a loaded file may be removed


def find_compiler() -> str:
    """The path of ``CC`` or of a usual compiler.

    Raises:
        OSError: there is none.
    """
    compiler = next(filter(None, map(shutil.which, [os.environ.get("CC", ""), *_COMPILERS])), None)
    if compiler is None:
        raise OSError("no C compiler found (Debian and Ubuntu: apt install gcc)")
    return compiler


def run(*command: str) -> str:
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


def private_cache(name: str) -> Path | None:
    """The folder of built files, made where missing; None where others could write to it or it cannot be made."""
    try:
        folder = make_cache()
        # In a parent that all may write to, without /tmp's sticky bit, anybody can put another folder in its place.
        if folder.is_symlink() or any(parent.stat().st_mode & 0o1002 == 0o002 for parent in folder.parents):
            return None
        mode, owner = stat.S_IMODE(folder.stat().st_mode), folder.stat().st_uid
        if owner == os.geteuid() and mode & 0o022:  # made under umask 002, say
            folder.chmod(mode & ~0o022)
            for path in folder.glob(f"{name}-*"):  # of which nobody knows who wrote it
                path.unlink(missing_ok=True)
        return folder if _is_private(folder.stat()) else None
    except (OSError, RuntimeError):  # RuntimeError: this user has no home folder
        return None


def is_sound(path: Path) -> bool:
    """Whether a built file is complete, as it was written, and this user's."""
    try:
        status = path.lstat()
        return stat.S_ISREG(status.st_mode) and _is_private(status) and path.stem.endswith(f"-{file_digest(path)}")
    except OSError:  # another process may have removed it
        return False


def _texts(sources: Path) -> list[str]:
    """Names and texts of all that is compiled."""
    paths = sorted([*sources.glob("*.c"), *sources.glob("*.h")])
    return [text for path in paths for text in (path.name, path.read_text("utf-8"))]


def _is_private(status: os.stat_result) -> bool:
    return status.st_uid == os.geteuid() and not status.st_mode & 0o022


def _copy(built: Path, path: Path) -> Path | None:
    """Copy a built file to its place in the cache; None where that is full or read-only."""
    try:
        with atomic_path(path) as temporary:
            shutil.copyfile(built, temporary)
            temporary.chmod(0o600)
        return path
    except OSError:
        return None


def _processor() -> str:
    """What -march=native looks at."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())
