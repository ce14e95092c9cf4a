"""Packed rows on disk: the same bytes back, a new key for new input, damage found."""

import logging
import multiprocessing
import os

import numpy as np
import pytest

from mobilebert.data.cache import cached_rows, tokenizer_digest
from mobilebert.data.packed import PackedRows, pack_rows
from mobilebert.text.tokenizer import MobileBertTokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def make_rows(count=50, seed=0):
    rng = np.random.default_rng(seed)
    rows = [rng.integers(0, 999, rng.integers(1, 30)) for _ in range(count)]
    return pack_rows(
        rows,
        [1] * count,
        [f"id\n{i} é" for i in range(count)],
        {"labels": np.arange(count), "score": np.linspace(0, 1, count, dtype=np.float32)},
        {"dropped": 3},
    )


def assert_same(left: PackedRows, right: PackedRows):
    for name in ("input_ids", "row_starts", "second_starts", "example_index"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name))
    assert list(left.example_ids) == list(right.example_ids)
    assert left.labels.keys() == right.labels.keys() and left.info == right.info
    for name in left.labels:
        np.testing.assert_array_equal(left.labels[name], right.labels[name])
    assert (left.offsets is None) == (right.offsets is None)


def test_save_and_load(tmp_path):
    rows = make_rows()
    rows.save(tmp_path / "rows")
    loaded = PackedRows.load(tmp_path / "rows")
    assert_same(rows, loaded)
    assert loaded.input_ids.dtype == np.int32
    with pytest.raises(ValueError, match="read-only"):
        loaded.input_ids[0] = 1
    with pytest.raises(AssertionError):
        assert_same(make_rows(seed=1), loaded)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "uint16", "int8", "int16", "float16", "float32", "float64"])
def test_labels_of_every_type_come_back(dtype, tmp_path):
    labels = np.array([0, 1, 1]).astype(dtype)
    packed = pack_rows([[1], [2], [3]], [1] * 3, ["a", "b", "c"], {"labels": labels})
    rows = cached_rows("x", {}, lambda: packed, tmp_path)
    again = cached_rows("x", {}, lambda: pytest.fail("built again"), tmp_path)
    for found in (rows, again):
        assert found.labels["labels"].dtype == labels.dtype
        np.testing.assert_array_equal(found.labels["labels"], labels)


def test_offsets_are_kept(tmp_path):
    rows = make_rows(2)
    offsets = np.arange(2 * len(rows.input_ids), dtype=np.int32).reshape(-1, 2)
    PackedRows(**{**rows.__dict__, "offsets": offsets}).save(tmp_path / "rows")
    np.testing.assert_array_equal(PackedRows.load(tmp_path / "rows").row_offsets(1), offsets[rows.row_starts[1] :])


def test_second_call_does_not_build(tmp_path):
    built = cached_rows("x", {"a": 1}, make_rows, tmp_path)
    again = cached_rows("x", {"a": 1}, lambda: pytest.fail("built again"), tmp_path)
    assert_same(built, again)
    assert not again.input_ids.flags.owndata  # mapped, not copied
    assert_same(cached_rows("x", {"a": 2}, lambda: make_rows(seed=1), tmp_path), make_rows(seed=1))
    assert len(list(tmp_path.iterdir())) == 2


def test_no_folder_no_cache(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert_same(cached_rows("x", {}, make_rows, None), make_rows())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: b"not a cache",
        lambda data: data[: len(data) // 2],
        lambda data: data[:-5] + b"\x01" + data[-4:],
        lambda data: data[:40] + b"\xff" + data[41:],
    ],
    ids=["empty", "foreign", "truncated", "flipped byte", "broken header"],
)
def test_damage_is_found_and_repaired(tmp_path, caplog, damage):
    cached_rows("x", {}, make_rows, tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError):
        PackedRows.load(path)
    with caplog.at_level(logging.WARNING):
        assert_same(cached_rows("x", {}, make_rows, tmp_path), make_rows())
    assert f"cache is damaged and is built anew ({path}" in caplog.text
    assert_same(cached_rows("x", {}, lambda: pytest.fail("not repaired"), tmp_path), make_rows())


def test_folder_that_cannot_be_written_costs_only_the_cache(tmp_path, caplog):
    (tmp_path / "file").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        assert_same(cached_rows("x", {}, make_rows, tmp_path / "file" / "folder"), make_rows())
    assert "going on without a cache" in caplog.text


def _build_many(folder, barrier):
    barrier.wait()
    for number in range(20):
        assert_same(cached_rows("x", {"n": number}, make_rows, folder), make_rows())


def test_processes_that_build_at_once(tmp_path):
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(3)
    workers = [context.Process(target=_build_many, args=(tmp_path, barrier)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert len(os.listdir(tmp_path)) == 20
    for number in range(20):
        assert_same(cached_rows("x", {"n": number}, lambda: pytest.fail("lost"), tmp_path), make_rows())


def test_tokenizer_digest_covers_vocabulary_and_rules():
    def digest(words=("a", "b"), **rules):
        vocab = {token: index for index, token in enumerate([*SPECIAL, *words])}
        return tokenizer_digest(MobileBertTokenizer(vocab=vocab, **rules))

    assert digest() == digest()
    assert len({digest(), digest(("b", "a")), digest(do_lower_case=False), digest(strip_accents=True)}) == 4
