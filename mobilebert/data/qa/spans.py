"""From start and end logits to spans: for each question the best pieces of its context, and which of them to give.

The rule, and so every answer, is that of transformers' question-answering example. Google's ``run_squad.py`` differs:

- it drops start tokens for which another window shows more context (``token_is_max_context``); here every window may
  offer a token, so one answer can stand twice in an n-best list;
- it removes duplicate texts from the n-best list; here they stay;
- it maps word pieces back through ``get_final_text``, a heuristic alignment; here offsets give the exact characters,
  and (unlike the example) combining marks behind the last one belong to it;
- of equal logits it takes the first tokens; here the order among equals is that of NumPy's default sort.

    F features (rows, windows of a context)   S tokens of the longest   Q questions   K best tokens of a feature
"""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

import numpy as np

from mobilebert.base.errors import InputError
from mobilebert.data.packed import PackedRows

_ROWS_AT_ONCE = 2048  # bounds memory, not the result
_NO_ROW = -1
_MARKS = ("Mn", "Me")  # nonspacing and enclosing: with the character before them they are one


@dataclass(frozen=True)
class AnswerRules:
    """How logits become answers.

    Attributes:
        version_2_with_negative: "no answer" is possible; its score is the smallest over the question's rows.
        n_best_size: spans to keep of a question.
        max_answer_length: tokens.
        null_score_diff_threshold: "no answer" where the null odds exceed it.
    """

    version_2_with_negative: bool = False
    n_best_size: int = 20
    max_answer_length: int = 30
    null_score_diff_threshold: float = 0.0

    def __post_init__(self):
        for name in ("n_best_size", "max_answer_length"):
            if getattr(self, name) < 1:
                raise InputError(f"`{name}` {getattr(self, name)}: expected at least 1")


class Span(NamedTuple):
    """A possible answer.

    Attributes:
        row: where its logits are from.
        start, end: first character of its first token and the one behind its last token's, in the context; equal where
            the span has no text.
        start_logit, end_logit: of its first and last token; of [CLS] for "no answer".
    """

    row: int
    start: int
    end: int
    start_logit: float
    end_logit: float

    @property
    def score(self) -> float:
        """What spans are ranked by."""
        return self.start_logit + self.end_logit

    @property
    def has_text(self) -> bool:
        """Whether it is a piece of the context."""
        return self.end > self.start

    def bounds(self, context: str) -> tuple[int, int]:
        """First character and the one behind the last, marks included; see ``end_with_marks``."""
        return self.start, end_with_marks(context, self.end) if self.has_text else self.end

    def text(self, context: str) -> str:
        """The piece of the context; the reference's stand-in has a word of its own."""
        return "empty" if self.row == _NO_ROW else context[slice(*self.bounds(context))]


def end_with_marks(context: str, end: int) -> int:
    """Move the end of a token behind the marks of its last character: "Café", not "Cafe", in decomposed text.

    The tokenizer drops combining marks and variation selectors; its offsets leave out those at the end of a word.

    Args:
        context: the text.
        end: the character behind the token's last one.
    """
    while end < len(context) and unicodedata.category(context[end]) in _MARKS:
        end += 1
    return end


# The reference's stand-in where a question has no candidate at all.
STAND_IN = Span(_NO_ROW, 0, 0, 0.0, 0.0)


@dataclass(frozen=True)
class RankedSpans:
    """What was found for one question.

    Attributes:
        spans: best first; "no answer" is among them where it is allowed.
        best: the one to give.
        null_odds: score of "no answer" minus that of the best span with text; None where an answer is always given.
    """

    spans: list[Span]
    best: Span
    null_odds: float | None = None

    def probabilities(self) -> np.ndarray:
        """Softmax of the scores over ``spans``."""
        scores = np.array([span.score for span in self.spans])
        weights = np.exp(scores - scores.max())
        return weights / weights.sum()


def find_spans(
    rows: PackedRows, start_logits: np.ndarray, end_logits: np.ndarray, rules: AnswerRules
) -> list[RankedSpans]:
    """A model's logits -> spans of every question.

    Args:
        rows: of the questions, with offsets.
        start_logits, end_logits: ``[F, S]`` as the model gave them; what they hold beyond a row's tokens plays no part.
        rules: see ``AnswerRules``.

    Returns:
        [Q], in the order of ``rows.example_ids``.

    Raises:
        InputError: a logit of a token is NaN or infinite, or so large that the sum of four would be.
    """
    return extract_spans(rows, *mask_padding(rows, start_logits, end_logits), rules)


