"""GLUE's scores, and those of several classes or labels, in percent, computed by scikit-learn and SciPy.

Source: the metrics of Wang et al. 2019, "GLUE", table 1, under the names that Hugging Face's ``evaluate`` uses.
"""

from collections.abc import Sequence

import numpy as np

from mobilebert.base.errors import InputError

METRICS = (
    *("accuracy", "f1", "matthews_correlation", "pearson", "spearmanr"),
    *("macro_f1", "micro_f1", "exact_match"),  # of tasks of one's own; the last two of several labels a text
)


def compute(
    metrics: Sequence[str], predictions: np.ndarray, references: np.ndarray, positive: int = 1
) -> dict[str, float]:
    """Score predictions.

    Args:
        metrics: names from ``METRICS``.
        predictions: [N], class indices, or scores for the two correlations; [N, L], 1 for each label that is given.
        references: the same of the gold labels.
        positive: the class index that F1 counts as found; classes in another order move it.

    Returns:
        metric -> percent. A correlation with a constant is undefined and given as 0, as Matthews' is by definition.

    Raises:
        InputError: nothing to score, lengths that differ, or a prediction that is not finite.
    """
    if len(predictions) != len(references) or not len(references):
        raise InputError(f"{len(predictions)} predictions for {len(references)} labels: expected as many, at least one")
    if not np.isfinite(predictions).all():
        raise InputError("predictions are not finite; did the training diverge? lower the learning rate")
    return {name: 100.0 * _score(name, predictions, references, positive) for name in metrics}


def require_libraries() -> None:
    """Import what ``compute`` needs: a library that is missing is better known before a training than after it.

    Raises:
        ModuleNotFoundError: scikit-learn or SciPy is not installed.
    """
    import scipy.stats  # noqa: F401
    import sklearn.metrics  # noqa: F401


def _score(name: str, predictions: np.ndarray, references: np.ndarray, positive: int) -> float:
    # Imported here: together they take about a second, which no --help should wait for.
    from scipy import stats
    from sklearn import metrics as sklearn_metrics

    if name in ("accuracy", "exact_match"):
        return float(sklearn_metrics.accuracy_score(references, predictions))
    if name in ("macro_f1", "micro_f1"):
        average = name.removesuffix("_f1")
        return float(sklearn_metrics.f1_score(references, predictions, average=average, zero_division=0.0))
    if name == "f1":
        # Binary by hand of `labels`: scikit-learn refuses pos_label where neither side has it.
        return float(
            sklearn_metrics.f1_score(references, predictions, labels=[positive], average="macro", zero_division=0.0)
        )
    if name == "matthews_correlation":
        return float(sklearn_metrics.matthews_corrcoef(references, predictions))
    if name in ("pearson", "spearmanr"):
        if np.ptp(predictions) == 0 or np.ptp(references) == 0:
            return 0.0
        correlate = stats.pearsonr if name == "pearson" else stats.spearmanr
        # SciPy computes in the type it is given: float32 is off by whole percents where scores are nearly constant.
        return float(correlate(np.float64(predictions), np.float64(references)).statistic)
    raise ValueError(f"unknown metric {name!r}")
