"""What all scripts share on the command line: help, version, near misses, one-line errors, exit codes.

Imports nothing heavy, so that ``--help`` is there at once.
"""

import argparse
import difflib
import errno
import logging
import multiprocessing
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any, NoReturn

from mobilebert import __version__
from mobilebert.base import extras, interrupt
from mobilebert.base.errors import InputError, one_line

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 128 + 2  # as a shell reports SIGINT
EXIT_BROKEN_PIPE = 128 + 13  # and SIGPIPE

# What a user can do about a file that cannot be read or written.
_ADVICE = {
    errno.ENOSPC: "free some space or choose another place",
    errno.EDQUOT: "free some space or choose another place",
    errno.EFBIG: "raise the limit on a file's size (ulimit -f) or choose another place",
    errno.EROFS: "choose another place",
    errno.EACCES: "choose another place, or ask for the permission",
    errno.EPERM: "choose another place, or ask for the permission",
    errno.ENOTDIR: "choose another name: a file is where a folder should be",
    errno.EEXIST: "choose another name: a file is where a folder should be",
    errno.EISDIR: "choose another name: a folder is where a file should be",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOENT: "was it removed meanwhile?",
    errno.EIO: "is the disk damaged, or gone?",
}
_FLAG = re.compile(r"--[a-z_]+")
_ARGUMENT = re.compile(r"`([a-z][a-z0-9_]*)(?:=([^`]*))?`")


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Defaults behind each option that has one; description and examples as written; usage without what is optional."""

    def add_usage(self, usage, actions, groups, prefix=None):
        needed = [action for action in actions if action.required or not action.option_strings]
        if len(needed) < len(actions):
            needed.append(argparse.Action([], "options", metavar="[options]"))
        super().add_usage(usage, needed, [], prefix)

    def _get_help_string(self, action):
        if action.default is None or action.default is False:
            return action.help
        if isinstance(action.default, (list, tuple)):
            return f"{action.help} (default: {' '.join(map(str, action.default))})"
        return super()._get_help_string(action)


class ArgumentParser(argparse.ArgumentParser):
    """argparse with ``--version``, examples, and a suggestion where an option, a choice or a command is misspelt.

    Args:
        description: what the script does.
        examples: shown at the end of the help; ``%(prog)s`` stands for how the script was called.
        hints: name of another program's flag -> the flag here, or ``"nothing: "`` and the reason; told where such a
            flag is given and unknown.
        further: as of ``argparse.ArgumentParser``; with ``add_subparsers`` each command's parser is one of these.
    """

    def __init__(
        self, description: str = "", examples: str = "", hints: Mapping[str, str] = MappingProxyType({}), **further: Any
    ):
        super().__init__(
            prog=further.pop("prog", None) or _program(sys.argv[0]),
            description=description,
            epilog=f"examples:\n{examples}" if examples else None,
            formatter_class=_HelpFormatter,
            allow_abbrev=False,
            **further,
        )
        self.register("type", int, _int64)
        self._hints = hints
        self.add_argument("--version", action="version", version=f"mobilebert-paddle {__version__}")

    def parse_known_args(self, args=None, namespace=None):
        """Like argparse, but nothing may be unknown: the nearest known option is named.

        argparse calls this for a command's words too. Options are looked at before anything else: of one that is
        misspelt and one that is therefore missing, the first is what the user wants to hear about.
        """
        words = sys.argv[1:] if args is None else list(args)
        commands = next((a.choices for a in self._actions if isinstance(a, argparse._SubParsersAction)), {})
        for word in words:
            if word == "--" or word in commands:
                break
            if word.startswith("--") and " " not in word and word.split("=")[0] not in self._option_string_actions:
                self._refuse(word)
        known, unknown = super().parse_known_args(words, namespace)
        if unknown:
            self._refuse(unknown[0])
        return known, unknown

    def _refuse(self, word: str) -> NoReturn:
        word = word.split("=")[0]
        hint = self._hint(word) or _did_you_mean(word, self._option_string_actions) or "; see --help"
        self.error(f"unknown argument {word}{hint}")

    def _hint(self, word: str) -> str:
        """What another program's flag is called here, where all flags that the answer names are known."""
        hint = self._hints.get(word.lstrip("-").replace("-", "_"), "")
        if not hint or not set(_FLAG.findall(hint)) <= set(self._option_string_actions):
            return ""
        reason = hint.removeprefix("nothing: ")
        return f"; there is none here: {reason}" if reason != hint else f"; here {hint}"

    def _check_value(self, action, value):
        """Called by argparse for every value of an option with choices, and for the name of a command."""
        if action.choices is None or value in action.choices:
            return
        choices = [str(choice) for choice in action.choices]
        hint = _did_you_mean(str(value), choices)
        if isinstance(action, argparse._SubParsersAction):
            self.error(f"unknown command {value}{hint or '; expected ' + ' or '.join(choices)}")
        raise argparse.ArgumentError(action, f"expected one of {', '.join(choices)}, got '{value}'{hint}")

    def error(self, message: str) -> NoReturn:
        """One line on standard error and exit code 2."""
        self.exit(EXIT_BAD_INPUT, f"error: {one_line(message)}\n")


def _int64(word: str) -> int:
    """What every option of ``type=int`` takes: a number that the libraries take too."""
    value = int(word)
    if not -(1 << 63) <= value < 1 << 63:
        raise argparse.ArgumentTypeError(f"expected a whole number of 64 bits, got {word}")
    return value


