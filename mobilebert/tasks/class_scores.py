"""Logits of a classifier -> loss, scores and a report for each dev set.

N examples, L labels (1 for regression)
"""

from collections.abc import Mapping, Sequence

import numpy as np

from mobilebert.base.errors import InputError
from mobilebert.data.classify import metrics as class_metrics
from mobilebert.data.classify.report import Report, make_report
from mobilebert.data.collate import PackedDataset
from mobilebert.data.glue.tasks import Task as GlueTask
from mobilebert.inference.rows import Run
from mobilebert.tasks.shared_rows import run_shared
from mobilebert.train.parallel import World


def logits_of(run: Run, num_labels: int, data: PackedDataset, batch_size: int, world: World) -> np.ndarray:
    """Logits of all examples, in their order.

    Args:
        run: a padded batch -> logits [B, L].
        num_labels: L.
        data: its labels, if any, are not looked at.
        batch_size: examples in one forward pass.
        world: this process among all.

    Returns:
        [N, L] float32, the same on every rank.
    """
    return run_shared(run, data, [(num_labels,)], batch_size, world)[0]


def require_finite(logits: np.ndarray, where: str) -> None:
    """Refuse logits that are NaN or infinite; raises ``InputError``."""
    if not np.isfinite(logits).all():
        raise InputError(f"{where}: the model's logits are not finite; did the training diverge?")


def predictions_of(task: GlueTask, logits: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    """[N, L] logits -> [N] class indices, or scores; of several labels [N, L], 1 where likelier than ``threshold``."""
    if task.label_sets is not None:
        return (logits.astype(np.float64) > np.log(threshold / (1 - threshold))).astype(np.int64)
    return logits[:, 0] if task.is_regression else logits.argmax(axis=1)


def mean_loss(task: GlueTask, logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean over all examples of the cross-entropy, or of the squared error: [N, L], [N] -> nats, or score squared.

    Of several labels, [N, L], [N, L] -> the mean of all binary cross-entropies. Class weights do not count here:
    models that were trained with and without them can be compared.
    """
    logits = logits.astype(np.float64)
    if task.label_sets is not None:
        return float(np.mean(np.logaddexp(0.0, logits) - logits * labels))
    if task.is_regression:
        return float(np.mean((logits[:, 0] - labels) ** 2))
    highest = logits.max(axis=1, keepdims=True)
    log_total = np.log(np.exp(logits - highest).sum(axis=1)) + highest[:, 0]
    return float(np.mean(log_total - logits[np.arange(len(labels)), labels]))


def metric_suffix(split: str) -> str:
    """What a split adds to its metrics' names: ``_mm`` for MNLI's mismatched sets, as in Hugging Face's run_glue."""
    return "_mm" if split.endswith("_mismatched") else ""


def evaluate(
    run: Run,
    task: GlueTask,
    labels: Sequence[str],
    sets: Mapping[str, PackedDataset],
    batch_size: int,
    world: World,
    threshold: float = 0.5,
) -> tuple[dict[str, float], dict[str, Report]]:
    """Score a model on every dev set.

    Args:
        run: see ``logits_of``.
        task: its metrics.
        labels: the classes in the order of the logits; one name for regression.
        sets: split -> examples.
        batch_size: examples in one forward pass.
        world: this process among all.
        threshold: see ``predictions_of``.

    Returns:
        ``loss`` (mean over all examples) and the task's metrics in percent, each with its set's ``metric_suffix``; and
        for each set ``report.make_report``, empty for regression.
    """
    positive = labels.index(task.labels[1]) if len(task.labels) == 2 else 1
    results, reports = {}, {}
    for split, data in sets.items():
        logits, gold = logits_of(run, len(labels), data, batch_size, world), data.rows.labels["labels"]
        require_finite(logits, split)
        predictions = predictions_of(task, logits, threshold)
        scores = class_metrics.compute(task.metrics, predictions, gold, positive)
        for name, value in {"loss": mean_loss(task, logits, gold), **scores}.items():
            results[name + metric_suffix(split)] = value
        if not task.is_regression:
            reports[split] = make_report(labels, gold, predictions)
    return results, reports
