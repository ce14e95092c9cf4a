"""What all scripts share on the command line: help, version, near misses, one-line errors, exit codes.

Imports nothing heavy, so that ``--help`` is there at once.
"""

import argparse
import difflib
import errno
import logging
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from mobilebert import __version__
from mobilebert.errors import InputError

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 128 + 2  # as a shell reports SIGINT
EXIT_BROKEN_PIPE = 128 + 13  # and SIGPIPE

_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Defaults shown behind each option that has one; description and examples printed as written."""

    def _get_help_string(self, action):
        if action.default is None or action.default is False:
            return action.help
        return super()._get_help_string(action)


class ArgumentParser(argparse.ArgumentParser):
    """argparse with ``--version``, examples, and a suggestion where an option is misspelt."""

    def __init__(self, description: str, examples: str):
        super().__init__(
            description=description,
            epilog=f"examples:\n{examples}",
            formatter_class=_HelpFormatter,
            allow_abbrev=False,
        )
        self.add_argument("--version", action="version", version=f"mobilebert-paddle {__version__}")

    def parse_args(self, args=None, namespace=None):
        """Like argparse, but an unknown option names the nearest known one."""
        known, unknown = self.parse_known_args(args, namespace)
        if not unknown:
            return known
        word = unknown[0].split("=")[0]
        options = [option for action in self._actions for option in action.option_strings]
        nearest = difflib.get_close_matches(word, options, n=1, cutoff=0.6)
        hint = f"; did you mean {nearest[0]}?" if nearest else "; see --help"
        self.error(f"unknown argument {word}{hint}")

    def error(self, message: str) -> NoReturn:
        """One line on standard error and exit code 2."""
        self.exit(EXIT_BAD_INPUT, f"error: {message}\n")


def log_to_console() -> None:
    """Print what the package logs (what was read, left out, written) on standard output, one plain line each.

    On a logger of our own: the libraries that come with Paddle set up the root logger in their own way. Of the
    processes of a launched job only the first prints.
    """
    logger = logging.getLogger("mobilebert")
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)
    logger.setLevel(logging.INFO if os.environ.get("PADDLE_TRAINER_ID", "0") == "0" else logging.ERROR)
    logger.propagate = False


def run(main: Callable[[], int | None]) -> NoReturn:
    """Run a script's ``main`` and exit: 0 or its return value, 2 with one line for bad input, 130 for Ctrl-C.

    A full or forbidden disk is bad input too. A reader that closes the pipe (``| head``) ends the script quietly.
    """
    try:
        code = main() or 0
        sys.stdout.flush()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        code = EXIT_BAD_INPUT
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    except BrokenPipeError:
        # What is still buffered must not raise a second time when the interpreter flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = EXIT_BROKEN_PIPE
    except OSError as error:
        if error.errno not in _DISK_ERRORS:
            raise
        place = f"{error.filename}: " if error.filename else ""
        print(f"error: {place}{error.strerror}; free some space or choose another place", file=sys.stderr)
        code = EXIT_BAD_INPUT
    sys.exit(code)
