"""Start and end logits -> SQuAD answers, in plain NumPy.

The rule, and so every answer, is that of transformers' question-answering example. Google's ``run_squad.py`` differs:

- it drops start tokens for which another window shows more context (``token_is_max_context``); here every window may
  offer a token, so one answer can stand twice in an n-best list;
- it removes duplicate texts from the n-best list; here they stay;
- it maps word pieces back through ``get_final_text``, a heuristic alignment; here offsets give the exact characters;
- of equal logits it takes the first tokens; here the order among equals is that of NumPy's default sort.

    F features (windows), S tokens, N examples, T tokens of all features
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

_CHUNK = 2048  # features whose candidates are scored at once: bounds memory, not the result


@dataclass(frozen=True)
class SquadAnswers:
    """What post-processing returns, each by question id in the order of the examples.

    Attributes:
        predictions: the answer; ``""`` for "no answer" (v2.0 only).
        nbest: up to ``n_best_size`` entries (one more where the null answer had to be added), best first, with
            ``text``, ``probability``, ``start_logit``, ``end_logit``.
        null_odds: score of "no answer" minus score of the best answer; empty for v1.1.
    """

    predictions: dict[str, str] = field(default_factory=dict)
    nbest: dict[str, list[dict]] = field(default_factory=dict)
    null_odds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class _Candidates:
    """The best spans of one feature, best first; arrays of equal length."""

    score: np.ndarray
    start_logit: np.ndarray
    end_logit: np.ndarray
    start_char: np.ndarray
    end_char: np.ndarray


def extract_answers(
    example_ids: Sequence[str],
    contexts: Sequence[str],
    example_index: np.ndarray,
    row_starts: np.ndarray,
    offsets: np.ndarray,
    start_logits: np.ndarray,
    end_logits: np.ndarray,
    *,
    version_2_with_negative: bool = False,
    n_best_size: int = 20,
    max_answer_length: int = 30,
    null_score_diff_threshold: float = 0.0,
) -> SquadAnswers:
    """Turn the logits of all features into one answer per example.

    A candidate pairs one of the ``n_best_size`` best start tokens of a feature with one of its best end tokens, both in
    the context, the end not before the start and at most ``max_answer_length`` tokens in all. Positions of padding and
    question take part in the choice of the best tokens, as in the reference: ``mask_padding`` fills positions that the
    model did not compute with ``-inf``.

    Args:
        example_ids: ``[N]`` question ids.
        contexts: ``[N]`` context of each question.
        example_index: ``[F]`` example that a feature belongs to; features of one example in ascending order.
        row_starts: ``[F + 1]`` where in ``offsets`` a feature begins.
        offsets: ``[T, 2]`` character span of each token in its context; -1 where the token is not of the context.
        start_logits: ``[F, S]`` float, S at least the length of the longest feature.
        end_logits: ``[F, S]``.
        version_2_with_negative: "no answer" is possible; its score is the smallest over the example's features.
        n_best_size: entries to keep.
        max_answer_length: in tokens.
        null_score_diff_threshold: "no answer" where the null odds exceed it.

    Returns:
        The answers, n-best lists and null odds.

    Raises:
        ValueError: shapes do not fit together, a logit is NaN or +inf, or an example has no feature.

    Source: ``postprocess_qa_predictions`` in transformers' ``examples/pytorch/question-answering/utils_qa.py``.
    """
    _check(example_ids, contexts, example_index, row_starts, start_logits, end_logits)
    candidates = _feature_candidates(row_starts, offsets, start_logits, end_logits, n_best_size, max_answer_length)
    of_example: list[list[tuple[int, _Candidates]]] = [[] for _ in example_ids]
    for feature, best in enumerate(candidates):
        of_example[example_index[feature]].append((feature, best))

    answers = SquadAnswers()
    for example, (key, context) in enumerate(zip(example_ids, contexts, strict=True)):
        entries = _merge([best for _, best in of_example[example]], context, n_best_size)
        if version_2_with_negative:
            null = _null_entry([feature for feature, _ in of_example[example]], start_logits, end_logits)
            _insert_null(entries, null, n_best_size)
        if not entries or (len(entries) == 1 and entries[0]["text"] == ""):
            entries.insert(0, _empty_entry())
        if version_2_with_negative:
            # All spans of text may be blank only if the tokenizer gives empty offsets; the reference fails there.
            best = next((entry for entry in entries if entry["text"]), None) or _empty_entry()
            odds = null["score"] - best["start_logit"] - best["end_logit"]
            answers.null_odds[key] = float(odds)
            answers.predictions[key] = "" if odds > null_score_diff_threshold else best["text"]
        else:
            answers.predictions[key] = entries[0]["text"]
        answers.nbest[key] = _with_probabilities(entries)
    return answers


def mask_padding(
    start_logits: np.ndarray,
    end_logits: np.ndarray,
    lengths: np.ndarray,
    example_ids: Sequence[str],
    example_index: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """A model's logits as ``extract_answers`` wants them: ``-inf`` where a feature has no token, numbers elsewhere.

    Args:
        start_logits, end_logits: ``[F, S]``.
        lengths: ``[F]`` tokens of each feature.
        example_ids: ``[N]``, for the message.
        example_index: ``[F]``.

    Returns:
        Both, copied.

    Raises:
        ValueError: a logit of a token is NaN or infinite, or so large that the sum of two would be.
    """
    is_token = np.arange(start_logits.shape[1]) < lengths[:, None]
    largest = np.finfo(np.float32).max / 2
    masked = []
    for name, logits in (("start", start_logits), ("end", end_logits)):
        broken = np.flatnonzero((is_token & ~(np.abs(logits) <= largest)).any(axis=1))
        if len(broken):
            first = example_ids[example_index[broken[0]]]
            raise ValueError(
                f"{len(broken)} features have {name} logits that are no finite numbers (first: question {first})"
            )
        masked.append(np.where(is_token, logits, np.float32(-np.inf)))
    return masked[0], masked[1]


def _feature_candidates(
    row_starts: np.ndarray,
    offsets: np.ndarray,
    start_logits: np.ndarray,
    end_logits: np.ndarray,
    n_best_size: int,
    max_answer_length: int,
) -> Iterator[_Candidates]:
    """Yield the best spans of each feature.

    No more than ``n_best_size`` of a feature can reach the list of its example, so the rest is dropped here. Order
    among equal scores is that of the reference: by rank of the start token, then by rank of the end token.
    """
    lengths = np.diff(row_starts)
    last = len(offsets) - 1
    for low in range(0, len(lengths), _CHUNK):
        rows = slice(low, low + _CHUNK)
        starts = _top(start_logits[rows], n_best_size)  # [f, K] token positions
        ends = _top(end_logits[rows], n_best_size)
        start_values = np.take_along_axis(start_logits[rows], starts, axis=1)
        end_values = np.take_along_axis(end_logits[rows], ends, axis=1)
        base, length = row_starts[:-1][rows, None], lengths[rows, None]
        start_chars = np.where(starts < length, offsets[np.minimum(base + starts, last), 0], -1)
        end_chars = np.where(ends < length, offsets[np.minimum(base + ends, last), 1], -1)

        token_count = ends[:, None, :] - starts[:, :, None] + 1  # [f, K start, K end]
        valid = (token_count >= 1) & (token_count <= max_answer_length)
        valid &= (start_chars >= 0)[:, :, None] & (end_chars >= 0)[:, None, :]
        scores = start_values[:, :, None] + end_values[:, None, :]
        # Valid spans before all others, even where a score is -inf.
        worst = np.finfo(scores.dtype).max
        keys = np.where(valid, np.minimum(-scores, worst), np.inf).reshape(len(scores), -1)
        order = np.argsort(keys, axis=1, kind="stable")[:, :n_best_size]
        counts = np.minimum(valid.sum(axis=(1, 2)), n_best_size)
        for row, count in enumerate(counts):
            start_rank, end_rank = np.divmod(order[row, :count], ends.shape[1])
            yield _Candidates(
                score=scores[row, start_rank, end_rank],
                start_logit=start_values[row, start_rank],
                end_logit=end_values[row, end_rank],
                start_char=start_chars[row, start_rank],
                end_char=end_chars[row, end_rank],
            )


def _top(logits: np.ndarray, count: int) -> np.ndarray:
    """Positions of the ``count`` largest of each row, largest first; ``[f, S] -> [f, min(count, S)]``.

    NumPy's default sort is not stable: among equal logits its order is arbitrary. It is the reference's sort, so the
    same one is used here, row by row along the contiguous axis.
    """
    return np.argsort(logits, axis=1)[:, ::-1][:, :count]


def _merge(features: list[_Candidates], context: str, n_best_size: int) -> list[dict]:
    """Best spans of all features of an example, as entries; equal scores in order of the features."""
    if len(features) == 1:
        merged, order = features[0], range(len(features[0].score))
    else:
        merged = _Candidates(*(np.concatenate([getattr(f, name) for f in features]) for name in _FIELDS))
        order = np.argsort(-merged.score, kind="stable")[:n_best_size]
    return [
        {
            "text": context[merged.start_char[i] : merged.end_char[i]],
            "start_logit": merged.start_logit[i],
            "end_logit": merged.end_logit[i],
            "score": merged.score[i],
        }
        for i in order
    ]


_FIELDS = ("score", "start_logit", "end_logit", "start_char", "end_char")


def _null_entry(features: list[int], start_logits: np.ndarray, end_logits: np.ndarray) -> dict:
    """The null answer, read at the first token of the feature that wants it least (the first of equals)."""
    feature = min(features, key=lambda f: start_logits[f, 0] + end_logits[f, 0])
    start, end = start_logits[feature, 0], end_logits[feature, 0]
    return {"text": "", "start_logit": start, "end_logit": end, "score": start + end}


def _insert_null(entries: list[dict], null: dict, n_best_size: int) -> None:
    """Put the null answer behind all that score at least as high; at the end where it is not among the best."""
    place = next((i for i, entry in enumerate(entries) if entry["score"] < null["score"]), len(entries))
    entries.insert(place, null)
    if place < n_best_size:
        del entries[n_best_size:]


def _empty_entry() -> dict:
    """The reference's stand-in where an example has no candidate at all."""
    return {"text": "empty", "start_logit": 0.0, "end_logit": 0.0, "score": 0.0}


