"""Tables of any length in slices: a slice is the same rows each time, and is read without the rest of its file.

Parquet (``.parquet``), JSON lines (``.jsonl``) and CSV with a header line (``.csv``). A row that cannot be read is an
error in the place of the row, and the others are read: of a million rows some are broken.
"""

import csv
import functools
import os
from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from mobilebert.base import extras
from mobilebert.base.errors import InputError, first_line
from mobilebert.base.files import regular
from mobilebert.data.tables import bare, broken_csv, cell, csv_delimiter, json_object
from mobilebert.data.texts import LONGEST_TEXT

SUFFIXES = (".parquet", ".jsonl", ".csv")
_LONGEST_LINE = 16 * LONGEST_TEXT  # bytes
_MOST_BYTES = 64 << 20  # of a slice of text; its last row may go beyond
_HEAD_BYTES = 1 << 20  # in which the header is looked for
_SAMPLE_ROWS = 1000  # of JSON lines, among whose keys columns are looked for
_ENCODING = "utf-8", "surrogateescape"  # a byte that is none of UTF-8 is refused with its row (``check_text``)

Row = list[str] | InputError


class IncompleteRow(InputError):
    """A row that lacks a column.

    Attributes:
        cells: of the columns that were asked for, those that it has.
    """

    def __init__(self, message: str, cells: dict[str, str]):
        super().__init__(message)
        self.cells = cells


@dataclass(frozen=True)
class Slice:
    """Rows of a file that follow each other.

    Attributes:
        path: the file.
        number: of the slice in its file, from 0.
        first: its first row, counted from 0 in the file.
        rows: how many it has.
        start: its first byte; of Parquet 0.
        line: on which it begins, counted from 1; of Parquet 0.
    """

    path: str
    number: int
    first: int
    rows: int
    start: int = 0
    line: int = 0


def header_of(path: str | Path) -> tuple[str, ...]:
    """The columns of a file; of JSON lines those of its first thousand rows.

    Raises:
        InputError: another kind of file, unreadable, or without a header.
    """
    kind = _kind(path)
    with _reading(path):
        if kind == ".parquet":
            return tuple(_parquet(path).schema_arrow.names)
        if kind == ".csv":
            return _csv_head(path)[0]
        names: dict[str, None] = {}
        with _open(path) as handle:
            for _, line, text in islice(_lines(handle, 0, 1), _SAMPLE_ROWS):
                row = _json_row(path, line, text)
                names.update(dict.fromkeys(row) if isinstance(row, dict) else {})
        return tuple(names)


def cut(path: str | Path, most_rows: int, columns: Sequence[str] = ()) -> list[Slice]:
    """All slices of a file.

    Args:
        path: the file; of text every byte is read once, of Parquet only the end.
        most_rows: of a slice; one of text also ends at 64 MiB.
        columns: that the file must have (of JSON lines each row is asked when it is read).

    Raises:
        InputError: as ``header_of``, or a column is missing or holds something else than texts and numbers.
    """
    if _kind(path) == ".parquet":
        with _reading(path):
            file = _parquet(path)
            _check_columns(path, file.schema_arrow.names, columns)
            _check_types(path, file.schema_arrow, columns)
            total = file.metadata.num_rows
        firsts = range(0, total, most_rows)
        return [Slice(str(path), at, first, min(most_rows, total - first)) for at, first in enumerate(firsts)]
    if _kind(path) == ".csv":
        _check_columns(path, _csv_head(path)[0], columns)
    slices: list[Slice] = []
    first = count = begin = begin_line = 0
    with _reading(path), _open(path) as handle:
        for start, line, _ in _records(path, handle):
            if count == most_rows or (count and start - begin >= _MOST_BYTES):
                slices.append(Slice(str(path), len(slices), first, count, begin, begin_line))
                first, count = first + count, 0
            if count == 0:
                begin, begin_line = start, line
            count += 1
    return [*slices, Slice(str(path), len(slices), first, count, begin, begin_line)] if count else slices


