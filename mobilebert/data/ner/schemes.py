"""Tags and the entities that they mark: IOB1, IOB2 and IOBES (BILOU is the same in other letters).

    words    Ada    Lovelace  ,  London
    IOB1     I-PER  I-PER     O  I-LOC     (B- only where an entity of the same type goes before)
    IOB2     B-PER  I-PER     O  B-LOC
    IOBES    B-PER  E-PER     O  S-LOC

A fourth scheme, ``plain``, takes tags as they are: parts of speech, one a word.
"""

from collections.abc import Sequence
from typing import NamedTuple

OUTSIDE = "O"
IOB1, IOB2, IOBES, PLAIN = "iob1", "iob2", "iobes", "plain"
SCHEMES = (IOB1, IOB2, IOBES, PLAIN)
# What a fault is called.
RULES = {
    IOB1: "B- stands where an entity of the same type goes right before",
    IOB2: "an entity begins with B-",
    IOBES: "an entity is S-, or B- to E- with I- between them",
}
_BILOU = str.maketrans("LU", "ES")


class Entity(NamedTuple):
    """Words ``start`` to ``end`` (exclusive) of a sentence."""

    type: str
    start: int
    end: int


def split(tag: str) -> tuple[str, str] | None:
    """Prefix (in IOBES' letters) and type of a tag; None where it is no such tag.

    >>> split("L-PER"), split("B-creative-work"), split("NOUN")
    (('E', 'PER'), ('B', 'creative-work'), None)
    """
    if tag == OUTSIDE:
        return OUTSIDE, ""
    prefix, dash, kind = tag.partition("-")
    return (prefix.translate(_BILOU), kind) if dash and kind and prefix in tuple("BIESLU") else None


def entities(tags: Sequence[str], scheme: str = IOB2) -> list[Entity]:
    """What tags mark, read leniently: an entity begins wherever the tags leave no other reading.

    Source: ``get_entities`` of seqeval 1.2.2, which is conlleval's rule.
    """
    if scheme == PLAIN:
        return [Entity(tag, place, place + 1) for place, tag in enumerate(tags)]
    found, start = [], 0
    before, kind_before = OUTSIDE, ""
    for place, tag in enumerate([*tags, OUTSIDE]):
        prefix, kind = split(tag)
        goes_on = prefix in "IE" and before in "BI" and kind == kind_before
        if before != OUTSIDE and not goes_on:
            found.append(Entity(kind_before, start, place))
        if not goes_on:
            start = place
        before, kind_before = prefix, kind
    return found


def strict_entities(tags: Sequence[str], scheme: str) -> list[Entity]:
    """The entities of IOB2 or IOBES that keep to their scheme; what does not is none.

    Source: ``seqeval.scheme`` 1.2.2, ``mode="strict"``.
    """
    pairs = [split(tag) for tag in tags]
    found = []
    for start, (prefix, kind) in enumerate(pairs):
        if prefix == "S" and scheme == IOBES:
            found.append(Entity(kind, start, start + 1))
        if prefix != "B":
            continue
        end = start + 1
        while end < len(pairs) and pairs[end] == ("I", kind):
            end += 1
        if scheme == IOB2:
            found.append(Entity(kind, start, end))
        elif end < len(pairs) and pairs[end] == ("E", kind):
            found.append(Entity(kind, start, end + 1))
    return found


def write(marked: Sequence[Entity], length: int, scheme: str = IOB2) -> list[str]:
    """The tags of entities that do not overlap, in IOB2 or IOBES, of a sentence of ``length`` words."""
    tags = [OUTSIDE] * length
    for kind, start, end in marked:
        tags[start:end] = [f"B-{kind}", *[f"I-{kind}"] * (end - start - 1)]
        if scheme == IOBES:
            tags[end - 1] = f"{'S' if end - start == 1 else 'E'}-{kind}"
    return tags


def faults(tags: Sequence[str], scheme: str) -> list[int]:
    """Words whose tag is against a scheme; the number of words where the last entity does not end."""
    found = []
    before, kind_before = OUTSIDE, ""
    for place, tag in enumerate([*tags, OUTSIDE]):
        prefix, kind = split(tag)
        follows = before != OUTSIDE and kind == kind_before
        if scheme == IOBES:
            is_right = prefix in "IE" and follows if before in "BI" else prefix in "OBS"
        else:
            is_right = {"B": follows or scheme == IOB2, "I": follows or scheme == IOB1}.get(prefix, prefix == OUTSIDE)
        if not is_right:
            found.append(place)
        before, kind_before = prefix, kind
    return found


def detect(sentences: Sequence[Sequence[str]]) -> str:
    """The scheme that tags keep to, or break least often; IOB2 where there is no telling."""
    prefixes = {split(tag)[0] for tags in sentences for tag in tags}
    if prefixes & {"E", "S"}:
        return IOBES
    return min((IOB2, IOB1), key=lambda scheme: sum(len(faults(tags, scheme)) for tags in sentences))


def scheme_of(labels: Sequence[str]) -> str:
    """The scheme of a model's classes: IOB2 (IOB1 has the same), IOBES or plain."""
    pairs = [split(label) for label in labels]
    if None in pairs or OUTSIDE not in labels:
        return PLAIN
    return IOBES if {"E", "S"} & {prefix for prefix, _ in pairs} else IOB2
