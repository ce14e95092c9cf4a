"""Ctrl-C while a command starts: one line, not the traceback of an import. ``interrupt`` has the rest.

``mobilebert/__init__.py`` imports this first, so it imports nothing that Python has not loaded by then.
"""

import _signal as signal  # signal itself takes 5 ms, in which there would be a traceback
import os
import sys

SCRIPTS = (
    "compare.py", "compare_tokenizer.py", "convert.py", "export.py", "predict.py", "run_glue.py", "run_squad.py"
)  # fmt: skip


def is_command() -> bool:
    """Whether this process is one of our commands, not a program that uses the package."""
    called = sys.argv[0] if getattr(sys, "argv", None) else ""
    if called == "-m":  # python -m: the module is not known yet
        return sys.orig_argv[-len(sys.argv)].removeprefix("-m").split(".")[0] == "mobilebert"
    folder, name = os.path.split(os.path.abspath(called))
    if name in SCRIPTS:
        return folder == os.path.abspath(f"{__file__}/../../..")
    return name == "mobilebert" or (name.startswith("mobilebert-") and not name.endswith(".py"))


def _end(number: int, frame: object) -> None:
    os.write(2, b"interrupted (SIGINT)\n")
    os._exit(128 + number)


if is_command() and signal.getsignal(signal.SIGINT) == signal.default_int_handler:
    signal.signal(signal.SIGINT, _end)
