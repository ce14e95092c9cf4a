"""Several labels for one text: a list in JSON, a cell with separators, or columns of 0 and 1.

N texts, L labels
"""

import ast
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mobilebert.base.errors import InputError
from mobilebert.data.classify.columns import Columns
from mobilebert.data.classify.labels import (
    MissingLabels,
    as_number,
    check_class_names,
    is_missing,
    is_written_list,
    sort_words,
)
from mobilebert.data.tables import JsonValue, bare, open_table

_YES_OR_NO = {"true": True, "false": False, "yes": True, "no": False}


@dataclass(frozen=True)
class LabelSets:
    """How several labels of a text are written.

    Attributes:
        separator: between the labels of a cell; empty for lists.
        indicators: columns of 0 and 1; empty where the labels stand in one column.
    """

    separator: str = ""
    indicators: tuple[str, ...] = ()

    def words(self, where: str, cells: Sequence[str], classes: Collection[str] = ()) -> list[str] | None:
        """The labels of a row, each once.

        Args:
            where: file and line, for messages.
            cells: of the label column, or of ``indicators``.
            classes: words that are labels, whatever they look like.

        Returns:
            None where the row says nothing: null, NaN, no such key; an indicator that is empty. An empty cell or list
            is a text with none of the labels.

        Raises:
            InputError: an indicator that is neither 0 nor 1; a list of something else than words and numbers.
        """
        if self.indicators:
            flags = [_flag(f"{where}: {name!r}", cell) for name, cell in zip(self.indicators, cells, strict=True)]
            if None in flags:
                return None
            return [name for name, flag in zip(self.indicators, flags, strict=True) if flag]
        (cell,) = cells
        kind = getattr(cell, "kind", "text")
        if (bare(cell) and is_missing(cell, ("-1", *classes))) or kind in ("null", "NaN", "absent", "absent at first"):
            return None
        if kind == "object":
            raise InputError(f"{where}: the label is an object, {cell[:40]!r}; expected a list of words")
        if kind == "list" or (kind == "text" and not self.separator and is_written_list(bare(cell))):
            parts = [_word(where, item) for item in _items(where, cell)]
        elif self.separator:
            parts = cell.split(self.separator)
        else:
            parts = [cell]
        return list(dict.fromkeys(word for word in map(bare, parts) if word))

    def read(self, where: str, cells: Sequence[str], label_ids: Mapping[str, int]) -> list[float] | None:
        """[L] 1 for each label that a row has, else 0; None where it says nothing.

        Raises:
            InputError: a label that is not among ``label_ids``; what ``words`` refuses.
        """
        found = self.words(where, cells, label_ids)
        if found is None:
            return None
        if unknown := next((word for word in found if word not in label_ids), None):
            raise InputError(f"{where}: unknown label {unknown!r}; expected some of {', '.join(label_ids)}")
        chosen = {label_ids[word] for word in found}
        return [float(index in chosen) for index in range(len(set(label_ids.values())))]


def holds_lists(path: str | Path, label_column: str) -> bool:
    """Whether a file's first label is a list: several labels a text."""
    table = open_table(path, may_lack=(label_column,), wanted=(label_column,))
    (at,) = table.positions([label_column])
    for _, row in table.rows:
        if len(row) > at and not is_missing(row[at], None):
            return getattr(row[at], "kind", "text") == "list" or is_written_list(bare(row[at]))
    return False


def read_set_words(
    path: str | Path, columns: Columns, on_missing_label: str | None = None, classes: Collection[str] = ()
) -> tuple[str, ...]:
    """The distinct labels of a file, sorted as ``read_label_words`` sorts; of indicators, their columns' names.

    Raises:
        InputError: rows that say nothing, no label at all, a separator that is nowhere.
    """
    sets = LabelSets(columns.separator, columns.indicators)
    if sets.indicators:
        check_class_names(sets.indicators, f"`label_columns={' '.join(sets.indicators)}`")
    table = open_table(path, may_lack=columns.labels, wanted=columns.labels)
    places = table.positions(columns.labels)
    missing = MissingLabels(path, on_missing_label, may_be_class=True)
    found: dict[str, None] = {}
    labelled, most = 0, 0
    for line, row in table.rows:
        if len(row) <= max(places):
            continue
        words = sets.words(f"{path}:{line}", [row[at] for at in places], classes)
        if words is None:
            missing.add(line, row[places[0]], columns.labels[0])
            continue
        labelled, most = labelled + 1, max(most, len(words))
        found.update(dict.fromkeys(words))
    missing.settle(labelled)
    if sets.separator and most < 2:
        raise InputError(f"{path}: no {columns.label!r} has two labels with {sets.separator!r} between them; check "
                         "`label_separator`")  # fmt: skip
    return sets.indicators or tuple(sort_words(found))


def _flag(where: str, cell: str) -> bool | None:
    word = bare(cell)
    if word.casefold() in _YES_OR_NO:
        return _YES_OR_NO[word.casefold()]
    if is_missing(cell, None):
        return None
    if as_number(word) not in (0.0, 1.0):
        raise InputError(f"{where} is {word!r}, expected 0 or 1: whether the text has this label")
    return as_number(word) == 1.0


def _items(where: str, cell: str) -> Iterable[object]:
    if isinstance(cell, JsonValue):
        return json.loads(cell)
    try:
        return ast.literal_eval(bare(cell))
    except (ValueError, SyntaxError):  # [0 1 0], as NumPy prints it
        raise InputError(f"{where}: the label is {bare(cell)[:40]!r}; expected a list with commas") from None


def _word(where: str, item: object) -> str:
    if isinstance(item, str):
        return item
    if isinstance(item, int | float) and not isinstance(item, bool):
        return json.dumps(item)
    raise InputError(f"{where}: the list of labels holds {item!r}; expected words or numbers")
