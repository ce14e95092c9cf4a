"""Token rows of different lengths in a few flat NumPy arrays: compact, saved as one file, mapped back without a copy.

R rows, T tokens of all rows together, N examples (a row belongs to one; an example may have several)
"""

import json
import mmap
import os
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import numpy as np
from msgspec import Meta
from safetensors.numpy import save

from mobilebert.base.files import atomic_path, regular
from mobilebert.base.json_decoder import JsonDecoder
from mobilebert.base.records import as_record


@dataclass(frozen=True)
class PackedRows:
    """Token ids of many rows and what belongs to them.

    Attributes:
        input_ids: ``[T]`` int32, row after row.
        row_starts: ``[R + 1]`` int64, where each row begins; the last is T.
        second_starts: ``[R]`` int32, position in its row where the second text (token type 1) begins; the row's length
            where there is none.
        example_ids: ``[N]`` id of each example, for messages and results.
        example_index: ``[R]`` int32, the example of each row.
        labels: by name as the model takes it (``labels``, ``start_positions``), ``[R, ...]``.
        token_labels: ``[T]`` int32, the class of each token, -100 for none; ``None`` where not needed.
        offsets: ``[T, 2]`` int32, characters of each token in the context, -1 outside it; ``None`` where not needed.
        info: counts to be logged, such as the number of dropped examples.
    """

    input_ids: np.ndarray
    row_starts: np.ndarray
    second_starts: np.ndarray
    example_ids: Sequence[str]
    example_index: np.ndarray
    labels: Mapping[str, np.ndarray] = field(default_factory=dict)
    token_labels: np.ndarray | None = None
    offsets: np.ndarray | None = None
    info: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.row_starts) - 1

    @property
    def lengths(self) -> np.ndarray:
        """``[R]`` int64, tokens of each row."""
        return np.diff(self.row_starts)

    def row(self, index: int) -> np.ndarray:
        """Token ids of one row, a view."""
        return self.input_ids[self.row_starts[index] : self.row_starts[index + 1]]

    def row_offsets(self, index: int) -> np.ndarray:
        """``[tokens, 2]`` character spans of one row, a view."""
        return self.offsets[self.row_starts[index] : self.row_starts[index + 1]]

    def save(self, path: str | os.PathLike) -> None:
        """Write everything to one safetensors file, atomically, with a checksum of each array."""
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        arrays |= {_LABEL_PREFIX + name: values for name, values in self.labels.items()}
        arrays |= {name: getattr(self, name) for name in _OPTIONAL if getattr(self, name) is not None}
        arrays["example_ids"] = np.frombuffer(json.dumps(list(self.example_ids)).encode(), np.uint8)
        arrays = {name: np.asarray(array, order="C") for name, array in arrays.items()}
        metadata = {f"crc32.{name}": _checksum(array) for name, array in arrays.items()}
        info = json.dumps(dict(self.info))
        with atomic_path(path) as temporary:
            # Not save_file, which makes files that only their owner may read.
            temporary.write_bytes(save(arrays, metadata | {"info": info, "crc32.info": str(zlib.crc32(info.encode()))}))

    @classmethod
    def load(cls, path: str | os.PathLike) -> "PackedRows":
        """Map a file of ``save``; the arrays stay on disk until they are read and cannot be written to.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is damaged.
        """
        arrays, metadata = map_arrays(Path(path))
        try:
            for name, array in arrays.items():
                if _checksum(array) != metadata[f"crc32.{name}"]:
                    raise ValueError(f"{path}: checksum of {name} does not match")
            if str(zlib.crc32(metadata["info"].encode())) != metadata["crc32.info"]:
                raise ValueError(f"{path}: checksum of info does not match")
            return cls(
                **{name: arrays[name] for name in _ARRAYS},
                example_ids=json.loads(arrays["example_ids"].tobytes()),
                labels={
                    name.removeprefix(_LABEL_PREFIX): array
                    for name, array in arrays.items()
                    if name.startswith(_LABEL_PREFIX)
                },
                **{name: arrays.get(name) for name in _OPTIONAL},
                info=json.loads(metadata["info"]),
            )
        except KeyError as error:
            raise ValueError(f"{path}: has no {error.args[0]}") from None


class _Tensor(TypedDict):
    """An entry of a safetensors header."""

    dtype: Literal["BOOL", "U8", "U16", "U32", "U64", "I8", "I16", "I32", "I64", "F16", "F32", "F64"]
    shape: list[Annotated[int, Meta(ge=0)]]
    data_offsets: tuple[Annotated[int, Meta(ge=0)], Annotated[int, Meta(ge=0)]]


_ARRAYS = ("input_ids", "row_starts", "second_starts", "example_index")
_OPTIONAL = ("token_labels", "offsets")
_LABEL_PREFIX = "labels."
# All that ``save`` may have written: labels are as their maker has them.
_DTYPES = {
    **{"BOOL": np.bool_, "U8": np.uint8, "U16": np.uint16, "U32": np.uint32, "U64": np.uint64},
    **{"I8": np.int8, "I16": np.int16, "I32": np.int32, "I64": np.int64},
    **{"F16": np.float16, "F32": np.float32, "F64": np.float64},
}


def pack_rows(
    rows: Iterable[Sequence[int]],
    second_starts: Sequence[int],
    example_ids: Sequence[str],
    labels: Mapping[str, np.ndarray] | None = None,
    info: Mapping[str, int] | None = None,
) -> PackedRows:
    """Pack ready rows of token ids, one row an example.

    Args:
        rows: ``[R]`` token ids of each row, special tokens included.
        second_starts: ``[R]`` as in ``PackedRows``.
        example_ids: ``[R]`` ids.
        labels: by name, ``[R, ...]`` integer or float arrays.
        info: as in ``PackedRows``.
    """
    parts = [np.asarray(row, np.int32) for row in rows]
    row_starts = np.zeros(len(parts) + 1, np.int64)
    np.cumsum([len(part) for part in parts], out=row_starts[1:])
    return PackedRows(
        input_ids=np.concatenate(parts) if parts else np.zeros(0, np.int32),
        row_starts=row_starts,
        second_starts=np.asarray(second_starts, np.int32),
        example_ids=list(example_ids),
        example_index=np.arange(len(parts), dtype=np.int32),
        labels=dict(labels or {}),
        info=dict(info or {}),
    )


def _checksum(array: np.ndarray) -> str:
    """Of an array's type, shape and bytes."""
    return str(zlib.crc32(array, zlib.crc32(f"{array.dtype}{array.shape}".encode())))


def map_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays of a safetensors file as views of a memory map, and its metadata.

    The safetensors package copies each tensor into memory; the format (length of the header, JSON header, bytes) is
    simple enough to be mapped.
    """
    try:
        with open(regular(path), "rb") as handle:
            view = memoryview(mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ))
        header_size = int.from_bytes(view[:8], "little")
        header = as_record(json.loads(bytes(view[8 : 8 + header_size]), cls=JsonDecoder), dict[str, Any], path, "")
        metadata = as_record(header.pop("__metadata__"), dict[str, str], path, "")
        data = view[8 + header_size :]
        arrays = {}
        for name, entry in as_record(header, dict[str, _Tensor], path, "").items():
            low, high = entry["data_offsets"]
            arrays[name] = np.frombuffer(data[low:high], _DTYPES[entry["dtype"]]).reshape(entry["shape"])
        return arrays, metadata
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, OverflowError) as error:
        raise ValueError(f"{path}: not a file of packed rows ({error})") from None