def read(piece: Slice, columns: Sequence[str]) -> Iterator[tuple[int, Row]]:
    """The rows of a slice.

    Args:
        piece: of ``cut``.
        columns: names.

    Yields:
        The row's place for messages (its line; of Parquet its number), and its cells in the order of ``columns``, or
        what is wrong with it. What is no text in JSON or Parquet is a ``JsonValue``.

    Raises:
        InputError: the file has other rows than when it was cut.
    """
    count = 0
    for row in (_parquet_rows if _kind(piece.path) == ".parquet" else _text_rows)(piece, columns):
        yield row
        count += 1
    if count != piece.rows:
        raise InputError(f"{piece.path}: has fewer rows than before; do not change it while it is read")


def _text_rows(piece: Slice, columns: Sequence[str]) -> Iterator[tuple[int, Row]]:
    header = _csv_head(piece.path)[0] if _kind(piece.path) == ".csv" else ()
    with _open(piece.path) as handle:
        for _, line, content in _records(piece.path, handle, piece):
            if isinstance(content, InputError):
                yield line, content
            elif isinstance(content, list):
                yield line, _csv_cells(f"{piece.path}:{line}", content, header, columns)
            else:
                yield line, _json_cells(piece.path, line, _json_row(piece.path, line, content), columns)


class _reading:
    """A library's or the system's error about a file as one line."""

    def __init__(self, path: str | Path):
        self.path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind, error, trace) -> None:
        if isinstance(error, FileNotFoundError):
            raise InputError(f"{self.path}: no such file") from None
        if isinstance(error, OSError) or (error is not None and type(error).__name__.startswith("Arrow")):
            raise InputError(f"{self.path}: cannot be read ({first_line(error)})") from None


def _kind(path: str | Path) -> str:
    suffix = Path(path).suffix.lower()
    if suffix == ".gz":
        raise InputError(f"{path}: compressed text cannot be read in parts; unpack it, or save it as Parquet")
    if suffix not in SUFFIXES:
        raise InputError(f"{path}: cannot tell the format from {suffix!r}; expected {', '.join(SUFFIXES)}")
    return suffix


def _open(path: str | Path) -> BinaryIO:
    return open(regular(path), "rb")


def _records(
    path: str | Path, handle: BinaryIO, piece: Slice | None = None
) -> Iterator[tuple[int, int, bytes | list[str] | InputError | None]]:
    """(first byte, line, content) of each row of text, or of a slice's: a line of JSON, or the fields of CSV."""
    rows: Iterator[tuple[int, int, Any]]
    if _kind(path) == ".jsonl":
        handle.seek(piece.start if piece else 0)
        rows = _lines(handle, piece.start if piece else 0, piece.line if piece else 1)
    else:
        rows = _csv_records(path, handle, piece)
    yield from rows if piece is None else islice(rows, piece.rows)


def _lines(handle: BinaryIO, at: int, line: int) -> Iterator[tuple[int, int, bytes | None]]:
    """(first byte, number, text) of each line that is not empty; None for one that is too long to be held."""
    for number, start, text in _raw_lines(handle, at, line):
        if text is None or (text.removeprefix(BOM_UTF8) if start == 0 else text).strip():
            yield start, number, text


def _raw_lines(handle: BinaryIO, at: int, line: int) -> Iterator[tuple[int, int, bytes | None]]:
    while text := handle.readline(_LONGEST_LINE + 1):
        start, at = at, at + len(text)
        whole: bytes | None = text
        while len(text) > _LONGEST_LINE and not text.endswith(b"\n"):
            text, whole = handle.readline(_LONGEST_LINE + 1), None
            at += len(text)
        yield line, start, whole
        line += 1


