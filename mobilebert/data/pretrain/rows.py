"""A folder of rows for pre-training, as training reads it: mapped, by index, masked.

B rows of a batch, S tokens of its longest, P masked tokens of the row that has most, N rows in all
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mobilebert.base.errors import InputError
from mobilebert.data.pretrain.manifest import Manifest
from mobilebert.data.pretrain.masking import draw_masks, row_keys
from mobilebert.data.pretrain.settings import Settings, Vocabulary
from mobilebert.data.pretrain.shards import SPECIAL_TOKENS, Shard


@dataclass(frozen=True, eq=False)
class PretrainingRows:
    """Rows that ``python -m mobilebert pretrain-data`` wrote. Safe to use from several threads.

    Attributes:
        lengths: ``[N]`` int64, tokens of each row.
        max_seq_length: tokens of the longest row that there may be.
        digest: of text, settings and vocabulary; of equal folders it is the same.
        vocab_digest: of the tokenizer, as ``data.cache.tokenizer_digest`` gives it.
        settings: how the rows were made.
        vocabulary: what the rules know of the tokenizer.
    """

    lengths: np.ndarray
    max_seq_length: int
    digest: str
    vocab_digest: str
    settings: Settings
    vocabulary: Vocabulary
    _shards: tuple[Shard, ...]
    _first_rows: np.ndarray  # [shards + 1] int64

    @classmethod
    def open(cls, folder: str | os.PathLike, verify: bool = False) -> "PretrainingRows":
        """Map a folder's files; they stay on disk until they are read.

        Args:
            folder: of ``pretrain-data``.
            verify: compare the SHA-256 of all files; of up to 128 MiB in all it is compared anyway.

        Raises:
            InputError: no such folder, an incomplete or a damaged one.
        """
        folder = Path(folder).expanduser()
        manifest = Manifest.read(folder)
        manifest.check_files(folder, verify)
        shards = tuple(Shard.load(folder / name) for name in manifest.files)
        lengths = np.concatenate([shard.lengths for shard in shards])
        if lengths.max(initial=SPECIAL_TOKENS) > manifest.settings.max_seq_length or not len(lengths):
            raise InputError(f"{folder}: its rows are not what it says they are; make it again")
        return cls(
            lengths=lengths,
            max_seq_length=manifest.settings.max_seq_length,
            digest=manifest.digest,
            vocab_digest=manifest.vocab_digest,
            settings=manifest.settings,
            vocabulary=manifest.known_vocabulary(),
            _shards=shards,
            _first_rows=np.cumsum([0, *map(len, shards)]),
        )

    def __len__(self) -> int:
        return len(self.lengths)

    def batch(
        self, indices: np.ndarray, epoch: int = 0, seed: int = 0, *, pad_to_multiple_of: int | None = None
    ) -> dict[str, np.ndarray]:
        """Some rows as one padded batch.

        Args:
            indices: ``[B]`` which, in this order.
            epoch, seed: of masks that are dynamic; those that are stored are always the same. A row's masks depend on
                nothing else, so not on the rows beside it or on the machine.
            pad_to_multiple_of: round the length up to a multiple of this.

        Returns:
            ``input_ids``, ``attention_mask``, ``token_type_ids`` ``[B, S]`` int64; ``masked_positions`` and
            ``masked_ids`` (what stands there in truth) ``[B, P]`` int64, filled up with 0, and ``masked_weights``
            ``[B, P]`` float32, 0 for what is filled up; ``next_sentence_label`` ``[B]`` int64, 0 where the second text
            follows the first.

        Raises:
            InputError: a damaged file: a token that the vocabulary does not have.
        """
        indices = np.asarray(indices, np.int64)
        lengths = self.lengths[indices]
        longest = int(lengths.max(initial=SPECIAL_TOKENS))
        if pad_to_multiple_of:
            longest = -(-longest // pad_to_multiple_of) * pad_to_multiple_of
        blocks = np.searchsorted(self._first_rows, indices, side="right") - 1
        places = indices - self._first_rows[blocks]  # of each row in its block

        input_ids = np.zeros((len(indices), longest), np.int64)
        first_lengths, labels = np.zeros_like(indices), np.zeros_like(indices)
        chosen, replaced = np.zeros(input_ids.shape, bool), np.zeros_like(input_ids)
        for block in np.unique(blocks):
            here, shard = np.flatnonzero(blocks == block), self._shards[block]
            rows = places[here]
            input_ids[here] = shard.rows(rows, longest, self.vocabulary)
            first_lengths[here], labels[here] = shard.first_lengths[rows], shard.is_random[rows]
            if not self.settings.dynamic:
                which, marks = shard.masks(rows)
                marked = np.minimum(shard.mask_positions[marks], longest - 1)  # within, whatever a damaged file says
                chosen[here[which], marked] = True
                replaced[here[which], marked] = shard.mask_ids[marks]
        if self.settings.dynamic:
            keys = row_keys(seed, epoch, blocks, places)
            chosen, ids = draw_masks(input_ids, lengths, keys, self.settings, self.vocabulary)
            replaced[chosen] = ids
        if max(input_ids.max(initial=0), replaced.max(initial=0)) >= self.vocabulary.size:
            raise InputError("pre-training data: a token that the vocabulary does not have; make the folder again")

        positions = np.arange(longest)
        inside = positions < lengths[:, None]  # [B, S]
        which, places = np.nonzero(chosen)
        counts = chosen.sum(axis=1)
        columns = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
        # Positions, ids and weights: [B, P] each; P is at least 1, as whole words may all be too long to be masked.
        masked = np.zeros((3, len(indices), max(1, counts.max(initial=0))), np.int64)
        masked[:, which, columns] = places, input_ids[which, places], np.ones_like(which)
        return {
            "input_ids": np.where(chosen, replaced, input_ids),
            "attention_mask": inside.astype(np.int64),
            "token_type_ids": (inside & (positions > first_lengths[:, None] + 1)).astype(np.int64),
            "masked_positions": masked[0],
            "masked_ids": masked[1],
            "masked_weights": masked[2].astype(np.float32),
            "next_sentence_label": labels,
        }
