"""Which classes a model confuses: precision, recall and F1 of each, and the confusion matrix. Scores in percent.

N examples, L classes or labels

Source: ``sklearn.metrics.classification_report`` and ``confusion_matrix``, where what cannot be divided is 0.
"""

from collections.abc import Sequence
from typing import TypedDict

import numpy as np

from mobilebert.data.classify.balance import LISTED


class Averages(TypedDict):
    """Over classes, in percent."""

    precision: float
    recall: float
    f1: float


class ClassScores(Averages):
    """Of one class; ``support`` examples have it, the model gives it to ``predicted``."""

    support: int
    predicted: int


class Report(TypedDict):
    """Of one dev set; ``averages``: micro, macro and weighted.

    ``confusion``: [L][L] counts, true class by predicted one. Of several labels a text [L][4]: how many texts rightly
    lack the label, are given it wrongly, lack it wrongly, and are given it rightly.
    """

    examples: int
    is_multi_label: bool
    classes: dict[str, ClassScores]
    averages: dict[str, Averages]
    confusion: list[list[int]]


def make_report(labels: Sequence[str], gold: np.ndarray, predictions: np.ndarray) -> Report:
    """Everything about one dev set.

    Args:
        labels: [L] names.
        gold: [N] class indices; or [N, L], 1 for each label that a text has.
        predictions: the same of the model.
    """
    count = len(labels)
    if gold.ndim == 2:
        true, said = gold > 0, predictions > 0
        hits, support, predicted = (true & said).sum(axis=0), true.sum(axis=0), said.sum(axis=0)
        confusion = [
            [len(gold) - s - p + h, p - h, s - h, h]
            for h, s, p in zip(hits.tolist(), support.tolist(), predicted.tolist(), strict=True)
        ]
    else:
        matrix = np.bincount(gold * count + predictions, minlength=count * count).reshape(count, count)
        hits, support, predicted = matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0)
        confusion = matrix.tolist()
    scores = _scores(hits, predicted, support)  # [3, L]
    classes = {
        name: ClassScores(
            precision=float(precision), recall=float(recall), f1=float(f1), support=int(has), predicted=int(said)
        )
        for name, (precision, recall, f1), has, said in zip(labels, scores.T, support, predicted, strict=True)
    }
    micro = _scores(hits.sum(keepdims=True), predicted.sum(keepdims=True), support.sum(keepdims=True))[:, 0]
    # As scikit-learn: a class that neither the examples nor the model have takes no part; each of several labels does.
    present = np.ones(count, bool) if gold.ndim == 2 else support + predicted > 0
    weighted = (scores * support).sum(axis=1) / max(support.sum(), 1)
    averages = {
        name: Averages(precision=float(values[0]), recall=float(values[1]), f1=float(values[2]))
        for name, values in (("micro", micro), ("macro", scores[:, present].mean(axis=1)), ("weighted", weighted))
    }
    return Report(
        examples=len(gold),
        is_multi_label=gold.ndim == 2,
        classes=classes,
        averages=averages,
        confusion=confusion,
    )


def _scores(hits: np.ndarray, predicted: np.ndarray, support: np.ndarray) -> np.ndarray:
    """[3, ...] precision, recall and F1, in percent."""
    parts = [(hits, predicted), (hits, support), (2 * hits, predicted + support)]
    return np.stack([100.0 * part / np.maximum(whole, 1) for part, whole in parts])


def report_text(title: str, report: Report) -> str:
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
    return "\n".join([*lines, "", *_confusion_lines(names, report, width)])


def _row(name: str, values: Averages, support: int, width: int) -> str:
    return f"{name:{width}}  {values['precision']:9.2f} {values['recall']:7.2f} {values['f1']:7.2f}  {support:7d}"


def _confusion_lines(names: Sequence[str], report: Report, width: int) -> list[str]:
    confusion = report["confusion"]
    if report["is_multi_label"]:
        rows = [f"{name:{width}}  " + " ".join(f"{count:7d}" for count in counts[::-1])
                for name, counts in zip(names, confusion, strict=True)]  # fmt: skip
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
