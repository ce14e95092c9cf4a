"""JSON lines that grow: a run that was killed goes on where it stopped, and ends with the same file."""

import fcntl
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from tqdm import tqdm

from mobilebert.errors import InputError

# Rows computed together. What is padded together can differ in the last digits, so a run that goes on cuts its rows at
# the same places.
CHUNK = 32
FINGERPRINT = "fingerprint"

_LINE_ENDS = "\x85\u2028\u2029"
_FIRST_BYTES = b'{"id": '


def json_line(value: dict[str, Any]) -> str:
    """One line of JSON, readable: only what some programs take for the end of a line is escaped."""
    text = json.dumps(value, ensure_ascii=False)
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
        path: the file. A torn last line, what a killed run leaves, is taken off.
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
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{path}: another run is writing it; choose another --output") from None
        if overwrite:
            handle.truncate(0)
        done = _rows_there(handle, path, fingerprints)
        if done == len(ids):
            return done
        compute = make_compute()
        with tqdm(total=len(ids), initial=done, desc=title, disable=None) as bar:
            for low in range(done - done % CHUNK, len(ids), CHUNK):
                rows = slice(low, min(low + CHUNK, len(ids)))
                objects = compute(rows)
                lines = [
                    json_line({"id": name, **value, FINGERPRINT: fingerprint})
                    for name, value, fingerprint in zip(ids[rows], objects, fingerprints[rows], strict=True)
                ]
                new = lines[max(0, done - low) :]
                handle.write("".join(new).encode())
                handle.flush()
                bar.update(len(new))
        os.fsync(handle.fileno())
    return done


def _rows_there(handle: BinaryIO, path: Path, fingerprints: Sequence[str]) -> int:
    """Count the rows of an earlier run, take a torn last line off, and go to the end.

    Raises:
        InputError: a line is of no such run; the file is left as it is.
    """
    count, end = 0, 0
    for line in handle:
        is_torn = not line.endswith(b"\n")
        if is_torn and (line.startswith(_FIRST_BYTES) or _FIRST_BYTES.startswith(line)):
            handle.truncate(end)
            break
        found = None if is_torn else _fingerprint(line)
        if count == len(fingerprints) or found != fingerprints[count]:
            why = "is of a run with another model, input or setting" if found else "is none that predict.py wrote"
            raise InputError(f"{path}:{count + 1}: {why}; choose another --output, or --overwrite to begin anew")
        count += 1
        end += len(line)
    handle.seek(end)
    return count


def _fingerprint(line: bytes) -> str | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value.get(FINGERPRINT) if isinstance(value, dict) else None
