"""Requests at work: how many there may be, how long each may take, and who computes next.

Every admitted request has a thread of its own, but the model is run in turns: one batch a turn, first come, first
served, and after its batch a request queues again. So a long passage delays a short question by one batch, not by all
of its own.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np

from mobilebert.inference.engines import Engine


class BusyError(Exception):
    """As many requests as allowed are already at work or waiting."""


class OverdueError(Exception):
    """A request took longer than allowed."""


class AbandonedError(Exception):
    """Nobody waits for the result any more."""


class Job:
    """One admitted request.

    Attributes:
        future: its result.
        waited_s: seconds spent waiting for turns so far.
    """

    def __init__(self, timeout_s: float):
        self.future: Future = Future()
        self.waited_s = 0.0
        self._deadline = time.monotonic() + timeout_s
        self._abandoned = False

    def abandon(self) -> None:
        """Stop before the next batch."""
        self._abandoned = True

    def remaining_s(self) -> float:
        """Seconds until the deadline.

        Raises:
            OverdueError: there are none.
            AbandonedError: after ``abandon``.
        """
        if self._abandoned:
            raise AbandonedError
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise OverdueError
        return remaining


class Pool:
    """Bounded work.

    Args:
        slots: batches computed at the same time.
        queue: requests admitted at the same time, computing or waiting.
        timeout_s: seconds a request may take, from its admission.
    """

    def __init__(self, slots: int, queue: int, timeout_s: float):
        self.queue, self.timeout_s = queue, timeout_s
        self._executor = ThreadPoolExecutor(queue, "demo")
        self._admitted: set[Job] = set()
        self._waiting: deque[threading.Event] = deque()
        self._free = slots
        self._lock = threading.Lock()
        self._of_thread = threading.local()

    def submit(self, function: Callable[[Job], Any]) -> Job:
        """Run ``function(job)`` in a thread; its result or exception is ``job.future``'s.

        Raises:
            BusyError: the queue is full.
        """
        job = Job(self.timeout_s)
        with self._lock:
            if len(self._admitted) >= self.queue:
                raise BusyError
            self._admitted.add(job)
        self._executor.submit(self._work, job, function)
        return job

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Within, this thread may compute one batch; outside of a job, nothing is waited for.

        Raises:
            OverdueError, AbandonedError: there is no use in computing any more.
        """
        job: Job | None = getattr(self._of_thread, "job", None)
        if job is None:
            yield
            return
        self._wait(job)
        try:
            job.remaining_s()
            yield
        finally:
            with self._lock:
                self._pass_on()

    def close(self) -> None:
        """Stop every job before its next batch, and wait for that."""
        with self._lock:
            jobs = list(self._admitted)
        for job in jobs:
            job.abandon()
        self._executor.shutdown()

    def _work(self, job: Job, function: Callable[[Job], Any]) -> None:
        job.future.set_running_or_notify_cancel()  # from here on nobody else ends it
        self._of_thread.job = job
        result, error = None, None
        try:
            job.remaining_s()
            result = function(job)
        except BaseException as raised:
            error = raised
        finally:
            self._of_thread.job = None
            with self._lock:
                self._admitted.discard(job)
        # Only now, so that whoever hears of the result finds the place free.
        if error is None:
            job.future.set_result(result)
        else:
            job.future.set_exception(error)

    def _wait(self, job: Job) -> None:
        timeout = job.remaining_s()
        with self._lock:
            if self._free:
                self._free -= 1
                return
            gate = threading.Event()
            self._waiting.append(gate)
        begin = time.monotonic()
        came = gate.wait(timeout)
        job.waited_s += time.monotonic() - begin
        if not came:
            with self._lock:
                if gate.is_set():
                    self._pass_on()
                else:
                    self._waiting.remove(gate)
            raise OverdueError

    def _pass_on(self) -> None:
        """Give a turn to who waits longest; called with the lock held."""
        if self._waiting:
            self._waiting.popleft().set()
        else:
            self._free += 1


class TurnTakingEngine(Engine):
    """An engine that runs each batch in a turn of a pool."""

    def __init__(self, engine: Engine, pool: Pool):
        self.outputs: Sequence[str] = engine.outputs
        self._engine, self._pool = engine, pool

    def run(self, batch: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """See ``Engine``."""
        with self._pool.turn():
            return self._engine.run(batch)
