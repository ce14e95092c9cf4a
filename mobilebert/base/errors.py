"""Exceptions for input that a user can correct, and how text of strangers is shown in messages."""

import re
from collections.abc import Mapping

_LONGEST_QUOTE = 300  # characters of a stranger's name or text in a message
_LONGEST_MESSAGE = 1000
# A name or a text as a message has it: a word, or what stands between quotation marks.
_LONG_QUOTE = re.compile(rf"[^\s']{{{_LONGEST_QUOTE + 1},}}|(?<=')[^']{{{_LONGEST_QUOTE + 1},}}(?=')")


def printable(text: str) -> str:
    """Text on one line that cannot steer a terminal: what is not printable is escaped, as ``repr`` does it."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def shorten(text: str, longest: int = _LONGEST_QUOTE) -> str:
    """``text``, or its beginning and its end where it has more characters than ``longest``."""
    if len(text) <= longest:
        return text
    half = (longest - len(" ... ")) // 2
    return f"{text[:half]} ... {text[-half:]}"


def one_line(message: str) -> str:
    """A message that holds strangers' texts (paths, names, ids): printable, without the middles of long texts.

    What a message says at its end, what to do, is still there.
    """
    if len(message) > 100 * _LONGEST_MESSAGE:  # for speed
        message = message[: 50 * _LONGEST_MESSAGE] + message[-50 * _LONGEST_MESSAGE :]
    message = _LONG_QUOTE.sub(lambda found: shorten(found[0]), printable(message))
    return shorten(message, _LONGEST_MESSAGE)


class InputError(ValueError):
    """Bad input from outside: a file, a flag, a checkpoint.

    The message is one line: what was got and where, what was expected, what to do. It names arguments in backquotes,
    with a value where that helps: `` `doc_stride` ``, `` `format=onnx` ``. Scripts print it behind ``error:``, such
    names as flags, and exit with 2 (see ``mobilebert.base.cli``); a traceback is kept for our own mistakes.

    Args:
        message: of any length and content; what ``str`` gives is ``one_line`` of it.
    """

    def __init__(self, message: str):
        super().__init__(one_line(message))


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
