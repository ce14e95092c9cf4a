"""Files of words with tags: CoNLL's columns, CoNLL-U, JSON lines with tokens and tags or with a text and spans.

Whatever the file's scheme, entities are IOB2 from here on.
"""

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from mobilebert.base.errors import InputError
from mobilebert.base.files import read_text
from mobilebert.base.records import as_record
from mobilebert.data.ner import schemes
from mobilebert.data.ner.schemes import PLAIN, SCHEMES, Entity
from mobilebert.data.ner.words import align, split_words
from mobilebert.data.tables import NO_TEXT, json_objects
from mobilebert.data.texts import check_text

ON_BAD_TAGS = ("error", "repair")
# Names under which JSON files hold what is wanted, tried in this order.
_WORDS, _TAGS = ("tokens", "words"), ("tags", "ner_tags", "labels", "label")
_SPANS = ("entities", "spans", "labels", "label")
_CONLLU_COLUMNS = {"upos": 3, "xpos": 4}
_MISC = 9  # CoNLL-U's last column, where NER=B-PER stands
_DOCUMENT = "-DOCSTART-"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TagRules:
    """How tags are found and what is done with bad ones.

    Attributes:
        column: the tag's column, counted from 1 (None: the last); of CoNLL-U ``upos``, ``xpos`` or a key of MISC
            (``NER``); of JSON the key.
        scheme: of ``SCHEMES``; None finds out.
        on_bad: ``"error"``; or ``"repair"``: what breaks the scheme is read as conlleval does, a span that ends inside
            a word takes all of it, and of spans that overlap the longer stays.
    """

    column: str | None = None
    scheme: str | None = None
    on_bad: str = "error"

    def __post_init__(self):
        for name, value, known in (("scheme", self.scheme, SCHEMES), ("on_bad_tags", self.on_bad, ON_BAD_TAGS)):
            if value is not None and value not in known:
                raise InputError(f"`{name}={value}`: expected one of {', '.join(known)}")


@dataclass(frozen=True)
class Sentences:
    """N sentences, tagged or not.

    Attributes:
        source: the file.
        words: of each sentence; a JSON file's text is split as ``words.split_words`` does.
        lines: of each word, in the file.
        tags: of each word, IOB2 or plain; None where the file has none.
        scheme: ``"iob2"`` or ``"plain"``.
    """

    source: str
    words: list[list[str]]
    lines: list[list[int]]
    tags: list[list[str]] | None
    scheme: str = schemes.IOB2

    def __len__(self) -> int:
        return len(self.words)

    def first(self, count: int | None) -> "Sentences":
        """The first ``count``; None is all."""
        tags = None if self.tags is None else self.tags[:count]
        return Sentences(self.source, self.words[:count], self.lines[:count], tags, self.scheme)


@dataclass(frozen=True)
class _Row:
    """A sentence as it stands in the file; ``tags`` None where it has none."""

    words: list[str]
    lines: list[int]
    tags: list[str] | None


class _Span(TypedDict, total=False):
    """An entity by name: spaCy's and, with ``_offset``, doccano's."""

    start: int
    end: int
    start_offset: int
    end_offset: int
    label: str


