"""PyTorch's pickles as NumPy arrays, without torch: ``pytorch_model.bin``, one file or sharded.

A tensor in them is a view of a storage: offset, sizes and strides, in elements. Two formats have the same pickle:

zip (since torch 1.6)   NAME/data.pkl; the bytes of each storage are NAME/data/KEY
before                  five pickles: magic number, version, system, the tensors, the keys of all storages in order;
                        then for each storage its number of elements (int64) and its bytes

The pickle builds views and containers and nothing else: whatever else it names is refused, never run.
"""

import math
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from mobilebert.base.errors import InputError, first_line
from mobilebert.base.files import check_zip
from mobilebert.model import tensor_files
from mobilebert.model.tensor_files import Call, State

PICKLE = "pytorch_model.bin"

_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001
# Storage class -> the type of its elements, little-endian.
_TYPES = {
    "HalfStorage": np.dtype("<f2"),
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "BFloat16Storage": tensor_files.BFLOAT16,
    "ByteStorage": np.dtype("u1"),
    "CharStorage": np.dtype("i1"),
    "ShortStorage": np.dtype("<i2"),
    "IntStorage": np.dtype("<i4"),
    "LongStorage": np.dtype("<i8"),
    "BoolStorage": np.dtype("?"),
    "ComplexFloatStorage": np.dtype("<c8"),
    "ComplexDoubleStorage": np.dtype("<c16"),
}
# What else a tensor of another type names: it is refused by its type, not as a stranger.
_OTHER_TYPES = re.compile(r"Q\w+Storage|UntypedStorage|(?:q?u?int|float|complex)\d\w*|per_\w+_affine\w*")
_MOST_SHOWN = 8  # times the bytes of the storages: tensors may be parts of one another
_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")  # colours of a terminal


class _Type(NamedTuple):
    """A class of storages, as a pickle names it: a dtype itself could be rewritten by what the pickle says next."""

    name: str


class _Storage(NamedTuple):
    """Where elements are; a tuple, which no pickle can set attributes of."""

    dtype: np.dtype
    key: str
    length: int


class _Tensor(NamedTuple):
    """A view of a storage."""

    storage: _Storage
    offset: int
    sizes: Sequence[int]
    strides: Sequence[int]


class _Other(NamedTuple):
    """A name of a type, or a tensor of it, that no weight has."""

    name: str


class _Named(pickle.UnpicklingError):
    """The pickle names something that is no part of a tensor."""


_PARTS: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch", "Size"): Call(tuple),
    # storage, offset, sizes, strides, then what training needs
    ("torch._utils", "_rebuild_tensor"): Call(_Tensor),
    ("torch._utils", "_rebuild_tensor_v2"): Call(lambda storage, *view: _Tensor(storage, *view[:3])),
    ("torch._utils", "_rebuild_parameter"): Call(lambda tensor, *_: tensor),
    ("torch._utils", "_rebuild_parameter_with_state"): Call(lambda tensor, *_: tensor),
    ("torch._utils", "_rebuild_tensor_v3"): Call(lambda *view: view[6]),
    ("torch._utils", "_rebuild_qtensor"): Call(lambda other, *_: other),
    **{("torch", name): _Type(name) for name in _TYPES},
}


class _Unpickler(pickle.Unpickler):
    """Builds containers, ``_Storage`` and ``_Tensor``, nothing else."""

    def find_class(self, module, name):
        if module in ("torch", "torch.storage") and _OTHER_TYPES.fullmatch(name):
            return _Other(name.removesuffix("Storage").lower())
        if (module, name) not in _PARTS:
            raise _Named(f"it names {module}.{name}")
        return _PARTS[module, name]

    def persistent_load(self, identity):
        kind, found, key, _, count, *view = identity
        if kind != "storage" or any(view):
            raise pickle.UnpicklingError(f"it refers to a {kind} outside of itself")
        return _Storage(_TYPES[found.name], str(key), int(count)) if isinstance(found, _Type) else found


def read(path: Path, only_names: bool = False) -> State:
    """Read one file's tensors as they are stored, bfloat16 as ``tensor_files.BFLOAT16``.

    Args:
        path: of a state dict, by itself or with what a training saves around it (see ``tensor_files.unwrap``).
        only_names: give empty arrays, and read no storages.

    Raises:
        InputError: the file is missing, damaged, or holds more than tensors.

    Source: the files of torch 2.13 ``torch.save``; ``tests/parity/test_torch_pickle.py`` compares with ``torch.load``.
    """
    try:
        if zipfile.is_zipfile(path):
            check_zip(path)
            with zipfile.ZipFile(path) as archive:
                tensors, taken_off = _read_zip(archive, path, only_names)
        else:
            with open(path, "rb") as file:
                tensors, taken_off = _read_old(file, path, only_names)
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; is the checkpoint complete?") from None
    except Exception as error:  # a damaged or hostile pickle raises nearly anything
        reason = _ESCAPES.sub("", first_line(error))[:160]
        advice = "; if the whole model was saved, save its state_dict() instead" if isinstance(error, _Named) else ""
        raise InputError(f"{path}: refused, it is damaged or holds more than tensors ({reason}){advice}") from None
    return State(tensors, taken_off=taken_off)


