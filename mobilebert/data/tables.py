"""Rows of text files with named columns: TSV as GLUE writes it, CSV, JSON; each row knows its line."""

import csv
import io
import json
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from mobilebert.base.errors import InputError
from mobilebert.base.files import read_text
from mobilebert.base.json_decoder import JsonDecoder, repeated_key
from mobilebert.data.texts import check_text

SUFFIXES = {".tsv": "tsv", ".txt": "tsv", ".csv": "csv", ".jsonl": "json", ".json": "json"}

# What spreadsheets and pandas save that is no text: another name alone would not help.
NO_TEXT = {".xlsx", ".xls", ".xlsm", ".xlsb", ".ods", ".numbers", ".parquet", ".feather", ".arrow", ".orc"} | {
    *(".pkl", ".pickle", ".h5", ".hdf5", ".dta", ".sav", ".sas7bdat", ".rds", ".npy", ".npz")
}
_ZERO_WIDTH = "\u200b\u200c\u200d\u2060\ufeff"
_EXCEL_SEPARATOR = re.compile(r'"?sep=(.)"?\r?\n')  # a first line that says what separates the columns
_DELIMITERS = ",;\t"  # of .csv, in the order in which they are tried on the header
# QQP's own files are quoted as CSV writes it, and everyone who reports scores on them reads the quotes as text; some of
# their questions are empty.
QQP_COLUMNS = {"question1", "question2"}
_QUOTED = "in .tsv a quotation mark is text; name the file .csv, where a tab separates too, or write it without quoting"


class JsonValue(str):
    """A cell of a JSON file that is no text there: its JSON (of null: nothing).

    Attributes:
        kind: null, NaN, number, boolean, list, object; or where the row lacks the column absent, and absent at first
            where the first row does too.
    """

    kind: str

    def __new__(cls, value: Any, kind: str | None = None):
        """``value`` is what the JSON reader gave; ``kind`` where it did not stand there at all."""
        cell = super().__new__(cls, "" if value is None else json.dumps(value, ensure_ascii=False))
        cell.kind = kind or _kind(value)
        return cell


@dataclass(frozen=True)
class Table:
    """A file's columns and its rows.

    Attributes:
        path: the file, for messages.
        header: names of the columns.
        rows: (line in the file, counted from 1; the values, in the order of the header; shorter where the row is).
            What is no text in a JSON file is a ``JsonValue``.
    """

    path: str
    header: tuple[str, ...]
    rows: Iterator[tuple[int, list[str]]]

    def positions(self, columns: Sequence[str]) -> list[int]:
        """Where ``columns`` are in a row.

        Raises:
            InputError: a column is not in the header, and the message lists what is; or it is there twice.
        """
        for column in columns:
            if column not in self.header:
                there = ", ".join(self.header)
                raise InputError(f"{self.path}: no column {column!r}; the file has {there}{self._hint()}")
            if self.header.count(column) > 1:
                raise InputError(f"{self.path}: {self.header.count(column)} columns are called {column!r}; rename one")
        return [self.header.index(column) for column in columns]

    def check_text(self, line: int, row: Sequence[str], at: int) -> None:
        """Refuse a null, a list or an object where text is expected, and what no text may be; names the place."""
        kind = getattr(row[at], "kind", "text")
        if kind in ("null", "NaN", "list", "object"):
            raise InputError(f"{self.path}:{line}: {self.header[at]!r} is {_with_article(kind)}, expected text")
        check_text(f"{self.path}:{line}: {self.header[at]!r}", row[at])

    def _hint(self) -> str:
        if len(self.header) == 1 and any(mark in self.header[0] for mark in ",;|"):
            return " as one column; columns of .tsv are separated by tabs, those of .csv by commas, semicolons or tabs"
        return ""


def open_table(
    path: str | Path,
    header: Sequence[str] | None = None,
    may_lack: Collection[str] = (),
    wanted: Collection[str] | None = None,
) -> Table:
    """Open a table; the suffix (before ``.gz``, in any case) says which kind: .tsv and .txt, .csv, .jsonl and .json.

    In TSV a quotation mark is text like any other, as in GLUE's files, where most are unbalanced; in CSV it quotes.
    CSV is separated by what separates its header: comma, else semicolon, else tab; or as Excel's ``sep=;`` says. JSON
    is one object a line, or an array of objects. A byte-order mark and Windows line ends are dropped; empty lines are
    skipped.

    Args:
        path: the file, ``.gz`` or plain, UTF-8.
        header: names of the columns where the file has no header line (TSV and CSV).
        may_lack: columns that a row of a JSON file may be without.
        wanted: the columns of a JSON file that are read: the first row may lack them, and all rows may lack others;
            by default those of the first row.

    Raises:
        InputError: unreadable, another suffix, no row at all, JSON that holds no objects, or TSV that is byte for byte
            what CSV writers make of quotation marks; for JSON also, while the rows are read, a row without one of
            the columns that are read.
    """
    path = Path(path)
    suffix = (path.with_suffix("") if path.suffix == ".gz" else path).suffix.lower()
    if suffix in NO_TEXT:
        raise InputError(
            f"{path}: cannot tell the format from {suffix!r}, which is no text; save it as CSV (UTF-8), .csv"
        )
    if suffix not in SUFFIXES:
        raise InputError(f"{path}: cannot tell the format from {suffix!r}; name it {', '.join(SUFFIXES)}")
    text = read_text(path)
    if SUFFIXES[suffix] == "json":
        return _json_table(path, text, may_lack, wanted)
    if "\n" not in text and "\r" in text.strip():
        raise InputError(f"{path}: its lines end in carriage returns alone; save it with line feeds (\\n)")
    rows = _tsv_rows(text) if SUFFIXES[suffix] == "tsv" else _csv_rows(path, text)
    if header is None:
        header = next(rows, (0, None))[1]
        if header is None:
            raise InputError(f"{path}: empty; expected a header line with the columns' names")
    names = tuple(bare(name) for name in header)
    if SUFFIXES[suffix] == "tsv":
        _refuse_quoting(path, text, names)
    return Table(str(path), names, rows)


