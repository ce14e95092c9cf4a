"""The official SQuAD JSON, read and checked.

{"version": ..., "data": [{"title": ..., "paragraphs": [{"context": ..., "qas": [
    {"id": ..., "question": ..., "answers": [{"text": ..., "answer_start": ...}], "is_impossible": ...}]}]}]}
"""

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mobilebert.base.errors import InputError
from mobilebert.base.files import read_json

BAD_ANSWER_CHOICES = ("error", "drop")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SquadExample:
    """A question about a context.

    Attributes:
        id: unique in its file.
        question: as in the file.
        context: as in the file; all questions of a paragraph share one string.
        answers: gold texts; empty where the question has no answer or the file none.
        answer_starts: first character of each answer in ``context``.
    """

    id: str
    question: str
    context: str
    answers: tuple[str, ...]
    answer_starts: tuple[int, ...]


def read_squad(
    path: str | os.PathLike,
    *,
    version_2_with_negative: bool = False,
    on_bad_answer: str = "error",
    require_answers: bool = True,
) -> tuple[list[SquadExample], int]:
    """Read a SQuAD file, v1.1 or v2.0, plain or ``.gz``.

    Args:
        path: the file.
        version_2_with_negative: questions without an answer are allowed.
        on_bad_answer: what to do with questions that have an answer which is not in the context at its
            ``answer_start``: ``"error"`` or ``"drop"`` (with a warning).
        require_answers: ``False`` accepts questions without the key ``answers``, and answers at a wrong place.

    Returns:
        The examples in file order, and how many were dropped.

    Raises:
        InputError: a missing or broken file, a wrong structure, an empty context, a duplicate id, an answer at the
            wrong place, or, without ``version_2_with_negative``, a question without an answer.
    """
    if on_bad_answer not in BAD_ANSWER_CHOICES:
        raise InputError(f"on_bad_answer={on_bad_answer}: expected one of {', '.join(BAD_ANSWER_CHOICES)}")
    examples = list(_examples(path, read_json(path), require_answers))
    if not examples:
        raise InputError(f"{path}: has no question")
    _check_ids(path, examples)
    if not version_2_with_negative and require_answers:
        unanswerable = [example.id for example in examples if not example.answers]
        if unanswerable:
            raise InputError(
                f"{path}: {len(unanswerable)} of {len(examples)} questions have no answer"
                f" (first: {_first(unanswerable)}); for SQuAD v2.0 set `version_2_with_negative`"
            )
    bad = [example.id for example in examples if not _answers_in_place(example)]
    if not bad or not require_answers:
        return examples, 0
    finding = (
        f"{path}: {len(bad)} of {len(examples)} questions have an answer that is not in the context at its answer_start"
        f" (first: {_first(bad)})"
    )
    if on_bad_answer == "error":
        raise InputError(f"{finding}; repair them, or leave these questions out with `on_bad_answer=drop`")
    _log.warning("%s; left out", finding)
    dropped = set(bad)
    kept = [example for example in examples if example.id not in dropped]
    if not kept:
        raise InputError(f"{finding}; nothing is left")
    return kept, len(bad)


def _examples(path: str | os.PathLike, content: Any, require_answers: bool) -> Iterator[SquadExample]:
    """Walk through the file; each error names the place."""
    for article_place, article in _items(path, "", content, "data"):
        for place, paragraph in _items(path, article_place, article, "paragraphs"):
            context = _text(path, place, paragraph, "context")
            if not context.strip():
                raise InputError(f"{path}: {place}.context is empty")
            for qa_place, qa in _items(path, place, paragraph, "qas"):
                answers = []
                if require_answers or (isinstance(qa, dict) and "answers" in qa):
                    for answer_place, answer in _items(path, qa_place, qa, "answers"):
                        text = _text(path, answer_place, answer, "text")
                        start = answer.get("answer_start")
                        if not isinstance(start, int) or isinstance(start, bool):
                            raise InputError(f"{path}: {answer_place}.answer_start is {start!r}, expected a number")
                        answers.append((text, start))
                yield SquadExample(
                    id=_text(path, qa_place, qa, "id"),
                    question=_text(path, qa_place, qa, "question"),
                    context=context,
                    answers=tuple(text for text, _ in answers),
                    answer_starts=tuple(start for _, start in answers),
                )


def _items(path: str | os.PathLike, place: str, parent: Any, key: str) -> Iterator[tuple[str, Any]]:
    """The items of the list ``parent[key]``, each with its place in the file."""
    here = f"{place}.{key}" if place else key
    if not isinstance(parent, dict) or not isinstance(parent.get(key), list):
        found = "is missing" if isinstance(parent, dict) and key not in parent else "is no list"
        if not isinstance(parent, dict):
            here, found = place or "the file", "is no object"
        raise InputError(f"{path}: {here} {found}; expected SQuAD's structure (data, paragraphs, qas, answers)")
    for number, item in enumerate(parent[key]):
        yield f"{here}[{number}]", item


def _text(path: str | os.PathLike, place: str, parent: Any, key: str) -> str:
    """The text ``parent[key]``."""
    value = parent.get(key) if isinstance(parent, dict) else None
    if not isinstance(value, str):
        raise InputError(f"{path}: {place}.{key} is {'missing' if value is None else repr(value)}, expected a text")
    try:
        value.encode()
    except UnicodeEncodeError as error:  # JSON may hold half of a surrogate pair, which is no character
        raise InputError(f"{path}: {place}.{key} has an invalid character at {error.start}") from None
    return value


def _check_ids(path: str | os.PathLike, examples: list[SquadExample]) -> None:
    seen: set[str] = set()
    duplicates = []
    for example in examples:
        if example.id in seen:
            duplicates.append(example.id)
        seen.add(example.id)
    if duplicates:
        raise InputError(
            f"{path}: {len(duplicates)} duplicate question ids (first: {_first(duplicates)}); ids must be unique"
        )


def _answers_in_place(example: SquadExample) -> bool:
    """Whether every answer is in the context where it says. Nothing is normalised: offsets count raw characters."""
    return all(
        start >= 0 and text and example.context.startswith(text, start)
        for text, start in zip(example.answers, example.answer_starts, strict=True)
    )


def _first(ids: list[str]) -> str:
    """The first three of a list of ids, for messages."""
    return ", ".join(ids[:3])
