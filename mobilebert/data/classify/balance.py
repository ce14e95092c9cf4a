"""Classes of different size: counts, a warning, and weights in the loss."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from mobilebert.base.errors import InputError

UNBALANCED = 5.0  # from here on the largest class is called too large for the smallest
LISTED = 30  # classes in a line of the log, or in a table
_FORMS = "`class_weights`: expected balanced, none, or NAME=WEIGHT,NAME=WEIGHT"


def count_line(counts: Mapping[str, int]) -> str:
    """The sizes of all classes, in one line; of very many the largest and the smallest."""
    if len(counts) <= LISTED:
        return ", ".join(f"{name} {count}" for name, count in counts.items())
    least, most = _extremes(counts)
    return f"{len(counts)} classes, from {least} {counts[least]} to {most} {counts[most]}"


def warning_of(counts: Mapping[str, int], is_multi_label: bool = False) -> str | None:
    """What is to be said of classes without examples, or of very different sizes; None where all is well."""
    if empty := [name for name, count in counts.items() if not count]:
        return f"no example of {', '.join(empty[:LISTED])}: what is not in the train set is not learned"
    least, most = _extremes(counts)
    ratio = counts[most] / counts[least]
    if ratio < UNBALANCED:
        return None
    found = f"{most} has {ratio:.1f} times as many examples as {least}"
    if is_multi_label:
        return f"{found}: look at the rare label's row of the report, not at the overall score"
    return f"{found}: a model that hardly ever says {least} can still look accurate; `class_weights=balanced` helps"


def check_spec(spec: str) -> None:
    """Refuse a ``--class_weights`` that is none of its forms, before anything is read.

    Raises:
        InputError: it is.
    """
    if spec not in ("balanced", "none"):
        _named(spec)


def class_weights(spec: str, counts: Mapping[str, int]) -> np.ndarray | None:
    """The weight of each class in the loss.

    Args:
        spec: ``balanced``: n / (L * count), as scikit-learn has it, with the classes that have examples; ``none``; or
            ``NAME=WEIGHT,...``, where those that are not named weigh 1.
        counts: class -> examples in the train set.

    Returns:
        [L] float32, in the order of ``counts``; None for none.

    Raises:
        InputError: a form, class or weight that is not known.

    Source: ``sklearn.utils.class_weight.compute_class_weight``.
    """
    if spec == "none":
        return None
    if spec == "balanced":
        total, present = sum(counts.values()), sum(count > 0 for count in counts.values())
        return np.array([total / (present * count) if count else 1.0 for count in counts.values()], np.float32)
    named = _named(spec)
    if unknown := [name for name in named if name not in counts]:
        raise InputError(f"`class_weights`: no class {unknown[0]!r}; there are {', '.join(counts)}")
    return np.array([named.get(name, 1.0) for name in counts], np.float32)


def _named(spec: str) -> dict[str, float]:
    weights: dict[str, float] = {}
    for part in spec.split(","):
        name, equals, word = (piece.strip() for piece in part.rpartition("="))
        try:
            weight = float(word)
        except ValueError:
            weight = math.nan
        if not equals or not name:
            raise InputError(f"{_FORMS}, got {spec!r}")
        if not (math.isfinite(weight) and weight > 0):
            raise InputError(f"`class_weights`: {name}={word}: expected a number above 0")
        if name in weights:
            raise InputError(f"`class_weights`: {name!r} stands twice")
        weights[name] = weight
    return weights


def _extremes(counts: Mapping[str, int]) -> Sequence[str]:
    return min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
