"""Files of tensors: safetensors and pdparams as NumPy arrays, and which types of numbers are weights.

A checkpoint's layout is Paddle's or PyTorch's (see ``mobilebert.model.weights``); a safetensors header says which:
``format: pd`` or ``format: pt``. Where it does not (PaddleNLP's trainer writes ``np``), the shapes do. Paddle's own
pickles are read here, not in ``mobilebert.convert``, because ``from_pretrained`` loads a folder that has nothing else.

One rule of types, ``as_floats``: weights are floating-point numbers, and NumPy has no bfloat16, so that one becomes
float32, which holds each of its values. Anything else (a quantised checkpoint's integers) is refused.

One rule of shards, ``join_shards``: what an index promises arrives, and each tensor once. One rule of names,
``plain_keys`` and ``unwrap``: what other tools put around a model's own names is taken off, and said.
"""

import glob
import os
import pickle
import pickletools
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from safetensors import SafetensorError, deserialize, safe_open
from safetensors.numpy import save

from mobilebert.base import digests
from mobilebert.base.errors import InputError, first_line
from mobilebert.base.files import atomic_path, is_below, regular
from mobilebert.base.records import read_record

SAFETENSORS = "model.safetensors"
PDPARAMS = "model_state.pdparams"
INDEX_SUFFIX = ".index.json"  # of the file that says which tensors are in which shard
SAFETENSORS_INDEX = SAFETENSORS + INDEX_SUFFIX
LAYOUTS = {"pd": "Paddle", "pt": "PyTorch"}

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
NO_TENSORS = (dict, str, int, float, type(None))
# Parts of keys that come from what a model was wrapped in: data parallelism, torch.compile, FSDP, DeepSpeed.
_WRAPPERS = re.compile(r"(?:^|(?<=\.))(?:module|_orig_mod|_fsdp_wrapped_module|_forward_module)\.")
_OUTER = re.compile(r"^(?:model\.)+")  # Lightning's modules and most people's own call it so
_ADAPTER = re.compile(r"^base_model\.model\.|(?:^|\.)(?:lora_\w+|base_layer|modules_to_save)\.")
# What a training keeps beside the weights, as far as it is named.
_NO_WEIGHTS = re.compile(r"optim|sched|scaler|rng", re.IGNORECASE)


@dataclass(frozen=True)
class _Index:
    """What is read of the index of a sharded checkpoint: key -> file."""

    weight_map: dict[str, str]


class State(dict[str, np.ndarray]):
    """Tensors by name.

    Attributes:
        widened: names of those that were stored in bfloat16 and are float32 here.
        taken_off: what stood around the model's own names in the file, a phrase each.
        renamed: keys here that their reader has renamed -> what the file calls them.
    """

    def __init__(
        self,
        tensors: Mapping[str, np.ndarray] | Iterable[tuple[str, np.ndarray]] = (),
        widened: Iterable[str] = (),
        taken_off: Iterable[str] = (),
        renamed: Mapping[str, str] | None = None,
    ):
        super().__init__(tensors)
        self.widened = list(widened)
        self.taken_off = list(taken_off)
        self.renamed = dict(renamed or {})


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
    state = State(tensors)
    if isinstance(tensors, State):
        state = State(tensors, tensors.widened, tensors.taken_off, tensors.renamed)
    widened: dict[int, np.ndarray] = {}  # an array that has several names is widened once
    for key, value in tensors.items():
        type_name = "bfloat16" if value.dtype == BFLOAT16 else value.dtype.name
        if type_name == "bfloat16" or (type_name == "uint16" and layout == "pd"):
            if id(value) not in widened:
                bits = value.view(np.uint16) if type_name == "bfloat16" else value
                # bfloat16 is the upper half of float32.
                widened[id(value)] = np.asarray(bits.astype(np.uint32) << 16).view(np.float32)
            state[key] = widened[id(value)]
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


