"""Rows of text files with named columns: TSV as GLUE writes it, CSV, JSON-lines; each row knows its line."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mobilebert.base.errors import InputError
from mobilebert.base.files import read_text

SUFFIXES = {".tsv": "tsv", ".txt": "tsv", ".csv": "csv", ".jsonl": "jsonl", ".json": "jsonl"}


@dataclass(frozen=True)
class Table:
    """A file's columns and its rows.

    Attributes:
        path: the file, for messages.
        header: names of the columns.
        rows: (line in the file, counted from 1; the values, in the order of the header; shorter where the row is).
    """

    path: str
    header: tuple[str, ...]
    rows: Iterator[tuple[int, list[str]]]

    def positions(self, columns: Sequence[str]) -> list[int]:
        """Where ``columns`` are in a row.

        Raises:
            InputError: a column is not in the header; the message lists what is.
        """
        for column in columns:
            if column not in self.header:
                raise InputError(f"{self.path}: no column {column!r}; the file has {', '.join(self.header)}")
        return [self.header.index(column) for column in columns]


def open_table(path: str | Path, header: Sequence[str] | None = None) -> Table:
    """Open a table; the suffix (before ``.gz``) says which kind: .tsv and .txt, .csv, .jsonl and .json.

    In TSV a quotation mark is text like any other, as in GLUE's files, where most are unbalanced; in CSV it quotes.
    A byte-order mark and Windows line ends are dropped; empty lines are skipped.

    Args:
        path: the file, ``.gz`` or plain, UTF-8.
        header: names of the columns where the file has no header line (TSV and CSV).

    Raises:
        InputError: unreadable, another suffix, no row at all, or a JSON line that is no object; for JSON-lines
            also, while the rows are read, a row without one of the first row's columns.
    """
    path = Path(path)
    suffix = (path.with_suffix("") if path.suffix == ".gz" else path).suffix
    if suffix not in SUFFIXES:
        raise InputError(f"{path}: cannot tell the format from {suffix!r}; name it {', '.join(SUFFIXES)}")
    text = read_text(path)
    if SUFFIXES[suffix] == "jsonl":
        return _json_table(path, text)
    rows = _tsv_rows(text) if SUFFIXES[suffix] == "tsv" else _csv_rows(path, text)
    if header is None:
        header = next(rows, (0, None))[1]
        if header is None:
            raise InputError(f"{path}: empty; expected a header line with the columns' names")
    return Table(str(path), tuple(name.strip() for name in header), rows)


def _tsv_rows(text: str) -> Iterator[tuple[int, list[str]]]:
    # Only "\n" ends a line: str.splitlines would also cut at U+2028 and others, which are text.
    for number, line in enumerate(text.split("\n"), start=1):
        line = line.removesuffix("\r")
        if line:
            yield number, line.split("\t")


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        number = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise InputError(f"{path}:{number}: broken CSV ({error}); is a quotation mark left open?") from None
        if row:
            yield number, row


def _json_table(path: Path, text: str) -> Table:
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    if not lines:
        raise InputError(f"{path}: empty; expected one JSON object a line")
    header = tuple(_json_object(path, *lines[0]))

    def rows() -> Iterator[tuple[int, list[str]]]:
        for number, line in lines:
            row = _json_object(path, number, line)
            yield number, [_json_text(path, number, name, row) for name in header]

    return Table(str(path), header, rows())


def _json_object(path: Path, number: int, line: str) -> dict:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(f"{path}:{number}: broken JSON at column {error.colno} ({error.msg})") from None
    if not isinstance(row, dict):
        raise InputError(f"{path}:{number}: expected one JSON object a line, got {type(row).__name__}")
    return row


def _json_text(path: Path, number: int, name: str, row: dict) -> str:
    if name not in row:
        raise InputError(f"{path}:{number}: no {name!r}, which the first line has")
    value = row[name]
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