def _too_long(path: str | Path, line: int) -> InputError:
    return InputError(f"{path}:{line}: has more than {_LONGEST_LINE:,} bytes, which is too large for a row; cut it")


def _json_row(path: str | Path, line: int, text: bytes | None) -> dict | InputError:
    if text is None:
        return _too_long(path, line)
    try:
        row = json_object(path, line, text.decode("utf-8-sig" if line == 1 else "utf-8"))
    except InputError as error:
        return error
    except UnicodeDecodeError as error:
        return InputError(f"{path}:{line}: not UTF-8 text (byte {error.start}); save it as UTF-8")
    return {bare(name): value for name, value in row.items()}


def _json_cells(path: str, line: int, row: dict | InputError, columns: Sequence[str]) -> Row:
    if isinstance(row, InputError):
        return row
    missing = next((name for name in columns if name not in row), None)
    if missing is not None:
        there = {name: cell(row[name]) for name in columns if name in row}
        return IncompleteRow(f"{path}:{line}: no {missing!r}; the row has {', '.join(row)}", there)
    return [cell(row[name]) for name in columns]


@functools.lru_cache(maxsize=16)
def _csv_head(path: str | Path) -> tuple[tuple[str, ...], str, int, int]:
    """(columns, what separates them, first byte behind the header, line of that)."""
    with _reading(path), _open(path) as handle:
        head = handle.read(_HEAD_BYTES)
        mark = len(BOM_UTF8) if head.startswith(BOM_UTF8) else 0
        delimiter, is_named = csv_delimiter(head[mark:].decode(*_ENCODING))
        handle.seek(mark)
        at, line = mark, 1
        if is_named:
            at, line = at + len(handle.readline()), 2
        rows = _csv_from(path, handle, at, line, delimiter)
        header = next(rows, (0, 0, None))[2]
        if isinstance(header, InputError):
            raise header
        if header is None:
            raise InputError(f"{path}: empty; expected a header line with the columns' names")
        at, line, _ = next(rows, (handle.tell(), 0, None))
    return tuple(map(bare, header)), delimiter, at, line


def _csv_records(
    path: str | Path, handle: BinaryIO, piece: Slice | None
) -> Iterator[tuple[int, int, list[str] | InputError]]:
    _, delimiter, at, line = _csv_head(path)
    if piece is not None:
        at, line = piece.start, piece.line
    handle.seek(at)
    return _csv_from(path, handle, at, line, delimiter)


def _csv_from(
    path: str | Path, handle: BinaryIO, at: int, line: int, delimiter: str
) -> Iterator[tuple[int, int, list[str] | InputError]]:
    """(first byte, line, fields) of each row that is not empty, from a place where a row begins."""
    csv.field_size_limit(max(csv.field_size_limit(), 4 * LONGEST_TEXT))  # only raised: it is the whole process's
    too_long = False

    def feed() -> Iterator[str]:
        nonlocal at, line, too_long
        for number, _, text in _raw_lines(handle, at, line):
            too_long = too_long or text is None
            at, line = handle.tell(), number + 1
            yield (text or b"").decode(*_ENCODING)

    reader = csv.reader(feed(), delimiter=delimiter, strict=True)
    while True:
        start, first, too_long = at, line, False
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield start, first, broken_csv(path, first, error)
            continue
        if too_long:
            yield start, first, _too_long(path, first)
        elif row:
            yield start, first, row


def _csv_cells(where: str, row: list[str], header: Sequence[str], columns: Sequence[str]) -> Row:
    places = [header.index(name) for name in columns]
    if len(row) > len(header) or max(places) >= len(row):
        return InputError(f"{where}: {len(row)} columns, expected {len(header)} ({', '.join(header)})")
    return [row[at] for at in places]


def _check_columns(path: str | Path, header: Sequence[str], columns: Sequence[str]) -> None:
    for name in columns:
        if name not in header:
            raise InputError(f"{path}: no column {name!r}; the file has {', '.join(header)}")
        if list(header).count(name) > 1:
            raise InputError(f"{path}: {list(header).count(name)} columns are called {name!r}; rename one")