def plain_keys(state: State, source: str | os.PathLike) -> State:
    """Take what a model was wrapped in off its tensors' names; what is taken off is noted in ``taken_off``.

    ``module.`` (data parallel), ``_orig_mod.`` (torch.compile) and their like wherever they stand, ``model.`` in front.

    Args:
        state: tensors by key; what it returned before passes unchanged.
        source: how errors name the file or folder.

    Raises:
        InputError: the keys of a PEFT adapter, or two keys that are one without their prefixes.
    """
    if adapter := next((key for key in state if _ADAPTER.search(key)), None):
        raise adapter_error(source, f"{adapter} is a part of it")
    plain = {key: _OUTER.sub("", _WRAPPERS.sub("", key)) for key in state}
    counts = Counter(
        "".join(_WRAPPERS.findall(key) + _OUTER.findall(_WRAPPERS.sub("", key))) for key in state if plain[key] != key
    )
    origin: dict[str, str] = {}
    for key, name in plain.items():
        if name in origin:
            raise InputError(f"{source}: {origin[name]} and {key} are both {name} without what they are wrapped in")
        origin[name] = key
    notes = [f"the prefix {prefix} ({count} keys)" for prefix, count in counts.items()]
    return State(
        ((plain[key], value) for key, value in state.items()),
        (plain[key] for key in state.widened),
        [*state.taken_off, *notes],
        {plain[key]: name for key, name in state.renamed.items()},
    )


def adapter_error(source: str | os.PathLike, reason: str) -> InputError:
    """The error for a PEFT adapter, which holds changes of a model and not the model."""
    return InputError(
        f"{source}: a PEFT adapter, no whole model ({reason}); merge the adapter first (merge_and_unload) "
        "and save the result into a folder of its own"
    )


def unwrap(
    content: Any, is_tensor: Callable[[Any], bool], source: str | os.PathLike
) -> tuple[Mapping[str, Any], list[str]]:
    """Find the state dict in what a training saved: ``{"state_dict": {...}, "epoch": 3}`` and the like.

    Args:
        content: of a pickle.
        is_tensor: whether a value counts as a tensor.
        source: how errors name the file.

    Returns:
        The dict that has the tensors, and what was taken off, a phrase each (for ``State.taken_off``).

    Raises:
        InputError: no dict, one that holds itself, several that could be meant, or a tensor whose name is no string.
    """
    taken_off: list[str] = []
    known: dict[int, bool] = {}
    around: set[int] = set()
    while True:
        if not isinstance(content, Mapping):
            raise InputError(
                f"{source}: holds a {type(content).__name__}, no dict of tensors; save the model's state_dict()"
            )
        if id(content) in around:
            raise InputError(f"{source}: holds a dict that holds itself; save the model's state_dict()")
        around.add(id(content))
        named = [(key, value) for key, value in content.items() if not isinstance(value, NO_TENSORS)]
        if unnamed := [key for key, _ in named if not isinstance(key, str)]:
            raise InputError(f"{source}: a tensor is called {unnamed[0]!r}, no string; save the model's state_dict()")
        inner = [key for key, value in content.items() if _has_tensors(value, is_tensor, known)]
        inner = [key for key in inner if not _NO_WEIGHTS.search(str(key))]
        if not inner:
            return content, taken_off
        beside = [key for key, value in content.items() if "." in str(key) and is_tensor(value)]
        if len(inner) > 1 or beside:
            several = ", ".join([str(key) for key in (*inner, *beside)][:4])
            raise InputError(f"{source}: several could be the weights ({several}); save one of them by itself")
        taken_off.append(f"what stood around {inner[0]!r}")
        content = content[inner[0]]


