"""A few processes that work on tasks: started once, each at the end of a pipe of its own.

Where one is killed its pipe closes, and nobody waits for it; where this process is killed, each worker ends with the
task that it is at. A pool of the standard library would wait for ever, or complain of its semaphores after a signal.
"""

import signal
import traceback
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import connection, get_context
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, TypeVar

from mobilebert.base.errors import InputError

Tag = TypeVar("Tag")
# (what names it, a function of a module, its arguments)
Task = tuple[Tag, Callable[..., Any], tuple[Any, ...]]


class Workers:
    """The processes; a block ``with`` ends them. One worker is this process itself.

    Args:
        count: how many.
        begin: called first in each, a function of a module.
        arguments: of ``begin``.
    """

    def __init__(self, count: int, begin: Callable[..., None], *arguments: Any):
        self._pipes: list[Connection] = []
        if count == 1:
            begin(*arguments)
            return
        context = get_context("spawn")  # not forked: this process may have threads
        for _ in range(count):
            ours, theirs = context.Pipe()
            context.Process(target=_work, args=(theirs, begin, arguments), daemon=True).start()
            theirs.close()
            self._pipes.append(ours)

    def __enter__(self) -> "Workers":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pipe in self._pipes:
            pipe.close()

    def run(self, tasks: Iterable[Task[Tag]]) -> Iterator[tuple[Tag, Any]]:
        """Run tasks, one a worker at a time; the next is only asked for when a worker is free.

        Yields:
            What names a task, and what its function returned, in the order in which they end.

        Raises:
            InputError: a worker was killed.
            Exception: what a function raised. Others may still be at work then: leave the block.
        """
        if not self._pipes:
            for tag, function, arguments in tasks:
                yield tag, function(*arguments)
            return
        free = list(self._pipes)
        busy: dict[Connection, Tag] = {}
        for tag, function, arguments in tasks:
            if not free:
                yield from self._collect(free, busy)
            pipe = free.pop()
            try:
                pipe.send((function, arguments))
            except OSError:
                raise _killed() from None
            busy[pipe] = tag
        while busy:
            yield from self._collect(free, busy)

    def _collect(self, free: list[Connection], busy: dict[Connection, Tag]) -> Iterator[tuple[Tag, Any]]:
        """Wait for a worker, at least."""
        ready = connection.wait(list(busy))
        for pipe in [pipe for pipe in busy if pipe in ready]:
            try:
                result, error = pipe.recv()
            except (EOFError, OSError):
                raise _killed() from None
            if error is not None:
                raise error
            free.append(pipe)
            yield busy.pop(pipe), result


def _killed() -> InputError:
    return InputError("a worker was killed, for want of memory? run again to go on, with fewer `workers`")


def _work(pipe: Connection, begin: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """The life of a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's goes to all processes; the first one answers it
    begin(*arguments)
    while True:
        try:
            function, words = pipe.recv()
        except (EOFError, OSError):  # no more tasks, or nobody there
            return
        outcome: tuple[Any, Exception | None]
        try:
            outcome = function(*words), None
        except Exception as error:
            if not isinstance(error, InputError | OSError):
                traceback.print_exc()
            outcome = None, error
        try:
            pipe.send(outcome)
        except OSError:
            return
