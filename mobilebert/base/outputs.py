"""Whose an output is: locked while it is written, recorded when it was written, and nobody else's files deleted.

A folder that runs write into holds ``.mobilebert.json``, the record of what they wrote there. What stands in a run's
way and is not in the record belongs to somebody else: the run refuses to begin. What is in it may be replaced.
"""

import fcntl
import fnmatch
import glob
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from mobilebert.base import cli, interrupt
from mobilebert.base.errors import InputError
from mobilebert.base.files import is_below, naming, remove_stale, write_json
from mobilebert.base.records import read_record

RECORD = ".mobilebert.json"
LOCK = ".mobilebert.lock"
_EXPLANATION = "what runs of mobilebert wrote into this folder, and may replace"

_held: set[tuple[int, str]] = set()  # thread and lock file


@dataclass(frozen=True)
class _Record:
    """The content of ``RECORD``."""

    entries: list[str]


@contextmanager
def lock(path: Path, what: str | os.PathLike) -> Iterator[None]:
    """Let nobody else in while the block runs; a block within a block of the same thread is let in.

    The system gives the lock back when the process ends, however it ends, so a crash leaves at most an unlocked file,
    which the next run takes over. On a file system without locks nothing is locked.

    Args:
        path: the lock file; it and its folder exist during the block, afterwards only what was there before.
        what: the output that is locked, for the message.

    Raises:
        InputError: another process, or another thread, is writing ``what``; host, process and time are named.
    """
    key = (threading.get_ident(), os.path.realpath(path))
    if key in _held:
        yield
        return
    made = [folder for folder in path.parents if not folder.exists()]

    def remove_made() -> None:
        with suppress(OSError):  # something was written there, or nothing could be made
            for folder in made:
                folder.rmdir()

    with interrupt.cleaning(remove_made):
        path.parent.mkdir(parents=True, exist_ok=True)
        with naming(what):
            descriptor = _acquire(path, what)
        _held.add(key)
        try:
            # Removed before the lock is given back, so that nobody can hold it meanwhile.
            with interrupt.cleaning(lambda: path.unlink(missing_ok=True)):
                yield
        finally:
            _held.discard(key)
            os.close(descriptor)


def lock_folder(folder: Path) -> AbstractContextManager[None]:
    """``lock`` of a folder that is written into."""
    return lock(folder / LOCK, folder)


def lock_beside(path: Path) -> AbstractContextManager[None]:
    """``lock`` of a file, or of a folder that is put in place as a whole."""
    path = Path(os.path.realpath(path))
    return lock(path.with_name(f".{path.name}.lock"), path)


def _acquire(path: Path, what: str | os.PathLike) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(descriptor, what, os.getpid())
        except InputError:
            os.close(descriptor)
            raise
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        os.close(descriptor)  # it was removed by the one who held it: take the new one


def _lock(descriptor: int, what: str | os.PathLike, process: int) -> None:
    """Lock an open lock file in the name of a process, or say which other process holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 1000, 0).decode(errors="replace").strip() or "not known yet"
        raise InputError(
            f"{what}: another run is writing it; choose another output, or wait (the other: {holder})"
        ) from None
    except OSError:  # a file system without locks
        return
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    with suppress(OSError):  # a full disk: locked all the same
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"host {socket.gethostname()}, pid {process}, since {since}\n".encode(), 0)


def record(folder: Path, entries: Iterable[str]) -> None:
    """Note entries of a folder as written by us; to be called before they are written.

    Args:
        folder: exists.
        entries: paths below it, patterns of ``glob`` allowed: ``"run.log"``, ``"logs/vdl*.log"``.
    """
    before = recorded(folder)
    now = before | set(entries)
    if now != before:
        write_json(folder / RECORD, {"about": _EXPLANATION, "entries": sorted(now)})


def recorded(folder: Path) -> set[str]:
    """The entries that ``record`` noted; none where there is no record.

    Raises:
        InputError: the record is damaged.
    """
    path = folder / RECORD
    if not path.exists():
        return set()
    advice = "not the record of a run: choose another output folder"
    entries = read_record(path, _Record, advice).entries
    for entry in entries:
        if not is_below(entry) or "**" in entry:  # not all that is there
            raise InputError(f"{path}: names {entry!r}; {advice}")
    return set(entries)


def check(folder: Path, names: Iterable[str]) -> None:
    """Refuse to write where somebody else's files are.

    Args:
        folder: may be missing.
        names: what is to be written, files and folders directly in it; patterns allowed.

    Raises:
        InputError: one of them is there and not in the record; an empty folder is nobody's.
    """
    ours = {entry.split("/")[0] for entry in recorded(folder)}
    for name in names:
        found = set(folder.glob(name))
        if os.path.lexists(folder / name):  # a link to nowhere, which glob passes over
            found.add(folder / name)
        for path in sorted(found):
            is_folder = path.is_dir() and not path.is_symlink()
            if any(fnmatch.fnmatchcase(path.name, own) for own in ours) or (is_folder and not any(path.iterdir())):
                continue
            raise InputError(
                f"{path}: is there already, and not as the output of a run ({RECORD} does not name it); "
                "move it away, or choose another output folder"
            )


def remove(folder: Path, names: Iterable[str] | None = None) -> None:
    """Delete what the record names, and nothing else. A link is removed, not what it points to.

    Args:
        folder: may be missing.
        names: only entries in these files and folders of it; None is all.
    """
    entries = recorded(folder)
    if names is not None:
        chosen = set(names)
        entries = {entry for entry in entries if entry.split("/")[0] in chosen}
    for entry in entries:
        for path in list(folder.glob(entry)):
            if any(parent.is_symlink() for parent in path.parents if folder in parent.parents):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        if "/" not in entry:
            remove_stale(folder, entry)
    for top in {entry.split("/")[0] for entry in entries if "/" in entry}:
        with suppress(OSError):  # somebody else's files are in it
            (folder / top).rmdir()


def record_folder(folder: Path, name: str, content: Path) -> None:
    """Note what is directly in ``content``, which is ``folder / name`` or will be renamed to it."""
    record(folder, [f"{name}/{glob.escape(path.name)}" for path in content.iterdir()])


def copy_others(folder: Path, name: str, new: Path) -> None:
    """Copy what is in ``folder / name`` but in no record into ``new``, which is to replace it."""
    known = recorded(folder)
    for path in (folder / name).iterdir() if (folder / name).is_dir() else ():
        if f"{name}/{glob.escape(path.name)}" in known or (new / path.name).exists():
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.copytree(path, new / path.name, symlinks=True)
        else:
            shutil.copy2(path, new / path.name, follow_symlinks=False)


def _lock_for_a_script() -> None:
    """Lock a file that the calling shell script holds open."""
    parser = cli.ArgumentParser(
        _lock_for_a_script.__doc__, "  %(prog)s 9 FOLDER   # after: exec 9<>FOLDER/.mobilebert.lock"
    )
    parser.add_argument("descriptor", type=int, help="of the open lock file")
    parser.add_argument("folder", help="what is locked, for the message")
    args = parser.parse_args()
    _lock(args.descriptor, args.folder, os.getppid())


if __name__ == "__main__":
    cli.run(_lock_for_a_script)
