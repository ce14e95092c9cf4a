"""How answers, classes and entities are shown: lines for people, objects for programs."""

import os
import shutil
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from mobilebert.base.errors import shorten
from mobilebert.inference.predictor import Answer, Classification, Entity, Reading
from mobilebert.inference.sentences import excerpt_bounds, sentence_bounds

_BOLD, _DIM, _PLAIN = "\x1b[1;32m", "\x1b[2m", "\x1b[0m"
_NO_ANSWER, _NO_ENTITY = "(no answer)", "(no entity)"
_DIRECTIONS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@dataclass(frozen=True)
class Style:
    """How text is set off.

    Attributes:
        strong: for an answer in its sentence.
        faint: for what is beside the point.
        width: columns.
    """

    strong: Callable[[str], str]
    faint: Callable[[str], str]
    width: int

    @classmethod
    def of(cls, stream: TextIO) -> "Style":
        """Colours on a terminal, unless ``NO_COLOR`` is set; asterisks anywhere else."""
        width = min(120, max(60, shutil.get_terminal_size((100, 24)).columns))
        if stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb":
            return cls(lambda text: f"{_BOLD}{text}{_PLAIN}", lambda text: f"{_DIM}{text}{_PLAIN}", width)
        return cls(lambda text: f"**{text}**", str, width)


def printable(text: str) -> str:
    """Text for a terminal: line breaks become spaces; what would steer the terminal is shown as a box."""
    return "".join(" " if character.isspace() else "\ufffd" if _steers(character) else character for character in text)


def show_reading(context: str, reading: Reading, threshold: float, style: Style) -> str:
    """The best answer in its sentence, then all answers with their probabilities, then what was read.

    Args:
        context: the passage.
        reading: what was found in it.
        threshold: of the null odds.
        style: how to set off.
    """
    best, *others = reading.answers
    lines = [_in_sentence(context, best, style.width - 2, style) if best.text else _NO_ANSWER, ""]
    for rank, answer in enumerate(reading.answers, start=1):
        line = f"{rank:3d}  {answer.probability:6.1%}  {shorten(printable(answer.text)) or _NO_ANSWER}"
        # Where else it stands, unless that is within sight: the sentence above shows it.
        if answer in others and answer.text and not (best.text and answer.start < best.end and best.start < answer.end):
            room = style.width - len(line) - 7
            line += "    " + style.faint(_in_sentence(context, answer, max(30, room), style)) if room > 20 else ""
        lines.append(line)
    if reading.null_odds is not None:
        lines.append(style.faint(f"     no answer: odds {reading.null_odds:+.2f}, chosen above {threshold:.2f}"))
    if len(reading.windows) > 1:
        lines.append(style.faint(f"     the passage was read in {len(reading.windows)} windows"))
    return "\n".join(lines)


def show_classification(result: Classification, is_regression: bool, style: Style) -> str:
    """The class (or the labels) and every class's probability, likeliest first; or the number."""
    if is_regression:
        return f"{printable(result.label)}: {result.score:.3f}"
    widest = max(len(printable(label)) for label in result.scores)
    ranked = sorted(result.scores.items(), key=lambda item: -item[1])
    lines = [f"{printable(label):{widest}}  {score:6.1%}" for label, score in ranked]
    count = 1 if result.chosen is None else len(result.chosen)  # the likeliest are those that are chosen
    return "\n".join([*map(style.strong, lines[:count]), *lines[count:]])


def show_entities(text: str, entities: Sequence[Entity], style: Style) -> str:
    """The text with its entities set off, then each with its probability, its type and its place."""
    pieces, at = [], 0
    for entity in entities:
        pieces += [printable(text[at : entity.start]), style.strong(printable(entity.text))]
        at = entity.end
    lines = ["".join([*pieces, printable(text[at:])]), ""]
    widest = max((len(printable(entity.type)) for entity in entities), default=0)
    lines += [
        f"{entity.score:6.1%}  {printable(entity.type):{widest}}  {shorten(printable(entity.text))}  "
        + style.faint(f"{entity.start}-{entity.end}")
        for entity in entities
    ]
    return "\n".join(lines if entities else [lines[0], "", _NO_ENTITY])


def reading_document(question: str, context: str, reading: Reading) -> dict[str, Any]:
    """A reading for programs; the keys are documented in docs/deploy.md."""
    return {
        "question": question,
        "answer": reading.answers[0].text,
        "answers": [_answer_document(context, answer) for answer in reading.answers],
        "null_odds": None if reading.null_odds is None else _rounded(reading.null_odds),
        "windows": [list(window) for window in reading.windows],
    }


def classification_document(text: str, pair: str | None, result: Classification) -> dict[str, Any]:
    """A classification for programs; the keys are documented in docs/deploy.md."""
    texts = {"text": text} if pair is None else {"text": text, "text_pair": pair}
    scores = {label: _rounded(score) for label, score in result.scores.items()}
    chosen = {} if result.chosen is None else {"labels": list(result.chosen)}
    return {**texts, "label": result.label, **chosen, "score": _rounded(result.score), "scores": scores}


def entities_document(text: str, entities: Sequence[Entity]) -> dict[str, Any]:
    """The entities of a text for programs; the keys are documented in docs/deploy.md."""
    return {"text": text, "entities": [{**vars(entity), "score": _rounded(entity.score)} for entity in entities]}


def _answer_document(context: str, answer: Answer) -> dict[str, Any]:
    return {
        "text": answer.text,
        "start": answer.start,
        "end": answer.end,
        "probability": _rounded(answer.probability),
        "score": _rounded(answer.score),
        "sentence": list(sentence_bounds(context, answer.start, answer.end)) if answer.text else None,
    }


def _in_sentence(context: str, answer: Answer, width: int, style: Style) -> str:
    low, high = sentence_bounds(context, answer.start, answer.end)
    first, last = excerpt_bounds(low, high, answer.start, answer.end, context, width - 6)
    before, after = printable(context[first : answer.start]), printable(context[answer.end : last])
    text = f"{before}{style.strong(shorten(printable(answer.text)))}{after}"
    return f"{'... ' if first > low else ''}{text}{' ...' if last < high else ''}"


def _steers(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cs") or character in _DIRECTIONS


def _rounded(value: float) -> float:
    """Six decimals: more than the model knows."""
    return round(float(value), 6)
