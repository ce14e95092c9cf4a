"""What a teacher made of each row of a train set, kept on disk: mapped files, each row with its checksum."""

import json
import os
import shutil
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from mobilebert.base.errors import InputError
from mobilebert.base.files import naming

_FORMAT = 1  # raise it whenever code changes what the same teacher makes of the same row


class OutputCache:
    """Arrays by name and row, float32, in files that grow as rows are written.

    Several processes may use one folder: each writes rows of its own, and two that write the same write the same.
    A row that is damaged or was cut short is not found, and is computed again.

    Args:
        folder: made where missing; what another ``key`` wrote stays there beside it.
        key: all that the values depend on: digests of the teacher and of the data, and the precision.
        num_rows: of the train set, N.
        shapes: the arrays of one row, by name.

    Raises:
        InputError: the disk has no room for all of them.
    """

    def __init__(self, folder: Path, key: Mapping[str, str], num_rows: int, shapes: Mapping[str, tuple[int, ...]]):
        digest = zlib.crc32(json.dumps({"format": _FORMAT, **key}, sort_keys=True).encode())
        self.folder = folder / f"teacher-{digest:08x}-{key['teacher'][:16]}"
        self._num_rows, self._shapes = num_rows, dict(shapes)
        with naming(folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        missing = self.bytes - sum(path.stat().st_blocks * 512 for path in self.folder.glob("*.float32"))
        free = shutil.disk_usage(self.folder).free
        if missing > free:
            raise InputError(
                f"`cache_teacher={folder}`: the teacher's outputs need {missing / 2**30:.1f} GiB more, "
                f"{free / 2**30:.1f} are free; leave it out, or take fewer or shorter rows"
            )
        self._arrays: dict[str, tuple[tuple[np.ndarray, BinaryIO], tuple[np.ndarray, BinaryIO]]] = {}

    @property
    def bytes(self) -> int:
        """Of all rows."""
        return sum(4 * self._num_rows * int(np.prod(shape)) for shape in self._shapes.values())

    def read(self, name: str, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values of some rows [B, ...], and which of them are there [B]; the others' are anything."""
        (values, _), (sums, _) = self._open(name)
        found = np.array(values[rows])
        return found, np.array([checksum(value) for value in found]) == sums[rows]

    def write(self, name: str, rows: np.ndarray, found: np.ndarray) -> None:
        """Keep values [B, ...] of some rows; what a row does not fill of its shape is 0."""
        (values, values_file), (_, sums_file) = self._open(name)
        whole = np.zeros((len(rows), *values.shape[1:]), np.float32)
        whole[(slice(None), *(slice(size) for size in found.shape[1:]))] = found
        for row, value in zip(rows.tolist(), whole, strict=True):
            # Not through the map: where the disk is full that kills the process, and this raises.
            for file, content in ((values_file, value), (sums_file, np.uint32(checksum(value)))):
                with naming(file.name):
                    os.pwrite(file.fileno(), content.tobytes(), row * content.nbytes)

    def _open(self, name: str) -> tuple[tuple[np.ndarray, BinaryIO], tuple[np.ndarray, BinaryIO]]:
        if name not in self._arrays:
            shape = self._shapes[name]
            self._arrays[name] = self._map(f"{name}.float32", np.float32, shape), self._map(f"{name}.crc32", np.uint32)
        return self._arrays[name]

    def _map(self, name: str, dtype: type, row_shape: tuple[int, ...] = ()) -> tuple[np.ndarray, BinaryIO]:
        path, shape = self.folder / name, (self._num_rows, *row_shape)
        with naming(path):
            file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b", buffering=0)
            # Zeros that take no room on the disk; a file that is there keeps what it has.
            os.ftruncate(file.fileno(), int(np.prod(shape)) * np.dtype(dtype).itemsize)
            return np.memmap(path, dtype, "r", shape=shape), file


def checksum(value: np.ndarray) -> int:
    """Of one row's values; never 0, which is what a row has that was never written."""
    return zlib.crc32(np.ascontiguousarray(value).tobytes()) | 1