def _has_tensors(value: Any, is_tensor: Callable[[Any], bool], known: dict[int, bool]) -> bool:
    """Whether a value is a dict of tensors by name, or holds one; an optimizer's state goes by number.

    ``known`` is of dicts by identity: one that is held in many places is looked through once.
    """
    if not isinstance(value, Mapping):
        return False
    if id(value) not in known:
        known[id(value)] = False  # while it is looked through: it may hold itself
        known[id(value)] = all(isinstance(key, str) for key in value) and any(
            is_tensor(item) or _has_tensors(item, is_tensor, known) for item in value.values()
        )
    return known[id(value)]


def has_safetensors(folder: Path) -> bool:
    """Whether a folder has ``model.safetensors``, one file or sharded."""
    return has_file(folder, SAFETENSORS)


def has_file(folder: Path, name: str) -> bool:
    """Whether a folder has a file of weights, or the index of its shards."""
    return (folder / name).exists() or (folder / f"{name}{INDEX_SUFFIX}").exists()


def shard_paths(folder: Path, name: str) -> tuple[list[Path], list[str]]:
    """The files that make up the weights called ``name``: itself, or else what its index names.

    Returns:
        Paths, each once, and the keys that the index promises (none without one).

    Raises:
        InputError: the index is broken, of another form, or names a file that is not below its folder, or no file.
    """
    index = folder / f"{name}{INDEX_SUFFIX}"
    if (folder / name).exists() or not index.exists():
        return [regular(folder / name)], []
    weight_map = read_record(index, _Index, "expected an object with a weight_map from key to file").weight_map
    shards = sorted(set(weight_map.values()))
    for shard in shards:
        if not is_below(shard) or "\\" in shard:
            raise InputError(f"{index}: names the file {shard!r}; shards lie beside their index: fetch it again")
    return [regular(folder / shard) for shard in shards], list(weight_map)


def join_shards(folder: Path, name: str, read: Callable[[Path], Mapping[str, np.ndarray]]) -> State:
    """The tensors of all files that make up the weights called ``name``; one missing or there twice is an error.

    Args:
        folder: of the checkpoint.
        name: ``model.safetensors`` and the like.
        read: the tensors of one file.

    Raises:
        InputError: two files hold one key, the index promises tensors that none holds, or a file is not what its
            folder's table says.
    """
    paths, promised = shard_paths(folder, name)
    read_files = [str(path.relative_to(folder)) for path in paths] + [f"{name}{INDEX_SUFFIX}"] * bool(promised)
    digests.check(folder, *map(glob.escape, read_files))
    state = State()
    origin: dict[str, Path] = {}
    for path in paths:
        part = read(path)
        for key, value in part.items():
            if key in origin:
                raise InputError(
                    f"{path}: holds {key}, and so does {origin[key].name}; which one is right? fetch or save it again"
                )
            state[key], origin[key] = value, path
        state.widened += getattr(part, "widened", [])
        state.taken_off += [note for note in getattr(part, "taken_off", ()) if note not in state.taken_off]
    _check_promises(folder / f"{name}{INDEX_SUFFIX}", promised, state)
    return state


def _check_promises(index: Path, promised: Sequence[str], found: Mapping[str, Any]) -> None:
    missing = [key for key in promised if key not in found and not key.endswith(CONSTANT_KEYS)]
    if missing:
        raise InputError(
            f"{index}: names {len(missing)} tensors that no shard holds, first {missing[0]}; "
            "is the checkpoint complete?"
        )


