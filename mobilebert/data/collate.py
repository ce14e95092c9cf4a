"""Packed rows -> padded batches, as the model takes them."""

import numpy as np

from mobilebert.data.packed import PackedRows

IGNORED = -100  # the class of a token without a part in the loss, as in transformers
INPUT_NAMES = ("input_ids", "attention_mask", "token_type_ids")  # of every model, program and engine


def collate(
    rows: PackedRows,
    indices: np.ndarray,
    pad_token_id: int,
    *,
    pad_to_multiple_of: int | None = None,
) -> dict[str, np.ndarray]:
    """Pad some rows on the right to a common length.

    Args:
        rows: where they come from.
        indices: ``[B]`` which, in this order.
        pad_token_id: fills ``input_ids``; mask and token types are filled with 0.
        pad_to_multiple_of: round the length up to a multiple of this.

    Returns:
        ``input_ids``, ``attention_mask`` and ``token_type_ids`` ``[B, S]`` int64, always all three, and the labels of
        ``rows``: integers as int64, others as float32; those of tokens as ``labels`` ``[B, S]``.
    """
    indices = np.asarray(indices, np.int64)
    first = rows.row_starts[indices]
    lengths = rows.row_starts[indices + 1] - first
    longest = int(lengths.max(initial=0))
    if pad_to_multiple_of:
        longest = -(-longest // pad_to_multiple_of) * pad_to_multiple_of

    positions = np.arange(longest)  # [S]
    inside = positions < lengths[:, None]  # [B, S]
    input_ids = np.full(inside.shape, pad_token_id, np.int64)
    input_ids[inside] = rows.input_ids[(first[:, None] + positions)[inside]]
    batch = {
        "input_ids": input_ids,
        "attention_mask": inside.astype(np.int64),
        "token_type_ids": (inside & (positions >= rows.second_starts[indices][:, None])).astype(np.int64),
    }
    for name, values in rows.labels.items():
        is_integer = np.issubdtype(values.dtype, np.integer)
        batch[name] = values[indices].astype(np.int64 if is_integer else np.float32)
    if rows.token_labels is not None:
        batch["labels"] = np.full(inside.shape, IGNORED, np.int64)
        batch["labels"][inside] = rows.token_labels[(first[:, None] + positions)[inside]]
    return batch


class PackedDataset:
    """Packed rows as the training loop takes them: a length, the lengths of all rows, batches by index.

    Args:
        rows: the rows.
        pad_token_id, pad_to_multiple_of: as in ``collate``.
    """

    def __init__(
        self,
        rows: PackedRows,
        pad_token_id: int,
        *,
        pad_to_multiple_of: int | None = None,
    ):
        self.rows = rows
        self._padding = (pad_token_id, pad_to_multiple_of)
        self.lengths = rows.lengths  # [R] int64, tokens

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """The rows ``indices`` as one padded batch; see ``collate``."""
        pad_token_id, multiple = self._padding
        return collate(self.rows, indices, pad_token_id, pad_to_multiple_of=multiple)

    def example_ids(self, indices: np.ndarray) -> list[str]:
        """Ids of the examples that the rows belong to, for messages."""
        return [self.rows.example_ids[i] for i in self.rows.example_index[np.asarray(indices, np.int64)]]
