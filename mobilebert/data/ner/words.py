"""Raw text as words, by their places: at white space, each punctuation mark and each Chinese character by itself.

The rule of BERT's basic tokenizer; but the text stays as it is, so that a place is a place in the original.
"""

import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from functools import cache

from mobilebert.data.ner.schemes import Entity

_CJK = (
    *((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F)),
    *((0x2B820, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F)),
)
_SPACE, _ALONE, _LETTER = range(3)

Place = tuple[int, int]  # first character, last (exclusive)


def split_words(text: str) -> list[Place]:
    """The places of a text's words.

    Source: ``BasicTokenizer`` of google-research/bert.
    """
    places = []
    start = None
    for at, character in enumerate(text):
        kind = _kind(character)
        if kind == _LETTER:
            start = at if start is None else start
            continue
        if start is not None:
            places.append((start, at))
            start = None
        if kind == _ALONE:
            places.append((at, at + 1))
    return places if start is None else [*places, (start, len(text))]


def align(words: Sequence[Place], start: int, end: int, kind: str) -> tuple[Entity, bool] | None:
    """The words that characters ``start`` to ``end`` touch, and whether these are whole words; None for no word."""
    first = bisect_right(words, start, key=lambda word: word[1])
    last = bisect_left(words, end, key=lambda word: word[0]) - 1
    if last < first:
        return None
    # White space at the ends of an annotation is nobody's mistake.
    is_whole = start <= words[first][0] and words[last][1] <= end
    return Entity(kind, first, last + 1), is_whole


@cache
def _kind(character: str) -> int:
    code, category = ord(character), unicodedata.category(character)
    if character.isspace() or category == "Zs":
        return _SPACE
    is_sign = character.isascii() and category[0] in "PS"
    is_alone = is_sign or category[0] == "P" or any(low <= code <= high for low, high in _CJK)
    return _ALONE if is_alone else _LETTER