def safetensors_layout(folder: Path) -> str | None:
    """The layout of ``model.safetensors``: ``"pd"`` or ``"pt"``, as its headers say or else its shapes; none = unknown.

    Raises:
        InputError: a file is missing or damaged, or says what its shapes contradict.
    """
    path = folder / SAFETENSORS
    said: set[str] = set()
    shapes: dict[str, Sequence[int]] = {}
    for shard in shard_paths(folder, SAFETENSORS)[0]:
        with _open_safetensors(shard) as tensors:
            said.add((tensors.metadata() or {}).get("format", ""))
            shapes |= {key: tensors.get_slice(key).get_shape() for key in tensors.keys()}  # noqa: SIM118 (no mapping)
    said &= set(LAYOUTS)
    if len(said) == 2:
        raise InputError(f"{path}: the headers of its shards say both 'pd' and 'pt'; fetch or convert it again")
    shown = layouts_of_shapes(shapes)
    if not said and len(shown) == 2:
        raise InputError(
            f"{path}: {shown['pt']} has PyTorch's layout and {shown['pd']} Paddle's; convert the checkpoint again"
        )
    if said and shown and not said & set(shown):
        (layout,) = shown
        raise InputError(
            f"{path}: the header's format is {said.pop()!r}, but the shapes are {LAYOUTS[layout]}'s; "
            f"write the file again with metadata {{'format': '{layout}'}}"
        )
    return next(iter(said or shown), None)


def layouts_of_shapes(shapes: Mapping[str, Sequence[int]]) -> dict[str, str]:
    """The layouts that linear weights show: a layer's bias is as long as its output, [in, out] or [out, in].

    Args:
        shapes: by key.

    Returns:
        ``"pd"``, ``"pt"`` or both, each with the first key that shows it; empty where every linear weight is square.
    """
    found: dict[str, str] = {}
    for key, shape in shapes.items():
        # The tied decoder is no linear layer here: its weight is the embedding's, its bias one number a row.
        if len(shape) != 2 or shape[0] == shape[1] or key.endswith("predictions.decoder.weight"):
            continue
        length = list(shapes.get(f"{key.removesuffix('.weight')}.bias", ()))
        for layout, axis in (("pt", 0), ("pd", 1)):
            if length == [shape[axis]]:
                found.setdefault(layout, key)
    return found


def unknown_layout(folder: Path) -> InputError:
    """The error for safetensors that tell their layout neither in the header nor by shapes."""
    return InputError(
        f"{folder / SAFETENSORS}: Paddle's layout or PyTorch's? The header does not say, and every linear weight is "
        "square; write the file again with metadata {'format': 'pd'} or {'format': 'pt'}"
    )


def read_safetensors(folder: Path) -> tuple[State, str | None]:
    """Read ``model.safetensors``, one file or sharded.

    Returns:
        Tensors by key as they are stored, bfloat16 as ``BFLOAT16`` (for ``as_floats``), and the layout: ``"pd"``,
        ``"pt"`` or none (see ``safetensors_layout``).

    Raises:
        InputError: a file is missing, damaged, or holds a type that NumPy lacks.
    """
    return join_shards(folder, SAFETENSORS, _read_safetensors), safetensors_layout(folder)


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    state: dict[str, np.ndarray] = {}
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
    return state


@contextmanager
def _open_safetensors(path: Path) -> Iterator[Any]:
    """An open file; what goes wrong within becomes one line."""
    try:
        with safe_open(path, framework="np") as tensors:
            yield tensors
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; is the checkpoint complete?") from None
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{path}: not a readable safetensors file ({first_line(error)}); fetch or convert it again"
        ) from None


def read_state(folder: Path) -> tuple[State, str]:
    """Read whichever weights a folder holds.

    Returns:
        Tensors by plain key (see ``plain_keys``), all float16, float32 or float64 (see ``as_floats``), and the layout
        ``"pd"`` or ``"pt"``.

    Raises:
        InputError: no weights, unreadable weights, tensors of another type, or weights of unknown layout.
    """
    if has_safetensors(folder):
        state, layout = read_safetensors(folder)
        if layout is None:
            raise unknown_layout(folder)
        return plain_keys(as_floats(state, layout, folder), folder), layout
    if has_file(folder, PDPARAMS):
        return plain_keys(join_shards(folder, PDPARAMS, read_pdparams), folder), "pd"
    from mobilebert.model import torch_pickle

    if not has_file(folder, torch_pickle.PICKLE):
        raise InputError(f"{folder}: found neither {SAFETENSORS} nor {PDPARAMS} nor {torch_pickle.PICKLE}")
    return torch_pickle.read_folder(folder), "pt"


