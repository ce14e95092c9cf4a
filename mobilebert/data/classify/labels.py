"""What stands in a label column: class words, numbers, and the marks of rows that have no label."""

import ast
import logging
import math
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from mobilebert.base.errors import InputError
from mobilebert.data.tables import bare, open_table

_log = logging.getLogger(__name__)

ON_MISSING_LABEL = ("error", "drop")
# What annotation tools, spreadsheets, databases and pandas write where there is no label, in any case of the letters.
NO_LABEL = frozenset(
    (
        *("", "-", "--", "\u2013", "\u2014"),
        *("nan", "-nan", "<na>", "na", "n/a", "n.a.", "nat", "none", "null", "nil", "undefined", "\\n"),
        *("#n/a", "#n/a n/a", "#na", "#value!", "#ref!", "#div/0!", "#name?", "#num!", "#null!", "#spill!", "#calc!"),
        *("1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan"),
    )
)
_MINUS = "\u2212"  # typeset minus signs, which word processors put in
_NO_CLASS = ("-1", "-1.0", f"{_MINUS}1", f"{_MINUS}1.0")  # Hugging Face's data sets number withheld labels so
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
# Numbers that Python does not read: with a decimal comma, with separated thousands, in percent.
_LOCAL_NUMBER = re.compile(
    r"[+-]?(\d+([.,]\d*)?|[.,]\d+|\d{1,3}([.,]\d{3})+[.,]\d*)([eE][+-]?\d+)?\s*[%\u2030]?", re.ASCII
)
_NUMPY_LIST = re.compile(r"\[[-+.\deE\s]*\]")
_MOST_NUMBERED_CLASSES = 20  # more whole numbers than that are classes only where they count them off
_WRITE_NUMBERS = "write numbers with a decimal point, 0.14, and without a percent sign"
_LISTED = 10  # line numbers in a message


class MissingLabels:
    """The rows of one file that have no label: refused together, or left out where that was asked for.

    Args:
        path: the file.
        on_missing_label: of ``ON_MISSING_LABEL``; None refuses too, for callers that cannot leave rows out.
        may_be_class: whether the caller could list such a word among the classes.
    """

    def __init__(self, path: str | Path, on_missing_label: str | None = None, may_be_class: bool = False):
        if on_missing_label not in (None, *ON_MISSING_LABEL):
            raise InputError(f"`on_missing_label={on_missing_label}`: expected one of {', '.join(ON_MISSING_LABEL)}")
        self._path, self._policy, self._may_be_class = path, on_missing_label, may_be_class
        self._column = ""
        self._rows: list[tuple[int, str]] = []

    def add(self, line: int, cell: str, column: str) -> None:
        """Note a row."""
        self._column = column
        self._rows.append((line, cell))

    def settle(self, labelled: int) -> None:
        """Raise the error that names the rows, or say in the log that they are left out.

        Args:
            labelled: how many other rows there were.
        """
        if not self._rows:
            return
        total = labelled + len(self._rows)
        self._rows.sort(key=lambda row: row[0])
        count = f"{len(self._rows)} of {total} ({line_list([line for line, _ in self._rows])})"
        if self._policy == "drop" and labelled:
            _log.warning("%s: rows without a label, left out as asked: %s", self._path, count)
            return
        line, cell = self._rows[0]
        kind = getattr(cell, "kind", None)
        what = f"no label ({kind if kind == 'null' else repr(cell)})"
        if kind in ("absent", "absent at first"):
            what = f"no {self._column!r}, which {'the first line has' if kind == 'absent' else 'others have'}"
        raise InputError(f"{self._path}:{line}: {what}; rows without one: {count}: {self._remedy()}")

    def _remedy(self) -> str:
        marks = {bare(cell) for _, cell in self._rows} - {""}
        as_class = f", or name {sorted(marks)[0]!r} as a class in `label_order`" if marks and self._may_be_class else ""
        if self._policy == "drop":
            return f"nothing would be left{as_class}"
        if self._policy is None:
            return f"give each a label, or take the rows or the column {self._column} out of the file"
        return f"give each a label, or leave them out with `on_missing_label=drop`{as_class}"


