"""Documents out of text files, plain or packed, folders of them, and tables with a column of texts."""

import codecs
import glob
import gzip
import json
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from mobilebert.base import cli, extras
from mobilebert.base.errors import InputError, first_line
from mobilebert.base.files import regular
from mobilebert.base.json_decoder import JsonDecoder

_LONGEST_LINE = 1 << 24  # bytes
_LONGEST_DOCUMENT = 1 << 26  # so that memory has a bound
_LONGEST_ROW = 4 * _LONGEST_DOCUMENT  # of JSON, where two bytes of a text may be written as six
# What a folder may hold beside texts, and what would be read as nonsense.
_NO_TEXT = {
    *(".tsv", ".csv", ".json", ".xml", ".html", ".htm", ".md", ".pdf", ".doc", ".docx", ".odt", ".rtf", ".epub"),
    *(".zip", ".tar", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".lz4", ".feather", ".arrow", ".orc", ".npy", ".npz"),
    *(".safetensors", ".bin", ".pt", ".pkl", ".pickle", ".h5", ".tfrecord", ".py", ".sh", ".png", ".jpg"),
}
_ROWS = 256  # of Parquet, in memory at once


@dataclass(frozen=True)
class Document:
    """A document's lines, none of them blank.

    Attributes:
        path: its file.
        line: of the file on which it begins, counted from 1; of a table the row.
        text: UTF-8, lines separated by line feeds.
    """

    path: Path
    line: int
    text: bytes

    @property
    def place(self) -> str:
        """For messages."""
        return f"{self.path}:{self.line}"


def find_files(inputs: Sequence[str | os.PathLike]) -> list[Path]:
    """The files that are meant, each once: files, folders with all that is in them, and patterns.

    Args:
        inputs: files stand in this order; those of a folder or a pattern in that of their names.

    Raises:
        InputError: nothing there, or a file that is no text.
    """
    found: dict[Path, None] = {}
    for name in inputs:
        path = Path(name).expanduser()
        if path.is_dir():
            inside = [p for p in sorted(path.rglob("*")) if p.is_file() and not _is_hidden(p.relative_to(path))]
            files = [p for p in inside if _kind(p) not in _NO_TEXT]
            if files and (others := [_kind(p) for p in inside if _kind(p) in _NO_TEXT]):
                kinds = ", ".join(sorted(set(others)))
                cli.remark(f"{path}: passed over {len(others):,} files ({kinds}), which are not read as text")
        elif os.path.lexists(path):
            files = [regular(path)]
        else:
            files = [Path(p) for p in sorted(glob.glob(str(path), recursive=True)) if os.path.isfile(p)]
        if not files:
            raise InputError(f"{name}: {'no text file in it' if path.is_dir() else 'no such file'}; name files of text")
        found |= dict.fromkeys(files)
    for path in found:
        if _kind(path) in _NO_TEXT:
            raise InputError(
                f"{path}: {_kind(path)} is not read as text; give plain text (also .gz, .zst), .jsonl or .parquet"
            )
    return list(found)


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _kind(path: Path) -> str:
    """The suffix that says what is in a file, behind that of its packing."""
    return (path.with_suffix("") if path.suffix.lower() in (".gz", ".zst") else path).suffix.lower()