def read_sentences(path: str | Path, rules: TagRules | None = None, require_tags: bool = True) -> Sentences:
    """Read a file.

    Args:
        path: plain or ``.gz``. ``.conllu``: CoNLL-U. ``.jsonl``, ``.json``: objects with ``tokens`` and ``tags``, or
            with ``text`` and ``entities`` (or ``spans``, ``label``): ``[start, end, type]`` or objects of these, in
            characters. Any other: a word a line, columns separated by tabs or spaces, a blank line between sentences.
        rules: see ``TagRules``.
        require_tags: refuse a file without.

    Raises:
        InputError: a file of another form, or tags that are none, are missing, or break their scheme; the line is
            named.
    """
    path, rules = Path(path), rules or TagRules()
    suffix = Path(path.name.removesuffix(".gz")).suffix.lower()
    if suffix in NO_TEXT | {".csv"}:
        raise InputError(
            f"{path}: a table; expected a word and its tag a line, separated by a tab, and a blank line between "
            "sentences, or JSON lines (.jsonl)"
        )
    text = read_text(path)
    if suffix in (".json", ".jsonl"):
        rows, scheme = _json_rows(path, text, rules), rules.scheme
    elif suffix == ".conllu":
        rows = _column_rows(path, text, rules, conllu=True)
        scheme = rules.scheme or (PLAIN if (rules.column or "").lower() in _CONLLU_COLUMNS else None)
    else:
        rows, scheme = _column_rows(path, text, rules, conllu=False), rules.scheme
    sentences = list(rows)
    if not sentences:
        raise InputError(f"{path}: has no sentence")
    untagged = next((row for row in sentences if row.tags is None), None)
    if untagged is not None and (require_tags or any(row.tags is not None for row in sentences)):
        raise InputError(f"{path}:{untagged.lines[0]}: words without tags; tag every sentence")
    for row in sentences:
        for line, word in zip(row.lines, row.words, strict=True):
            check_text(f"{path}:{line}: a word", word)
    words, lines = [row.words for row in sentences], [row.lines for row in sentences]
    if untagged is not None:
        return Sentences(str(path), words, lines, None)
    tags, scheme = _settle(path, sentences, scheme, rules.on_bad)
    return Sentences(str(path), words, lines, tags, scheme)


def _settle(path: Path, rows: Sequence[_Row], scheme: str | None, on_bad: str) -> tuple[list[list[str]], str]:
    """The tags as IOB2 (or as they are, where they are plain), and which of the two."""
    if scheme == PLAIN:
        return [row.tags for row in rows], PLAIN
    for row in rows:
        for line, tag in zip(row.lines, row.tags, strict=True):
            if schemes.split(tag) is None:
                raise InputError(
                    f"{path}:{line}: tag {tag!r}: expected O, or a type behind B-, I-, E- or S-; parts of speech and "
                    "other tags that mark no entities: `scheme=plain`"
                )
    scheme = scheme or schemes.detect([row.tags for row in rows])
    bad = [(row, place) for row in rows for place in schemes.faults(row.tags, scheme)]
    if bad and on_bad == "error":
        row, place = bad[0]
        what = f"{row.tags[place]} " if place < len(row.tags) else "the sentence ends "
        what += f"after {row.tags[place - 1]}" if place else "begins a sentence"
        raise InputError(
            f"{path}:{row.lines[min(place, len(row.lines) - 1)]}: {what}: in {scheme.upper()} {schemes.RULES[scheme]}; "
            f"tags that break it: {len(bad)}; correct them, name another `scheme`, or read them as conlleval does with "
            "`on_bad_tags=repair`"
        )
    if bad:
        _log.warning("%s: tags that break %s: %d; read as conlleval does, as asked", path, scheme.upper(), len(bad))
    return [schemes.write(schemes.entities(row.tags), len(row.tags)) for row in rows], schemes.IOB2


# -- columns


def _column_rows(path: Path, text: str, rules: TagRules, conllu: bool) -> Iterator[_Row]:
    words: list[str] = []
    lines: list[int] = []
    tags: list[str | None] = []
    count = 10 if conllu else None  # of columns
    key = rules.column or "NER"
    is_tagged = not conllu or key.lower() in _CONLLU_COLUMNS or f"{key}=" in text
    # Only "\n" ends a line: str.splitlines would also cut at U+2028 and others, which are text.
    for number, line in enumerate([*text.split("\n"), ""], start=1):
        if not line.strip() or line.startswith(_DOCUMENT):
            if words:
                yield _Row(words, lines, None if None in tags or not tags else tags)
                words, lines, tags = [], [], []
            continue
        if conllu and line.startswith("#"):
            continue
        line = line.rstrip(" \t\r")
        cells = line.split("\t") if "\t" in line or conllu else re.split(" +", line.lstrip(" "))
        count = count or len(cells)
        if len(cells) != count:
            form = "CoNLL-U has" if conllu else "the first line has"
            raise InputError(f"{path}:{number}: {len(cells)} columns; {form} {count}")
        if conllu and not cells[0].isdecimal():  # 3-4: two words written as one; 3.1: a word left out
            continue
        word = cells[1 if conllu else 0]
        if not word:
            raise InputError(f"{path}:{number}: no word before its tag")
        words.append(word)
        lines.append(number)
        if is_tagged:
            tags.append(_conllu_tag(cells, key) if conllu else _column_tag(path, cells, rules))


