"""Exceptions for input that a user can correct."""


class InputError(ValueError):
    """Bad input from outside: a file, a flag, a checkpoint.

    The message is one line: what was got and where, what was expected, what to do. It names arguments in backquotes,
    with a value where that helps: `` `doc_stride` ``, `` `format=onnx` ``. Scripts print it behind ``error:``, such
    names as flags, and exit with 2 (see ``mobilebert.base.cli``); a traceback is kept for our own mistakes.
    """


class QuestionTooLongError(InputError):
    """A question leaves no space for the passage in the tokens that a model reads at once."""


class StuckWindowsError(InputError):
    """Windows share all the tokens that they have place for, so that the next one would begin where this one does."""
