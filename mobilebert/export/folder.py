"""The folder of an export: what it may replace, and how it appears complete or not at all."""

import glob
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mobilebert.base import digests, hub, interrupt
from mobilebert.base.errors import InputError
from mobilebert.base.files import naming, temporary_beside
from mobilebert.base.records import read_record
from mobilebert.export import hub_layout
from mobilebert.export.card import CARD
from mobilebert.export.targets import TARGETS
from mobilebert.inference.manifest import MANIFEST
from mobilebert.model.tensor_files import SAFETENSORS

_OLD = ".replaced"


def check_replaceable(out: Path, sources: Sequence[str]) -> None:
    """Refuse to replace a folder that is more than an earlier export.

    Args:
        out: the folder to be written; may be missing.
        sources: files and folders that are read; names of the hub's are passed over.

    Raises:
        InputError: a file, a link, no export, an export with other files in it, one that holds a source, or the folder
            that the process works in.
    """
    if not os.path.lexists(out):
        return
    if out.is_symlink():
        raise InputError(f"{out}: a link, and an export never replaces what a link points to; choose another folder")
    if not out.is_dir():
        raise InputError(f"{out}: a file, but a folder is to be written; choose another name")
    place = Path(os.path.realpath(out))
    for source in [*map(os.path.expanduser, sources), Path.cwd()]:
        for path in _with_links(Path(source)):
            real = Path(os.path.realpath(path))  # Path.resolve raises where links go round in a circle
            if real == place or place in real.parents:
                what = "is" if real == place else "holds"
                raise InputError(f"{out}: {what} {path}, which must not be replaced; choose another folder")
    if any(out.iterdir()):
        _check_is_export(out)


def _with_links(source: Path) -> list[Path]:
    """A file or folder and the links in it, such as a hub's cache has; nothing for what is not there."""
    if not source.exists():
        return []
    return [source, *(path for path in source.iterdir() if path.is_symlink())] if source.is_dir() else [source]


@dataclass(frozen=True)
class _Export:
    """What an export of any version has in its manifest."""

    head: str
    engines: list[str] = field(default_factory=list)
    layout: str = "flat"


def _check_is_export(folder: Path) -> None:
    if not (folder / MANIFEST).is_file():
        raise InputError(f"{folder}: holds no {MANIFEST} of an export, and only an export is replaced")
    export = read_record(folder / MANIFEST, _Export, "no export, and only an export is replaced")
    engines = export.engines
    written = {name for target in TARGETS.values() if target.ENGINE in engines for name in target.files()}
    if "dygraph" in engines:
        written.add(SAFETENSORS)
    ours = {MANIFEST, CARD, digests.TABLE, *hub.CONFIG_FILES, *hub.TOKENIZER_FILES, *written}
    ours |= set(hub_layout.files(export.layout))
    others = sorted(name for path in folder.rglob("*") if (name := path.relative_to(folder).as_posix()) not in ours)
    if others:
        raise InputError(f"{folder}: holds {others[0]}, which no export wrote; move it away, or choose another folder")


@contextmanager
def new_folder(folder: Path, sources: Sequence[str]) -> Iterator[Path]:
    """A temporary folder beside ``folder`` that takes its name when the block ends well."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    _recover(folder)
    with naming(folder), temporary_beside(folder, folder=True) as temporary:
        yield temporary
        check_replaceable(folder, sources)  # again: minutes have passed
        with interrupt.cleaning(lambda: _recover(folder)), interrupt.held():
            if folder.exists():
                os.replace(folder, temporary.with_suffix(_OLD))
            os.replace(temporary, folder)


def _recover(folder: Path) -> None:
    """Finish or undo a replacement: nothing but what it replaced has such a name."""
    for old in folder.parent.glob(f".{glob.escape(folder.name)}.{16 * '[0-9a-f]'}{_OLD}"):
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.replace(old, folder)
