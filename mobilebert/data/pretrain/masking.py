"""Which tokens of a row are to be predicted, and what the model sees in their place.

Every random number is a hash of seed, epoch, the row and the place in it, so that a row's masks do not depend on the
rows beside it, nor on who draws them.

B rows, S tokens of the longest
"""

import numpy as np

from mobilebert.data.pretrain.settings import Settings, Vocabulary

# SplitMix64: the step between two states, and the constants that mix one into a random number.
_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_ORDER, _CHOICE, _TOKEN = range(3)  # what a place's random number is for


def row_keys(seed: int, epoch: int, block: np.ndarray | int, row: np.ndarray) -> np.ndarray:
    """A number of each row, from which all of its random numbers follow.

    Args:
        seed: of the data.
        epoch: 0 for masks that are stored.
        block, row: ``[B]`` the row's block and its place in it.

    Returns:
        ``[B]`` uint64.
    """
    key = np.zeros(len(row), np.uint64)
    for part in (seed, epoch, block, row):
        key = _mixed(key + _STEP * (np.atleast_1d(part).astype(np.uint64) + np.uint64(1)))
    return key


def draw_masks(
    input_ids: np.ndarray, lengths: np.ndarray, keys: np.ndarray, settings: Settings, vocabulary: Vocabulary
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the masks of some rows.

    As many tokens as ``masked_lm_prob`` of the row, at least 1, at most ``max_predictions_per_seq``. 80 % of them
    become ``[MASK]``, 10 % any token of the vocabulary, 10 % stay; of a whole word each piece for itself.

    Args:
        input_ids: ``[B, S]`` rows with special tokens, padded on the right.
        lengths: ``[B]`` tokens of each.
        keys: ``[B]`` of ``row_keys``.
        settings, vocabulary: the rules.

    Returns:
        ``[B, S]`` bool, which tokens are to be predicted; and the ids in their place, ``[M]`` int64, row by row.

    Source: ``create_masked_lm_predictions`` of Google's BERT. With whole words its quirk is kept that a piece which
    begins the second text, cut at its front, belongs to the last word of the first.
    """
    positions = np.arange(input_ids.shape[1])
    inside = positions < lengths[:, None]
    candidates = inside & (input_ids != vocabulary.cls) & (input_ids != vocabulary.sep)
    wanted = np.rint(lengths * settings.masked_lm_prob).astype(np.int64)
    wanted = np.minimum(np.maximum(wanted, 1), settings.max_predictions_per_seq)  # [B]
    if settings.whole_word_mask:
        chosen = _draw_words(candidates, vocabulary.continues[input_ids], wanted, keys)
    else:
        order = _shuffled(candidates, keys)[:, : wanted.max(initial=0)]
        is_wanted = np.arange(order.shape[1]) < np.minimum(wanted, candidates.sum(axis=1))[:, None]
        chosen = np.zeros_like(candidates)
        np.put_along_axis(chosen, order, is_wanted, axis=1)

    rows, places = np.nonzero(chosen)
    choice = _uniform(keys[rows], places, _CHOICE)
    anything = (_hashed(keys[rows], places, _TOKEN) >> np.uint64(32)) * np.uint64(vocabulary.size) >> np.uint64(32)
    replaced = np.where(choice < 0.9, input_ids[rows, places], anything.astype(np.int64))
    return chosen, np.where(choice < 0.8, vocabulary.mask, replaced)


def _draw_words(candidates: np.ndarray, continues: np.ndarray, wanted: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Take words in random order; one that would be too many is passed over, as Google's code does."""
    rows = np.arange(len(wanted))
    has_one_before = np.cumsum(candidates, axis=1) > 1
    begins = candidates & ~(continues & has_one_before)
    positions = np.arange(candidates.shape[1])
    first = np.maximum.accumulate(np.where(begins, positions, 0), axis=1)  # [B, S] where each token's word begins
    sizes = np.zeros(candidates.shape, np.int64)
    np.add.at(sizes, (np.broadcast_to(rows[:, None], first.shape)[candidates], first[candidates]), 1)

    order, words = _shuffled(begins, keys), begins.sum(axis=1)
    taken, count = np.zeros_like(candidates), np.zeros_like(wanted)
    for rank in range(words.max(initial=0)):
        open_rows = rows[(count < wanted) & (rank < words)]
        if not len(open_rows):
            break
        places = order[open_rows, rank]
        size = sizes[open_rows, places]
        fits = count[open_rows] + size <= wanted[open_rows]
        taken[open_rows, places] = fits
        count[open_rows] += size * fits
    return candidates & np.take_along_axis(taken, first, axis=1)


def _shuffled(candidates: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """``[B, S]`` each row's candidates in random order, then all else."""
    numbers = _hashed(keys[:, None], np.arange(candidates.shape[1]), _ORDER)
    return np.argsort(np.where(candidates, numbers >> np.uint64(1), ~np.uint64(0)), axis=1)


def _uniform(keys: np.ndarray, places: np.ndarray, purpose: int) -> np.ndarray:
    """Numbers from 0 to 1, 1 excluded."""
    return (_hashed(keys, places, purpose) >> np.uint64(11)) * 2.0**-53


def _hashed(keys: np.ndarray, places: np.ndarray, purpose: int) -> np.ndarray:
    """A random number of 64 bits for places of rows."""
    return _mixed(keys + _STEP * (places.astype(np.uint64) * np.uint64(3) + np.uint64(purpose + 1)))


def _mixed(state: np.ndarray) -> np.ndarray:
    state = (state ^ (state >> np.uint64(30))) * _MIX[0]
    state = (state ^ (state >> np.uint64(27))) * _MIX[1]
    return state ^ (state >> np.uint64(31))
