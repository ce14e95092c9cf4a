"""Reading and writing files so that nothing is ever half written."""

import atexit
import fcntl
import glob
import gzip
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from mobilebert.base import interrupt
from mobilebert.base.errors import InputError
from mobilebert.base.json_decoder import JsonDecoder

# What a text file, and what a compressed one unpacks to, may have. Text that repeats itself can be more than a hundred
# times its archive: up to the floor that is nobody's harm.
MOST_BYTES = 2 << 30
_MOST_TIMES, _FLOOR_BYTES = 100, 64 << 20
_CHUNK_BYTES = 1 << 20
# What else than a file may be found under a name, and never end.
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_ZIP_ENCRYPTED = 0x1  # flag of a member
_HEX = 16  # digits in a temporary name
_TEMPORARY = re.compile(r"/\.[^/]*\.(tmp|new|lock)(/|$)")  # .new: of train.checkpoint


@contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary file beside ``path``, empty; rename it to ``path`` when the block ends well.

    The file is flushed to disk before the rename, so a crash at any moment leaves the old file or the new one.
    On an exception the temporary file is removed and ``path`` is as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with naming(path), temporary_beside(path) as temporary:
        yield temporary
        flush(temporary)
        os.replace(temporary, path)


@contextmanager
def atomic_folder(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``; move its files into ``path`` when the block ends well.

    A new ``path`` appears in one rename. In an existing one, files of the same name are replaced one rename each and
    all others stay. On an exception the temporary folder is removed and ``path`` is as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with naming(path), temporary_beside(path, folder=True) as temporary:
        yield temporary
        written = [file for file in temporary.rglob("*") if file.is_file()]
        for file in written:
            flush(file)
        if not path.exists():
            os.replace(temporary, path)
            return
        with interrupt.held():
            for file in written:
                target = path / file.relative_to(temporary)
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(file, target)


@contextmanager
def temporary_beside(path: Path, folder: bool = False) -> Iterator[Path]:
    """Yield a new hidden file or folder beside ``path``, which is removed when the block ends, if it is still there.

    It is locked for as long as its process lives: what a killed process left is known by that, and removed first.
    """
    remove_stale(path.parent, glob.escape(path.name))
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(_HEX // 2)}.tmp")
    with interrupt.cleaning(lambda: _remove(temporary)):
        descriptor = -1
        while descriptor < 0:
            if folder:
                temporary.mkdir()
            else:
                temporary.touch(exist_ok=False)
            descriptor = _lock(temporary, fcntl.LOCK_SH)  # none: taken for stale before it was locked, and removed
        try:
            yield temporary
        finally:
            os.close(descriptor)


def remove_stale(folder: Path, pattern: str) -> None:
    """Remove what ``temporary_beside`` made in processes that are dead, for paths of ``folder`` that fit a pattern."""
    for path in folder.glob(f".{pattern}.{_HEX * '[0-9a-f]'}.tmp"):
        with suppress(OSError):  # its process lives, or the file system has no locks to tell
            descriptor = _lock(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
            try:
                _remove(path)
            finally:
                os.close(descriptor)


def _lock(path: Path, kind: int) -> int:
    """An open, locked descriptor of a file or folder; -1 where there is none any more."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return -1
    try:
        fcntl.flock(descriptor, kind)
    except OSError:
        if kind != fcntl.LOCK_SH:
            os.close(descriptor)
            raise
    if path.exists():
        return descriptor
    os.close(descriptor)
    return -1


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def naming(path: str | os.PathLike) -> Iterator[None]:
    """Let an error that names no file, as that of a write, or a temporary one, name this one."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and (error.filename is None or _TEMPORARY.search(str(error.filename))):
            error.filename, error.filename2 = os.fspath(path), None
        raise


def check_written(path: Path) -> None:
    """Find out whether a library that does not tell had the space for a file: where a write failed, one byte does too.

    Raises:
        OSError: it had not.
    """
    flush(path)
    size = path.stat().st_size
    with naming(path), open(path, "ab", buffering=0) as handle:
        handle.write(b"\0")
        handle.truncate(size)


def flush(path: Path) -> None:
    """fsync a file or a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_cache() -> Path:
    """Our folder for what is made again where it is missing: ``~/.cache/mobilebert``; ``XDG_CACHE_HOME`` moves it.

    Raises:
        OSError: it is not there and cannot be made.
        RuntimeError: this user has no home folder.
    """
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "mobilebert"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


@lru_cache(maxsize=1)
def cache_folder() -> Path:
    """``make_cache``; where nothing can be written there, a temporary folder that goes with the process."""
    with suppress(OSError, RuntimeError):
        folder = make_cache()
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(4096))
        return folder
    folder = Path(tempfile.mkdtemp(prefix="mobilebert-"))
    atexit.register(interrupt.until_the_end(lambda: _remove(folder)))
    return folder


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write ``text`` as UTF-8, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike, value: Any, indent: int | None = 2) -> None:
    """Write ``value`` as JSON (UTF-8, non-ASCII kept, key order kept), atomically."""
    write_text(path, json.dumps(value, indent=indent, ensure_ascii=False) + "\n")


def read_text(path: str | os.PathLike) -> str:
    """Read a UTF-8 file, ``.gz`` or plain, without a byte-order mark.

    Raises:
        InputError: the file is missing, no file, unreadable, not UTF-8, a broken archive or beyond ``MOST_BYTES``.
    """
    path = Path(path)
    try:
        size = regular(path).stat().st_size
        if size > MOST_BYTES:
            raise InputError(f"{path}: has {size:,} bytes, more than {MOST_BYTES:,}; cut it into several files")
        raw = _gunzip(path, size) if path.suffix == ".gz" else path.read_bytes()
        return raw.decode("utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None


def regular(path: str | os.PathLike) -> Path:
    """``path``, where a file is or nothing; to be called before anything opens it.

    Raises:
        InputError: a folder, or a pipe, socket or device, from which a reader could wait or read for ever; or a name
            that no file can have.
    """
    path = Path(path)
    try:
        mode = path.stat().st_mode
    except OSError:  # whoever opens it says why
        return path
    except ValueError:
        raise InputError(f"{path}: no file's name, it holds a zero byte") from None
    if kind := _KINDS.get(stat.S_IFMT(mode)):
        raise InputError(f"{path}: {kind}, but a file is expected")
    return path


def unpacked_limit(size: int) -> int:
    """How many bytes an archive of ``size`` bytes may unpack to."""
    return min(MOST_BYTES, max(_FLOOR_BYTES, _MOST_TIMES * size))


def check_zip(path: str | os.PathLike) -> None:
    """Refuse, from its directory alone, a zip archive that cannot or should not be unpacked.

    Raises:
        InputError: a member is encrypted or of a method that Python lacks, or all together unpack to too much.
        zipfile.BadZipFile: the directory is broken.
    """
    size = regular(path).stat().st_size
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    for member in members:
        if member.flag_bits & _ZIP_ENCRYPTED:
            raise InputError(f"{path}: its member {member.filename!r} is encrypted; unpack it and pack it without")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise InputError(
                f"{path}: its member {member.filename!r} is compressed by method {member.compress_type}, which is not "
                "read here; pack it with zip's usual one"
            )
    # What is stored as it is takes no more than the archive.
    limit = max(size, unpacked_limit(size))
    if (unpacked := sum(member.file_size for member in members)) > limit:
        raise InputError(f"{path}: unpacks to {unpacked:,} bytes, more than {limit:,}; is it a trap?")


def _gunzip(path: Path, size: int) -> bytearray:
    limit = unpacked_limit(size)
    content = bytearray()
    with gzip.open(path) as packed:
        while chunk := packed.read(_CHUNK_BYTES):
            content += chunk
            if len(content) > limit:
                raise InputError(
                    f"{path}: unpacks from {size:,} to more than {limit:,} bytes; unpack it by hand if that is right"
                )
    return content


def read_json(path: str | os.PathLike) -> Any:
    """Read a JSON file, ``.gz`` or plain.

    Raises:
        InputError: as ``read_text``, or the text is not JSON, or beyond a bound of ``JsonDecoder``; the message names
            line and column. Or it holds half of a surrogate pair, which no file can be written with.
    """
    text = read_text(path)
    try:
        value = json.loads(text, cls=JsonDecoder)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise broken_json(path, error) from None
    except UnicodeEncodeError:
        raise InputError(f"{path}: an escape \\ud800 to \\udfff that is half of a character; correct it") from None
    return value


def broken_json(path: str | os.PathLike, error: json.JSONDecodeError) -> InputError:
    """What to say of a file whose text is not JSON."""
    return InputError(
        f"{path}: broken JSON at line {error.lineno} column {error.colno} ({error.msg}); is the file complete?"
    )


def is_below(name: str) -> bool:
    """Whether a stranger's name of a file can be one, and stays below the folder that it is joined to."""
    path = PurePosixPath(name)
    can_be = "\0" not in name and all(len(part.encode("utf-8", "surrogatepass")) <= 255 for part in path.parts)
    return can_be and bool(path.parts) and not path.is_absolute() and ".." not in path.parts


def file_digest(path: str | os.PathLike, algorithm: str = "sha256") -> str:
    """Hex digest of a file's bytes; ``algorithm`` is any of hashlib's (``"md5"``, ``"sha256"``)."""
    digest = hashlib.new(algorithm)
    with open(regular(path), "rb") as handle:
        while chunk := handle.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