def _with_probabilities(entries: list[dict]) -> list[dict]:
    """Replace ``score`` by the softmax over the entries, and NumPy scalars by floats, ready for JSON."""
    scores = np.array([entry["score"] for entry in entries])
    weights = np.exp(scores - scores.max())
    return [
        {
            "text": entry["text"],
            "probability": float(probability),
            "start_logit": float(entry["start_logit"]),
            "end_logit": float(entry["end_logit"]),
        }
        for entry, probability in zip(entries, weights / weights.sum(), strict=True)
    ]


def _check(
    example_ids: Sequence[str],
    contexts: Sequence[str],
    example_index: np.ndarray,
    row_starts: np.ndarray,
    start_logits: np.ndarray,
    end_logits: np.ndarray,
) -> None:
    """Raise ValueError where the arguments of ``extract_answers`` do not fit together."""
    if start_logits.ndim != 2 or start_logits.shape != end_logits.shape:
        raise ValueError(f"start logits {start_logits.shape} and end logits {end_logits.shape}: expected both [F, S]")
    features = len(start_logits)
    if start_logits.shape[1] < np.diff(row_starts).max(initial=0):
        raise ValueError(f"logits for {start_logits.shape[1]} tokens, but a feature has {np.diff(row_starts).max()}")
    if not features == len(example_index) == len(row_starts) - 1:
        raise ValueError(
            f"{features} rows of logits, {len(example_index)} of example_index, {len(row_starts) - 1} features"
        )
    if len(contexts) != len(example_ids):
        raise ValueError(f"{len(contexts)} contexts for {len(example_ids)} examples")
    without = np.flatnonzero(np.bincount(example_index, minlength=len(example_ids)) == 0)
    if len(without):
        raise ValueError(f"example {example_ids[without[0]]} has no feature")
    for name, logits in (("start", start_logits), ("end", end_logits)):
        for what, is_broken in (("NaN", np.isnan), ("infinite", np.isposinf)):
            broken = np.flatnonzero(is_broken(logits).any(axis=1))
            if len(broken):
                first = example_ids[example_index[broken[0]]]
                raise ValueError(f"{len(broken)} features have {what} {name} logits (first: question {first})")
