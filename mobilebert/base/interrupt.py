"""Ctrl-C, SIGTERM and SIGHUP end a command with one line, the exit code of a shell, and nothing temporary left.

The first signal raises an exception, so that what is open is closed, unless an import is under way: libraries swallow
exceptions there, or print them. Then, and for a second signal, the process ends on the spot. While a command starts,
``early`` is in charge.
"""

import os
import signal
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

from mobilebert.base import early

Handler = Any  # as signal.signal takes and gives it
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

received = 0  # the first signal's number
_unwinds = _held = _ending = False
_cleanups: list[Callable[[], object]] = []


def is_ours() -> bool:
    """Whether this process runs one of our commands, or a script under ``cli.run``."""
    return _unwinds or early.is_command()


def take_over(handler: Handler) -> dict[int, Handler]:
    """Set the handler of all three signals, where this thread may.

    What the process ignores, as ``nohup`` and a shell's ``&`` have it, it goes on ignoring.

    Returns:
        The handlers of before, by number, for ``give_back``.
    """
    before: dict[int, Handler] = {}
    with suppress(ValueError):  # not the main thread
        for number in SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                before[number] = signal.signal(number, handler)
    return before


def give_back(handlers: dict[int, Handler]) -> None:
    """Undo ``take_over``."""
    for number, handler in handlers.items():
        signal.signal(number, handler)


def renew() -> None:
    """Set the handlers again, where this thread may, over a library's: Paddle (3.3) has one of SIGTERM."""
    with suppress(ValueError):  # not the main thread
        for number in SIGNALS:
            if callable(handler := signal.getsignal(number)):
                signal.signal(number, handler)


def handle(number: int, frame: FrameType | None) -> None:
    """The handler.

    Raises:
        KeyboardInterrupt: for SIGINT.
        SystemExit: for the others, with the code that a shell reports.
    """
    global received
    if _ending:
        return
    again, received = bool(received), received or number
    if number == signal.SIGHUP:
        leave_dead_terminal()
    if _held:
        return
    if again or _is_importing(frame):
        end()
    _raise()


def _raise() -> NoReturn:
    raise KeyboardInterrupt if received == signal.SIGINT else SystemExit(128 + received)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def leave_dead_terminal() -> None:
    """Send what is printed nowhere where the terminal is gone: each line would be an error."""
    for descriptor in (1, 2):
        with suppress(OSError):
            if stat.S_ISCHR(os.fstat(descriptor).st_mode) and not os.isatty(descriptor):
                os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


def end() -> NoReturn:
    """Clean up, say what happened, and end the process; nothing else of it runs, as it might print a traceback."""
    global _ending
    _ending = True
    for clean in reversed(_cleanups):
        with suppress(Exception):
            clean()
    with suppress(OSError):
        os.write(2, f"interrupted ({signal.Signals(received).name})\n".encode())
    os._exit(128 + received)


@contextmanager
def unwinding() -> Iterator[None]:
    """Within, a signal raises an exception; whatever comes of it, the process ends with the block as it should."""
    global _unwinds
    handlers = take_over(handle)
    _unwinds = True
    try:
        yield
    finally:
        _unwinds = False
        if received:
            end()
        give_back(handlers)


def until_the_end(clean: Callable[[], object]) -> Callable[[], object]:
    """Have ``clean`` called where a signal ends the process; returns it, for ``atexit``."""
    _cleanups.append(clean)
    return clean


@contextmanager
def cleaning(clean: Callable[[], object]) -> Iterator[None]:
    """Call ``clean``, which may be called twice, when the block ends, also where a signal ends the process in it."""
    _cleanups.append(clean)
    try:
        yield
    finally:
        clean()
        _cleanups.remove(clean)


@contextmanager
def held() -> Iterator[None]:
    """Signals wait until the block has ended: for a few renames that belong together."""
    global _held
    outermost, _held = not _held, True
    earlier = received
    try:
        yield
    finally:
        if outermost:
            _held = False
            if received != earlier:
                _raise()
