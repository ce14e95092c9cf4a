"""Size and SHA-256 of a model's files: noted when they are written, compared when they are loaded.

manifest.json, export.json   {"files": {"model.safetensors": {"bytes": 98500000, "sha256": "3f7a..."}}}

A checkpoint has the first, an export the second. Whoever writes a file of a model notes it (``recorded``), whoever
reads one or hands it to another library compares it (``check``). What no table names is read as it is.
"""

import argparse
import fnmatch
import functools
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec

from mobilebert.base import hub
from mobilebert.base.errors import InputError
from mobilebert.base.files import file_digest, is_below, read_json, write_json
from mobilebert.base.records import read_record

_log = logging.getLogger(__name__)

TABLE, EXPORT_TABLE = "manifest.json", "export.json"
_HOLDERS = (EXPORT_TABLE, TABLE)  # of a file in both the second is right: it was saved into an export
UNASKED_BYTES = 128 << 20  # the digests of larger files are compared where that is asked for
_TEXTS = (*hub.CONFIG_FILES, "bert_config.json", *hub.TOKENIZER_FILES)  # which people edit by hand


class Facts(msgspec.Struct, frozen=True):
    """What is noted of a file."""

    bytes: Annotated[int, msgspec.Meta(ge=0)]
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]

    def difference(self, path: Path, everything: bool = True) -> str | None:
        """How a file differs from this, for a message; None where it does not.

        Args:
            path: may be missing.
            everything: compare the digest of a large file too.
        """
        if not os.path.isfile(path):  # not Path's, which raises where a stranger's name is too long to be one
            return "is missing"
        size = path.stat().st_size
        if size != self.bytes:
            return f"has {size} bytes instead of {self.bytes}"
        if (everything or size <= UNASKED_BYTES) and digest(path) != self.sha256:
            return "has another sha256"
        return None


class _Holder(msgspec.Struct):
    files: dict[str, Facts] = {}


def digest(path: Path) -> str:
    """The SHA-256 of a file, which is read once for as long as nobody writes it."""
    status = path.stat()
    return _digest(os.path.abspath(path), status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


@functools.lru_cache(maxsize=256)
def _digest(path: str, *_: int) -> str:
    return file_digest(path)


def describe(folder: Path, names: Iterable[str] | None = None) -> dict[str, dict[str, Any]]:
    """A table of files as JSON holds it; without ``names`` of all that are directly in ``folder``."""
    if names is None:
        names = sorted(path.name for path in folder.iterdir() if path.is_file() and path.name not in _HOLDERS)
    return {name: {"bytes": (folder / name).stat().st_size, "sha256": digest(folder / name)} for name in names}


@contextmanager
def recorded(folder: Path, *names: str) -> Iterator[None]:
    """Note in ``folder``'s ``manifest.json`` the files that the block writes.

    While it runs the table does not name them, so a process killed in it leaves no table that is wrong.
    """
    path = folder / TABLE
    if set(names) & set(read(path)):
        _replace(path, names, {})
    yield
    _replace(path, names, describe(folder, names))


def _replace(path: Path, names: Iterable[str], files: dict[str, dict[str, Any]]) -> None:
    """Take names out of a table, and put files in."""
    content = read_json(path) if path.exists() else {}
    others = {name: facts for name, facts in content.get("files", {}).items() if name not in names}
    write_json(path, {**content, "files": {**others, **files}})


def read(path: Path) -> dict[str, Facts]:
    """The table in a file; empty where there is no such file, or no table in it.

    Raises:
        InputError: a damaged table, or one that names a file outside of its folder.
    """
    if not path.exists():
        return {}
    files = read_record(path, _Holder, "its table of files is damaged: fetch or save the folder again").files
    for name in files:
        if not is_below(name):
            raise InputError(f"{path}: names the file {name!r}, which is not in its folder; fetch the folder again")
    return files


def check(folder: Path, *patterns: str, everything: bool = False) -> None:
    """Compare those files of a folder that its tables name; sizes always, digests up to ``UNASKED_BYTES``.

    A text that differs (``config.json``, the tokenizer's) is warned of once. A missing file is its reader's affair.

    Args:
        folder: of a model; may be missing.
        patterns: shell patterns of the files to be read.
        everything: compare all digests.

    Raises:
        InputError: another file differs, or a table is damaged.
    """
    tables = {holder: read(folder / holder) for holder in _HOLDERS}
    holders = {name: holder for holder, table in tables.items() for name in table}
    for name, holder in holders.items():
        path = folder / name
        if not os.path.exists(path) or not any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns):
            continue
        difference = tables[holder][name].difference(path, everything)
        if difference and name in _TEXTS:
            _warn(path, difference, holder)
        elif difference:
            raise InputError(
                f"{path}: {difference}, says {holder}: damaged or replaced; copy or make the folder again "
                f'(if you replaced it yourself, take it out of "files" in {holder})'
            )


def check_all(folder: str | os.PathLike) -> None:
    """``check`` of all that is there and has been noted, whatever its size; for ``--verify``."""
    check(Path(folder).expanduser(), "*", everything=True)


@functools.lru_cache(maxsize=256)  # so that it is said once
def _warn(path: Path, difference: str, holder: str) -> None:
    _log.warning("%s: %s, says %s; edited by hand? it is read as it is", path, difference, holder)


def add_flag(group: "argparse._ActionsContainer") -> None:
    """Add ``--verify`` to a command that loads a model."""
    group.add_argument(
        "--verify",
        action="store_true",
        help=f"compare the SHA-256 of files above {UNASKED_BYTES >> 20} MiB too, where the folder notes them",
    )
