"""Rows for pre-training in memory: random tokens, masked anew in each epoch, of many lengths."""

from types import SimpleNamespace

import numpy as np

MASK = 4


class Rows:
    """Stands for ``data.pretrain.rows.PretrainingRows`` of dynamic masks."""

    def __init__(self, count: int = 50, vocab_size: int = 97, max_seq_length: int = 24, seed: int = 0):
        rng = np.random.default_rng(seed)
        self.max_seq_length = max_seq_length
        self.lengths = rng.integers(9, max_seq_length + 1, count)
        # Each word follows from the one before: there is something to be learned.
        starts = rng.integers(5, vocab_size, count)
        self.ids = 5 + (starts[:, None] + 3 * np.arange(max_seq_length)) % (vocab_size - 5)
        self.labels = rng.integers(0, 2, count)
        self.settings, self.vocabulary = SimpleNamespace(dynamic=True), SimpleNamespace(pad=0)
        self.digest, self.vocab_digest = f"rows-{count}-{seed}", "none"

    def __len__(self):
        return len(self.lengths)

    def batch(self, indices, epoch=0, seed=0):
        lengths = self.lengths[indices]
        inside = np.arange(lengths.max()) < lengths[:, None]  # [B, S]
        ids = np.where(inside, self.ids[indices, : lengths.max()], 0)
        draws = [np.random.default_rng([seed, epoch, row]).permutation(self.max_seq_length) for row in indices]
        chosen = [
            np.sort(draw[draw < length][: max(1, length // 5)]) for draw, length in zip(draws, lengths, strict=True)
        ]
        positions = np.zeros((len(indices), max(map(len, chosen))), np.int64)
        weights = np.zeros(positions.shape, np.float32)
        for row, places in enumerate(chosen):
            positions[row, : len(places)], weights[row, : len(places)] = places, 1
        truth = np.where(weights > 0, np.take_along_axis(ids, positions, 1), 0)
        for row, places in enumerate(chosen):
            ids[row, places] = MASK
        return {
            "input_ids": ids,
            "attention_mask": inside.astype(np.int64),
            "token_type_ids": (inside & (np.arange(lengths.max()) >= (lengths // 2)[:, None])).astype(np.int64),
            "masked_positions": positions,
            "masked_ids": truth,
            "masked_weights": weights,
            "next_sentence_label": self.labels[indices],
        }
