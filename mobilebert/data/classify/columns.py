"""Which columns of somebody's table are the text and the label: by well-known names, else by their shape."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mobilebert.base.errors import InputError
from mobilebert.data.classify.labels import as_number
from mobilebert.data.tables import Table, bare, open_table

# Names that GLUE's and other files give to their texts, tried in this order.
TEXT_COLUMNS = (
    ("sentence1", "sentence2"),
    ("question", "sentence"),
    ("question1", "question2"),
    ("premise", "hypothesis"),
    ("text", "pair"),
    ("#1 String", "#2 String"),
    ("sentence",),
    ("text",),
)
# What other people call them, without regard to case, spaces and hyphens: pairs first, then single texts.
_OTHER_PAIRS = (
    ("text_a", "text_b"), ("sentence_a", "sentence_b"), ("text1", "text2"), ("sentence_1", "sentence_2"),
    ("text_1", "text_2"), ("question", "passage"), ("question", "context"), ("question", "answer"),
    ("query", "passage"), ("query", "document"), ("title", "body"), ("subject", "body"), ("headline", "body"),
    ("title", "content"), ("title", "description"),
)  # fmt: skip
_OTHER_TEXTS = (
    *("review", "review_text", "review_body", "comment", "comment_text", "content", "body", "message", "tweet"),
    *("tweet_text", "post", "description", "utterance", "document", "article", "query", "question", "full_text"),
    *("input_text", "input", "phrase", "string", "title", "headline", "subject", "abstract", "summary"),
)
LABEL_COLUMNS = (
    *("label", "labels", "gold_label", "class", "classes", "category", "categories", "target", "targets"),
    *("sentiment", "intent", "topic", "topics", "emotion", "emotions", "polarity", "stars", "rating", "score"),
    *("quality", "is_duplicate", "tag", "tags", "genre", "similarity", "label_text", "y"),
)
# Words that tell a column where no other has one of them: Sentence Text, label_name.
_TEXT_WORDS = {"text", "sentence", "review", "comment", "message", "content", "tweet"}
_LABEL_WORDS = {"label", "class", "category", "sentiment", "intent", "emotion"}
_COUNTERS = ("", "index", "id", "idx", "unnamed_0")  # a number of the row, as pandas writes it too
MOST_CLASSES = 50  # different values of a column that is taken for the label by its shape
_LEAST_REPEATS = 3  # rows a value, on average


@dataclass(frozen=True)
class Columns:
    """Where a table has its texts and what is to be learned.

    Attributes:
        texts: one column, or two for pairs.
        label: the column of labels; the first of ``indicators`` where those are the labels; None for texts alone.
        indicators: columns of 0 and 1, one a label.
        separator: what stands between several labels of one cell; empty for one label, or for a list in JSON.
    """

    texts: tuple[str, ...]
    label: str | None = None
    indicators: tuple[str, ...] = ()
    separator: str = ""

    @property
    def labels(self) -> tuple[str, ...]:
        """All columns of labels."""
        return self.indicators or (() if self.label is None else (self.label,))


def find_text_columns(header: Sequence[str], pairs: bool = True) -> tuple[str, ...] | None:
    """The text column of a table, or (with ``pairs``) the two of pairs: GLUE's names as they are, then others'."""
    wanted = [names for names in TEXT_COLUMNS if pairs or len(names) == 1]
    known = next((names for names in wanted if set(names) <= set(header)), None)
    if known is not None:
        return known
    places = {_plain(name): name for name in reversed(header)}  # of two that are alike, the first
    for names in (*wanted, *(_OTHER_PAIRS if pairs else ()), *((name,) for name in _OTHER_TEXTS)):
        if set(names) <= set(places):
            return tuple(places[name] for name in names)
    alone = _by_word(header, _TEXT_WORDS)
    return None if alone is None else (alone,)


def find_label_column(header: Sequence[str]) -> str | None:
    """The label column of a table, by name."""
    places = {_plain(name): name for name in reversed(header)}
    known = next((places[name] for name in LABEL_COLUMNS if name in places), None)
    return _by_word(header, _LABEL_WORDS) if known is None else known


def find_columns(
    path: str | Path, texts: Sequence[str] = (), label: str | None = None, regression: bool = False
) -> Columns:
    """The columns to train on, where not all of them were named.

    By well-known names; in a table of two columns (a number of the row does not count) also by shape: one repeats few
    values (or holds numbers, where those are asked for), the other does not.

    Args:
        path: see ``open_table``.
        texts: named by the user, one or two; empty where they are to be found.
        label: named by the user.
        regression: the labels are numbers.

    Raises:
        InputError: they cannot be told; the message lists the table's columns.
    """
    header = header_of(path)
    found = tuple(texts) or find_text_columns([name for name in header if name != label])
    named = label or find_label_column([name for name in header if name not in (found or ())])
    if not found or not named:
        shaped = _by_shape(open_table(path, wanted=header), found, named, _are_numbers if regression else _repeats)
        found, named = shaped or (found, named)
    if found and named:
        return Columns(found, named)
    missing = [(found, "text", "`text_column` (two for pairs)"), (named, "label", "`label_column`")]
    lacks, flags = zip(*((what, flag) for have, what, flag in missing if not have), strict=True)
    raise InputError(
        f"{path}: which of its columns is the {' and which the '.join(lacks)}? it has {', '.join(header)}; "
        f"say so with {' and '.join(flags)}"
    )


def header_of(path: str | Path) -> tuple[str, ...]:
    """The columns of a table; in JSON also well-known ones that the first row lacks."""
    names = {name for names in (*TEXT_COLUMNS, *_OTHER_PAIRS, _OTHER_TEXTS, LABEL_COLUMNS) for name in names}
    return open_table(path, wanted=sorted(names)).header


def _by_word(header: Sequence[str], words: set[str]) -> str | None:
    """The only column that has one of ``words`` in its name."""
    found = [name for name in header if words & set(_plain(name).split("_"))]
    return found[0] if len(found) == 1 else None


def _by_shape(
    table: Table,
    texts: tuple[str, ...] | None,
    label: str | None,
    looks_right: Callable[[Sequence[str]], bool],
) -> tuple[tuple[str, ...], str] | None:
    """Text and label of a table of two columns: the label ``looks_right``, the text does not."""
    places = [at for at, name in enumerate(table.header) if _plain(name) not in _COUNTERS]
    if len(places) != 2:
        return None
    rows = [[bare(row[at]) for at in places] for _, row in table.rows if len(row) > places[-1]]
    names = [table.header[at] for at in places]
    for text_at, label_at in ((0, 1), (1, 0)):
        if texts not in (None, (names[text_at],)) or label not in (None, names[label_at]):
            continue
        is_label = label is not None or looks_right([row[label_at] for row in rows])
        if is_label and (texts is not None or not looks_right([row[text_at] for row in rows])):
            return (names[text_at],), names[label_at]
    return None


def _are_numbers(values: Sequence[str]) -> bool:
    given = [value for value in values if value]
    return bool(given) and all(as_number(value) is not None for value in given)


def _repeats(values: Sequence[str]) -> bool:
    """Whether few different values stand in a column, each several times."""
    given = [value for value in values if value]
    return len(set(given)) <= min(MOST_CLASSES, len(given) // _LEAST_REPEATS)


def _plain(name: str) -> str:
    """``Review Text``, ``reviewText`` and ``review-text`` -> ``review_text``."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub(r"[\W_]+", "_", spaced.casefold()).strip("_")
