"""The one exception for input that a user can correct."""


class InputError(ValueError):
    """Bad input from outside: a file, a flag, a checkpoint.

    The message is one line: what was got and where, what was expected, what to do. Scripts print it behind
    ``error:`` and exit with 2 (see ``mobilebert.base.cli``); a traceback is kept for our own mistakes.
    """