def is_missing(cell: str, classes: Collection[str] | None) -> bool:
    """Whether a cell marks a row without a label.

    Args:
        cell: of the label column.
        classes: words that are classes, whatever they look like; None for scores, among which -1 is a number.
    """
    if getattr(cell, "kind", None) in ("null", "absent", "absent at first"):
        return True
    word = bare(cell)
    is_mark = word.casefold() in NO_LABEL
    if classes is None:
        return is_mark
    return (is_mark or word in _NO_CLASS) and cell not in classes and word not in classes


def read_label(
    where: str, cell: str, label_ids: Mapping[str, int] | None, score_range: tuple[float, float]
) -> int | float:
    """The class index or the score in a cell.

    Args:
        where: file and line, for messages.
        cell: of the label column; white space at its ends is not part of it.
        label_ids: label word -> class index, where a number may be written otherwise (1.0 for 1); None for scores.
        score_range: the least and the greatest score.

    Raises:
        InputError: an unknown class, no number, a number out of range, or a list.
    """
    if label_ids is not None:
        # As it stands first: checkpoints trained before white space was taken off have it in their classes' names.
        word = cell if cell in label_ids else bare(cell)
        if word in label_ids:
            return label_ids[word]
        # pandas writes the whole numbers of a column in which one cell was empty as 1.0
        number = as_number(word)
        same = {index for name, index in label_ids.items() if number is not None and as_number(name) == number}
        if len(same) == 1:
            return same.pop()
        _refuse_list(where, cell)
        near = next((name for name in label_ids if name.casefold() == word.casefold()), None)
        hint = f"; it differs from {near!r} in case only" if near is not None else ""
        raise InputError(f"{where}: unknown label {word!r}; expected one of {', '.join(label_ids)}{hint}")
    word = bare(cell)
    _refuse_list(where, cell)
    score = as_number(word)
    if score is None:
        hint = f"; {_WRITE_NUMBERS}" if _is_local_number(word) else ""
        raise InputError(f"{where}: label {word!r} is not a number{hint}")
    low, high = score_range
    if not (low <= score <= high and math.isfinite(score)):
        raise InputError(f"{where}: score {word} is outside {low:g}..{high:g}")
    return score


def read_label_words(
    path: str | Path, label_column: str, on_missing_label: str | None = None, classes: Collection[str] = ()
) -> list[str]:
    """The distinct words of a file's label column: numbers in their order, then words in theirs.

    Words that differ in case or form only are pointed out in the log.

    Args:
        path: see ``open_table``.
        label_column: its name.
        on_missing_label: see ``MissingLabels``.
        classes: words that a model names as classes, whatever they look like.

    Raises:
        InputError: rows without a label, lists in the place of labels, or numbers that look like scores.
    """
    table = open_table(path, may_lack=(label_column,), wanted=(label_column,))
    at = table.positions([label_column])[0]
    missing = MissingLabels(path, on_missing_label, may_be_class=True)
    lines: dict[str, list[int]] = {}
    for line, row in table.rows:
        if len(row) <= at:
            continue
        word = bare(row[at])
        if is_missing(row[at], (*_NO_CLASS, *classes)):
            missing.add(line, row[at], label_column)
        else:
            if word not in lines:
                _refuse_list(f"{path}:{line}", row[at])
            lines.setdefault(word, []).append(line)
    for word in set(_withheld(lines)).difference(classes):
        for line in lines.pop(word):
            missing.add(line, word, label_column)
    missing.settle(sum(map(len, lines.values())))
    if not lines.keys() <= set(classes):
        _refuse_scores(path, label_column, {word: len(places) for word, places in lines.items()})
    for group in _alike(lines):
        _log.warning("%s: labels %s differ in case or form only; are they one class?", path, ", ".join(group))
    return sort_words(lines)


