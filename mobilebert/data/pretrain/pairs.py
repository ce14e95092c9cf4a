"""Which two texts make a row: BERT's rules of segments and next sentences, on the places of tokens alone."""

import hashlib
import random
from array import array
from bisect import bisect_left
from collections.abc import Sequence

import numpy as np

from mobilebert.data.pretrain.settings import Settings
from mobilebert.data.pretrain.shards import SPECIAL_TOKENS


def draw_pairs(
    sentence_starts: Sequence[int], document_starts: Sequence[int], settings: Settings, block: int
) -> np.ndarray:
    """Cut all copies of a block's documents into rows.

    Args:
        sentence_starts: where in the block's tokens each sentence begins; the last is their number. None is empty.
        document_starts: where in the sentences each document begins; the last is their number. None is empty, and
            there are at least two.
        settings: the rules.
        block: the block's number.

    Returns:
        ``[R, 5]`` int64, copy after copy, document after document: where the row's first text begins, its tokens, the
        same of the second, and 1 where that is of another document.

    Source: ``create_instances_from_document`` of Google's BERT. It draws the other document anew, up to ten times,
    where it is the row's own, and then takes its own; here it is always another one.
    """
    pairs = array("q")  # a list of tuples would be ten times as large
    for copy in range(settings.dupe_factor):
        digest = hashlib.sha256(f"{settings.seed}/{block}/{copy}".encode()).digest()
        draw = random.Random(int.from_bytes(digest, "little"))
        for document in range(len(document_starts) - 1):
            _cut(document, sentence_starts, document_starts, settings, draw, pairs)
    return np.array(pairs).reshape(-1, 5)


def _cut(
    document: int,
    starts: Sequence[int],
    documents: Sequence[int],
    settings: Settings,
    draw: random.Random,
    pairs: array,
) -> None:
    """Append the rows of one copy of a document, five numbers each."""
    # Python promises that the numbers of ``random`` stay the same; of ``getrandbits`` a test sees that they do.
    uniform = draw.random
    most = settings.max_seq_length - SPECIAL_TOKENS
    target = most
    if uniform() < settings.short_seq_prob:
        target = 2 + int(uniform() * (most - 1))  # 2 to most
    here, end = documents[document], documents[document + 1]
    while here < end:
        # As many sentences as reach the target, or all that are left.
        behind = bisect_left(starts, starts[here] + target, here + 1, end)
        count = behind - here
        middle = here + 1 + (int(uniform() * (count - 1)) if count > 1 else 0)
        first, first_length = starts[here], starts[middle] - starts[here]
        if count == 1 or uniform() < 0.5:
            other = int(uniform() * (len(documents) - 2))
            other += other >= document
            sentence = documents[other] + int(uniform() * (documents[other + 1] - documents[other]))
            wanted = starts[sentence] + target - first_length
            last = bisect_left(starts, wanted, sentence + 1, documents[other + 1])
            second, second_length, is_random = starts[sentence], starts[last] - starts[sentence], 1
            here = middle  # the sentences that the other document took the place of are cut again
        else:
            second, second_length, is_random = starts[middle], starts[behind] - starts[middle], 0
            here = behind
        if (excess := first_length + second_length - most) > 0:
            cut_first, cut_second = _shares(first_length, second_length, excess)
            # Each token goes from the front or from the back.
            first += draw.getrandbits(cut_first).bit_count() if cut_first else 0
            second += draw.getrandbits(cut_second).bit_count() if cut_second else 0
            first_length, second_length = first_length - cut_first, second_length - cut_second
        pairs.extend((first, first_length, second, second_length, is_random))


def _shares(first: int, second: int, excess: int) -> tuple[int, int]:
    """How many tokens each text loses where one after the other is taken from the longer, of equals from the second."""
    level = min(excess, abs(first - second))
    rest = excess - level
    from_first, from_second = rest // 2, rest - rest // 2
    return (from_first + level, from_second) if first > second else (from_first, from_second + level)
