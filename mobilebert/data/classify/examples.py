"""Texts and pairs of texts with or without labels, from tables with named columns or plain lines."""

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mobilebert.base.errors import InputError
from mobilebert.base.files import read_text
from mobilebert.data.classify.label_sets import LabelSets
from mobilebert.data.classify.labels import MissingLabels, is_missing, line_list, read_label
from mobilebert.data.tables import QQP_COLUMNS, Table, bare, open_table
from mobilebert.data.texts import check_text

_log = logging.getLogger(__name__)

INDEX_COLUMNS = ("index", "id")  # QQP's is called id


@dataclass(frozen=True)
class Examples:
    """Labelled or unlabelled texts, column by column.

    Attributes:
        source: the file.
        ids: the file's index column, or the row's number counted from 0.
        texts: first (or only) sentences.
        pairs: second sentences, or None.
        labels: [N], int64 class indices, or float32 scores; [N, L], float32, 1 where a text has a label; or None.
        lines: of the file, counted from 1; None for texts of no file.
    """

    source: str
    ids: list[str]
    texts: list[str]
    pairs: list[str] | None
    labels: np.ndarray | None
    lines: list[int] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def first(self, count: int | None) -> "Examples":
        """The first ``count``; None is all."""
        return self.take(range(len(self))[:count])

    def take(self, rows: Sequence[int]) -> "Examples":
        """Some of them, in the order of ``rows``."""

        def some(column: list | None) -> list | None:
            return None if column is None else [column[row] for row in rows]

        labels = None if self.labels is None else self.labels[np.array(rows, np.int64)]
        ids, texts, pairs, lines = map(some, (self.ids, self.texts, self.pairs, self.lines))
        return Examples(self.source, ids, texts, pairs, labels, lines)


@dataclass(frozen=True)
class FileRules:
    """How a file may differ from one with a header, all columns in every row and a label in every row.

    Attributes:
        header: the columns' names where the file has no header line.
        score_range: what a regression's score may be.
        broken_rows: how many rows may have the wrong number of columns; they are left out and counted in a warning.
        longer_rows: whether a row may have more columns than the header. In a file of one's own that is most likely a
            tab within a text, which would cut it off unseen.
        no_label: the word that marks rows which are no examples; they are left out without being asked.
        keep: (columns, keys, wanted): keep the rows whose values of ``columns`` are (or are not) among ``keys``.
        on_missing_label: what becomes of other rows without a label, see ``MissingLabels``.
        may_be_empty: whether a text may be empty; it may be in QQP's official files, where some questions are.
        label_sets: how several labels of a text are written; None where each has one.
    """

    header: Sequence[str] | None = None
    score_range: tuple[float, float] = (-math.inf, math.inf)
    broken_rows: int = 0
    longer_rows: bool = False
    no_label: str | None = None
    keep: tuple[Sequence[str], set[tuple[str, ...]], bool] | None = None
    on_missing_label: str | None = None
    may_be_empty: bool = False
    label_sets: LabelSets | None = None


