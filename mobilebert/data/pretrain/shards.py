"""The rows of one block of documents: the block's tokens once, and each row as two stretches of them.

A copy of a document costs places, not tokens: the two texts of a row are each an unbroken part of the block.

T tokens of a block, R rows, M masked tokens, B rows of a batch, S tokens of its longest
"""

import json
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypedDict

import numpy as np
from safetensors.numpy import save

from mobilebert.base.errors import InputError
from mobilebert.base.files import atomic_path
from mobilebert.base.json_decoder import JsonDecoder
from mobilebert.base.records import as_record
from mobilebert.data.packed import map_arrays
from mobilebert.data.pretrain.settings import Vocabulary

SPECIAL_TOKENS = 3  # of a row: [CLS] first [SEP] second [SEP]


class Notes(TypedDict):
    """What a file says of itself: the digest of all that its rows were made of; documents, sentences, tokens, rows."""

    recipe: str
    counts: dict[str, int]


@dataclass(frozen=True)
class Shard:
    """Rows and their masks.

    Attributes:
        tokens: ``[T]`` uint16 or int32, the documents one behind the other, without special tokens.
        first_starts, second_starts: ``[R]`` uint32, where in ``tokens`` the two texts of each row begin.
        first_lengths, second_lengths: ``[R]`` uint16, their tokens.
        is_random: ``[R]`` uint8, 1 where the second text is of another document.
        mask_starts: ``[R + 1]`` uint32, where each row's masks begin in the next two; of zeros where masks are dynamic.
        mask_positions: ``[M]`` uint16, positions in their row that are to be predicted.
        mask_ids: ``[M]`` as ``tokens``, what the model sees there.
    """

    tokens: np.ndarray
    first_starts: np.ndarray
    first_lengths: np.ndarray
    second_starts: np.ndarray
    second_lengths: np.ndarray
    is_random: np.ndarray
    mask_starts: np.ndarray
    mask_positions: np.ndarray
    mask_ids: np.ndarray

    def __len__(self) -> int:
        return len(self.first_starts)

    @property
    def lengths(self) -> np.ndarray:
        """``[R]`` int64, tokens of each row."""
        return self.first_lengths.astype(np.int64) + self.second_lengths + SPECIAL_TOKENS

    def rows(self, indices: np.ndarray, longest: int, vocabulary: Vocabulary) -> np.ndarray:
        """``[B, longest]`` int64, token ids of some rows before they are masked, padded on the right."""
        first, second = (self.first_lengths[indices, None].astype(np.int64), self.second_lengths[indices, None])
        positions = np.arange(longest)
        in_first = (positions > 0) & (positions <= first)
        in_second = (positions > first + 1) & (positions <= first + 1 + second)
        starts = np.where(in_first, self.first_starts[indices, None] - np.int64(1), 0)
        starts = np.where(in_second, self.second_starts[indices, None] - first - 2, starts)
        ids = np.full(starts.shape, vocabulary.pad, np.int64)
        inside = in_first | in_second
        ids[inside] = self.tokens[(starts + positions)[inside]]
        ids[:, 0] = vocabulary.cls
        np.put_along_axis(ids, np.concatenate([first + 1, first + second + 2], axis=1), vocabulary.sep, axis=1)
        return ids

    def masks(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The stored masks of some rows: for each, which of the rows, and its place in the two arrays of masks."""
        starts = self.mask_starts[indices].astype(np.int64)
        counts = self.mask_starts[indices + 1] - starts
        which = np.repeat(np.arange(len(indices)), counts)
        return which, np.arange(len(which)) - (np.cumsum(counts) - counts - starts)[which]

    def save(self, path: str | os.PathLike, notes: Notes) -> None:
        """Write one safetensors file, atomically."""
        arrays = {field.name: np.ascontiguousarray(getattr(self, field.name)) for field in fields(self)}
        with atomic_path(path) as temporary:
            temporary.write_bytes(save(arrays, {"notes": json.dumps(notes)}))

    @classmethod
    def load(cls, path: Path) -> "Shard":
        """Map a file of ``save``.

        Raises:
            InputError: no such file, or a damaged one.
        """
        arrays, _ = _mapped(path)
        try:
            shard = cls(**{field.name: arrays[field.name] for field in fields(cls)})
        except KeyError as error:
            raise InputError(f"{path}: has no {error.args[0]}; make the folder again") from None
        if not shard._is_sound():
            raise InputError(f"{path}: damaged, its rows are not where its tokens are; make the folder again")
        return shard

    def _is_sound(self) -> bool:
        """Whether every row is within the arrays; places of masks are looked at when they are read."""
        arrays = [getattr(self, field.name) for field in fields(self)]
        if any(array.ndim != 1 or array.dtype.kind not in "ui" for array in arrays):
            return False
        if {len(array) for array in arrays[1:6]} != {len(self)} or len(self.mask_starts) != len(self) + 1:
            return False
        starts = self.mask_starts.astype(np.int64)
        if starts[0] or starts[-1] != len(self.mask_ids) or np.diff(starts).min(initial=0) < 0:
            return False
        first_ends = self.first_starts + self.first_lengths.astype(np.int64)
        second_ends = self.second_starts + self.second_lengths.astype(np.int64)
        return (
            len(self.mask_positions) == len(self.mask_ids)
            and max(first_ends.max(initial=0), second_ends.max(initial=0)) <= len(self.tokens)
            and self.is_random.max(initial=0) < 2
        )


def notes_of(path: Path) -> Notes:
    """What ``Shard.save`` was told.

    Raises:
        InputError: no such file, or a damaged one.
    """
    try:
        notes = json.loads(_mapped(path)[1].get("notes", ""), cls=JsonDecoder)
    except ValueError:
        raise InputError(f"{path}: damaged; remove it and run again") from None
    return as_record(notes, Notes, path, "remove it and run again")


def _mapped(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    try:
        return map_arrays(path)
    except (FileNotFoundError, ValueError) as error:
        raise InputError(f"{path}: {getattr(error, 'strerror', None) or 'damaged'}; make the folder again") from None
