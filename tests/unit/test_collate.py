"""Padding packed rows to batches."""

import numpy as np
import pytest

from mobilebert.data.collate import PackedDataset, collate
from mobilebert.data.packed import pack_rows

PAD = 7
ROWS = pack_rows(
    rows=[[1, 5, 2], [1, 5, 6, 2, 8, 2], [1, 2, 9, 2]],
    second_starts=[3, 4, 2],
    example_ids=["a", "b", "c"],
    labels={"labels": np.array([0, 2, 1], np.int32), "score": np.array([0.5, 1.5, 2.5])},
)


def test_rows_are_padded_to_the_longest_in_the_order_asked():
    batch = collate(ROWS, np.array([2, 0]), PAD)
    assert batch["input_ids"].tolist() == [[1, 2, 9, 2], [1, 5, 2, PAD]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]
    assert batch["token_type_ids"].tolist() == [[0, 0, 1, 1], [0, 0, 0, 0]]
    assert batch["labels"].tolist() == [1, 0]
    assert {name: array.dtype.name for name, array in batch.items()} == {
        "input_ids": "int64",
        "attention_mask": "int64",
        "token_type_ids": "int64",
        "labels": "int64",
        "score": "float32",
    }


@pytest.mark.parametrize(("multiple", "width"), [(None, 6), (4, 8), (6, 6), (1, 6)])
def test_multiple(multiple, width):
    batch = collate(ROWS, np.arange(3), PAD, pad_to_multiple_of=multiple)
    assert batch["input_ids"].shape == batch["token_type_ids"].shape == (3, width)
    assert batch["attention_mask"].sum(axis=1).tolist() == [3, 6, 4]
    assert (batch["input_ids"][batch["attention_mask"] == 0] == PAD).all()


def test_dataset():
    dataset = PackedDataset(ROWS, PAD, pad_to_multiple_of=8)
    assert len(dataset) == 3 and dataset.lengths.tolist() == [3, 6, 4]
    assert dataset.batch(np.array([0]))["input_ids"].shape == (1, 8)
    assert dataset.example_ids(np.array([2, 0])) == ["c", "a"]


def test_every_token_comes_back():
    rng = np.random.default_rng(0)
    lengths = rng.integers(2, 40, 200)
    rows = [rng.integers(10, 1000, length).tolist() for length in lengths]
    packed = pack_rows(rows, lengths, [str(i) for i in range(200)])
    assert [packed.row(i).tolist() for i in range(200)] == rows
    order = rng.permutation(200)
    for start in range(0, 200, 32):
        indices = order[start : start + 32]
        batch = collate(packed, indices, PAD)
        for row, ids, mask in zip(indices, batch["input_ids"], batch["attention_mask"], strict=True):
            assert ids[mask == 1].tolist() == rows[row]