class Corpus:
    """The documents of some files, one after the other; a file's end ends a document too.

    Args:
        files: of ``find_files``.
        text_column: of .parquet and .jsonl, whose rows are documents.

    Attributes:
        bytes_read: how far it is, in bytes of the files as they are on disk.
    """

    def __init__(self, files: Sequence[Path], text_column: str = "text"):
        self.files = files
        self.bytes_read = 0
        self._column = text_column

    @property
    def size(self) -> int:
        """Bytes on disk of all files."""
        return sum(path.stat().st_size for path in self.files)

    def __iter__(self) -> Iterator[Document]:
        """The documents that have text.

        Raises:
            InputError: a file that cannot be read, a line or a document that is too long, a table without the column.
        """
        done = 0
        for path in self.files:
            try:
                for document, position in self._read(path):
                    self.bytes_read = done + position
                    if document.text:
                        yield document
                done += path.stat().st_size
            except (OSError, EOFError, zlib.error) as error:
                raise InputError(f"{path}: cannot be read ({error}); is the file complete?") from None

    def _read(self, path: Path) -> Iterator[tuple[Document, int]]:
        """Documents, and how far in the file each ends."""
        if _kind(path) == ".parquet":
            return self._parquet_rows(path)
        return self._json_lines(path) if _kind(path) == ".jsonl" else _text_documents(path)

    def _json_lines(self, path: Path) -> Iterator[tuple[Document, int]]:
        for number, line, position in _lines(path, _LONGEST_ROW):
            if not line.strip():
                continue
            try:
                row = json.loads(line, cls=JsonDecoder)
            except ValueError as error:  # not JSON, or not UTF-8
                raise InputError(f"{path}:{number}: broken JSON ({error}); expected one object a line") from None
            if not isinstance(row, dict) or not isinstance(row.get(self._column), str | None):
                raise InputError(f"{path}:{number}: no text {self._column!r}; name the column with `text_column`")
            if self._column not in row:
                raise InputError(
                    f"{path}:{number}: no {self._column!r}; it has {', '.join(row)}: name one with `text_column`"
                )
            yield self._document(path, number, row[self._column]), position

    def _parquet_rows(self, path: Path) -> Iterator[tuple[Document, int]]:
        extras.load("pyarrow")
        from pyarrow import ArrowException, parquet

        try:
            file = parquet.ParquetFile(regular(path), pre_buffer=False)
            schema = file.schema_arrow
            if self._column not in schema.names:
                columns = ", ".join(schema.names)
                raise InputError(f"{path}: no column {self._column!r}; it has {columns}: name one with `text_column`")
            kind = str(schema.field(self._column).type)
            if not kind.removeprefix("large_").startswith(("string", "dictionary<values=string")):
                raise InputError(f"{path}: column {self._column!r} is {kind}, and texts are expected; name another")
            rows, size, number = max(file.metadata.num_rows, 1), path.stat().st_size, 0
            for batch in file.iter_batches(_ROWS, columns=[self._column]):
                for text in batch.column(0).to_pylist():
                    number += 1
                    yield self._document(path, number, text), size * number // rows
        except ArrowException as error:
            raise InputError(f"{path}: not a sound Parquet file ({first_line(error)}); is it complete?") from None

    def _document(self, path: Path, number: int, text: str | None) -> Document:
        """A row of a table; lone surrogates, which JSON can hold, are no text."""
        try:
            lines = [line.strip() for line in (text or "").encode().split(b"\n")]
        except UnicodeEncodeError:
            raise InputError(f"{path}:{number}: half of a surrogate pair in {self._column!r}; correct it") from None
        content = b"\n".join(filter(None, lines))
        if len(content) > _LONGEST_DOCUMENT:
            raise InputError(_too_long(path, number))
        return Document(path, number, content)


def _text_documents(path: Path) -> Iterator[tuple[Document, int]]:
    """What blank lines separate."""
    lines: list[bytes] = []
    begin, size, position = 1, 0, 0
    for number, line, position in _lines(path, _LONGEST_LINE):
        line = line.strip()
        # White space beyond ASCII is rare, and a line of nothing else is short.
        if not line or (line[0] > 127 and len(line) < 64 and not line.decode(errors="replace").strip()):
            if lines:
                yield Document(path, begin, b"\n".join(lines)), position
            lines, size = [], 0
            continue
        if not lines:
            begin = number
        lines.append(line)
        size += len(line)
        if size > _LONGEST_DOCUMENT:
            raise InputError(_too_long(path, begin))
    if lines:
        yield Document(path, begin, b"\n".join(lines)), position


def _too_long(path: Path, line: int) -> str:
    return (
        f"{path}:{line}: here begins a document of more than {_LONGEST_DOCUMENT >> 20} MiB; "
        "put an empty line between documents"
    )


def _lines(path: Path, longest: int) -> Iterator[tuple[int, bytes, int]]:
    """The lines of a text file, each with its number and how far in the file, as it is on disk, it was read."""
    with open(regular(path), "rb") as raw, _unpacked(path, raw) as handle:
        number = 0
        while line := handle.readline(longest + 1):
            number += 1
            if number == 1:
                if line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                    raise InputError(f"{path}: UTF-16, not UTF-8 text; save it as UTF-8")
                line = line.removeprefix(codecs.BOM_UTF8)
            if len(line) > longest and not line.endswith(b"\n"):
                raise InputError(f"{path}:{number}: a line of more than {longest >> 20} MiB; is it text?")
            yield number, line, raw.tell()


@contextmanager
def _unpacked(path: Path, raw: IO[bytes]) -> Iterator[IO[bytes]]:
    """What is in a file; errors of its packing are those of a file."""
    if path.suffix.lower() == ".gz":
        yield cast(IO[bytes], gzip.GzipFile(fileobj=raw))
    elif path.suffix.lower() == ".zst":
        zstd = extras.load("backports.zstd")
        try:
            yield zstd.ZstdFile(raw)
        except zstd.ZstdError as error:
            raise OSError(first_line(error)) from None
    else:
        yield raw
