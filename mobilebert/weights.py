"""Weights in and out of a folder: safetensors or pdparams, Paddle's layout or PyTorch's, into any head.

The layout rule comes from the model itself: the weight of every ``nn.Linear`` is [in, out] in Paddle and [out, in] in
PyTorch, square ones too; nothing else differs. A safetensors header says ``format: pd`` or ``format: pt``.
"""

import os
import pickle
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import paddle
from paddle import nn
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from mobilebert import hub
from mobilebert.errors import InputError
from mobilebert.files import atomic_path, read_json

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

State = dict[str, np.ndarray]


@dataclass
class LoadReport:
    """What happened to each key of a checkpoint on its way into a model."""

    loaded: list[str] = field(default_factory=list)
    transposed: list[str] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)  # key in the checkpoint -> parameter
    unused: list[str] = field(default_factory=list)  # in the checkpoint, not in the model
    initialised: list[str] = field(default_factory=list)  # in the model, not in the checkpoint


def linear_weights(model: nn.Layer) -> set[str]:
    """Names of the parameters whose layout differs between Paddle and PyTorch."""
    return {f"{name}.weight" for name, layer in model.named_sublayers() if isinstance(layer, nn.Linear)}


def resolve_folder(name_or_path: str | os.PathLike) -> Path:
    """The local folder with config and weights; fetched from the hub where ``name_or_path`` is no folder."""
    return Path(hub.resolve(name_or_path, ["config.json", "*.safetensors", SAFETENSORS_INDEX, PDPARAMS]))


def read_safetensors(folder: Path) -> tuple[State, str | None]:
    """Read ``model.safetensors``, one file or sharded.

    Returns:
        Tensors by key, and the header's format: ``"pd"``, ``"pt"`` or none.

    Raises:
        InputError: a file is missing, damaged, or holds a type that NumPy lacks.
    """
    index = folder / SAFETENSORS_INDEX
    if (folder / SAFETENSORS).exists() or not index.exists():
        names = [SAFETENSORS]
    else:
        names = shard_names(index)
    state: State = {}
    layout = None
    for name in names:
        path = folder / name
        try:
            with safe_open(path, framework="np") as tensors:
                layout = (tensors.metadata() or {}).get("format", layout)
                for key in tensors.keys():  # noqa: SIM118 (the handle is no mapping)
                    state[key] = tensors.get_tensor(key)
        except FileNotFoundError:
            raise InputError(f"{path}: no such file; is the checkpoint complete?") from None
        except (SafetensorError, OSError, TypeError) as error:
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
        Tensors by key, and the layout ``"pd"`` or ``"pt"``.

    Raises:
        InputError: no weights, unreadable weights, or weights of unknown layout.
    """
    if (folder / SAFETENSORS).exists() or (folder / SAFETENSORS_INDEX).exists():
        state, layout = read_safetensors(folder)
        if layout not in ("pd", "pt"):
            raise InputError(
                f"{folder / SAFETENSORS}: the header's format is {layout!r}, expected 'pd' or 'pt'; "
                "a PyTorch checkpoint is converted by convert.py"
            )
        return state, layout
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
        InputError: the file is damaged, or holds more than tensors.
    """
    try:
        with open(path, "rb") as file:
            content = _TensorUnpickler(file).load()
        # A tensor is an array, or (its name, the array); paddle.save adds a table of names, which is a dict.
        tensors = {key: value[1] if isinstance(value, tuple) else value for key, value in content.items()}
        return {key: np.asarray(value) for key, value in tensors.items() if not isinstance(value, dict)}
    except Exception as error:  # a damaged or hostile pickle raises nearly anything
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"{path}: refused, it is damaged or holds more than tensors ({reason[:160]})") from None


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


def fit_state(model: nn.Layer, state: State, layout: str, source: str) -> tuple[State, LoadReport]:
    """Bring a checkpoint's tensors to a model's names and layout.

    Args:
        model: the target; only its parameters' names and shapes are read.
        state: tensors by checkpoint key.
        layout: ``"pt"`` transposes the linear weights, ``"pd"`` takes them as they are.
        source: how errors name the checkpoint.

    Raises:
        InputError: shapes differ, two keys claim one parameter, tied tensors disagree, or nothing fits.
    """
    expected = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    transposed = linear_weights(model) if layout == "pt" else set()
    report = LoadReport()
    fitted: State = {}
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
        parameters[name].set_value(np.ascontiguousarray(value).astype(_numpy_type(parameters[name])))
    return report


def _numpy_type(parameter: paddle.Tensor) -> str:
    return str(parameter.dtype).removeprefix("paddle.")


def model_state(model: nn.Layer) -> State:
    """A model's parameters as NumPy arrays, by name."""
    return {name: parameter.numpy() for name, parameter in model.named_parameters()}


def save_state(state: State, folder: Path, layout: str) -> None:
    """Write ``model.safetensors`` with ``layout`` in its header, atomically."""
    contiguous = {key: np.ascontiguousarray(value) for key, value in state.items()}
    with atomic_path(folder / SAFETENSORS) as temporary:
        # Not save_file, which makes files that only their owner may read.
        temporary.write_bytes(save(contiguous, metadata={"format": layout}))


def save_model(model: nn.Layer, folder: Path) -> None:
    """Write a model's parameters as ``model.safetensors`` in Paddle's layout."""
    save_state(model_state(model), Path(folder), "pd")