def bare(text: str) -> str:
    """``text`` without white space and zero-width characters at its ends."""
    while text != (shorter := text.strip().strip(_ZERO_WIDTH)):
        text = shorter
    return text


def _tsv_rows(text: str) -> Iterator[tuple[int, list[str]]]:
    # Only "\n" ends a line: str.splitlines would also cut at U+2028 and others, which are text.
    for number, line in enumerate(text.split("\n"), start=1):
        line = line.removesuffix("\r")
        if line:
            yield number, line.split("\t")


def _refuse_quoting(path: Path, text: str, header: Sequence[str]) -> None:
    """Refuse TSV as pandas and Excel write it: what holds a quotation mark, a tab or a line break stands in quotes.

    Excel's tab-delimited text also quotes what holds a comma (or its list separator, a semicolon in many countries).
    Certain, not guessed: every line must be what one of these writers makes of what is read there, so that one field
    with a quotation mark of its own, as all of GLUE's files but QQP's have, settles that they are text.
    """
    if all(len(name) > 1 and name[0] == name[-1] == '"' for name in header):
        raise InputError(f"{path}:1: the columns' names are quoted; {_QUOTED}")
    if '"' not in text or set(header) >= QQP_COLUMNS:
        return
    seen: list[str] = []  # the lines of the row that is being read
    reader = csv.reader(_seen(io.StringIO(text, newline=""), seen), delimiter="\t", strict=True)
    writers = ["", ",", ";"]  # what each quotes besides a quotation mark, a tab and a line break
    first = None
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    try:
        for row in reader:
            lines = "".join(seen)
            if '"' in lines:
                first = first or reader.line_num - len(seen) + 1
            if any(mark in lines for mark in '",;'):
                lines = _plain_ends(lines)
                writers = [marks for marks in writers if _quoted_row(row, marks) == lines]
                if not writers:
                    return
            seen.clear()
    except csv.Error:
        return
    raise InputError(f"{path}:{first}: looks quoted, as pandas, Excel and other CSV writers do it; {_QUOTED}")


def _quoted_row(row: Sequence[str], marks: str) -> str:
    """A row of tab-separated CSV in which ``marks`` are quoted as well."""
    if row == [""]:
        return '""'
    cells = (f'"{c.replace(chr(34), 2 * chr(34))}"' if any(m in c for m in f'"\t\r\n{marks}') else c for c in row)
    return _plain_ends("\t".join(cells))


def _plain_ends(text: str) -> str:
    return text.replace("\r\n", "\n").removesuffix("\n")