def seed(word: str) -> int:
    """The type of an option that begins a random generator."""
    value = _int64(word)
    if value < 0:
        raise argparse.ArgumentTypeError(f"expected at least 0, got {word}")
    return value


def _program(called: str) -> str:
    """How the script is called: ``python convert.py``, ``python -m mobilebert.base.hub``, or a console command."""
    module = getattr(sys.modules["__main__"], "__spec__", None)
    if module is not None and module.origin == called:
        return f"python -m {module.name.removesuffix('.__main__')}"
    return f"python {called}" if called.endswith(".py") else os.path.basename(called)


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    nearest = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {nearest[0]}?" if nearest else ""


def hand_over(
    description: str, examples: str, table: Mapping[str, tuple[str, str]], metavar: str, title: str
) -> int | None:
    """Call the ``main`` of the module that the command line's first word names; without a word, show what there is.

    Args:
        description, examples: as of ``ArgumentParser``.
        table: word -> module, and what the help says of it. The module is imported when it is called.
        metavar, title: of the words, in the help.
    """
    parser = ArgumentParser(description, examples)
    words = parser.add_subparsers(metavar=metavar, title=title)
    for word, (_, explanation) in table.items():
        words.add_parser(word, help=explanation)
    word, *arguments = sys.argv[1:] or ["--help"]
    if word not in table:
        parser.parse_args([word])  # help, version, or an error: it ends here
    # A command reads sys.argv itself, and shows in its help how it was called.
    sys.argv = [f"{parser.prog} {word}", *arguments]
    return import_module(table[word][0]).main()


class _OneLine(logging.Formatter):
    """One line a record; a traceback, which is kept for our own mistakes, follows as it is."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return one_line(super().formatMessage(record))


def log_to_console() -> None:
    """Print what the package logs (what was read, left out, written) on standard output, one plain line each.

    On a logger of our own: the libraries that come with Paddle set up the root logger in their own way. Of the
    processes of a launched job only the first prints.
    """
    logger = logging.getLogger("mobilebert")
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(_OneLine("%(message)s"))
        logger.addHandler(handler)
    logger.setLevel(logging.INFO if os.environ.get("PADDLE_TRAINER_ID", "0") == "0" else logging.ERROR)
    logger.propagate = False


def notice(line: str) -> None:
    """Print on standard error what was set up and how; not with ``MOBILEBERT_QUIET`` 1 or setup, nor in a worker."""
    if os.environ.get("MOBILEBERT_QUIET") != "setup":
        remark(line)


def remark(line: str) -> None:
    """Print on standard error what a user should know, whatever the command; not with ``MOBILEBERT_QUIET=1``."""
    if os.environ.get("MOBILEBERT_QUIET", "0") in ("", "0", "setup") and multiprocessing.parent_process() is None:
        print(one_line(line), file=sys.stderr)


def say(line: str) -> None:
    """Print on standard output a line of a command's results that may hold names of strangers."""
    print(one_line(line))


def as_flags(message: str) -> str:
    """Name the arguments in a library's message as the command line does.

    Args:
        message: with names in backquotes, which may have a value: `` `do_eval` ``, `` `max_seq_length=900` ``.

    Returns:
        The message with ``--do_eval`` and ``--max_seq_length 900`` in their place.
    """
    return _ARGUMENT.sub(lambda found: f"--{found[1]}" + (f" {found[2]}" if found[2] else ""), message)


def run(main: Callable[[], int | None]) -> NoReturn:
    """Run a script's ``main`` and exit: 0 or its return value, 2 with one line for bad input, 130 for Ctrl-C.

    Names in backquotes in the message become flags, see ``as_flags``. A disk that is full, forbidden or gone is bad
    input too, and so is a library of an extra that is not installed. A reader that closes the pipe (``| head``) ends
    the script quietly. Signals: see ``interrupt``.
    """
    with interrupt.unwinding():
        code = _outcome(main)
    sys.exit(code)


def _outcome(main: Callable[[], int | None]) -> int | str | None:
    """The exit code of ``main``, whose output is written or given up."""
    try:
        try:
            code: int | str | None = main() or 0
        except SystemExit as ended:  # of argparse, or of a training that was stopped
            code = ended.code
        sys.stdout.flush()
        return code
    except InputError as error:
        message = as_flags(str(error))
    except ModuleNotFoundError as error:
        if extras.extra_of(error.name) is None:
            raise
        message = str(extras.missing(error.name))
    except KeyboardInterrupt:
        if not interrupt.received:  # else it says so itself
            print("interrupted (SIGINT)", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _give_up_output()
        return EXIT_BROKEN_PIPE
    except OSError as error:
        if error.filename is None and error.errno not in _ADVICE:
            raise
        message = one_line(_about_file(error))
        _give_up_output()
    print(f"error: {message}", file=sys.stderr)
    return EXIT_BAD_INPUT


def _about_file(error: OSError) -> str:
    place = f"{error.filename}: " if error.filename else ""
    advice = f"; {_ADVICE[error.errno]}" if error.errno in _ADVICE else ""
    return f"{place}{error.strerror or error}{advice}"


def _give_up_output() -> None:
    """What is still buffered must not raise a second time when the interpreter flushes at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
