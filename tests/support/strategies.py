"""What strangers' files hold, as hypothesis strategies; and what a reader may make of it: a value, or one line."""

import contextlib
import copy
import gzip
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import strategies as st

from mobilebert.base import cli

# JSON that Python's writer does not write; a text in a value stands for it until ``as_json``.
_RAW = {
    "\ue000deep list": "[" * 20_000 + "]" * 20_000,
    "\ue000deep object": '{"a":' * 20_000 + "1" + "}" * 20_000,
    "\ue000rather deep": "[" * 300 + "]" * 300,
    "\ue000long whole number": "9" * 5_000,
    "\ue000long number": "1" * 400 + ".5e3",
    "\ue000twice": '{"id": 1, "id": 2}',
    "\ue000half a pair": '"\\ud800"',
    "\ue000lines": '"one\\ntwo\\u0000\\u001b[2J\\u2028\\u202e"',
    "\ue000open": '{"a": [1',
}
code_points: set[int] = set()  # that were tried, for the report
characters = st.characters(exclude_categories=["Cs"])
texts = st.text(characters, max_size=12)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([2**31, 2**63, -(2**63) - 1, 2**64, 10**30]),
    st.floats(),
    texts,
    st.sampled_from([*_RAW, "", " ", "NaN", "-1", "../x", "a" * 2_000]),
)
json_values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=8,
)


def as_json(value: Any) -> str:
    """The text of a value, with what ``_RAW`` stands for."""
    text = json.dumps(value)
    if "\\ue000" in text:
        for mark, raw in _RAW.items():
            text = text.replace(json.dumps(mark), raw)
    return text


def _places(value: Any, here: tuple = ()) -> Iterator[tuple]:
    yield here
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _places(item, (*here, key))


@st.composite
def almost(draw, valid: Any, most: int = 3, others: st.SearchStrategy = json_values) -> Any:
    """A JSON value with one to ``most`` changes: something else in the place of a part, a part gone, or there twice."""
    value = copy.deepcopy(valid)
    for _ in range(draw(st.integers(1, most))):
        *path, last = draw(st.sampled_from(list(_places(value)))) or [None]
        if last is None:
            return draw(others)
        parent = value
        for key in path:
            parent = parent[key]
        change = draw(st.sampled_from(["replace", "replace", "remove", "double"]))
        if change == "replace":
            parent[last] = draw(others)
        elif change == "remove":
            del parent[last]
        elif isinstance(parent, list):
            parent.insert(last, copy.deepcopy(parent[last]))
        else:
            parent[draw(texts)] = copy.deepcopy(parent[last])
    return value


@st.composite
def damaged(draw, content: bytes) -> bytes:
    """Bytes with one to three changes: cut off, overwritten, doubled, taken out."""
    for _ in range(draw(st.integers(1, 3))):
        low = draw(st.integers(0, len(content)))
        high = min(len(content), low + draw(st.integers(0, 16)))
        change = draw(st.sampled_from(["cut", "write", "double", "take out"]))
        new = {"write": draw(st.binary(min_size=high - low, max_size=high - low)), "double": 2 * content[low:high]}
        content = content[:low] if change == "cut" else content[:low] + new.get(change, b"") + content[high:]
    return content


def files(*valid: Any, write: Callable[[Any], str] = as_json, others: st.SearchStrategy = json_values):
    """Files of one kind, as bytes: almost valid ones, valid ones damaged, any JSON, any bytes.

    Args:
        valid: what valid ones hold.
        write: from what a file holds to its text.
        others: what stands in the place of a part.
    """
    return st.one_of(
        st.sampled_from(valid).flatmap(lambda value: almost(value, others=others)).map(lambda v: _encode(write(v))),
        st.sampled_from(valid).flatmap(lambda value: damaged(_encode(write(value)))),
        json_values.map(lambda value: _encode(as_json(value))),
        st.binary(max_size=60),
    )


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def archives(contents: st.SearchStrategy) -> st.SearchStrategy:
    """``contents`` packed by gzip: whole, damaged or cut off."""
    packed = contents.map(lambda content: gzip.compress(content, 1, mtime=0))
    cut = packed.flatmap(lambda content: st.integers(1, len(content) - 1).map(lambda end: content[:end]))
    return st.one_of(packed, packed.flatmap(damaged), cut, st.binary(max_size=40))


def outcome(call: Callable[[], Any]) -> Any:
    """What a command's user sees of a call: its result, or None behind one clean line and exit code 2.

    Any other exception passes through and fails the test.
    """
    results, errors = [], io.StringIO()
    with contextlib.redirect_stderr(errors), pytest.raises(SystemExit) as ended:
        cli.run(lambda: results.append(call()))
    if ended.value.code == 0:
        assert not errors.getvalue()
        return results[0]
    assert ended.value.code == cli.EXIT_BAD_INPUT
    message = errors.getvalue()
    assert message.startswith("error: ") and message.endswith("\n")
    assert message[:-1].isprintable(), f"control characters: {message!r}"
    assert len(message) < 1_100, f"{len(message)} characters: {message[:300]!r}"
    return None