def read_examples(
    path: str | Path,
    text_columns: Sequence[str],
    label_column: str | None,
    label_ids: Mapping[str, int] | None,
    rules: FileRules | None = None,
) -> Examples:
    """Read texts and labels from a TSV, CSV or JSON file with named columns.

    Args:
        path: the file, plain or ``.gz``; the suffix names the format.
        text_columns: one column, or two for sentence pairs.
        label_column: None where the labels are withheld; not read where ``rules.label_sets`` has indicators.
        label_ids: label word -> class index; None for regression.
        rules: what the file may be like.

    Raises:
        InputError: no such column, no rows, no or an unknown label, no text, a wrong number of columns; names the line.
    """
    rules = rules or FileRules()
    if len(text_columns) not in (1, 2):
        raise InputError(f"`text_column={' '.join(text_columns)}`: expected one column, or two for sentence pairs")
    sets = rules.label_sets
    label_columns = () if not label_column else (sets and sets.indicators) or (label_column,)
    table = _open(path, text_columns, label_columns, rules)
    text_at, label_at = table.positions(text_columns), table.positions(label_columns)
    index_at = next((table.header.index(name) for name in INDEX_COLUMNS if name in table.header), None)
    needed = max(at for at in (*text_at, *label_at, index_at) if at is not None)

    ids: list[str] = []
    lines: list[int] = []
    columns: list[list[str]] = [[] for _ in text_at]
    labels: list[int | float | list[float]] = []
    empty: list[tuple[int, str]] = []
    missing, undecided = MissingLabels(path, rules.on_missing_label), 0
    for number, line, row in _whole_rows(table, needed, rules):
        if label_at:
            cells = [row[at] for at in label_at]
            if rules.no_label is not None and bare(cells[0]) == rules.no_label:
                undecided += 1
                continue
            label = _label(f"{path}:{line}", cells, label_ids, rules)
            if label is None:
                missing.add(line, cells[0], table.header[label_at[0]])
                continue
            labels.append(label)
        lines.append(line)
        ids.append(str(number) if index_at is None else _index(table, line, row, index_at))
        for column, at in zip(columns, text_at, strict=True):
            table.check_text(line, row, at)
            column.append(row[at])
        empty.extend((line, table.header[at]) for at in text_at if not bare(row[at]))
    if undecided:
        _log.info("%s: %d rows without a consensus label left out", path, undecided)
    missing.settle(len(ids))
    _refuse_empty(table, empty, rules)
    if not ids:
        raise InputError(f"{path}: no examples; expected rows below the header {', '.join(table.header)}")
    has_classes = label_ids is not None and sets is None
    return Examples(
        source=str(path),
        ids=ids,
        texts=columns[0],
        pairs=columns[1] if len(columns) == 2 else None,
        labels=np.array(labels, np.int64 if has_classes else np.float32) if label_at else None,
        lines=lines,
    )


def _label(
    where: str, cells: Sequence[str], label_ids: Mapping[str, int] | None, rules: FileRules
) -> int | float | list[float] | None:
    """What a row's label cells say; None where they are empty."""
    if rules.label_sets is not None:
        return rules.label_sets.read(where, cells, label_ids or {})
    return None if is_missing(cells[0], label_ids) else read_label(where, cells[0], label_ids, rules.score_range)


def _open(path: str | Path, text_columns: Sequence[str], label_columns: Sequence[str], rules: FileRules) -> Table:
    kept = rules.keep[0] if rules.keep else ()
    return open_table(path, rules.header, label_columns, (*text_columns, *label_columns, *kept))


def _refuse_empty(table: Table, empty: Sequence[tuple[int, str]], rules: FileRules) -> None:
    """``empty``: line and column of each cell without text."""
    if empty and not rules.may_be_empty and not set(table.header) >= QQP_COLUMNS:
        line, column = empty[0]
        lines = line_list(sorted({line for line, _ in empty}))
        what = f"{column!r} is empty; rows without text: {lines}"
        raise InputError(f"{table.path}:{line}: {what}: give each a text, or take the rows out of the file")


def _index(table: Table, line: int, row: Sequence[str], at: int) -> str:
    if getattr(row[at], "kind", None) == "absent":
        raise InputError(f"{table.path}:{line}: no {table.header[at]!r}, which the first line has")
    return row[at]


def _whole_rows(table: Table, needed: int, rules: FileRules) -> Iterator[tuple[int, int, list[str]]]:
    """(number counted from 0, line, values) of the rows that are kept and have all columns up to ``needed``."""
    keep_at = table.positions(rules.keep[0]) if rules.keep else []
    needed = max([needed, *keep_at])
    broken = []
    for number, (line, row) in enumerate(table.rows):
        if len(row) > needed and (len(row) <= len(table.header) or rules.longer_rows):
            if rules.keep is None or (tuple(row[at] for at in keep_at) in rules.keep[1]) == rules.keep[2]:
                yield number, line, row
            continue
        broken.append(line)
        if len(broken) > rules.broken_rows:
            expected = f"{len(table.header)} ({', '.join(table.header)})"
            raise InputError(f"{table.path}:{line}: {len(row)} columns, expected {expected}")
    if broken:
        _log.warning("%s: %d rows with a wrong number of columns left out (lines %s)", table.path, len(broken), broken)


def read_lines(path: str | Path) -> Examples:
    """Read a text a line; only a line feed ends a line, and empty lines are skipped.

    Raises:
        InputError: no text, not UTF-8, or a line that is too long.
    """
    texts = []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            check_text(f"{path}:{number}:", line)
            texts.append(line.removesuffix("\r"))
    if not texts:
        raise InputError(f"{path}: has no text")
    return Examples(str(path), [str(number) for number in range(len(texts))], texts, None, None)
