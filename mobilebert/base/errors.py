"""Exceptions for input that a user can correct."""

from collections.abc import Mapping


class InputError(ValueError):
    """Bad input from outside: a file, a flag, a checkpoint.

    The message is one line: what was got and where, what was expected, what to do. It names arguments in backquotes,
    with a value where that helps: `` `doc_stride` ``, `` `format=onnx` ``. Scripts print it behind ``error:``, such
    names as flags, and exit with 2 (see ``mobilebert.base.cli``); a traceback is kept for our own mistakes.
    """


def first_line(error: BaseException) -> str:
    """Of a library's error, for a message of one line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class QuestionTooLongError(InputError):
    """Questions leave no space for their passages in the tokens that a model reads at once.

    Args:
        messages: by the question's number among those that were asked, what is wrong with it; the first is the
            exception's own message.

    Attributes:
        messages: the same.
    """

    def __init__(self, messages: Mapping[int, str]):
        super().__init__(next(iter(messages.values())))
        self.messages = dict(messages)

    def __reduce__(self):
        return type(self), (self.messages,)


class StuckWindowsError(InputError):
    """Windows share all the tokens that they have place for, so that the next one would begin where this one does."""