def sort_words(words: Iterable[str]) -> list[str]:
    """Numbers in their order, then words in theirs."""
    return sorted(words, key=lambda word: (not word.isdecimal(), int(word) if word.isdecimal() else 0, word))


def check_class_names(names: Sequence[str], where: str) -> None:
    """Refuse class names that are empty or stand twice.

    Args:
        names: in the order of the class indices.
        where: what they were read from, for the message.
    """
    for index, name in enumerate(names):
        if not bare(name):
            raise InputError(f"{where}: class {index} has no name; name every class once")
        if names.index(name) != index:
            raise InputError(f"{where}: {name!r} stands twice; name every class once")


def _withheld(words: Collection[str]) -> list[str]:
    """Which words are -1 beside classes that count from 0, or beside words: a withheld label. -1 and 1 are classes."""
    marks = [word for word in words if word in _NO_CLASS]
    others = [as_number(word) for word in words if word not in _NO_CLASS]
    counts_up = 0 in others and all(number is not None and number >= 0 for number in others)
    return marks if counts_up or all(number is None for number in others) else []


def _refuse_list(where: str, cell: str) -> None:
    kind = getattr(cell, "kind", "text")
    if kind == "text" and is_written_list(bare(cell)):
        kind = "list"
    if kind in ("list", "object"):
        raise InputError(
            f"{where}: the label is a {kind}, {bare(cell)[:40]!r}: several labels for one text are not supported; "
            "give every row one word or number, or in a file of your own every row a list"
        )


def is_written_list(word: str) -> bool:
    """Whether a text is a list, tuple, set or dictionary as Python or NumPy prints it."""
    if not word or word[0] not in "[({" or word[-1] not in "])}":
        return False
    if _NUMPY_LIST.fullmatch(word):
        return True
    try:
        return isinstance(ast.literal_eval(word), list | tuple | set | dict)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return False


def _refuse_scores(path: str | Path, column: str, counts: Mapping[str, int]) -> None:
    """Refuse numbers that measure instead of naming: fractions, or many whole ones with gaps or hardly repeated."""
    numbers = [as_number(word) for word in counts]
    local = [word for word, number in zip(counts, numbers, strict=True) if number is None and _is_local_number(word)]
    if local and numbers.count(None) == len(local):
        raise InputError(
            f"{path}: {column!r} holds numbers such as {local[0]!r}: are they scores? {_WRITE_NUMBERS}, and use "
            "`regression`; where they are classes, list them in `label_order`"
        )
    if not numbers or any(number is None for number in numbers):
        return
    values = sorted(number for number in numbers if number is not None)
    are_whole = all(value.is_integer() for value in values)
    count_off = values[-1] - values[0] + 1 == len(values) and sum(counts.values()) >= 2 * len(values)
    if are_whole and (len(values) <= _MOST_NUMBERED_CLASSES or count_off):
        return
    found = f"{len(values)} different numbers, from {values[0]:g} to {values[-1]:g}"
    raise InputError(
        f"{path}: {column!r} holds {found}: are they scores? use `regression`; where they are classes, list them in "
        "`label_order`"
    )


def _alike(words: Iterable[str]) -> list[list[str]]:
    groups: dict[object, list[str]] = {}
    for word in words:
        number = as_number(word)
        key = " ".join(unicodedata.normalize("NFKC", word).casefold().split()) if number is None else number
        groups.setdefault(key, []).append(word)
    return [group for group in groups.values() if len(group) > 1]


def as_number(word: str) -> float | None:
    """A number written in the digits 0 to 9, its minus sign perhaps U+2212; Python would also take 1_000 for one."""
    word = word.replace(_MINUS, "-")
    return float(word) if _NUMBER.fullmatch(word) else None


def _is_local_number(word: str) -> bool:
    return as_number(word) is None and _LOCAL_NUMBER.fullmatch(word.replace(_MINUS, "-")) is not None


def line_list(numbers: Sequence[int]) -> str:
    """Numbers of lines for a message, the first of them where there are many."""
    further = ", ..." if len(numbers) > _LISTED else ""
    return f"line{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers[:_LISTED]))}{further}"
