"""JSON from strangers: what Python's own reader lets through and nothing behind it can bear is refused as broken JSON.

    json.loads(text, cls=JsonDecoder)

Objects in objects in objects end in a ``RecursionError``, here or wherever the value is walked through, compared or
printed; a whole number of thousands of digits fits no float and no array.
"""

import json
import re
from collections.abc import Iterable
from json import JSONDecodeError
from typing import Any

MAX_DEPTH = 100
MAX_DIGITS = 300  # below the largest float, 1.8e308

_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', re.DOTALL)
_LONG_NUMBER = re.compile(rf"\d{{{MAX_DIGITS + 1}}}")


class _TooLongError(Exception):
    """A whole number of too many digits."""


class JsonDecoder(json.JSONDecoder):
    """Python's, with a bound on depth and on the digits of a whole number.

    Raises:
        JSONDecodeError: broken JSON, as from Python's own, or beyond a bound.
    """

    def __init__(self, **options: Any):
        super().__init__(parse_int=_whole, **options)

    def raw_decode(self, s: str, idx: int = 0) -> tuple[Any, int]:
        """A value that begins at ``idx``, and where it ends."""
        try:
            value, end = super().raw_decode(s, idx)
        except _TooLongError:
            found = _LONG_NUMBER.search(s, idx)
            raise JSONDecodeError(
                f"a number of more than {MAX_DIGITS} digits", s, found.start() if found else idx
            ) from None
        except RecursionError:
            raise _too_deep(s, idx) from None
        if end - idx > 2 * MAX_DEPTH and isinstance(value, dict | list) and _is_deep(value):
            raise _too_deep(s, idx)
        return value, end


def repeated_key(pairs: Iterable[tuple[str, Any]]) -> str | None:
    """The first key that stands twice in an object, of which Python keeps the last; for an ``object_pairs_hook``."""
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            return key
        seen.add(key)
    return None


def _whole(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise _TooLongError
    return int(digits)


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        below = []
        for parent in level:
            for child in parent.values() if type(parent) is dict else parent:
                if type(child) is dict or type(child) is list:
                    below.append(child)
        if not below:
            return False
        level = below
    return True


def _too_deep(text: str, start: int) -> JSONDecodeError:
    """The error, with the place of the first bracket that is one too many."""
    depth = 0
    for found in _BRACKETS.finditer(text, start):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(found[0], 0)
        if depth > MAX_DEPTH:
            break
    return JSONDecodeError(f"nested more than {MAX_DEPTH} deep", text, found.start())
