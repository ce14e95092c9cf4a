"""Worker processes: results, errors, and what becomes of them when one is killed."""

import multiprocessing
import os
import signal
import time

import pytest

from mobilebert.base.errors import InputError
from mobilebert.base.workers import Workers

_begun: list[int] = []


def begin(number: int) -> None:
    _begun.append(number)


def add(number: int) -> tuple[int, int]:
    return _begun[0] + number, os.getpid()


def refuse(number: int) -> None:
    raise InputError(f"no {number}")


def fill() -> None:
    raise OSError(28, "No space left on device", "a.txt")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(scope="module")
def two():
    with Workers(2, begin, 10) as workers:
        yield workers


def test_every_task_is_done_once_in_processes_of_their_own(two):
    results = dict(two.run((n, add, (n,)) for n in range(20)))
    assert {n: total for n, (total, _) in results.items()} == {n: 10 + n for n in range(20)}
    assert os.getpid() not in {process for _, process in results.values()}


def test_one_worker_is_this_process(monkeypatch):
    monkeypatch.setattr(f"{__name__}._begun", [])
    with Workers(1, begin, 5) as workers:
        assert list(workers.run([("a", add, (1,))])) == [("a", (6, os.getpid()))]
        with pytest.raises(InputError, match="no 3"):
            list(workers.run([("a", refuse, (3,))]))


def test_tasks_are_asked_for_when_a_worker_is_free(two):
    asked = []

    def tasks():
        for number in range(6):
            asked.append(number)
            yield number, add, (number,)

    results = two.run(tasks())
    next(results)
    assert len(asked) <= 4
    assert len(list(results)) == 5


@pytest.mark.parametrize(
    ("task", "error", "said"), [((refuse, (3,)), InputError, "no 3"), ((fill, ()), OSError, "a.txt")]
)
def test_an_error_is_raised_here(two, task, error, said):
    with pytest.raises(error, match=said):
        list(two.run([(0, *task)]))


def test_a_worker_that_is_killed_is_one_line():
    with Workers(2, begin, 0) as workers, pytest.raises(InputError, match="a worker was killed, for want of memory"):
        list(workers.run([(0, die, ()), (1, time.sleep, (0.01,))]))


def test_a_worker_that_is_killed_while_it_waits_is_the_same_line():
    others = set(multiprocessing.active_children())
    with Workers(2, begin, 0) as workers:
        list(workers.run([(0, add, (1,)), (1, add, (2,))]))
        for process in set(multiprocessing.active_children()) - others:
            process.kill()
            process.join()
        with pytest.raises(InputError, match="a worker was killed, for want of memory"):
            list(workers.run([(0, add, (1,))]))
