"""Order of the data, and the thread that prepares batches."""

import threading
import time

import numpy as np
import pytest

from mobilebert.train.parallel import World, rank_share
from mobilebert.train.sampler import epoch_order, prefetch, step_examples

LENGTHS = np.random.default_rng(0).integers(3, 60, 1003)


@pytest.mark.parametrize("grouped", [False, True])
def test_every_epoch_holds_every_example_once_in_an_order_of_its_own(grouped):
    orders = [epoch_order(LENGTHS, 32, seed=1, epoch=epoch, group_by_length=grouped) for epoch in (0, 1)]
    for order in orders:
        assert np.array_equal(np.sort(order), np.arange(len(LENGTHS)))
    assert not np.array_equal(*orders)
    assert np.array_equal(orders[0], epoch_order(LENGTHS, 32, seed=1, epoch=0, group_by_length=grouped))
    assert not np.array_equal(orders[0], epoch_order(LENGTHS, 32, seed=2, epoch=0, group_by_length=grouped))


def test_grouping_by_length_saves_padding_without_sorting_the_epoch():
    def padded_tokens(grouped):
        steps = step_examples(LENGTHS, 16, 0, grouped, 0, 63)
        return sum(len(indices) * LENGTHS[indices].max() for indices in steps)

    assert padded_tokens(True) < 1.1 * LENGTHS.sum() < 1.5 * LENGTHS.sum() < padded_tokens(False)
    longest = [LENGTHS[indices].max() for indices in step_examples(LENGTHS, 16, 0, True, 0, 62)]
    assert abs(np.corrcoef(longest, np.arange(62))[0, 1]) < 0.4


@pytest.mark.parametrize("grouped", [False, True])
def test_steps_from_the_middle_are_the_tail_of_all_steps(grouped):
    whole = list(step_examples(LENGTHS, 64, 3, grouped, 0, 40))
    assert len(whole) == 40 and [len(indices) for indices in whole[:16]] == [64] * 15 + [1003 - 15 * 64]
    for first in (1, 16, 33):
        tail = list(step_examples(LENGTHS, 64, 3, grouped, first, 40))
        assert all(np.array_equal(a, b) for a, b in zip(tail, whole[first:], strict=True))


def test_shares_of_the_ranks_are_the_step():
    indices = np.arange(10) * 7
    shares = [rank_share(indices, World(rank, 4)) for rank in range(4)]
    assert np.array_equal(np.concatenate(shares), indices) and [len(share) for share in shares] == [3, 3, 2, 2]
    assert [len(rank_share(indices[:1], World(rank, 2))) for rank in range(2)] == [1, 0]


def test_prefetch_keeps_order_and_runs_ahead():
    made = []

    def make(job):
        made.append(job)
        return job * 2

    results = prefetch(make, iter(range(6)), depth=2)
    assert next(results) == 0
    time.sleep(0.3)
    assert 3 <= len(made) <= 4  # the one taken, two waiting, one in the hand
    assert list(results) == [2, 4, 6, 8, 10]


def test_prefetch_raises_where_the_batch_would_have_come():
    def make(job):
        if job == 2:
            raise ValueError("broken example")
        return job

    results = prefetch(make, iter(range(5)))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="broken example"):
        next(results)


def test_prefetch_ends_its_thread_when_closed():
    results = prefetch(lambda job: job, iter(range(1000)))
    next(results)
    results.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "prefetch"]
