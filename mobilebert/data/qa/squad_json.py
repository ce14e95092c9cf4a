"""The official SQuAD JSON, read and checked.

{"version": ..., "data": [{"title": ..., "paragraphs": [{"context": ..., "qas": [
    {"id": ..., "question": ..., "answers": [{"text": ..., "answer_start": ...}], "is_impossible": ...}]}]}]}

Annotation tools write the same in other ways, which are read as they are meant: ids as numbers; "no answer" as
``[{"text": "", ...}]``, or as ``is_impossible`` without ``answers``; ``answers`` as Hugging Face's object of two
lists; whole numbers as floats.
"""

import json
import logging
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mobilebert.base.errors import InputError
from mobilebert.base.files import broken_json, read_text
from mobilebert.base.json_decoder import JsonDecoder, repeated_key
from mobilebert.data.tables import bare
from mobilebert.data.texts import check_text

BAD_ANSWER_CHOICES = ("error", "drop")
Purpose = Literal["train", "score", "answer"]

_STRUCTURE = "expected SQuAD's structure (data, paragraphs, qas, answers)"
_NEST = (
    'nest each: {"data": [{"paragraphs": [{"context": ..., "qas": [{"id": ..., "question": ..., "answers": [...]}]}]}]}'
)
_ROWS = f"{_NEST} (predict.py qa, which needs no answers, reads such rows as they are where the file is named .jsonl)"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SquadExample:
    """A question about a context.

    Attributes:
        id: unique in its file.
        question: as in the file.
        context: as in the file; all questions of a paragraph share one string.
        answers: gold texts; empty where the question has no answer or the file none.
        answer_starts: first character of each answer in ``context``; -1 where the file does not say (never for
            training).
    """

    id: str
    question: str
    context: str
    answers: tuple[str, ...]
    answer_starts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Entry:
    """A question with what its entry says about answers.

    Attributes:
        example: the question.
        is_impossible: as in the file; None where it does not say.
        is_emptied: the file lists answers, but none has a text.
    """

    example: SquadExample
    is_impossible: bool | None
    is_emptied: bool


def read_squad(
    path: str | os.PathLike,
    *,
    version_2_with_negative: bool = False,
    on_bad_answer: str = "error",
    purpose: Purpose = "train",
    may_be_empty: bool = False,
) -> tuple[list[SquadExample], int]:
    """Read a SQuAD file, v1.1 or v2.0, plain or ``.gz``.

    Args:
        path: the file.
        version_2_with_negative: questions without an answer are allowed.
        on_bad_answer: what to do when training with questions whose answer cannot be trained on (it is not in the
            context at its ``answer_start``, is white space only, or ``is_impossible`` contradicts it): ``"error"`` or
            ``"drop"`` (with a warning).
        purpose: what the answers are for. ``"train"``: they are checked against the context. ``"score"``: as in the
            official scripts, only their texts count, and a question is answerable if it has one; what contradicts
            ``is_impossible`` is counted in the log. ``"answer"``: for nothing; the file need not have any.
        may_be_empty: questions without a text are given, for a caller that says itself what is wrong with them.

    Returns:
        The examples in file order, and how many were dropped.

    Raises:
        InputError: a missing or broken file, a wrong structure, a key twice in one object, an empty context or
            question, a duplicate id, an answer that cannot be trained on, or, without ``version_2_with_negative``, a
            question without an answer.
    """
    if on_bad_answer not in BAD_ANSWER_CHOICES:
        raise InputError(f"on_bad_answer={on_bad_answer}: expected one of {', '.join(BAD_ANSWER_CHOICES)}")
    entries = list(_entries(path, _read(path), purpose))
    examples = [entry.example for entry in entries]
    if not examples:
        raise InputError(f"{path}: has no question")
    _check_ids(path, examples)
    if not may_be_empty:
        _check_questions(path, examples)
    if purpose == "answer":
        return examples, 0
    if not version_2_with_negative:
        unanswerable = [example.id for example in examples if not example.answers]
        if unanswerable:
            raise InputError(
                f"{path}: {_count(unanswerable, examples)} have no answer{_first(unanswerable)};"
                " for SQuAD v2.0 set `version_2_with_negative`"
            )
    emptied = [entry.example.id for entry in entries if entry.is_emptied]
    if emptied:
        _log.info(
            "%s: %s have only answers without a text%s; they count as unanswerable (the official v2.0 script calls "
            "them answerable: its exact and f1 are the same)",
            path, _count(emptied, examples), _first(emptied),
        )  # fmt: skip
    if purpose == "score":
        for finding, ids in _contradictions(entries):
            _log.warning("%s: %s %s%s; scored by their answers", path, _count(ids, examples), finding, _first(ids))
        return examples, 0
    return _without_bad(path, entries, on_bad_answer)