def read_keys(folder: Path) -> Collection[str]:
    """The plain keys of whichever weights a folder holds, for less than reading them where the files allow it.

    Raises:
        InputError: no weights, or unreadable ones; what they hold is not checked.
    """
    from mobilebert.model import torch_pickle

    keys: list[str] = []
    if has_safetensors(folder):
        for shard in shard_paths(folder, SAFETENSORS)[0]:
            with _open_safetensors(shard) as tensors:
                keys += tensors.keys()
    elif has_file(folder, torch_pickle.PICKLE) and not has_file(folder, PDPARAMS):
        for shard in shard_paths(folder, torch_pickle.PICKLE)[0]:
            keys += torch_pickle.read(shard, only_names=True)
    else:  # Paddle's pickles hold their tensors themselves
        return read_state(folder)[0]
    return plain_keys(State(dict.fromkeys(keys, np.empty(0))), folder)


class Call:
    """What a pickle may call; it cannot be given attributes."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]):
        object.__setattr__(self, "_function", function)

    def __setattr__(self, *_):
        raise pickle.UnpicklingError("it changes a function")

    def __call__(self, *arguments):
        """Call it."""
        return self._function(*arguments)


class _TensorUnpickler(pickle.Unpickler):
    """Builds arrays and nothing else."""

    def find_class(self, module, name):
        if (module, name) not in _TENSOR_PARTS:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        part = super().find_class(module, name)
        if part is np.dtype:  # one of its own: NumPy's is shared, and what the pickle says next would rewrite it
            return Call(lambda kind, *_: np.dtype(kind, False, True))
        return part if isinstance(part, type) else Call(part)


def check_memory(file: BinaryIO) -> None:
    """Refuse a pickle that remembers a thing under a number beyond all that it holds: Python makes room up to there."""
    for count, (opcode, number, _) in enumerate(pickletools.genops(file)):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and number > count:
            raise pickle.UnpicklingError(f"it remembers its part {count} as number {number}")


def read_pdparams(path: Path) -> State:
    """Read what ``paddle.save`` wrote of a state dict. Unlike ``paddle.load`` this never runs what a pickle holds.

    Raises:
        InputError: the file is damaged, holds more than tensors, or tensors that are no floating-point numbers.
    """
    try:
        with open(path, "rb") as file:
            check_memory(file)
            file.seek(0)
            content = _TensorUnpickler(file).load()
        content, taken_off = unwrap(content, _is_paddle_tensor, path)
        # A tensor is an array, or (its name, the array); paddle.save adds a table of names, which is a dict.
        tensors = {key: value[1] if isinstance(value, tuple) else value for key, value in content.items()}
        tensors = {key: np.asarray(value) for key, value in tensors.items() if not isinstance(value, NO_TENSORS)}
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; is the checkpoint complete?") from None
    except Exception as error:  # a damaged or hostile pickle raises nearly anything
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise InputError(f"{path}: refused, it is damaged or holds more than tensors ({reason[:160]})") from None
    return as_floats(State(tensors, taken_off=taken_off), "pd", path)


def _is_paddle_tensor(value: Any) -> bool:
    return isinstance(value[1] if isinstance(value, tuple) and len(value) == 2 else value, np.ndarray)


def save_state(state: Mapping[str, np.ndarray], folder: Path, layout: str) -> None:
    """Write ``model.safetensors`` with ``layout`` in its header, atomically."""
    contiguous = {key: np.asarray(value, order="C") for key, value in state.items()}
    with digests.recorded(folder, SAFETENSORS), atomic_path(folder / SAFETENSORS) as temporary:
        # Not save_file, which makes files that only their owner may read.
        temporary.write_bytes(save(contiguous, metadata={"format": layout}))
