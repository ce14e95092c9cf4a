"""Seeded choices, and invented names that train and dev never share."""

import random
import zlib
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

DEV_SHARE = 5  # one invented word in five belongs to dev

_ONSETS = """
    al ar bal bel ben bor bran cal cor dal dar del dor dun el er fal fen fer gal gar gil gor hal har hel hol ir jor
    kal kel kor lan lor lum mal mar mel mir mor nal ner nor ol or os pal pel per quil ral rin ros sal sel sor tal tam
    tel tor ul ur val vel ver wal wen wil yar yor zan zel
"""
_MIDDLES = "a e i o u an en in on est ith ola ira emi ova"
_ENDINGS = {
    "place": "mora wick stead dale haven ford march bury gate mere holm crest fell moor minster brook",
    "ship": "ia ora elle una ona essa ine etta ara is",
    "book": "iad ander eon ica olen ade iris umbra athos endia",
    "machine": "ulator ograph imer otor atic ostat ulex idyne ophon ometer",
    "first name": "a ic en ine us eth ard o an wyn ette ius ild and ory",
    "surname": "lin ner sen quist worth ley rick tree mont dahl ster well ham kett ridge",
}
ONSETS, MIDDLES = tuple(_ONSETS.split()), tuple(_MIDDLES.split())
ENDINGS = {kind: tuple(endings.split()) for kind, endings in _ENDINGS.items()}


class Dice:
    """A seeded source of choices, the same on every Python version.

    Only ``random.Random.random`` is promised to give the same numbers in all versions; the rest is built on it.
    """

    def __init__(self, seed: str):
        self._random = random.Random(seed)

    def below(self, limit: int) -> int:
        """A whole number from 0 to ``limit - 1``."""
        return int(self._random.random() * limit)

    def pick(self, choices: Sequence[T]) -> T:
        """One of ``choices``."""
        return choices[self.below(len(choices))]

    def sample(self, choices: Sequence[T], count: int) -> list[T]:
        """``count`` different members of ``choices``, in random order."""
        rest = list(choices)
        return [rest.pop(self.below(len(rest))) for _ in range(count)]


def belongs_to_dev(word: str) -> bool:
    """Whether an invented word is kept for dev: a property of its spelling, whatever the seed."""
    return zlib.crc32(word.encode()) % DEV_SHARE == 0


class Namer:
    """Invents the names of one passage, all of one split and no two beginning alike."""

    def __init__(self, dice: Dice, split: str):
        self._dice, self._for_dev, self._used = dice, split == "dev", set()

    def word(self, kind: str) -> str:
        """A capitalised word such as ``Velmora``; ``kind`` is a key of ``ENDINGS``."""
        while True:
            onset = self._dice.pick(ONSETS)
            middle = self._dice.pick(MIDDLES) if self._dice.below(2) else ""
            name = (onset + middle + self._dice.pick(ENDINGS[kind])).capitalize()
            if onset not in self._used and belongs_to_dev(name) == self._for_dev:
                self._used.add(onset)
                return name

    def person(self) -> str:
        """A first name and a surname."""
        return f"{self.word('first name')} {self.word('surname')}"