def is_empty(example: SquadExample) -> bool:
    """Whether a question has no text: nothing but white space and zero-width characters."""
    return not bare(example.question)


def is_labelled(path: str | os.PathLike) -> bool:
    """Whether any question of a file says something about its answers.

    Raises:
        InputError: as ``read_squad`` with the purpose ``"answer"``.
    """
    content = _read(path)
    return any(
        qa.get("answers") is not None or _is_impossible(path, qa_place, qa)
        for place, paragraph in _paragraphs(path, content)
        for qa_place, qa in _items(path, place, paragraph, "qas")
        if isinstance(qa, dict)
    )


def id_text(where: str, value: Any) -> str:
    """An id as text; numbers as they are written.

    Raises:
        InputError: neither text nor number, or empty; the message begins with ``where``.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not isinstance(value, str) and not is_number:
        raise InputError(f"{where} is {'missing' if value is None else repr(value)}, expected a text or a number")
    text = value if isinstance(value, str) else json.dumps(value)
    if not text.strip():
        raise InputError(f"{where} is empty")
    return text


def _read(path: str | os.PathLike) -> Any:
    """The file's JSON; a key twice in one object, of which Python keeps the last, is refused."""
    repeated: list[tuple[dict, str | None]] = []  # the objects and a key that they hold twice

    def as_object(pairs: list[tuple[str, Any]]) -> dict:
        made = dict(pairs)
        if len(made) < len(pairs):
            repeated.append((made, repeated_key(pairs)))
        return made

    text = read_text(path)
    try:
        content = json.loads(text, cls=JsonDecoder, object_pairs_hook=as_object)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and text[error.pos] in "{[":  # a whole value, and here another begins
            raise InputError(
                f"{path}: JSON lines (line {error.lineno} begins another value), expected one object in SQuAD's "
                f"structure; {_ROWS}"
            ) from None
        raise broken_json(path, error) from None
    if repeated:
        # An object that is not found was itself under a key that its parent holds twice; then the parent is found.
        keys = {id(made): key for made, key in repeated}
        place, made = next((place, made) for place, made in _objects("", content) if id(made) in keys)
        here = f"{path}: {place or 'the file'}"
        raise InputError(f"{here} has {keys[id(made)]!r} twice, which of them is meant? Keep one")
    return content


def _objects(place: str, value: Any) -> Iterator[tuple[str, dict]]:
    """All objects of a JSON value with their places, in file order."""
    if isinstance(value, dict):
        yield place, value
        for key, item in value.items():
            yield from _objects(f"{place}.{key}" if place else key, item)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _objects(f"{place}[{number}]", item)


def _without_bad(
    path: str | os.PathLike, entries: Sequence[_Entry], on_bad_answer: str
) -> tuple[list[SquadExample], int]:
    """Refuse or leave out what cannot be trained on; result as of ``read_squad``."""
    examples = [entry.example for entry in entries]
    blank = [example.id for example in examples if any(text and not text.strip() for text in example.answers)]
    misplaced = [example.id for example in examples if not _answers_in_place(example)]
    findings = [
        *_contradictions(entries),
        ("have an answer that is white space only", blank),
        ("have an answer that is not in the context at its answer_start", misplaced),
    ]
    dropped: set[str] = set()
    for what, ids in findings:
        if not ids:
            continue
        finding = f"{path}: {_count(ids, examples)} {what}{_first(ids)}"
        if on_bad_answer == "error":
            raise InputError(f"{finding}; repair them, or leave these questions out with `on_bad_answer=drop`")
        _log.warning("%s; left out", finding)
        dropped.update(ids)
        if len(dropped) == len(examples):
            raise InputError(f"{finding}; nothing is left")
    return [example for example in examples if example.id not in dropped], len(dropped)


