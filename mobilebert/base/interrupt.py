"""Ctrl-C, SIGTERM and SIGHUP end a command with one line, the exit code of a shell, and nothing temporary left.

The first signal raises an exception, so that what is open is closed, unless an import is under way: libraries swallow
exceptions there, or print them. Then, outside of ``cli.run``, and for a second signal the process ends on the spot.
Imports nothing heavy: ``mobilebert/__init__.py`` has it first.
"""

import os
import signal
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

Handler = Any  # as signal.signal takes and gives it
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SCRIPTS = (
    "compare.py", "compare_tokenizer.py", "convert.py", "export.py", "predict.py", "run_glue.py", "run_squad.py"
)  # fmt: skip

received = 0  # the first signal's number
_installed = _unwinds = _held = _ending = False
_cleanups: list[Callable[[], object]] = []


def install_early() -> None:
    """Take over the signals where this process is one of our commands, not a program that uses the package."""
    if _is_command():
        _install()


def is_ours() -> bool:
    """Whether this process runs one of our commands, or a script under ``cli.run``."""
    return _installed or _unwinds


def _is_command() -> bool:
    called = sys.argv[0] if getattr(sys, "argv", None) else ""
    if called == "-m":  # python -m: the module is not known yet
        return sys.orig_argv[-len(sys.argv)].removeprefix("-m").split(".")[0] == "mobilebert"
    folder, name = os.path.split(os.path.abspath(called))
    if name in SCRIPTS:
        return folder == os.path.abspath(f"{__file__}/../../..")
    return name == "mobilebert" or (name.startswith("mobilebert-") and not name.endswith(".py"))


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


def _install() -> None:
    global _installed
    take_over(handle)
    _installed = True


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
    if again or not _unwinds or _is_importing(frame):
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
    handlers = {} if _installed else take_over(handle)
    _unwinds = True
    try:
        if received:  # between two lines of a command that were no import
            end()
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