def _parquet(path: str | Path):
    return extras.load("pyarrow.parquet").ParquetFile(str(regular(path)))


def _check_types(path: str | Path, schema, columns: Sequence[str]) -> None:
    types = extras.load("pyarrow").types
    for name in columns:
        kind = found = schema.field(name).type
        if types.is_dictionary(kind):
            kind = kind.value_type
        names = ("is_string", "is_large_string", "is_string_view", "is_integer", "is_floating", "is_null")
        if not any(getattr(types, is_kind)(kind) for is_kind in names):
            raise InputError(f"{path}: column {name!r} is of type {found}, expected texts; convert it")


def _parquet_rows(piece: Slice, columns: Sequence[str]) -> Iterator[tuple[int, Row]]:
    file, begin = _parquet(piece.path), 0
    for group in range(file.metadata.num_row_groups):
        end = begin + file.metadata.row_group(group).num_rows
        low, high = max(piece.first, begin), min(piece.first + piece.rows, end)
        if low < high:
            batches = file.iter_batches(row_groups=[group], columns=list(dict.fromkeys(columns)), use_threads=False)
            yield from _group_rows(piece.path, batches, columns, begin, range(low, high))
        begin = end


def _group_rows(path: str, batches, columns: Sequence[str], begin: int, wanted: range) -> Iterator[tuple[int, Row]]:
    """Some rows of a group that begins with row ``begin`` and is read from there, up to what is damaged."""
    at, end = wanted.start, begin
    try:
        with _reading(path):
            for batch in batches:
                begin, end = end, end + len(batch)
                part = batch.slice(max(0, at - begin), max(0, min(wanted.stop, end) - at))
                for row in zip(*(part.column(name).to_pylist() for name in columns), strict=True):
                    yield at, [cell(value) for value in row]
                    at += 1
                if at == wanted.stop:
                    return
    except InputError as error:
        for number in range(at, wanted.stop):
            yield number, error


def find(pattern: str, outside: Path | None = None) -> dict[str, Path]:
    """The files that a folder, a pattern or a path names.

    Args:
        pattern: a file; a folder, for all files in it and below that can be read here; or a pattern of ``glob`` (``**``
            for any folders). What begins with a dot or an underscore is passed over in folders.
        outside: a folder whose files are passed over too: the results of an earlier run are no input.

    Returns:
        Name (the path below the folder, or below what comes before the first wildcard) -> file, sorted by name.

    Raises:
        InputError: nothing there, or an address of another kind of store.
    """
    if "://" in pattern:
        raise InputError(f"{pattern}: only paths are read; mount the store, or copy the files to a disk that all share")
    path = Path(pattern)
    if path.is_file():
        return {path.name: path}
    if path.is_dir():
        base, files = path, [file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES]
    else:
        fixed = []
        for part in path.parts[:-1]:
            if any(mark in part for mark in "*?["):
                break
            fixed.append(part)
        base = Path(*fixed)
        rest = os.path.join(*path.parts[len(fixed) :]) if path.parts else ""
        files = list(base.glob(rest)) if any(mark in rest for mark in "*?[") else []
    if outside is not None:
        own = outside.resolve()
        files = [file for file in files if not file.parent.resolve().is_relative_to(own)]
    found = {file.relative_to(base).as_posix(): file for file in files if file.is_file()}
    names = sorted(name for name in found if not any(part.startswith((".", "_")) for part in name.split("/")))
    if not names:
        there = (
            "no file there"
            if not path.exists()
            else f"no {', '.join(SUFFIXES)} in it{f' outside of {outside}' if outside else ''}"
        )
        raise InputError(f"{pattern}: {there}; expected a file, a folder or a pattern (in quotation marks)")
    return {name: found[name] for name in names}
