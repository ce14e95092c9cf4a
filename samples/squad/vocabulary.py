"""Train a small WordPiece vocabulary, the same on every machine.

The trainer of the ``tokenizers`` library breaks ties differently from run to run; this one breaks them by spelling.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import pairwise

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

_WORDS_AND_SIGNS = re.compile(r"\w+|[^\w\s]")


def train_vocabulary(texts: Iterable[str], size: int) -> list[str]:
    """Join the commonest neighbouring pieces, again and again (byte-pair encoding over letters).

    Args:
        texts: plain text; it is lower-cased.
        size: number of tokens at most; special tokens, and every letter at the start and inside of a word come first.

    Returns:
        The tokens in the order of their ids, pieces inside a word marked by ``##``.
    """
    counts = Counter(word for text in texts for word in _WORDS_AND_SIGNS.findall(text.lower()))
    letters = sorted(set("".join(counts)))
    vocabulary = [*SPECIAL_TOKENS, *letters, *(f"##{letter}" for letter in letters if letter.isalnum())]
    words = [([word[0], *(f"##{letter}" for letter in word[1:])], count) for word, count in sorted(counts.items())]
    pairs: Counter[tuple[str, str]] = Counter()
    where: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    for index, (pieces, count) in enumerate(words):
        for pair in pairwise(pieces):
            pairs[pair] += count
            where[pair].add(index)

    known = set(vocabulary)
    while len(vocabulary) < size and pairs:
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        joined = best[0] + best[1].removeprefix("##")
        if joined not in known:
            known.add(joined)
            vocabulary.append(joined)
        for index in sorted(where.pop(best)):
            pieces, count = words[index]
            for pair in pairwise(pieces):
                pairs[pair] -= count
            pieces[:] = _join(pieces, best, joined)
            for pair in pairwise(pieces):
                pairs[pair] += count
                where[pair].add(index)
        pairs = +pairs  # drop what is gone
    return vocabulary


def _join(pieces: list[str], pair: tuple[str, str], joined: str) -> list[str]:
    """``pieces`` with every occurrence of ``pair`` replaced by ``joined``."""
    result: list[str] = []
    for piece in pieces:
        if result and (result[-1], piece) == pair:
            result[-1] = joined
        else:
            result.append(piece)
    return result
