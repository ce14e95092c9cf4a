"""Weights in and out of a folder: safetensors or pdparams, Paddle's layout or PyTorch's, into any head.

The layout rule comes from the model itself: the weight of every ``nn.Linear`` is [in, out] in Paddle and [out, in] in
PyTorch, square ones too; nothing else differs. A safetensors header says ``format: pd`` or ``format: pt``.

One rule of types too, ``as_floats``: weights are floating-point numbers, and NumPy has no bfloat16, so that one becomes
float32, which holds each of its values. Anything else (a quantised checkpoint's integers) is refused.
"""

import os
import pickle
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import paddle
from paddle import nn
from safetensors import SafetensorError, deserialize, safe_open
from safetensors.numpy import save

from mobilebert.base import hub
from mobilebert.base.errors import InputError
from mobilebert.base.files import atomic_path, read_json

SAFETENSORS = "model.safetensors"
SAFETENSORS_INDEX = "model.safetensors.index.json"
PDPARAMS = "model_state.pdparams"
BACKBONE_PREFIX = "mobilebert."

# Keys that copy another tensor (the tied decoder) or hold a constant (old transformers wrote position_ids).
TIED_KEYS = {
    "cls.predictions.decoder.weight": "mobilebert.embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
}
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


@dataclass
class LoadReport:
    """What happened to each key of a checkpoint on its way into a model."""

    loaded: list[str] = field(default_factory=list)
    transposed: list[str] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)  # key in the checkpoint -> parameter
    widened: list[str] = field(default_factory=list)  # bfloat16 in the checkpoint, float32 since
    unused: list[str] = field(default_factory=list)  # in the checkpoint, not in the model
    initialised: list[str] = field(default_factory=list)  # in the model, not in the checkpoint


def linear_weights(model: nn.Layer) -> set[str]:
    """Names of the parameters whose layout differs between Paddle and PyTorch."""
    return {f"{name}.weight" for name, layer in model.named_sublayers() if isinstance(layer, nn.Linear)}


def resolve_folder(name_or_path: str | os.PathLike) -> Path:
    """The local folder with config and weights; fetched from the hub where ``name_or_path`` is no folder."""
    return Path(hub.resolve(name_or_path, ["config.json", "*.safetensors", SAFETENSORS_INDEX, PDPARAMS]))


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


def read_safetensors(folder: Path) -> tuple[dict[str, np.ndarray], str | None]:
    """Read ``model.safetensors``, one file or sharded.

    Returns:
        Tensors by key as they are stored, bfloat16 as ``BFLOAT16`` (for ``as_floats``), and the header's format:
        ``"pd"``, ``"pt"`` or none.

    Raises:
        InputError: a file is missing, damaged, or holds a type that NumPy lacks.
    """
    index = folder / SAFETENSORS_INDEX
    if (folder / SAFETENSORS).exists() or not index.exists():
        names = [SAFETENSORS]
    else:
        names = shard_names(index)
    state: dict[str, np.ndarray] = {}
    layout = None
    for name in names:
        path = folder / name
        try:
            with safe_open(path, framework="np") as tensors:
                layout = (tensors.metadata() or {}).get("format", layout)
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
        except FileNotFoundError:
            raise InputError(f"{path}: no such file; is the checkpoint complete?") from None
        except (SafetensorError, OSError) as error:
            raise InputError(f"{path}: not a readable safetensors file ({error}); fetch or convert it again") from None
    return state, layout


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
    if (folder / SAFETENSORS).exists() or (folder / SAFETENSORS_INDEX).exists():
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


def _parameter_name(key: str, expected: dict) -> str:
    """The model's name for a checkpoint's key: with or without ``mobilebert.``, old ``gamma``/``beta`` spelt out."""
    for old, new in ((".gamma", ".weight"), (".beta", ".bias")):
        if key.endswith(old):
            key = key[: -len(old)] + new
    if key in expected:
        return key
    if BACKBONE_PREFIX + key in expected:
        return BACKBONE_PREFIX + key
    if key.removeprefix(BACKBONE_PREFIX) in expected:
        return key.removeprefix(BACKBONE_PREFIX)
    return key


