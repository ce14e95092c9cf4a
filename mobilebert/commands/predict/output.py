"""JSON lines that grow: a run that was killed goes on where it stopped, and ends with the same file."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mobilebert.base import outputs
from mobilebert.base.errors import InputError
from mobilebert.base.files import naming
from mobilebert.base.json_decoder import JsonDecoder

# Rows computed together. What is padded together can differ in the last digits, so a run that goes on cuts its rows at
# the same places.
CHUNK = 32
FINGERPRINT = "fingerprint"
ERROR = "error"  # the key of a row that has no result, with what is wrong with it

_LINE_ENDS = "\x85\u2028\u2029"
_FIRST_BYTES = b'{"id": '


def json_line(value: dict[str, Any]) -> str:
    """One line of JSON, readable: only what some programs take for the end of a line is escaped."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    for character in _LINE_ENDS:
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text + "\n"


def write_rows(
    path: Path,
    ids: Sequence[str],
    fingerprints: Sequence[str],
    make_compute: Callable[[], Callable[[slice], list[dict[str, Any]]]],
    overwrite: bool,
    title: str,
) -> int:
    """Write one JSON object a row; rows that are in the file already are not computed again.

    Args:
        path: the file. A torn last line, what a killed run leaves, is taken off. Nothing in it changes before the
            first results are there.
        ids: [N] names of the rows; the first key of each object.
        fingerprints: [N] of all that a row's result depends on; the last key of each object.
        make_compute: called if there is anything to compute; gives a function from some rows to their objects.
        overwrite: begin anew.
        title: of the progress bar.

    Returns:
        How many rows were there already.

    Raises:
        InputError: the file has other rows, or another run is writing it.
    """
    with outputs.lock_beside(path):
        done, end = (0, 0) if overwrite or not path.exists() else _rows_there(path, ids, fingerprints)
        if done == len(ids):
            if path.stat().st_size > end:
                os.truncate(path, end)
            return done
        chunks = _new_lines(ids, fingerprints, done, make_compute())
        with tqdm(total=len(ids), initial=done, desc=title, disable=None) as bar:
            first = next(chunks)  # only now, with results at hand, the file is touched
            with naming(path), open(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b") as handle:
                handle.truncate(end)
                handle.seek(end)
                for lines in chain([first], chunks):
                    handle.write("".join(lines).encode())
                    handle.flush()
                    bar.update(len(lines))
                os.fsync(handle.fileno())
    return done


def errors_in(path: Path) -> list[str]:
    """What the rows of a finished file say that have an ``error`` and no result."""
    mark = f'"{ERROR}": '.encode()
    with open(path, "rb") as handle:
        rows = (json.loads(line, cls=JsonDecoder) for line in handle if mark in line)
        return [row[ERROR] for row in rows if ERROR in row]


def _new_lines(
    ids: Sequence[str], fingerprints: Sequence[str], done: int, compute: Callable[[slice], list[dict[str, Any]]]
) -> Iterator[list[str]]:
    """The lines from row ``done`` on, as many at once as are computed together."""
    for low in range(done - done % CHUNK, len(ids), CHUNK):
        rows = slice(low, min(low + CHUNK, len(ids)))
        lines = [
            json_line({"id": name, **value, FINGERPRINT: fingerprint})
            for name, value, fingerprint in zip(ids[rows], compute(rows), fingerprints[rows], strict=True)
        ]
        yield lines[max(0, done - low) :]


def _rows_there(path: Path, ids: Sequence[str], fingerprints: Sequence[str]) -> tuple[int, int]:
    """Count the rows of an earlier run.

    Returns:
        Their number, and the bytes that they take; what is behind is a torn line of that run.

    Raises:
        InputError: a line is of no such run.
    """
    count, end = 0, 0
    with open(path, "rb") as handle:
        for line in handle:
            if not line.endswith(b"\n") and _is_torn(line, count, ids, fingerprints):
                break
            found = _fingerprint(line) if line.endswith(b"\n") else None
            if count == len(fingerprints) or found != fingerprints[count]:
                why = "is of a run with another model, input or setting" if found else "is none that predict.py wrote"
                raise InputError(f"{path}:{count + 1}: {why}; choose another --output, or --overwrite to begin anew")
            count += 1
            end += len(line)
    return count, end


def _is_torn(line: bytes, count: int, ids: Sequence[str], fingerprints: Sequence[str]) -> bool:
    """Whether a line without an end is what a killed run left of row ``count``, and not somebody's file of one line."""
    if count == len(fingerprints):  # nothing was left to be written
        return False
    if (found := _fingerprint(line)) is not None:  # all is there but the end of the line
        return found == fingerprints[count]
    with suppress(ValueError):
        json.loads(line, cls=JsonDecoder)
        return False  # whole, and none of ours
    # Behind rows of ours a line is ours too; the first has to begin with its own name.
    begin = _FIRST_BYTES if count else json_line({"id": ids[0]})[:-2].encode() + b", "
    return line.startswith(begin) or begin.startswith(line)


def is_output(path: Path) -> bool:
    """Whether a file begins with a row that ``write_rows`` wrote."""
    with open(path, "rb") as handle:
        return _fingerprint(handle.readline()) is not None


def _fingerprint(line: bytes) -> str | None:
    try:
        value = json.loads(line, cls=JsonDecoder)
    except ValueError:
        return None
    return value.get(FINGERPRINT) if isinstance(value, dict) else None
