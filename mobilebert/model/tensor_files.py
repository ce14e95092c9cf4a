"""Files of tensors: safetensors and pdparams as NumPy arrays, and which types of numbers are weights.

A checkpoint's layout is Paddle's or PyTorch's (see ``mobilebert.model.weights``); a safetensors header says which:
``format: pd`` or ``format: pt``. Paddle's own pickles are read here, not in ``mobilebert.convert``, because
``from_pretrained`` loads a folder that has nothing else.

One rule of types, ``as_floats``: weights are floating-point numbers, and NumPy has no bfloat16, so that one becomes
float32, which holds each of its values. Anything else (a quantised checkpoint's integers) is refused.
"""

import os
import pickle
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, deserialize, safe_open
from safetensors.numpy import save

from mobilebert.base.errors import InputError
from mobilebert.base.files import atomic_path, read_json

SAFETENSORS = "model.safetensors"
SAFETENSORS_INDEX = "model.safetensors.index.json"
PDPARAMS = "model_state.pdparams"

# Keys that hold no weights whatever the checkpoint: old transformers wrote position_ids.
CONSTANT_KEYS = ("embeddings.position_ids",)
FLOAT_TYPES = ("float16", "float32", "float64")
# How a reader hands over bfloat16: its bits, under a type that nobody can take for integers.
BFLOAT16 = np.dtype([("bfloat16", np.uint16)])