def fit_state(model: nn.Layer, state: Mapping[str, np.ndarray], layout: str, source: str) -> tuple[State, LoadReport]:
    """Bring a checkpoint's tensors to a model's names and layout.

    Args:
        model: the target; only its parameters' names and shapes are read.
        state: tensors by checkpoint key.
        layout: ``"pt"`` transposes the linear weights, ``"pd"`` takes them as they are.
        source: how errors name the checkpoint.

    Raises:
        InputError: shapes differ, two keys claim one parameter, tied tensors disagree, nothing fits, or a tensor holds
            no floating-point numbers.
    """
    state = as_floats(state, layout, source)
    expected = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    transposed = linear_weights(model) if layout == "pt" else set()
    report = LoadReport(widened=state.widened)
    fitted = State()
    wrong_shapes = []
    for key, value in state.items():
        if key.endswith(CONSTANT_KEYS):
            continue
        name = _parameter_name(key, expected)
        if name not in expected:
            report.unused.append(key)
            continue
        if name in fitted:
            raise InputError(f"{source}: two keys claim the parameter {name} ({key} is the second)")
        if name in transposed and value.ndim == 2:
            value = value.T
            report.transposed.append(name)
        if value.shape != expected[name]:
            wrong_shapes.append(f"{key} is {list(value.shape)}, the model has {list(expected[name])}")
            continue
        if name != key:
            report.renamed[key] = name
        fitted[name] = value
        report.loaded.append(name)
    if wrong_shapes:
        more = f" (and {len(wrong_shapes) - 1} more)" if len(wrong_shapes) > 1 else ""
        raise InputError(f"{source}: {wrong_shapes[0]}{more}; does its config.json belong to it?")
    if not any(_is_backbone(name) for name in fitted):
        raise InputError(f"{source}: no tensor fits MobileBERT; first keys: {', '.join(list(state)[:3]) or 'none'}")
    _check_tied(state, fitted, report, source)
    report.initialised = [name for name in expected if name not in fitted]
    return fitted, report


def check_backbone(report: LoadReport, source: str) -> None:
    """Refuse a checkpoint whose embeddings and encoder are not exactly the model's; heads may come and go.

    Args:
        report: of ``fit_state``.
        source: how the error names the checkpoint.

    Raises:
        InputError: a tensor of the backbone is missing, or has no place in the model.
    """
    for names, what in (
        (report.initialised, "are missing"),
        (report.unused, "have no place in the model"),
    ):
        found = [name for name in names if _is_backbone(name)]
        if found:
            raise InputError(
                f"{source}: {len(found)} tensors of the backbone {what}, first {found[0]}; "
                "is the checkpoint complete, and does its config.json belong to it?"
            )


def _is_backbone(name: str) -> bool:
    return name.removeprefix(BACKBONE_PREFIX).startswith(("embeddings.", "encoder."))


def _check_tied(state: State, fitted: State, report: LoadReport, source: str) -> None:
    for key, origin in TIED_KEYS.items():
        if key not in state or origin not in fitted:
            continue
        report.unused.remove(key)
        if not np.array_equal(state[key], fitted[origin]):
            raise InputError(f"{source}: {key} differs from {origin}, but MobileBERT ties them; which one is right?")


def load_into(model: nn.Layer, folder: Path) -> LoadReport:
    """Load a folder's weights into ``model``; parameters that the checkpoint lacks keep their values."""
    state, layout = read_state(folder)
    fitted, report = fit_state(model, state, layout, str(folder))
    check_backbone(report, str(folder))
    parameters = dict(model.named_parameters())
    for name, value in fitted.items():
        parameter = parameters[name]
        value = np.ascontiguousarray(value).astype(_numpy_type(parameter))
        parameter.set_value(paddle.to_tensor(value).astype(parameter.dtype))
    return report


def _numpy_type(parameter: paddle.Tensor) -> str:
    """The type in which NumPy holds a parameter's values: its own, or float32 for bfloat16."""
    return "float32" if parameter.dtype == paddle.bfloat16 else str(parameter.dtype).removeprefix("paddle.")


def model_state(model: nn.Layer) -> State:
    """A model's parameters as NumPy arrays, by name; bfloat16 as float32, which holds the same values.

    NumPy has no bfloat16: ``parameter.numpy()`` gives its bits as integers, which no other library reads as numbers.
    """
    return State(
        (name, (parameter.astype("float32") if parameter.dtype == paddle.bfloat16 else parameter).numpy())
        for name, parameter in model.named_parameters()
    )


def save_state(state: Mapping[str, np.ndarray], folder: Path, layout: str) -> None:
    """Write ``model.safetensors`` with ``layout`` in its header, atomically."""
    contiguous = {key: np.ascontiguousarray(value) for key, value in state.items()}
    with atomic_path(folder / SAFETENSORS) as temporary:
        # Not save_file, which makes files that only their owner may read.
        temporary.write_bytes(save(contiguous, metadata={"format": layout}))


def save_model(model: nn.Layer, folder: Path) -> None:
    """Write a model's parameters as ``model.safetensors`` in Paddle's layout; bfloat16 as float32."""
    save_state(model_state(model), Path(folder), "pd")
