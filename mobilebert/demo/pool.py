"""Requests at work: how many there may be, how long each may take, and who computes next.

Every admitted request has a thread of its own, but they compute in turns, first come, first served, and before each
batch a request queues again. So a long passage delays a short question by one batch, not by all of its own; and
whoever answers the network does not compete with all of them.
"""

import contextlib
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
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
        self.future.set_running_or_notify_cancel()  # from here on only abandon and the work end it
        self.waited_s = 0.0
        self.has_turn = False
        self.woken = threading.Event()  # it has a turn, or is abandoned
        self._deadline = time.monotonic() + timeout_s
        self._abandoned = False

    def abandon(self) -> None:
        """End it with AbandonedError now; its thread stops before the next batch."""
        self._abandoned = True
        self.woken.set()
        self.end(error=AbandonedError())

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """Set the result or the error, unless there is one."""
        with contextlib.suppress(InvalidStateError):
            if error is None:
                self.future.set_result(result)
            else:
                self.future.set_exception(error)

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
        slots: turns at the same time.
        queue: requests admitted at the same time, computing or waiting.
        timeout_s: seconds a request may take, from its admission.
    """

    def __init__(self, slots: int, queue: int, timeout_s: float):
        self.queue, self.timeout_s = queue, timeout_s
        self._admitted: dict[Job, threading.Thread] = {}
        self._waiting: deque[Job] = deque()
        self._free = slots
        self.is_stopping = False
        self.finished = 0  # jobs so far
        self._lock = threading.Lock()
        self._of_thread = threading.local()

    @property
    def at_work(self) -> int:
        """Requests computing or waiting."""
        return len(self._admitted)

    def submit(self, function: Callable[[Job], Any]) -> Job:
        """Run ``function(job)`` in a thread; its result or exception is ``job.future``'s.

        Raises:
            BusyError: the queue is full, or the system has no more threads.
            AbandonedError: after ``stop``.
        """
        job = Job(self.timeout_s)
        # A thread of its own, none that is kept: with it goes what malloc holds for it in the midst of what is free.
        thread = threading.Thread(target=self._work, args=(job, function), name="demo")
        with self._lock:
            if self.is_stopping:
                raise AbandonedError
            if len(self._admitted) >= self.queue:
                raise BusyError
            self._admitted[job] = thread
        try:
            thread.start()
        except RuntimeError:
            self._leave(job)
            raise BusyError from None
        return job

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Within, a job's thread may compute.

        Raises:
            OverdueError, AbandonedError: there is no use in computing any more.
        """
        job: Job = self._of_thread.job
        try:
            self._wait(job)
            yield
        finally:
            self._pass_on(job)

    def take_turns(self) -> None:
        """Between two batches: let others go first, if any wait; outside of a job, nothing is waited for.

        Raises:
            OverdueError, AbandonedError: see ``turn``.
        """
        job: Job | None = getattr(self._of_thread, "job", None)
        if job is not None:
            self._pass_on(job)
            self._wait(job)

    def stop(self) -> None:
        """Admit no more."""
        self.is_stopping = True

    def abandon(self) -> list[threading.Thread]:
        """Admit no more and abandon every job; the threads that still compute a batch are returned."""
        with self._lock:
            self.is_stopping = True
            admitted = dict(self._admitted)
        for job in admitted:
            job.abandon()
        return list(admitted.values())

    def close(self) -> None:
        """Abandon every job, and wait for the batches that are being computed."""
        for thread in self.abandon():
            thread.join()

    def _work(self, job: Job, function: Callable[[Job], Any]) -> None:
        self._of_thread.job = job
        try:
            job.remaining_s()
            result = function(job)
        except BaseException as error:
            traceback.clear_frames(error.__traceback__)
            self._leave(job)
            job.end(error=error)
        else:
            self._leave(job)
            job.end(result)
        finally:
            # An error refers to the frames that it passed through, which must not refer to it: a cycle, and the passage
            # in it, would be kept until cycles are looked for.
            del job, function

    def _leave(self, job: Job) -> None:
        """Before the job's end, so that whoever hears of it finds the place free."""
        self._of_thread.job = None
        with self._lock:
            self._admitted.pop(job, None)
            self.finished += 1

    def _wait(self, job: Job) -> None:
        job.woken.clear()
        timeout = job.remaining_s()
        with self._lock:
            if self._free:
                self._free -= 1
                job.has_turn = True
                return
            self._waiting.append(job)
        begin = time.monotonic()
        job.woken.wait(timeout)
        job.waited_s += time.monotonic() - begin
        with self._lock:
            if not job.has_turn:
                self._waiting.remove(job)
        job.remaining_s()
        if not job.has_turn:
            raise OverdueError

    def _pass_on(self, job: Job) -> None:
        """Give a job's turn, if it has one, to who waits longest."""
        with self._lock:
            if not job.has_turn:
                return
            job.has_turn = False
            if self._waiting:
                following = self._waiting.popleft()
                following.has_turn = True
                following.woken.set()
            else:
                self._free += 1


class TurnTakingEngine(Engine):
    """An engine that lets others go first before each batch."""

    def __init__(self, engine: Engine, pool: Pool):
        self.outputs: Sequence[str] = engine.outputs
        self._engine, self._pool = engine, pool

    def run(self, batch: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """See ``Engine``."""
        self._pool.take_turns()
        return self._engine.run(batch)
