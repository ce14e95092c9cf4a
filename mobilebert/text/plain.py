"""Much text to token ids, fast: each distinct word once. For text that is learned from, where nothing is special."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import chain

import numpy as np

from mobilebert.text.encoding import Backend
from mobilebert.text.tokenizer import MobileBertTokenizer

_CHUNK = 8192  # words encoded at once: an encoding holds much more than its tokens


def encode_plain(tokenizer: MobileBertTokenizer, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Encode texts without special tokens; what looks like one in a text (``[MASK]``) is text like any other.

    BERT's rules never look across a space, so a text is its words between spaces one behind the other. English has
    some 20 times as many words as distinct ones in a few megabytes.

    Args:
        tokenizer: whose rules hold.
        texts: lines, free of lone surrogates.

    Returns:
        ``[T]`` int32 token ids of all texts one behind the other, and ``[texts]`` int64 how many are of each.
    """
    base = Backend(tokenizer.backend_tokenizer).copy()
    base.encode_special_tokens = True
    added = base.get_added_tokens_decoder().values()
    looks_across = any(" " in token.content for token in added if not token.special)
    separator = "\n" if looks_across else " "  # of lines there is only one in a text
    numbers: defaultdict[str, int] = defaultdict()
    numbers.default_factory = numbers.__len__
    words = chain.from_iterable(text.split(separator) for text in texts)
    found = np.fromiter(map(numbers.__getitem__, words), np.int64)  # [words] each one's number

    distinct = list(numbers)
    sizes, parts = np.zeros(len(distinct), np.int64), [np.zeros(0, np.int32)]
    for start in range(0, len(distinct), _CHUNK):
        encodings = base.encode_batch_fast(distinct[start : start + _CHUNK], add_special_tokens=False)
        rows = [encoding.ids for encoding in encodings]
        sizes[start : start + _CHUNK] = [len(row) for row in rows]
        parts.append(np.fromiter(chain.from_iterable(rows), np.int32))
    known, begins = np.concatenate(parts), np.cumsum(sizes) - sizes

    counts = sizes[found]
    ends = np.concatenate([[0], np.cumsum(counts)])  # [words + 1] where each one's tokens begin in all of them
    places = np.arange(ends[-1])
    places += np.repeat(begins[found] - ends[:-1], counts)
    last_words = np.cumsum([0, *(text.count(separator) + 1 for text in texts)])
    return known[places], np.diff(ends[last_words])
