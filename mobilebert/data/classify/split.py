"""A dev set out of a train file: the same rows for the same seed, with every class in it.

A row's place in the draw is a hash of its text and the seed. It depends neither on the order of the file nor on the
number of processes nor on a library's random generator, and rows that are added later move few others.
"""

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from mobilebert.base.errors import InputError
from mobilebert.data.classify.encode import examples_digest
from mobilebert.data.classify.examples import Examples

_QUANTILES = 10  # parts of a regression's scores, of which each gives its share


def split_dev(examples: Examples, share: float, seed: int) -> tuple[Examples, Examples]:
    """Take a dev set out of labelled examples, stratified.

    Of each class (of scores: each tenth of their range of ranks; of several labels: by each text's rarest) the dev set
    gets ``share`` of the rows, rounded, but at least one where the class has two different texts. Rows of the same text
    (case and spacing do not count) stay together, so that the dev set holds nothing that was trained on.

    Args:
        examples: with labels.
        share: of the rows, between 0 and 1.
        seed: of the draw.

    Returns:
        Train and dev, each in the order of the file.

    Raises:
        InputError: a share out of range, or so few rows that one of the two would be empty.
    """
    if not 0 < share < 1:
        raise InputError(f"`dev_split={share:g}`: expected a share of the train file between 0 and 1, such as 0.1")
    texts = [_key(examples, row) for row in range(len(examples))]
    members: dict[str, list[int]] = {}
    for row, text in enumerate(texts):
        members.setdefault(text, []).append(row)
    # The same text with two labels goes where its first row belongs.
    kinds = _kinds(examples.labels, share)
    groups: dict[Hashable, list[list[int]]] = {}
    for text in sorted(members, key=lambda text: hashlib.sha256(f"{seed}\0{text}".encode()).digest()):
        groups.setdefault(kinds[members[text][0]], []).append(members[text])

    dev: set[int] = set()
    for drawn in groups.values():
        dev.update(_draw(drawn, share))
    if not dev or len(dev) == len(examples):
        raise InputError(
            f"{examples.source}: `dev_split={share:g}` of {len(examples)} rows with {len(members)} different texts "
            "leaves nothing for one of the two sets; give `dev_file`"
        )
    rows = range(len(examples))
    return examples.take([row for row in rows if row not in dev]), examples.take([row for row in rows if row in dev])


def record_of(dev: Examples, share: float, seed: int) -> dict[str, Any]:
    """What finds the rows of a dev set again, in JSON's types."""
    return {
        "file": dev.source,
        "dev_split": share,
        "seed": seed,
        "sha256": examples_digest(dev),
        "lines": dev.lines,
        "ids": dev.ids,
    }


def _draw(groups: Sequence[list[int]], share: float) -> list[int]:
    """Rows for the dev set from one class, whose texts are given in the order of the draw."""
    wanted = max(1, int(share * sum(map(len, groups)) + 0.5))
    taken: list[int] = []
    for group in groups[:-1]:  # one text at least stays in the train set
        if len(taken) + len(group) <= wanted:
            taken += group
    if not taken and len(groups) > 1:
        taken = min(groups, key=len)
    return taken


def _kinds(labels: np.ndarray | None, share: float) -> Sequence[Hashable]:
    """What each row is stratified by."""
    if labels is None:
        raise InputError("a dev set is taken out of labelled examples only")
    if labels.ndim == 2:
        counts = labels.sum(axis=0)
        rarest = np.where(labels > 0, counts, np.inf).argmin(axis=1)
        return [int(label) if row.any() else -1 for label, row in zip(rarest, labels, strict=True)]
    if labels.dtype.kind == "f":
        parts = max(1, min(_QUANTILES, int(share * len(labels))))
        ranks = np.argsort(np.argsort(labels, kind="stable"), kind="stable")
        return (ranks * parts // len(labels)).tolist()
    return labels.tolist()


def _key(examples: Examples, row: int) -> str:
    """A text, or pair, without what an uncased model does not see."""
    texts = [examples.texts[row]] + ([] if examples.pairs is None else [examples.pairs[row]])
    return "\0".join(" ".join(unicodedata.normalize("NFKC", text).casefold().split()) for text in texts)


def class_counts(labels: np.ndarray, names: Sequence[str]) -> dict[str, int]:
    """How many rows have each class; of several labels, how many have each label.

    Args:
        labels: [N] class indices, or [N, L] zeros and ones.
        names: [L].
    """
    if labels.ndim == 2:
        return {name: int(count) for name, count in zip(names, labels.sum(axis=0), strict=True)}
    counts = Counter(labels.tolist())
    return {name: counts[index] for index, name in enumerate(names)}
