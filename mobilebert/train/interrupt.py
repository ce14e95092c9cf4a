"""SIGTERM and SIGINT while training: finish the step, save, exit 143 or 130."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class EvaluationInterrupted(BaseException):
    """Raised out of an evaluation by a signal: it may take minutes, a scheduler's grace does not.

    Not an ``Exception``, so that nothing inside the evaluation swallows it.
    """


class StopSignals:
    """Context in which SIGTERM and SIGINT are noted instead of killing the process.

    A second Ctrl-C ends the process at once. A second SIGTERM does not: Paddle's launcher sends three in 0.6 s.

    Attributes:
        received: number of the signal, 0 while there was none.
    """

    def __init__(self) -> None:
        self.received = 0
        self._in_evaluation = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():  # the only one that may set handlers
            for number in (signal.SIGTERM, signal.SIGINT):
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exc_info) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.received == signal.SIGINT:
            raise KeyboardInterrupt
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