def _contradictions(entries: Sequence[_Entry]) -> list[tuple[str, list[str]]]:
    """Where ``is_impossible`` and the answers do not agree: (what is wrong, ids), only where there are any.

    An answer without a text says "none" by itself, whatever a tool wrote beside it.
    """
    marked = [entry.example.id for entry in entries if entry.is_impossible and entry.example.answers]
    unmarked = [
        entry.example.id
        for entry in entries
        if entry.is_impossible is False and not entry.example.answers and not entry.is_emptied
    ]
    findings = [
        ("have answers, but is_impossible is true", marked),
        ("have no answer, but is_impossible is false", unmarked),
    ]
    return [(what, ids) for what, ids in findings if ids]


def _entries(path: str | os.PathLike, content: Any, purpose: Purpose) -> Iterator[_Entry]:
    """Walk through the file; each error names the place."""
    for place, paragraph in _paragraphs(path, content):
        entries = list(_items(path, place, paragraph, "qas"))
        if not entries:
            continue  # nobody reads its context
        context = _text(path, place, paragraph, "context")
        if not context.strip():
            raise InputError(f"{path}: {place}.context is empty")
        for qa_place, qa in entries:
            if not isinstance(qa, dict):
                raise InputError(f"{path}: {qa_place} is no object; {_STRUCTURE}")
            flag = None if purpose == "answer" else _is_impossible(path, qa_place, qa)
            answers, is_emptied = _answers(path, qa_place, qa, flag, purpose)
            example = SquadExample(
                id=id_text(f"{path}: {qa_place}.id", qa.get("id")),
                question=_text(path, qa_place, qa, "question"),
                context=context,
                answers=tuple(text for text, _ in answers),
                answer_starts=tuple(start for _, start in answers),
            )
            check_text(f"{path}: {qa_place}.id", example.id)
            yield _Entry(example, flag, is_emptied)


def _answers(
    path: str | os.PathLike, place: str, qa: dict, is_impossible: bool | None, purpose: Purpose
) -> tuple[list[tuple[str, int]], bool]:
    """Texts and starts of a question's answers, none where no answer has a text; whether that is so."""
    if purpose == "answer" or (is_impossible and qa.get("answers") is None):
        return [], False
    answers = []
    for answer_place, answer in _items(path, place, {**qa, "answers": _as_list(path, place, qa)}, "answers"):
        is_none = is_impossible and isinstance(answer, dict) and answer.get("text") is None
        text = "" if is_none else _text(path, answer_place, answer, "text")
        start = _whole(answer.get("answer_start"))
        if not isinstance(start, int) or isinstance(start, bool):
            if purpose == "train" and text:
                kind = "whole number" if isinstance(start, float) else "number"
                raise InputError(f"{path}: {answer_place}.answer_start is {start!r}, expected a {kind}")
            start = -1
        answers.append((text, start))
    has_text = any(text.strip() if is_impossible else text for text, _ in answers)
    return (answers, False) if has_text else ([], bool(answers))


def _as_list(path: str | os.PathLike, place: str, qa: dict) -> Any:
    """The answers, one object each, also where they are Hugging Face's ``{"text": [...], "answer_start": [...]}``."""
    if "answers" not in qa:
        raise InputError(f"{path}: {place}.answers is missing; {_STRUCTURE}")
    answers = qa["answers"]
    if answers is None:
        raise InputError(f"{path}: {place}.answers is null, expected a list ([] for a question without an answer)")
    if not isinstance(answers, dict) or not isinstance(answers.get("text"), list):
        return answers
    texts = answers["text"]
    starts = answers.get("answer_start", [None] * len(texts))
    if not isinstance(starts, list) or len(starts) != len(texts):
        raise InputError(f"{path}: {place}.answers has {len(texts)} in text, expected as many in answer_start")
    return [{"text": text, "answer_start": start} for text, start in zip(texts, starts, strict=True)]


