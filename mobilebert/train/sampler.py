"""The order of the data: a pure function of seed and epoch, so that a resumed run needs only the step number."""

import math
import queue
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from mobilebert.train.settings import TrainSettings

# Batches are sorted by length inside pools of this many batches: large enough for little padding, small enough that
# every pool is still a random sample of the data.
POOL_BATCHES = 50


def steps_per_epoch(num_examples: int, examples_per_step: int) -> int:
    """Updates in one epoch; the last one may be short."""
    return math.ceil(num_examples / examples_per_step)


@dataclass(frozen=True)
class RunLength:
    """How long a run is.

    Attributes:
        examples_per_step: over all micro-batches and ranks.
        steps_per_epoch: updates in one pass over the data.
        total_steps: updates in the whole run.
    """

    examples_per_step: int
    steps_per_epoch: int
    total_steps: int

    @classmethod
    def of(cls, num_examples: int, settings: TrainSettings, world_size: int) -> "RunLength":
        """The length of a run with these settings on ``world_size`` processes."""
        per_step = settings.batch_size * settings.gradient_accumulation_steps * world_size
        per_epoch = steps_per_epoch(num_examples, per_step)
        return cls(per_step, per_epoch, settings.max_steps or math.ceil(settings.num_train_epochs * per_epoch))

    def __str__(self) -> str:
        return (
            f"{self.examples_per_step} examples a step, {self.steps_per_epoch} steps an epoch, "
            f"{self.total_steps} steps in all"
        )


def epoch_order(
    lengths: np.ndarray, examples_per_step: int, seed: int, epoch: int, group_by_length: bool
) -> np.ndarray:
    """Permutation of all examples for one epoch.

    Args:
        lengths: [N] tokens of each example.
        examples_per_step: size of the slices that the caller will cut.
        seed: of the run.
        epoch: counted from 0.
        group_by_length: shuffle, sort by length within pools of ``POOL_BATCHES`` slices, shuffle the slices.

    Returns:
        [N] int64 indices. A short last slice stays last.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(lengths))
    if not group_by_length:
        return order
    pool = POOL_BATCHES * examples_per_step
    pools = [order[start : start + pool] for start in range(0, len(order), pool)]
    order = np.concatenate([part[np.argsort(-lengths[part], kind="stable")] for part in pools])
    whole = len(order) // examples_per_step * examples_per_step
    slices = order[:whole].reshape(-1, examples_per_step)
    return np.concatenate([slices[rng.permutation(len(slices))].ravel(), order[whole:]])


def step_examples(
    lengths: np.ndarray, examples_per_step: int, seed: int, group_by_length: bool, first_step: int, total_steps: int
) -> Iterator[np.ndarray]:
    """Indices of the examples of each step from ``first_step`` (counted from 0) up to ``total_steps``."""
    per_epoch = steps_per_epoch(len(lengths), examples_per_step)
    known_epoch = -1
    for step in range(first_step, total_steps):
        epoch, position = divmod(step, per_epoch)
        if epoch != known_epoch:
            order, known_epoch = epoch_order(lengths, examples_per_step, seed, epoch, group_by_length), epoch
        yield order[position * examples_per_step : (position + 1) * examples_per_step]


def prefetch(make: Callable[[Any], Any], jobs: Iterator[Any], depth: int = 2) -> Generator[Any, None, None]:
    """Yield ``make(job)`` for each job in order, made by one background thread up to ``depth`` ahead.

    An exception in ``make`` is raised where its result would have been yielded. Closing the iterator ends the thread.
    """
    results: queue.Queue = queue.Queue(maxsize=depth)
    closed = threading.Event()

    def put(item) -> bool:
        while not closed.is_set():
            try:
                results.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work():
        try:
            for job in jobs:
                if not put((make(job), None)):
                    return
            put((None, StopIteration()))
        except BaseException as error:  # handed to the consumer, who raises it
            put((None, error))

    thread = threading.Thread(target=work, name="prefetch", daemon=True)
    thread.start()
    try:
        while True:
            item, error = results.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item
    finally:
        closed.set()
        thread.join(timeout=10)
