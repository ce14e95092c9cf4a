"""While a command starts: another Python or system, and Ctrl-C, are one line, not the traceback of an import.

``mobilebert/__init__.py`` imports this first, so it imports nothing that Python has not loaded by then; the two files
are written so that a Python from 3.6 on can read them. ``interrupt`` has the rest on signals.
"""

import _signal as signal  # signal itself takes 5 ms, in which there would be a traceback
import os
import sys

# What requires-python of pyproject.toml says; Paddle 3.3 has wheels for these.
OLDEST, NEWEST = (3, 10), (3, 13)
SCRIPTS = (
    "compare.py", "compare_tokenizer.py", "convert.py", "export.py", "predict.py", "run_classify.py", "run_distill.py",
    "run_glue.py", "run_ner.py", "run_pretrain.py", "run_squad.py",
)  # fmt: skip


def is_command() -> bool:
    """Whether this process is one of our commands, not a program that uses the package."""
    called = sys.argv[0] if getattr(sys, "argv", None) else ""
    if called == "-m":  # python -m: the module is not known yet
        if not hasattr(sys, "orig_argv"):  # before 3.10
            return True
        return sys.orig_argv[-len(sys.argv)].removeprefix("-m").split(".")[0] == "mobilebert"
    folder, name = os.path.split(os.path.abspath(called))
    if name in SCRIPTS:
        return folder == os.path.abspath(f"{__file__}/../../..")
    return name == "mobilebert" or (name.startswith("mobilebert-") and not name.endswith(".py"))


def _check_system():
    """End one of our scripts, or an import of the package, where it was not made for the Python or the system."""
    if os.name != "posix":
        problem = "this is Windows itself, and MobileBERT needs its Linux, WSL 2; see docs/install.md"
    elif not OLDEST <= sys.version_info[:2] <= NEWEST:
        problem = f"this is Python {sys.version_info[0]}.{sys.version_info[1]}, and MobileBERT needs "
        problem += f"{OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]}; "
        problem += "bash scripts/setup.sh makes an environment in .venv with one"
    else:
        return
    called = os.path.abspath(sys.argv[0] if getattr(sys, "argv", None) else "")
    is_ours = called.endswith(".py") and called.startswith(os.path.abspath(f"{__file__}/../../..") + os.sep)
    if is_command() or is_ours:
        os.write(2, f"error: {problem}\n".encode())
        sys.exit(2)
    raise ImportError(problem)


def _end(number: int, frame: object) -> None:
    os.write(2, b"interrupted (SIGINT)\n")
    os._exit(128 + number)


_check_system()
if is_command() and signal.getsignal(signal.SIGINT) == signal.default_int_handler:
    signal.signal(signal.SIGINT, _end)
