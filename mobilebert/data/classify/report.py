"""Which classes a model confuses: precision, recall and F1 of each, and the confusion matrix. Scores in percent.

N examples, L classes or labels

Source: ``sklearn.metrics.classification_report`` and ``confusion_matrix``, where what cannot be divided is 0.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mobilebert.data.classify.balance import LISTED

_SCORES = ("precision", "recall", "f1")


def make_report(labels: Sequence[str], gold: np.ndarray, predictions: np.ndarray) -> dict[str, Any]:
    """Everything about one dev set, in JSON's types.

    Args:
        labels: [L] names.
        gold: [N] class indices; or [N, L], 1 for each label that a text has.
        predictions: the same of the model.

    Returns:
        ``examples``; ``classes``: name -> precision, recall, f1, support (examples that have it) and predicted (that
        the model gives it); ``averages``: micro, macro and weighted; ``confusion``: [L][L], true class by predicted
        one, or of several labels [L][2][2], has it or not by given or not.
    """
    count = len(labels)
    if gold.ndim == 2:
        true, said = gold > 0, predictions > 0
        hits, support, predicted = (true & said).sum(axis=0), true.sum(axis=0), said.sum(axis=0)
        confusion: list[Any] = [
            [[len(gold) - s - p + h, p - h], [s - h, h]]
            for h, s, p in zip(hits.tolist(), support.tolist(), predicted.tolist(), strict=True)
        ]
    else:
        matrix = np.bincount(gold * count + predictions, minlength=count * count).reshape(count, count)
        hits, support, predicted = matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0)
        confusion = matrix.tolist()
    scores = _scores(hits, predicted, support)  # [3, L]
    classes = {
        name: {
            **{score: float(value) for score, value in zip(_SCORES, scores[:, index], strict=True)},
            "support": int(support[index]),
            "predicted": int(predicted[index]),
        }
        for index, name in enumerate(labels)
    }
    micro = _scores(hits.sum(keepdims=True), predicted.sum(keepdims=True), support.sum(keepdims=True))[:, 0]
    # As scikit-learn: a class that neither the examples nor the model have takes no part; each of several labels does.
    present = np.ones(count, bool) if gold.ndim == 2 else support + predicted > 0
    weighted = (scores * support).sum(axis=1) / max(support.sum(), 1)
    averages = {
        name: {score: float(value) for score, value in zip(_SCORES, values, strict=True)}
        for name, values in (("micro", micro), ("macro", scores[:, present].mean(axis=1)), ("weighted", weighted))
    }
    return {"examples": len(gold), "classes": classes, "averages": averages, "confusion": confusion}


def _scores(hits: np.ndarray, predicted: np.ndarray, support: np.ndarray) -> np.ndarray:
    """[3, ...] precision, recall and F1, in percent."""
    parts = [(hits, predicted), (hits, support), (2 * hits, predicted + support)]
    return np.stack([100.0 * part / np.maximum(whole, 1) for part, whole in parts])


def report_text(title: str, report: Mapping[str, Any]) -> str:
    """A report for people: the table of classes, the averages, and the confusion matrix.

    Of more than ``LISTED`` classes, which no screen is wide enough for, the pairs that are confused most.
    """
    names = list(report["classes"])
    width = max(len("weighted"), *map(len, names))
    total = sum(values["support"] for values in report["classes"].values())
    lines = [f"{title}: {report['examples']} examples, in percent", ""]
    lines.append(f"{'':{width}}  precision  recall      f1  support")
    for name, values in report["classes"].items():
        lines.append(_row(name, values, values["support"], width))
    lines.append("")
    lines += [_row(name, values, total, width) for name, values in report["averages"].items()]
    return "\n".join([*lines, "", *_confusion_lines(names, report["confusion"], width)])


def _row(name: str, values: Mapping[str, float], support: int, width: int) -> str:
    precision, recall, f1 = (values[score] for score in _SCORES)
    return f"{name:{width}}  {precision:9.2f} {recall:7.2f} {f1:7.2f}  {support:7d}"


def _confusion_lines(names: Sequence[str], confusion: Sequence[Any], width: int) -> list[str]:
    if isinstance(confusion[0][0], list):
        rows = [f"{name:{width}}  {c[1][1]:7d} {c[1][0]:7d} {c[0][1]:7d} {c[0][0]:7d}"
                for name, c in zip(names, confusion, strict=True)]  # fmt: skip
        return [f"{'':{width}}  {'right':>7} {'missed':>7} {'wrong':>7} {'neither':>7}", *rows]
    if len(names) > LISTED:
        pairs = [(count, row, column) for row, counts in enumerate(confusion) for column, count in enumerate(counts)]
        worst = sorted((pair for pair in pairs if pair[1] != pair[2] and pair[0]), key=lambda pair: -pair[0])[:LISTED]
        return ["confused most: the class, what the model says, how often",
                *(f"{names[row]} -> {names[column]}  {count}" for count, row, column in worst)]  # fmt: skip
    cell = max(4, len(str(max(map(max, confusion)))))
    numbers = [f"{index:>{cell}}" for index in range(len(names))]
    place = len(str(len(names) - 1))
    rows = [
        f"{index:{place}} {name:{width}}  " + " ".join(f"{count:{cell}d}" for count in counts)
        for index, (name, counts) in enumerate(zip(names, confusion, strict=True))
    ]
    return ["confusion: a row a class, a column what the model says", f"{'':{width + place + 1}}  {' '.join(numbers)}",
            *rows]  # fmt: skip