def _seen(lines: Iterator[str], seen: list[str]) -> Iterator[str]:
    for line in lines:
        seen.append(line)
        yield line


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    # The limit (131,072 characters a field) is the whole process's: it is only ever raised.
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    delimiter, is_named = csv_delimiter(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    if is_named:
        next(reader)
    while True:
        number = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise broken_csv(path, number, error) from None
        if row:
            yield number, row


def broken_csv(path: str | Path, line: int, error: csv.Error) -> InputError:
    """What to say of a row that is not CSV."""
    return InputError(f"{path}:{line}: broken CSV ({error}); is a quotation mark left open?")


def csv_delimiter(text: str) -> tuple[str, bool]:
    """What separates the columns of CSV, and whether it is named by a first line that is no row, as Excel writes it.

    Args:
        text: of the file, at least its header.
    """
    named = _EXCEL_SEPARATOR.match(text)
    return (named[1], True) if named else (_delimiter(text), False)


def _delimiter(text: str) -> str:
    """What separates the columns of CSV: the first of ``_DELIMITERS`` that separates anything in the header."""
    for delimiter in _DELIMITERS:
        try:
            header = next((row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row), [])
        except csv.Error:
            continue
        if len(header) > 1:
            return delimiter
    return ","


def _json_table(path: Path, text: str, may_lack: Collection[str], wanted: Collection[str] | None) -> Table:
    objects = json_objects(path, text)
    first = next(objects, None)
    if first is None:
        raise InputError(f"{path}: empty; expected one JSON object a line, or an array of objects")
    _refuse_columns(path, text, *first)
    names = list(first[1])
    later = set(wanted or ()).difference(map(bare, names))
    if later:
        others = {name: None for _, row in json_objects(path, text) for name in row if bare(name) in later}
        names.extend(others)
    header = tuple(bare(name) for name in names)
    lackable = set(may_lack) if wanted is None else {*may_lack, *header} - (set(wanted) - set(may_lack))

    def rows() -> Iterator[tuple[int, list[str]]]:
        for number, row in chain([first], objects):
            yield number, [_json_text(path, number, name, row, lackable, name in first[1]) for name in names]

    return Table(str(path), header, rows())


def json_objects(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line, object) of JSON lines, or of an array of objects; raises ``InputError`` with the line."""
    return _json_array(path, text) if text.lstrip().startswith("[") else _json_lines(path, text)


def _json_lines(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, json_object(path, number, line)


def json_object(path: str | Path, number: int, line: str) -> dict[str, Any]:
    """The object that a line of JSON lines holds.

    Args:
        path, number: of the line, for messages.
        line: its text.

    Raises:
        InputError: broken JSON, something else than an object, or a name that stands there twice.
    """
    try:
        row = json.loads(line, cls=JsonDecoder, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        form = "; expected one JSON object a line, or an array of objects" if line.strip() in "{" else ""
        raise InputError(f"{path}:{number}: broken JSON at column {error.colno} ({error.msg}){form}") from None
    except _RepeatedKey as error:
        raise InputError(f"{path}:{number}: {error} stands twice in one object; rename one") from None
    if not isinstance(row, dict):
        raise InputError(f"{path}:{number}: expected one JSON object a line, got {type(row).__name__}")
    return row


def _json_array(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of one array, decoded one by one, with the line on which each begins."""
    decoder = JsonDecoder(object_pairs_hook=_unique)
    at, line, counted = text.index("[") + 1, 1, 0
    is_first = True
    while True:
        at = _after_space(text, at)
        if text[at : at + 1] == "]":
            break
        if not is_first:
            if text[at : at + 1] != ",":
                raise InputError(f"{path}:{_line(text, at)}: broken JSON (expected a comma or the end of the array)")
            at = _after_space(text, at + 1)
        line, counted = line + text.count("\n", counted, at), at
        try:
            row, at = decoder.raw_decode(text, at)
        except json.JSONDecodeError as error:
            raise InputError(f"{path}:{error.lineno}: broken JSON at column {error.colno} ({error.msg})") from None
        except _RepeatedKey as error:
            raise InputError(f"{path}:{line}: {error} stands twice in one object; rename one") from None
        if not isinstance(row, dict):
            raise InputError(
                f"{path}:{line}: expected one JSON object a line, got list of {type(row).__name__}; "
                "an array must hold objects"
            )
        is_first = False
        yield line, row
    if text[at + 1 :].strip():
        raise InputError(f"{path}:{_line(text, at)}: broken JSON (more text behind the end of the array)")


def _after_space(text: str, at: int) -> int:
    while text[at : at + 1] in (" ", "\n", "\r", "\t"):
        at += 1
    return at


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


class _RepeatedKey(Exception):
    """Python's reader would keep the last of two values of one name."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        raise _RepeatedKey(repr(repeated_key(pairs)))
    return row


def _json_text(
    path: Path, number: int, name: str, row: dict[str, Any], may_lack: Collection[str], is_in_first: bool
) -> str:
    if name not in row:
        if bare(name) in may_lack:
            return JsonValue(None, "absent" if is_in_first else "absent at first")
        raise InputError(
            f"{path}:{number}: no {name!r}, which {'the first line has' if is_in_first else 'others have'}"
        )
    return cell(row[name])


def cell(value: Any) -> str:
    """A value of a typed table as a cell: text as it is, anything else as a ``JsonValue``."""
    return value if isinstance(value, str) else JsonValue(value)


def _refuse_columns(path: Path, text: str, line: int, row: dict[str, Any]) -> None:
    """Refuse the file that is one object of whole columns, as pandas' ``to_json`` writes without further words."""
    if not row or not all(isinstance(value, dict | list) for value in row.values()):
        return
    rows = json_objects(path, text)
    next(rows)
    try:
        is_only = next(rows, None) is None
    except InputError:  # named where the rows are read
        return
    if is_only:
        raise InputError(
            f"{path}:{line}: one object that holds whole columns, {', '.join(row)}; write one object a row, in "
            "pandas to_json(orient='records', lines=True)"
        )


def _kind(value: Any) -> str:
    kinds = {type(None): "null", bool: "boolean", list: "list", dict: "object"}
    return "NaN" if value != value else kinds.get(type(value), "number")


def _with_article(kind: str) -> str:
    return f"an {kind}" if kind == "object" else f"a {kind}"
