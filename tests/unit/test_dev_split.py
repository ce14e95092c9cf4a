"""The dev set out of a train file: stratified, the same for a seed, without a text that was trained on."""

from collections import Counter

import numpy as np
import pytest

from mobilebert.base.errors import InputError
from mobilebert.data.classify.examples import Examples
from mobilebert.data.classify.split import class_counts, record_of, split_dev


def examples(labels, texts=None, pairs=None):
    count = len(labels)
    texts = [f"text {i}" for i in range(count)] if texts is None else texts
    return Examples("t.csv", [str(i) for i in range(count)], texts, pairs, np.array(labels), list(range(2, count + 2)))


MANY = [0] * 600 + [1] * 300 + [2] * 95 + [3] * 5


def test_each_class_gives_its_share_and_every_row_is_in_one_set():
    train, dev = split_dev(examples(MANY), 0.1, 42)
    assert class_counts(dev.labels, "abcd") == {"a": 60, "b": 30, "c": 10, "d": 1}
    assert sorted(train.ids + dev.ids, key=int) == [str(i) for i in range(1000)]
    assert train.lines == sorted(train.lines) and dev.ids == sorted(dev.ids, key=int)


def test_the_same_seed_gives_the_same_rows_in_any_order_of_the_file():
    texts = [f"text {i}" for i in range(1000)]
    _, dev = split_dev(examples(MANY, texts), 0.1, 42)
    _, again = split_dev(examples(MANY, texts), 0.1, 42)
    _, turned = split_dev(examples(MANY[::-1], texts[::-1]), 0.1, 42)
    _, other = split_dev(examples(MANY, texts), 0.1, 43)
    assert dev.texts == again.texts and set(dev.texts) == set(turned.texts)
    assert len(set(dev.texts) & set(other.texts)) < 30  # chance gives 10 of 101
    assert record_of(dev, 0.1, 42)["lines"] == [int(text.split()[1]) + 2 for text in dev.texts]
    assert record_of(dev, 0.1, 42)["sha256"] != record_of(other, 0.1, 43)["sha256"]


def test_rows_of_one_text_stay_together():
    texts = [f"Text  {i // 4}" if i % 2 else f"text {i // 4} " for i in range(400)]
    train, dev = split_dev(examples([0, 1] * 200, texts), 0.2, 1)
    plain = [{" ".join(text.split()).casefold() for text in part.texts} for part in (train, dev)]
    assert not plain[0] & plain[1] and len(dev) == 80
    # Without that rule the same text would be on both sides: here each text is a row of its own.
    pairs = [str(i) for i in range(400)]
    train, dev = split_dev(examples([0, 1] * 200, texts, pairs), 0.2, 1)
    assert set(train.texts) & set(dev.texts) and len(dev) == 80


def test_a_large_group_does_not_fill_the_dev_set():
    texts = ["ok"] * 500 + [f"text {i}" for i in range(100)]
    for seed in range(5):
        _, dev = split_dev(examples([0] * 600, texts), 0.1, seed)
        assert len(dev) == 60 and "ok" not in dev.texts


def test_small_classes_keep_a_text_to_train_on():
    train, dev = split_dev(examples([0] * 20 + [1] * 2 + [2]), 0.1, 0)
    assert Counter(dev.labels.tolist()) == {0: 2, 1: 1} and Counter(train.labels.tolist()) == {0: 18, 1: 1, 2: 1}


def test_scores_are_drawn_over_their_whole_range():
    scores = np.linspace(0, 5, 200, dtype=np.float32)
    _, dev = split_dev(examples(scores), 0.1, 0)
    assert np.histogram(dev.labels, 10, (0, 5))[0].tolist() == [2] * 10


def test_several_labels_are_drawn_by_the_rarest():
    sets = np.zeros((200, 3), np.float32)
    sets[:, 0], sets[:100, 1], sets[:10, 2] = 1, 1, 1
    sets[150:, :] = 0
    _, dev = split_dev(examples(sets), 0.1, 0)
    assert class_counts(dev.labels, "abc") == {"a": 15, "b": 10, "c": 1} and (dev.labels.sum(axis=1) == 0).sum() == 5


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_a_share_is_between_0_and_1(share):
    with pytest.raises(InputError, match=r"`dev_split=.*`: expected a share of the train file between 0 and 1"):
        split_dev(examples(MANY), share, 0)


def test_too_few_texts_are_refused():
    with pytest.raises(InputError, match=r"t.csv: `dev_split=0.1` of 3 rows with 1 different texts leaves nothing"):
        split_dev(examples([0, 0, 0], ["a", "a", "A "]), 0.1, 0)
