"""SQuAD v1.1 and v2.0 scores, equal to the official evaluation scripts to the last digit.

The two scripts differ where one would not expect it, and so do the two functions here: on an empty prediction against
an empty gold answer, in how sums of F1 are formed, and in what a missing prediction does.

Source: evaluate-v1.1.py and evaluate-v2.0.py of the SQuAD explorer.
"""

import logging
import re
import string
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from mobilebert.base.errors import InputError

_log = logging.getLogger(__name__)
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)  # ASCII punctuation only, as in the scripts


def normalize_answer(text: str) -> str:
    """Lower-case, drop ASCII punctuation, then the articles a, an, the, then extra whitespace (in this order)."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


def evaluate_v1(answers: Mapping[str, Sequence[str]], predictions: Mapping[str, str]) -> dict[str, float]:
    """Score predictions as the official v1.1 script does.

    Args:
        answers: gold texts by question id, in the order of the file (F1 is summed in this order).
        predictions: predicted text by question id. A missing one scores 0; ids that are not in ``answers`` are ignored.

    Returns:
        ``exact_match`` and ``f1`` in percent of all questions.

    Raises:
        InputError: there is no question, a question has no gold answer, or a prediction is no text.
    """
    _check(answers, predictions)
    unanswerable = [key for key, golds in answers.items() if not golds]
    if unanswerable:
        raise InputError(
            f"{len(unanswerable)} questions have no gold answer (first: {_first(unanswerable)}); "
            "SQuAD v1.1 has one for each; evaluate a v2.0 file as v2.0"
        )
    exact_match = f1 = 0
    for key, golds in answers.items():
        if key in predictions:
            predicted = normalize_answer(predictions[key])
            gold_texts = [normalize_answer(gold) for gold in golds]
            exact_match += any(gold == predicted for gold in gold_texts)
            # One addition after the other: sum() rounds differently since Python 3.12, and the script does not use it.
            f1 += max(_token_f1(gold.split(), predicted.split()) for gold in gold_texts)
    return {"exact_match": 100.0 * exact_match / len(answers), "f1": 100.0 * f1 / len(answers)}


def evaluate_v2(
    answers: Mapping[str, Sequence[str]],
    predictions: Mapping[str, str],
    null_odds: Mapping[str, float] | None = None,
    null_threshold: float = 1.0,
) -> dict[str, float]:
    """Score predictions as the official v2.0 script does.

    Args:
        answers: gold texts by question id, in the order of the file; an empty sequence where there is no answer.
        predictions: predicted text by question id, ``""`` for "no answer". A missing one scores 0 (the official script
            stops with a KeyError there); ids that are not in ``answers`` are ignored.
        null_odds: how strongly the model prefers "no answer", by question id, on any scale (``--na-prob-file`` of the
            script). With it the best achievable scores over all thresholds are added.
        null_threshold: a prediction whose null odds exceed this counts as ``""`` (``--na-prob-thresh`` of the script,
            whose default this is). ``math.inf`` takes the predictions as they are.

    Returns:
        ``exact``, ``f1`` in percent and ``total``; the same with the prefixes ``HasAns_`` and ``NoAns_`` where such
        questions exist; with ``null_odds`` also ``best_exact``, ``best_exact_thresh``, ``best_f1``, ``best_f1_thresh``.

    Raises:
        InputError: there is no question, a prediction is no text, or a predicted question has no null odds.
    """
    _check(answers, predictions)
    if null_odds is not None:
        without = [key for key in answers if key in predictions and key not in null_odds]
        if without:
            raise InputError(f"{len(without)} predictions have no null odds (first: {_first(without)})")
    raw_exact, raw_f1 = {}, {}  # by id, in file order: sums depend on it
    for key, golds in answers.items():
        raw_exact[key], raw_f1[key] = _raw_scores_v2(golds, predictions[key]) if key in predictions else (0, 0)

    def thresholded(raw):
        if null_odds is None:
            return raw
        return {
            key: float(not answers[key]) if key in predictions and null_odds[key] > null_threshold else score
            for key, score in raw.items()
        }

    exact, f1 = thresholded(raw_exact), thresholded(raw_f1)
    metrics = _averages("", exact, f1, list(answers))
    for prefix, wanted in (("HasAns_", True), ("NoAns_", False)):
        keys = [key for key, golds in answers.items() if bool(golds) is wanted]
        if keys:
            metrics |= _averages(prefix, exact, f1, keys)
    if null_odds is not None:
        for name, raw in (("exact", raw_exact), ("f1", raw_f1)):
            metrics[f"best_{name}"], metrics[f"best_{name}_thresh"] = _best(answers, predictions, raw, null_odds)
    return metrics


def _raw_scores_v2(golds: Sequence[str], prediction: str) -> tuple[int, float]:
    """Exact match and F1 of one answered question, before any threshold."""
    predicted = normalize_answer(prediction)
    # A gold answer that normalises to nothing ("The") is none; a question left without any wants the empty answer.
    gold_texts = [text for text in map(normalize_answer, golds) if text] or [""]
    exact = int(predicted in gold_texts)
    # Unlike v1.1, nothing against nothing is full agreement.
    f1 = max(
        _token_f1(gold.split(), predicted.split()) if gold and predicted else int(gold == predicted)
        for gold in gold_texts
    )
    return exact, f1


def _token_f1(gold: list[str], predicted: list[str]) -> float:
    """Harmonic mean of precision and recall over the bag of tokens; 0 without a common token, so also for no tokens."""
    common = sum((Counter(gold) & Counter(predicted)).values())
    if common == 0:
        return 0
    precision, recall = common / len(predicted), common / len(gold)
    return (2 * precision * recall) / (precision + recall)


def _averages(prefix: str, exact: Mapping[str, float], f1: Mapping[str, float], keys: list[str]) -> dict[str, float]:
    # The script uses sum() here, whose rounding depends on the Python version (3.12 compensates): so must we.
    return {
        f"{prefix}exact": 100.0 * sum(exact[key] for key in keys) / len(keys),
        f"{prefix}f1": 100.0 * sum(f1[key] for key in keys) / len(keys),
        f"{prefix}total": len(keys),
    }


def _best(
    answers: Mapping[str, Sequence[str]],
    predictions: Mapping[str, str],
    scores: Mapping[str, float],
    null_odds: Mapping[str, float],
) -> tuple[float, float]:
    """Best score in percent over all thresholds, and the first threshold that reaches it.

    Starts from "no answer" everywhere and lets one question after the other be answered, in order of null odds (ties in
    the order of ``null_odds``). As in the script, a threshold inside a tie counts, and the start is reported as 0.0.
    """
    current = sum(1 for key, golds in answers.items() if not golds and key in predictions)
    best, best_threshold = current, 0.0
    for key in sorted(null_odds, key=null_odds.__getitem__):
        if key not in answers or key not in predictions:
            continue
        if answers[key]:
            current += scores[key]
        elif predictions[key]:
            current -= 1
        if current > best:
            best, best_threshold = current, null_odds[key]
    return 100.0 * best / len(answers), best_threshold


def _check(answers: Mapping[str, Sequence[str]], predictions: Mapping[str, str]) -> None:
    """Refuse what cannot be scored; warn of questions without a prediction."""
    if not answers:
        raise InputError("no questions to evaluate")
    for key, text in predictions.items():
        if not isinstance(text, str):
            raise InputError(f"prediction of question {key} is {text!r}, expected a text")
    missing = [key for key in answers if key not in predictions]
    if missing:
        _log.warning("%d questions have no prediction and score 0 (first: %s)", len(missing), _first(missing))


def _first(keys: Iterable[str]) -> str:
    """The first three of a list of ids, for messages."""
    return ", ".join(list(keys)[:3])