def mask_padding(rows: PackedRows, start_logits: np.ndarray, end_logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``-inf`` where a row has no token, copies elsewhere.

    Args:
        rows, start_logits, end_logits: as ``find_spans``.

    Raises:
        InputError: as ``find_spans``.
    """
    is_token = np.arange(start_logits.shape[1]) < rows.lengths[:, None]
    largest = np.finfo(np.float32).max / 4  # null odds are a sum of four
    masked = []
    for name, logits in (("start", start_logits), ("end", end_logits)):
        broken = np.flatnonzero((is_token & ~(np.abs(logits) <= largest)).any(axis=1))
        if len(broken):
            first = rows.example_ids[rows.example_index[broken[0]]]
            raise InputError(
                f"{len(broken)} features have {name} logits that are no finite numbers (first: question {first}); "
                "did the training diverge?"
            )
        masked.append(np.where(is_token, logits, np.float32(-np.inf)))
    return masked[0], masked[1]


def extract_spans(
    rows: PackedRows,
    start_logits: np.ndarray,
    end_logits: np.ndarray,
    rules: AnswerRules,
    questions: Sequence[int] | None = None,
) -> list[RankedSpans]:
    """The rule itself.

    A candidate pairs one of the ``n_best_size`` best start tokens of a row with one of its best end tokens, both in
    the context, the end not before the start and at most ``max_answer_length`` tokens in all. Positions of padding and
    question take part in the choice of the best tokens, as in the reference.

    Args:
        rows: the rows of a question stand next to each other, in the order of the questions.
        start_logits, end_logits: ``[F, S]`` float; padding as ``mask_padding`` leaves it.
        rules: see ``AnswerRules``.
        questions: only these; None is all.

    Returns:
        [Q].

    Raises:
        ValueError: shapes do not fit together, a logit is NaN or +inf, or a question has no row.

    Source: ``postprocess_qa_predictions`` in transformers' ``examples/pytorch/question-answering/utils_qa.py``, which
    gives its stand-in for a context without a token, too; here there is no answer.
    """
    _check(rows, start_logits, end_logits)
    bounds = np.searchsorted(rows.example_index, np.arange(len(rows.example_ids) + 1))
    chosen = range(len(rows.example_ids)) if questions is None else questions
    rows_of = [range(bounds[question], bounds[question + 1]) for question in chosen]
    candidates = _candidates_by_row(rows, start_logits, end_logits, rules, list(chain.from_iterable(rows_of)))
    ranked = []
    for own in rows_of:
        spans = _merge([next(candidates) for _ in own], rules.n_best_size)
        null = _null_span(own, start_logits, end_logits) if rules.version_2_with_negative else None
        is_readable = spans or any((rows.row_offsets(row) >= 0).any() for row in own)
        ranked.append(_rank(spans, null, rules) if is_readable else _no_answer(own[0], null))
    return ranked


def _no_answer(row: int, null: Span | None) -> RankedSpans:
    """For a context without a token (zero-width characters), which can hold no answer, whatever is allowed."""
    span = null or Span(row, 0, 0, 0.0, 0.0)
    return RankedSpans([span], span, None if null is None else float(null.score))


def _rank(spans: list[Span], null: Span | None, rules: AnswerRules) -> RankedSpans:
    """Put "no answer" in its place and choose."""
    if null is not None:
        _insert_null(spans, null, rules.n_best_size)
    if not spans or (len(spans) == 1 and not spans[0].has_text):
        spans.insert(0, STAND_IN)
    if null is None:
        return RankedSpans(spans, spans[0])
    # All spans may be without text only if the tokenizer gives empty offsets; the reference fails there.
    best = next((span for span in spans if span.has_text or span is STAND_IN), STAND_IN)
    odds = null.score - best.start_logit - best.end_logit
    return RankedSpans(spans, null if odds > rules.null_score_diff_threshold else best, float(odds))


def _candidates_by_row(
    rows: PackedRows, start_logits: np.ndarray, end_logits: np.ndarray, rules: AnswerRules, wanted: Sequence[int]
) -> Iterator[list[Span]]:
    """Yield the best spans of each wanted row, best first.

    No more than ``n_best_size`` of a row can reach the list of its question, so the rest is dropped here. Order among
    equal scores is that of the reference: by rank of the start token, then by rank of the end token.
    """
    lengths, last, size = rows.lengths, len(rows.offsets) - 1, rules.n_best_size
    for low in range(0, len(wanted), _ROWS_AT_ONCE):
        chunk = np.array(wanted[low : low + _ROWS_AT_ONCE])  # [r]
        starts = _top(start_logits[chunk], size)  # [r, K] token positions
        ends = _top(end_logits[chunk], size)
        start_values = np.take_along_axis(start_logits[chunk], starts, axis=1)
        end_values = np.take_along_axis(end_logits[chunk], ends, axis=1)
        base, length = rows.row_starts[chunk][:, None], lengths[chunk][:, None]
        start_chars = np.where(starts < length, rows.offsets[np.minimum(base + starts, last), 0], -1)
        end_chars = np.where(ends < length, rows.offsets[np.minimum(base + ends, last), 1], -1)

        token_count = ends[:, None, :] - starts[:, :, None] + 1  # [r, K start, K end]
        valid = (token_count >= 1) & (token_count <= rules.max_answer_length)
        valid &= (start_chars >= 0)[:, :, None] & (end_chars >= 0)[:, None, :]
        scores = start_values[:, :, None] + end_values[:, None, :]
        # Valid spans before all others, even where a score is -inf.
        worst = np.finfo(scores.dtype).max
        keys = np.where(valid, np.minimum(-scores, worst), np.inf).reshape(len(scores), -1)
        order = np.argsort(keys, axis=1, kind="stable")[:, :size]
        counts = np.minimum(valid.sum(axis=(1, 2)), size)
        for place, count in enumerate(counts):
            first, second = np.divmod(order[place, :count], ends.shape[1])
            columns = (start_chars[place, first].tolist(), end_chars[place, second].tolist())
            logits = (start_values[place, first], end_values[place, second])
            yield [Span(int(chunk[place]), *values) for values in zip(*columns, *logits, strict=True)]


def _top(logits: np.ndarray, count: int) -> np.ndarray:
    """Positions of the ``count`` largest of each row, largest first; ``[r, S] -> [r, min(count, S)]``.

    NumPy's default sort is not stable: among equal logits its order is arbitrary. It is the reference's sort, so the
    same one is used here, row by row along the contiguous axis.
    """
    return np.argsort(logits, axis=1)[:, ::-1][:, :count]


def _merge(by_row: list[list[Span]], n_best_size: int) -> list[Span]:
    """The best spans of all rows of a question; equal scores in the order of the rows."""
    if len(by_row) == 1:
        return by_row[0]
    spans = [span for row in by_row for span in row]
    return sorted(spans, key=lambda span: -span.score)[:n_best_size]


def _null_span(rows: range, start_logits: np.ndarray, end_logits: np.ndarray) -> Span:
    """The span of "no answer", read at the first token of the row that wants it least (the first of equals)."""
    row = min(rows, key=lambda row: start_logits[row, 0] + end_logits[row, 0])
    return Span(row, 0, 0, start_logits[row, 0], end_logits[row, 0])


def _insert_null(spans: list[Span], null: Span, n_best_size: int) -> None:
    """Put "no answer" behind all that score at least as high; at the end where it is not among the best."""
    place = next((i for i, span in enumerate(spans) if span.score < null.score), len(spans))
    spans.insert(place, null)
    if place < n_best_size:
        del spans[n_best_size:]


def _check(rows: PackedRows, start_logits: np.ndarray, end_logits: np.ndarray) -> None:
    """Raise ValueError where the arguments of ``extract_spans`` do not fit together."""
    if start_logits.ndim != 2 or start_logits.shape != end_logits.shape:
        raise ValueError(f"start logits {start_logits.shape} and end logits {end_logits.shape}: expected both [F, S]")
    if start_logits.shape[1] < rows.lengths.max(initial=0):
        raise ValueError(f"logits for {start_logits.shape[1]} tokens, but a feature has {rows.lengths.max()}")
    if not len(start_logits) == len(rows.example_index) == len(rows):
        raise ValueError(
            f"{len(start_logits)} rows of logits, {len(rows.example_index)} of example_index, {len(rows)} features"
        )
    without = np.flatnonzero(np.bincount(rows.example_index, minlength=len(rows.example_ids)) == 0)
    if len(without):
        raise ValueError(f"example {rows.example_ids[without[0]]} has no feature")
    for name, logits in (("start", start_logits), ("end", end_logits)):
        for what, is_broken in (("NaN", np.isnan), ("infinite", np.isposinf)):
            broken = np.flatnonzero(is_broken(logits).any(axis=1))
            if len(broken):
                first = rows.example_ids[rows.example_index[broken[0]]]
                raise ValueError(f"{len(broken)} features have {what} {name} logits (first: question {first})")
