"""SIGTERM, SIGHUP and SIGINT while training: finish the step, save, exit 143, 129 or 130."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from mobilebert.base import interrupt


class EvaluationInterrupted(BaseException):
    """Raised out of an evaluation by a signal: it may take minutes, a scheduler's grace does not.

    Not an ``Exception``, so that nothing inside the evaluation swallows it.
    """


class StopSignals:
    """Context in which SIGTERM, SIGHUP and SIGINT are noted instead of ending the process.

    A second Ctrl-C ends the process at once. A second SIGTERM does not: Paddle's launcher sends three in 0.6 s.

    Attributes:
        received: number of the signal, 0 while there was none.
    """

    def __init__(self) -> None:
        self.received = 0
        self._in_evaluation = False
        self._previous: dict[int, interrupt.Handler] = {}

    def __enter__(self) -> "StopSignals":
        self._previous = interrupt.take_over(self._note)
        return self

    def __exit__(self, kind: type | None, *further) -> None:
        interrupt.give_back(self._previous)
        if kind is None and self.received:  # after the last step: nobody has acted on it
            signal.raise_signal(self.received)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.received == signal.SIGINT:
            before = self._previous[number]
            (before if callable(before) else signal.default_int_handler)(number, frame)
        if number == signal.SIGHUP:
            interrupt.leave_dead_terminal()
        first, self.received = not self.received, number
        if first and self._in_evaluation:
            raise EvaluationInterrupted

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Within, the first signal raises ``EvaluationInterrupted``; one noted before does so on entry."""
        self._in_evaluation = True
        try:
            if self.received:
                raise EvaluationInterrupted
            yield
        finally:
            self._in_evaluation = False