def _column_tag(path: Path, cells: Sequence[str], rules: TagRules) -> str | None:
    if rules.column is None:
        return cells[-1] if len(cells) > 1 else None
    if not (rules.column.isdecimal() and 2 <= int(rules.column) <= len(cells)):
        raise InputError(
            f"`tag_column={rules.column}`: {path} has {len(cells)} columns, the first of them words; give a number, "
            "2 is the second"
        )
    return cells[int(rules.column) - 1]


def _conllu_tag(cells: Sequence[str], key: str) -> str:
    """UPOS, XPOS, or a value of MISC, which a word outside of entities may lack."""
    if key.lower() in _CONLLU_COLUMNS:
        return cells[_CONLLU_COLUMNS[key.lower()]]
    return dict(pair.partition("=")[::2] for pair in cells[_MISC].split("|")).get(key, schemes.OUTSIDE)


# -- JSON


def _json_rows(path: Path, text: str, rules: TagRules) -> Iterator[_Row]:
    for line, row in json_objects(path, text):
        where = f"{path}:{line}"
        name = next((name for name in _WORDS if name in row), None)
        if name is not None:
            advice = f"expected {name} and their tags as lists of texts"
            words = as_record(row[name], list[str], f"{where}: {name}", advice)
            key = _key(row, _TAGS, rules)
            tags = None if key is None else as_record(row[key], list[str], f"{where}: {key}", advice)
            if tags is not None and len(tags) != len(words):
                raise InputError(f"{where}: {len(words)} {name}, but {len(tags)} {key}")
        elif "text" in row:
            content = as_record(row["text"], str, f"{where}: text", "expected a text")
            check_text(f"{where}: text", content)
            places = split_words(content)
            words = [content[slice(*place)] for place in places]
            key = _key(row, _SPANS, rules)
            tags = None if key is None else _span_tags(f"{where}: {key}", row[key], content, places, rules)
        else:
            raise InputError(f"{where}: has {', '.join(row)}; expected tokens and tags, or text and entities")
        if words:
            yield _Row(words, [line] * len(words), tags)


def _key(row: dict[str, Any], names: Sequence[str], rules: TagRules) -> str | None:
    return next((name for name in ([rules.column] if rules.column else names) if name in row), None)


def _by_name(span: _Span) -> tuple[int, int, str]:
    """Start, end and type; -1 and nothing for what is missing."""
    start, end = (span.get(name, span.get(f"{name}_offset", -1)) for name in ("start", "end"))
    return start, end, span.get("label", "")  # type: ignore[return-value]


def _span_tags(where: str, value: Any, text: str, places: Sequence[tuple[int, int]], rules: TagRules) -> list[str]:
    """The tags of a text's words, of its spans."""
    advice = "expected [start, end, type], or objects with start, end and label"
    found: list[Entity] = []
    for item in as_record(value, list[tuple[int, int, str] | _Span], where, advice):
        start, end, kind = item if isinstance(item, tuple) else _by_name(item)
        if not (0 <= start < end <= len(text) and kind.strip()):
            raise InputError(f"{where}: {[start, end, kind]} is no place in a text of {len(text)} characters; {advice}")
        aligned = align(places, start, end, kind)
        shown = f"{where}: {kind} at {start} to {end}"
        if aligned is None:
            raise InputError(f"{shown} holds no word")
        entity, is_whole = aligned
        if not is_whole and rules.on_bad == "error":
            word = text[places[entity.start][0] : places[entity.end - 1][1]]
            raise InputError(
                f"{shown} begins or ends inside a word of {word[:40]!r}; correct it, or take whole words with "
                "`on_bad_tags=repair`"
            )
        found.append(entity)
    owners: list[Entity | None] = [None] * len(places)
    for entity in sorted(found, key=lambda entity: entity.start - entity.end):
        clash = next(filter(None, owners[entity.start : entity.end]), None)
        if clash is None:
            owners[entity.start : entity.end] = [entity] * (entity.end - entity.start)
        elif rules.on_bad == "error" and clash != entity:
            raise InputError(
                f"{where}: {clash.type} and {entity.type} overlap; a word has one type: take one out, or keep the "
                "longer with `on_bad_tags=repair`"
            )
    return schemes.write([entity for entity in set(owners) if entity is not None], len(places))
