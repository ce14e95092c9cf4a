"""Records out of files from strangers: every value has the type that its reader expects, or there is one line."""

import os
from typing import Any, TypeVar

from mobilebert.base.errors import InputError
from mobilebert.base.files import read_json

T = TypeVar("T")


def read_record(path: str | os.PathLike, kind: type[T], advice: str = "is it the right file?") -> T:
    """Read a JSON file as a record.

    Args:
        path: the file.
        kind: as of ``as_record``.
        advice: what to do where it is none.

    Raises:
        InputError: as ``read_json``, or a value of another type.
    """
    return as_record(read_json(path), kind, path, advice)


def as_record(value: Any, kind: type[T], where: str | os.PathLike, advice: str) -> T:
    """Check a value that came out of JSON.

    Args:
        value: dicts, lists and what is in them.
        kind: a dataclass, a ``TypedDict`` or a type such as ``dict[str, int]``. Keys that it does not have are left
            out; a whole number does for a float, and nothing else for something else.
        where: begins the message.
        advice: ends it.

    Returns:
        An instance of ``kind``.

    Raises:
        InputError: a value of another type or out of range, or one is missing; the message names the place as
            ``$.key[number]``.
    """
    import msgspec  # here: the help of a command, which has a reader of config.json, needs no package

    try:
        return msgspec.convert(value, kind)
    except (msgspec.ValidationError, UnicodeEncodeError) as error:
        # In backquotes the command line's arguments would be meant, and Python has no arrays.
        reason, _, place = str(error).replace("`", "").replace("array", "list").partition(" - at ")
        reason = reason[0].lower() + reason[1:]
        found = f"{place}: {reason}" if place else reason.replace("expected object", "expected a JSON object")
        raise InputError(f"{os.fspath(where)}: {found}; {advice}") from None