def _is_impossible(path: str | os.PathLike, place: str, qa: dict) -> bool | None:
    """The question's mark, which tools also write as a text or as 0 and 1 (1.0); None where there is none."""
    value = _whole(qa.get("is_impossible"))
    if value is None:
        return None
    known = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
    word = str(value).strip().lower()
    if isinstance(value, bool | int | str) and word in known:
        return known[word]
    raise InputError(f"{path}: {place}.is_impossible is {value!r}, expected true or false")


def _whole(value: Any) -> Any:
    """A whole number that is written as a float (pandas does, beside missing values) as an int; all else as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _paragraphs(path: str | os.PathLike, content: Any) -> Iterator[tuple[str, Any]]:
    """All paragraphs with their places; rows of a question each, ``run_qa.py``'s form, are named as such."""
    first = content[0] if isinstance(content, list) and content else content
    if _is_row(first):
        raise InputError(
            f"{path}: a {'list' if first is not content else 'row'} of question and context, expected SQuAD's "
            f"structure; {_ROWS}"
        )
    for article_place, article in _items(path, "", content, "data"):
        if _is_row(article):
            raise InputError(
                f"{path}: {article_place} is a row of question and context (run_qa.py's flat form), expected SQuAD's "
                f"structure; {_NEST}"
            )
        yield from _items(path, article_place, article, "paragraphs")


def _is_row(value: Any) -> bool:
    """Whether an object is one question with its context, where SQuAD has the file or an article."""
    if not isinstance(value, dict) or value.keys() & {"data", "paragraphs"}:
        return False
    return isinstance(value.get("question"), str) and isinstance(value.get("context"), str)


def _items(path: str | os.PathLike, place: str, parent: Any, key: str) -> Iterator[tuple[str, Any]]:
    """The items of the list ``parent[key]``, each with its place in the file."""
    here = f"{place}.{key}" if place else key
    if not isinstance(parent, dict) or not isinstance(parent.get(key), list):
        found = "is missing" if isinstance(parent, dict) and key not in parent else "is no list"
        if not isinstance(parent, dict):
            here, found = place or "the file", "is no object"
        raise InputError(f"{path}: {here} {found}; {_STRUCTURE}")
    for number, item in enumerate(parent[key]):
        yield f"{here}[{number}]", item


def _text(path: str | os.PathLike, place: str, parent: Any, key: str) -> str:
    """The text ``parent[key]``."""
    value = parent.get(key) if isinstance(parent, dict) else None
    if not isinstance(value, str):
        raise InputError(f"{path}: {place}.{key} is {'missing' if value is None else repr(value)}, expected a text")
    check_text(f"{path}: {place}.{key}", value)
    return value


def _check_ids(path: str | os.PathLike, examples: list[SquadExample]) -> None:
    seen: set[str] = set()
    duplicates = []
    for example in examples:
        if example.id in seen:
            duplicates.append(example.id)
        seen.add(example.id)
    if duplicates:
        raise InputError(f"{path}: {len(duplicates)} duplicate question ids{_first(duplicates)}; ids must be unique")


def _check_questions(path: str | os.PathLike, examples: list[SquadExample]) -> None:
    empty = [example.id for example in examples if is_empty(example)]
    if empty:
        raise InputError(
            f"{path}: {_count(empty, examples)} are empty{_first(empty)}; write them, or take them out of the file"
        )


def _answers_in_place(example: SquadExample) -> bool:
    """Whether every answer is in the context where it says. Nothing is normalised: offsets count raw characters."""
    return all(
        start >= 0 and text and example.context.startswith(text, start)
        for text, start in zip(example.answers, example.answer_starts, strict=True)
    )


def _count(ids: Sequence[str], examples: Sequence[SquadExample]) -> str:
    return f"{len(ids)} of {len(examples)} questions"


def _first(ids: Sequence[str]) -> str:
    """The first three of a list of ids, for messages."""
    return f" (first: {', '.join(ids[:3])})"