def read_folder(folder: Path) -> State:
    """Read the ``pytorch_model.bin`` of a checkpoint's folder, one file or sharded.

    A copy in safetensors would save nothing: to know that it is one of this file takes longer than reading the file.

    Returns:
        Tensors by plain key, all float16, float32 or float64, in PyTorch's layout.

    Raises:
        InputError: as ``read``, or a tensor of another type.
    """
    paths, _ = tensor_files.shard_paths(folder, PICKLE)
    if missing := next((path for path in paths if not path.exists()), None):
        raise InputError(f"{missing}: no such file; is the checkpoint complete?")
    state = tensor_files.join_shards(folder, PICKLE, read)
    source = folder / PICKLE if (folder / PICKLE).exists() else folder
    return tensor_files.plain_keys(tensor_files.as_floats(state, "pt", source), source)


def _read_zip(archive: zipfile.ZipFile, path: Path, only_names: bool) -> tuple[dict[str, np.ndarray], list[str]]:
    (root,) = (name.partition("/")[0] for name in archive.namelist() if re.fullmatch(r"[^/]*/data\.pkl", name))
    if f"{root}/byteorder" in archive.namelist() and archive.read(f"{root}/byteorder") != b"little":
        raise ValueError("it is of a machine with the other byte order")
    with archive.open(f"{root}/data.pkl") as file:
        views, taken_off = _views(_load(file), path)
    if only_names:
        return dict.fromkeys(views, np.empty(0)), taken_off
    storages = {view.storage.key: view.storage for view in views.values()}
    data = {key: np.frombuffer(archive.read(f"{root}/data/{key}"), found.dtype) for key, found in storages.items()}
    return _arrays(views, data), taken_off


def _read_old(file: BinaryIO, path: Path, only_names: bool) -> tuple[dict[str, np.ndarray], list[str]]:
    if (_load(file), _load(file)) != (_MAGIC, _VERSION):
        raise ValueError("it is no file of torch.save")
    if not _load(file)["little_endian"]:
        raise ValueError("it is of a machine with the other byte order")
    content = _load(file)
    views, taken_off = _views(content, path)
    if only_names:
        return dict.fromkeys(views, np.empty(0)), taken_off
    types = {storage.key: storage.dtype for storage in _storages(content)}
    data = {}
    for key in _load(file):
        (count,) = np.frombuffer(_exactly(file, 8), "<i8")
        data[key] = np.frombuffer(_exactly(file, int(count) * types[key].itemsize), types[key])
    return _arrays(views, data), taken_off


def _load(file: Any) -> Any:
    """The next pickle of a file."""
    start = file.tell()
    tensor_files.check_memory(file)
    file.seek(start)
    return _Unpickler(file, encoding="utf-8").load()


def _exactly(file: BinaryIO, size: int) -> bytes:
    data = file.read(size) if size >= 0 else b""
    if len(data) != size:
        raise EOFError(f"{size:,} bytes are missing at its end")
    return data


def _views(content: Any, path: Path) -> tuple[dict[str, _Tensor], list[str]]:
    """The state dict, without counters and notes of a training; what stands among the tensors and is neither is bad."""

    def is_tensor(value: Any) -> bool:
        return isinstance(value, _Tensor | _Other)

    found, taken_off = tensor_files.unwrap(content, is_tensor, path)
    views = {key: value for key, value in found.items() if not isinstance(value, tensor_files.NO_TENSORS)}
    for key, value in views.items():
        if isinstance(value, _Other):
            raise tensor_files.wrong_type(path, key, value.name)
        if not isinstance(value, _Tensor):
            raise ValueError(f"{key} is a {type(value).__name__}")
    return views, taken_off


def _storages(content: Any) -> list[_Storage]:
    """Of all tensors in a pickle's content: the old format has the bytes of those too that are no weights."""
    found: list[_Storage] = []
    seen: set[int] = set()  # what is held in many places is looked through once
    waiting = [content]
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, _Tensor):
            found.append(part.storage)
        elif isinstance(part, Mapping | list | tuple):
            waiting += part.values() if isinstance(part, Mapping) else part
    return found


def _arrays(views: Mapping[str, _Tensor], data: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays of views; one view under several names (tied weights) is one array."""
    distinct = dict.fromkeys(views.values())
    shown = sum(math.prod(view.sizes) * data[view.storage.key].itemsize for view in distinct)
    if shown > _MOST_SHOWN * sum(part.nbytes for part in data.values()):
        raise ValueError("its tensors are many times as large as what they are stored in")
    arrays = {view: _array(view, data[view.storage.key]) for view in distinct}
    return {name: arrays[view] for name, view in views.items()}


def _array(view: _Tensor, data: np.ndarray) -> np.ndarray:
    """A view of the elements of its storage [N]."""
    _, offset, sizes, strides = view
    if len(data) != view.storage.length or len(sizes) != len(strides) or min((offset, *sizes, *strides)) < 0:
        raise ValueError("a tensor does not fit what it is stored in")
    count = math.prod(sizes)
    if not count:
        return np.empty(sizes, data.dtype)
    last = offset + sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True))
    if last >= len(data) or count > len(data):  # the second: one element shown as many
        raise ValueError("a tensor is larger than what it is stored in")
    return np.lib.stride_tricks.as_strided(data[offset:], sizes, [stride * data.itemsize for stride in strides])
