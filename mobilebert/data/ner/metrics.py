"""Scores of entities, in percent, as seqeval 1.2.2 counts them; tests/campaigns/seqeval_equality.py compares both."""

from collections import Counter
from collections.abc import Callable, Sequence

from mobilebert.base.errors import InputError
from mobilebert.data.ner.schemes import IOB2, PLAIN, Entity, entities, strict_entities

Tags = Sequence[Sequence[str]]  # of each sentence, of each word


def compute(gold: Tags, predicted: Tags, scheme: str = IOB2) -> dict[str, float]:
    """Precision, recall and F1 of entities, F1 of those that keep to the scheme, accuracy of tags.

    An entity is right where type, first and last word are. A share of nothing is 0.

    Args:
        gold, predicted: as many tags, at least one.
        scheme: ``"iob2"``, ``"iobes"``, or ``"plain"``, which has an accuracy only.

    Raises:
        InputError: other numbers of tags.
    """
    _check(gold, predicted)
    pairs = [pair for tags in zip(gold, predicted, strict=True) for pair in zip(*tags, strict=True)]
    accuracy = {"accuracy": 100 * sum(one == other for one, other in pairs) / len(pairs)}
    if scheme == PLAIN:
        return accuracy
    found = _shares(*map(sum, zip(*by_type(gold, predicted).values(), strict=True)))
    strict = by_type(gold, predicted, lambda tags: strict_entities(tags, scheme))
    return {**found, "strict_f1": _shares(*map(sum, zip(*strict.values(), strict=True)))["f1"], **accuracy}


def by_type(
    gold: Tags, predicted: Tags, read: Callable[[Sequence[str]], list[Entity]] = entities
) -> dict[str, tuple[int, int, int]]:
    """Type -> entities found rightly, found, and there; by name."""
    right, found, there = Counter[str](), Counter[str](), Counter[str]()
    for truth, guess in zip(gold, predicted, strict=True):
        wanted, got = set(read(truth)), set(read(guess))
        there.update(entity.type for entity in wanted)
        found.update(entity.type for entity in got)
        right.update(entity.type for entity in wanted & got)
    return {kind: (right[kind], found[kind], there[kind]) for kind in sorted(there | found)}


def table(gold: Tags, predicted: Tags, scheme: str = IOB2) -> str:
    """The scores of each type, to be read: percent, and how many there are."""
    counts = by_type(gold, predicted, lambda tags: entities(tags, scheme))
    rows = {**counts, "all": tuple(map(sum, zip(*counts.values(), strict=True)))}
    width = max(map(len, rows))
    lines = [f"{'':{width}}  precision  recall      F1  entities"]
    for kind, numbers in rows.items():
        precision, recall, f1 = _shares(*numbers).values()
        lines.append(f"{kind:{width}}  {precision:9.2f}  {recall:6.2f}  {f1:6.2f}  {sum(numbers[2:]):8d}")
    return "\n".join(lines) + "\n"


def _shares(right: int = 0, found: int = 0, there: int = 0) -> dict[str, float]:
    precision, recall = right / found if found else 0.0, right / there if there else 0.0
    f1 = 2 * precision * recall / (precision + recall) if right else 0.0
    return {"precision": 100 * precision, "recall": 100 * recall, "f1": 100 * f1}


def _check(gold: Tags, predicted: Tags) -> None:
    numbers = [[len(tags) for tags in side] for side in (gold, predicted)]
    if numbers[0] != numbers[1] or not sum(numbers[0]):
        raise InputError(
            f"{sum(numbers[1])} tags for {sum(numbers[0])} words: expected one for each word, at least one"
        )