# All that a pickle of tensors names. Unpickling anything else would run it.
_TENSOR_PARTS = {
    ("builtins", "tuple"),
    ("collections", "OrderedDict"),
    ("_codecs", "encode"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    *((f"numpy.{core}.{module}", name) for core in ("core", "_core") for module, name in (
        ("multiarray", "_reconstruct"), ("multiarray", "scalar"), ("numeric", "_frombuffer"),
    )),
}  # fmt: skip
# What a state dict may hold beside tensors: paddle.save's table of names, a training's counters and notes.
_NO_TENSORS = (dict, str, int, float, type(None))


class State(dict[str, np.ndarray]):
    """Tensors by name.

    Attributes:
        widened: names of those that were stored in bfloat16 and are float32 here.
    """

    def __init__(
        self, tensors: Mapping[str, np.ndarray] | Iterable[tuple[str, np.ndarray]] = (), widened: Iterable[str] = ()
    ):
        super().__init__(tensors)
        self.widened = list(widened)


def as_floats(tensors: Mapping[str, np.ndarray], layout: str, source: str | os.PathLike) -> State:
    """Bring tensors to types that NumPy computes with: the one place that decides which types are weights.

    float16, float32 and float64 pass as they are (the same arrays), and constants (``CONSTANT_KEYS``) whatever they
    are. bfloat16 becomes float32 with the same values.

    Args:
        tensors: by key, as a reader gives them; what it returned before passes unchanged.
        layout: in Paddle's, ``"pd"``, uint16 is bfloat16: Paddle writes it so. In PyTorch's it is an integer.
        source: how the error names the file or folder.

    Raises:
        InputError: a tensor of another type.
    """
    state = State(tensors, getattr(tensors, "widened", ()))
    for key, value in tensors.items():
        type_name = "bfloat16" if value.dtype == BFLOAT16 else value.dtype.name
        if type_name == "bfloat16" or (type_name == "uint16" and layout == "pd"):
            bits = value.view(np.uint16) if type_name == "bfloat16" else value
            # bfloat16 is the upper half of float32.
            state[key] = np.asarray(bits.astype(np.uint32) << 16).view(np.float32)
            state.widened.append(key)
        elif type_name not in FLOAT_TYPES and not key.endswith(CONSTANT_KEYS):
            raise wrong_type(source, key, type_name)
    return state


def wrong_type(source: str | os.PathLike, key: str, type_name: str) -> InputError:
    """The error for a tensor that holds no floating-point numbers, or some of a type that is not read here."""
    return InputError(
        f"{source}: {key} is {type_name}, but weights are float16, bfloat16, float32 or float64; "
        "if this is a quantised checkpoint, take the one that it was made from"
    )


def has_safetensors(folder: Path) -> bool:
    """Whether a folder has ``model.safetensors``, one file or sharded."""
    return (folder / SAFETENSORS).exists() or (folder / SAFETENSORS_INDEX).exists()


def safetensors_layout(folder: Path) -> str | None:
    """The format that the headers of ``model.safetensors`` name: ``"pd"``, ``"pt"`` or none.

    Raises:
        InputError: a file is missing or damaged.
    """
    layout = None
    for path in _safetensors_paths(folder):
        with _open_safetensors(path) as tensors:
            layout = (tensors.metadata() or {}).get("format", layout)
    return layout


def read_safetensors(folder: Path) -> tuple[dict[str, np.ndarray], str | None]:
    """Read ``model.safetensors``, one file or sharded.

    Returns:
        Tensors by key as they are stored, bfloat16 as ``BFLOAT16`` (for ``as_floats``), and the header's format:
        ``"pd"``, ``"pt"`` or none.

    Raises:
        InputError: a file is missing, damaged, or holds a type that NumPy lacks.
    """
    state: dict[str, np.ndarray] = {}
    for path in _safetensors_paths(folder):
        with _open_safetensors(path) as tensors:
            stored = {key: tensors.get_slice(key).get_dtype() for key in tensors.keys()}  # noqa: SIM118 (no mapping)
            # The handle gives bfloat16 in no way that NumPy takes. What does reads the whole file: only if needed.
            raw = dict(deserialize(path.read_bytes())) if "BF16" in stored.values() else {}
            for key, type_name in stored.items():
                if type_name == "BF16":
                    state[key] = np.frombuffer(raw[key]["data"], BFLOAT16).reshape(raw[key]["shape"])
                    continue
                try:
                    state[key] = tensors.get_tensor(key)
                except (AttributeError, TypeError):  # float8 and smaller
                    raise wrong_type(path, key, type_name) from None
    return state, safetensors_layout(folder)


def _safetensors_paths(folder: Path) -> list[Path]:
    index = folder / SAFETENSORS_INDEX
    names = shard_names(index) if index.exists() and not (folder / SAFETENSORS).exists() else [SAFETENSORS]
    return [folder / name for name in names]


@contextmanager
def _open_safetensors(path: Path) -> Iterator[Any]:
    """An open file; what goes wrong within becomes one line."""
    try:
        with safe_open(path, framework="np") as tensors:
            yield tensors
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; is the checkpoint complete?") from None
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({error}); fetch or convert it again") from None


def shard_names(index: Path) -> list[str]:
    """The files that a sharded checkpoint's index names, each once.

    Raises:
        InputError: the index is missing, broken or of another form.
    """
    content = read_json(index)
    weight_map = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        raise InputError(f"{index}: expected an object with a weight_map from key to file")
    return sorted(set(weight_map.values()))


def read_state(folder: Path) -> tuple[State, str]:
    """Read whichever weights a folder holds.

    Returns:
        Tensors by key, all float16, float32 or float64 (see ``as_floats``), and the layout ``"pd"`` or ``"pt"``.

    Raises:
        InputError: no weights, unreadable weights, tensors of another type, or weights of unknown layout.
    """
    if has_safetensors(folder):
        state, layout = read_safetensors(folder)
        if layout not in ("pd", "pt"):
            raise InputError(
                f"{folder / SAFETENSORS}: the header's format is {layout!r}, expected 'pd' or 'pt'; "
                "a PyTorch checkpoint is converted by convert.py"
            )
        return as_floats(state, layout, folder), layout
    path = folder / PDPARAMS
    if not path.exists():
        raise InputError(f"{folder}: found neither {SAFETENSORS} nor {PDPARAMS}; convert a checkpoint with convert.py")
    return read_pdparams(path), "pd"


class _TensorUnpickler(pickle.Unpickler):
    """Builds arrays and nothing else."""

    def find_class(self, module, name):
        if (module, name) not in _TENSOR_PARTS:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return super().find_class(module, name)


def read_pdparams(path: Path) -> State:
    """Read what ``paddle.save`` wrote of a state dict. Unlike ``paddle.load`` this never runs what a pickle holds.

    Raises:
        InputError: the file is damaged, holds more than tensors, or tensors that are no floating-point numbers.
    """
    try:
        with open(path, "rb") as file:
            content = _TensorUnpickler(file).load()
        # A tensor is an array, or (its name, the array); paddle.save adds a table of names, which is a dict.
        tensors = {key: value[1] if isinstance(value, tuple) else value for key, value in content.items()}
        tensors = {key: np.asarray(value) for key, value in tensors.items() if not isinstance(value, _NO_TENSORS)}
    except Exception as error:  # a damaged or hostile pickle raises nearly anything
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"{path}: refused, it is damaged or holds more than tensors ({reason[:160]})") from None
    return as_floats(tensors, "pd", path)


def save_state(state: Mapping[str, np.ndarray], folder: Path, layout: str) -> None:
    """Write ``model.safetensors`` with ``layout`` in its header, atomically."""
    contiguous = {key: np.ascontiguousarray(value) for key, value in state.items()}
    with atomic_path(folder / SAFETENSORS) as temporary:
        # Not save_file, which makes files that only their owner may read.
        temporary.write_bytes(save(contiguous, metadata={"format": layout}))
