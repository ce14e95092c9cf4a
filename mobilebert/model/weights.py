"""Weights into a model and out of it: names, layout and types of a checkpoint's tensors are brought to a model's.

The layout rule comes from the model itself: the weight of every ``nn.Linear`` is [in, out] in Paddle and [out, in] in
PyTorch, square ones too; nothing else differs. The names are Hugging Face's, with a few older spellings (``RENAMES``).
Files are read and written by ``mobilebert.model.tensor_files``.
"""

import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import paddle
from paddle import nn

from mobilebert.base import hub
from mobilebert.base.errors import InputError
from mobilebert.model.config import HEAD_CLASSES, MobileBertConfig
from mobilebert.model.head_of import CLASSIFIERS
from mobilebert.model.tensor_files import (
    CONSTANT_KEYS,
    PDPARAMS,
    State,
    as_floats,
    plain_keys,
    save_state,
)

_log = logging.getLogger(__name__)

BACKBONE_PREFIX = "mobilebert."

# Patterns in a checkpoint's keys -> what the parameters here have instead. They stand here, not in mobilebert.convert,
# because from_pretrained reads such files too.
Renames = Sequence[tuple[re.Pattern[str], str]]
RENAMES: Renames = (
    (re.compile(r"\.gamma$"), ".weight"),
    (re.compile(r"\.beta$"), ".bias"),
)
# Keys that copy another tensor: the tied decoder.
TIED_KEYS = {
    "cls.predictions.decoder.weight": "mobilebert.embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
}

# Where a checkpoint shows the sizes of its config.json: parameter of the backbone, axis.
_SIZES = {
    "vocab_size": ("embeddings.word_embeddings.weight", 0),
    "embedding_size": ("embeddings.word_embeddings.weight", 1),
    "max_position_embeddings": ("embeddings.position_embeddings.weight", 0),
    "hidden_size": ("embeddings.position_embeddings.weight", 1),
    "type_vocab_size": ("embeddings.token_type_embeddings.weight", 0),
    "true_hidden_size": ("encoder.layer.0.attention.self.query.bias", 0),
    "intermediate_size": ("encoder.layer.0.intermediate.dense.bias", 0),
}
LAYER = re.compile(r"encoder\.layer\.(\d+)\.")
_FEEDFORWARD = re.compile(r"encoder\.layer\.0\.(?:ffn\.(\d+)|intermediate)\.")

# Parts of heads that compute from the pooler's output, where the model has one.
_READ_POOLER = ("classifier", "cls.seq_relationship")


@dataclass
class LoadReport:
    """What happened to each key of a checkpoint on its way into a model."""

    loaded: list[str] = field(default_factory=list)
    transposed: list[str] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)  # key in the checkpoint -> parameter
    widened: list[str] = field(default_factory=list)  # bfloat16 in the checkpoint, float32 since
    taken_off: list[str] = field(default_factory=list)  # wrappers and prefixes, a phrase each
    unused: list[str] = field(default_factory=list)  # in the checkpoint, not in the model
    initialised: list[str] = field(default_factory=list)  # in the model, not in the checkpoint


def linear_weights(model: nn.Layer) -> set[str]:
    """Names of the parameters whose layout differs between Paddle and PyTorch."""
    return {f"{name}.weight" for name, layer in model.named_sublayers() if isinstance(layer, nn.Linear)}


def resolve_folder(name_or_path: str | os.PathLike) -> Path:
    """The local folder with config and weights; fetched from the hub where ``name_or_path`` is no folder."""
    return Path(hub.resolve(name_or_path, [*hub.CONFIG_FILES, *hub.WEIGHT_FILES, PDPARAMS]))


def _parameter_name(key: str, expected: Mapping[str, object], renames: Renames) -> str:
    """The model's name for a checkpoint's key: renamed, and with or without ``mobilebert.`` as the model has it."""
    for pattern, new in renames:
        key = pattern.sub(new, key)
    if key in expected:
        return key
    if BACKBONE_PREFIX + key in expected:
        return BACKBONE_PREFIX + key
    if key.removeprefix(BACKBONE_PREFIX) in expected:
        return key.removeprefix(BACKBONE_PREFIX)
    return key


def fit_state(
    model: nn.Layer, state: Mapping[str, np.ndarray], layout: str, source: str, renames: Renames = RENAMES
) -> tuple[State, LoadReport]:
    """Bring a checkpoint's tensors to a model's names and layout.

    Args:
        model: the target; only its parameters' names and shapes are read.
        state: tensors by checkpoint key.
        layout: ``"pt"`` transposes the linear weights, ``"pd"`` takes them as they are.
        source: how errors name the checkpoint.
        renames: from the checkpoint's keys to names of parameters.

    Raises:
        InputError: shapes differ, two keys claim one parameter, tied tensors disagree, nothing fits, or a tensor holds
            no floating-point numbers.
    """
    state = plain_keys(as_floats(state, layout, source), source)
    expected = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    transposed = linear_weights(model) if layout == "pt" else set()
    report = LoadReport(widened=state.widened, taken_off=state.taken_off)
    fitted = State()
    wrong_shapes, remedy = [], "does its config.json belong to it?"
    for key, value in state.items():
        if key.endswith(CONSTANT_KEYS):
            continue
        name = _parameter_name(key, expected, renames)
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
            if name.endswith("embeddings.word_embeddings.weight") and value.shape[1:] == expected[name][1:]:
                remedy = f"its vocabulary has {len(value)} tokens: if so, set vocab_size to {len(value)} in config.json"
            continue
        if name != key or key in state.renamed:
            report.renamed[state.renamed.get(key, key)] = name
        fitted[name] = value
        report.loaded.append(name)
    if wrong_shapes:
        more = f" (and {len(wrong_shapes) - 1} more)" if len(wrong_shapes) > 1 else ""
        raise InputError(f"{source}: {wrong_shapes[0]}{more}; {remedy}")
    if not any(_is_backbone(name) for name in fitted):
        raise _nothing_fits(state, source)
    _check_tied(state, fitted, expected, report, source)
    # A matrix without columns holds nothing that could be missing.
    report.initialised = [name for name, shape in expected.items() if name not in fitted and 0 not in shape]
    return fitted, report


def check_size(
    config: MobileBertConfig, state: Mapping[str, np.ndarray], source: str, renames: Renames = RENAMES
) -> None:
    """Refuse a configuration that is larger than the weights, before a model is built that no memory can hold.

    Args:
        config: from the checkpoint's ``config.json``.
        state: its tensors by plain key.
        source: how the error names the checkpoint.
        renames: as of ``fit_state``.

    Raises:
        InputError: more layers, or a larger size, than the weights have; or nothing of a MobileBERT is there.
    """
    shapes = {}
    for key, value in state.items():
        for pattern, new in renames:
            key = pattern.sub(new, key)
        shapes[key.removeprefix(BACKBONE_PREFIX)] = value.shape
    if not any(_is_backbone(key) for key in shapes):
        raise _nothing_fits(state, source)
    held = {name: shapes[key][axis] for name, (key, axis) in _SIZES.items() if len(shapes.get(key, ())) > axis}
    held["num_hidden_layers"] = len({found[1] for key in shapes if (found := LAYER.match(key))})
    held["num_feedforward_networks"] = len({found[1] for key in shapes if (found := _FEEDFORWARD.match(key))})
    for name, size in held.items():
        if getattr(config, name) > size:
            raise InputError(
                f"{source}: config.json says {name}={getattr(config, name)}, its weights have {size}; "
                f"does its config.json belong to it? if so, set {name} to {size}"
            )


def _nothing_fits(state: Mapping[str, np.ndarray], source: str) -> InputError:
    return InputError(f"{source}: no tensor fits MobileBERT; first keys: {', '.join(list(state)[:3]) or 'none'}")


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


def check_head(model: nn.Layer, report: LoadReport, source: str) -> None:
    """Refuse a checkpoint that holds or promises the model's head where it did not arrive; a new head is no error.

    Args:
        model: with a ``config``.
        report: of ``fit_state``.
        source: how the error names the checkpoint.

    Raises:
        InputError: a head under another name, half of a head, or none though ``config.json`` says it is there.
    """
    advice = "is the checkpoint complete, and are its names Hugging Face's?"
    for name in report.initialised:
        part = _part(name)
        if left := next((key for key in report.unused if f".{part}." in f".{key}"), None):
            raise InputError(f"{source}: holds {left}, but the model's {name} has another name; {advice}")
        if half := next((other for other in report.loaded if _part(other) == part), None):
            raise InputError(f"{source}: holds {half}, but no {name}; {advice}")
    # A backbone may come without a pooler, a trained head that reads one may not. Where `classifier_activation` is
    # false, and in heads that read no pooler, the model has no such parameters at all.
    own = [name for name in report.initialised if _part(name) != "pooler"]
    missing = report.initialised if hasattr(model, "mobilebert") else own
    if not missing:
        return
    head = next((name for name in report.loaded if _part(name) in _READ_POOLER), None)
    if not own and head:
        raise InputError(
            f"{source}: holds {head}, but no {missing[0]}, which that head reads; is the checkpoint complete? "
            "(if it was trained without a pooler, set classifier_activation to false in its config.json)"
        )
    if type(model).__name__ in (model.config.extra.get("architectures") or []):
        raise InputError(
            f"{source}: config.json says {type(model).__name__}, but the weights have no {(own or missing)[0]}; "
            "is the checkpoint complete? (for a new head, take MobileBertModel as its architectures)"
        )


def check_classifier(model: nn.Layer, state: Mapping[str, np.ndarray], source: str) -> None:
    """Refuse a ``classifier`` that another head was trained with: three heads call their last layer so.

    Args:
        model: with a ``config``.
        state: tensors by plain key.
        source: how the error names the checkpoint.

    Raises:
        InputError: ``config.json`` names another of the three, and the weights have its classifier.
    """
    wanted, head = type(model).__name__, model.config.head
    if head not in CLASSIFIERS or wanted in model.config.extra["architectures"] or not hasattr(model, "classifier"):
        return
    if any(_part(key) == "classifier" for key in state):
        raise InputError(
            f"{source}: config.json says {HEAD_CLASSES[head]}, whose classifier is not that of {wanted}; load it as "
            f"what it is, or train a new head on its encoder: run_glue.py or run_ner.py with `init_from={source}`"
        )


def check_leftovers(report: LoadReport, source: str) -> None:
    """Refuse tensors that are left over where nobody said which head the checkpoint has.

    Args:
        report: of ``fit_state``.
        source: how the error names the checkpoint.

    Raises:
        InputError: there are some; a pooler that is not used does not count.
    """
    left = [key for key in report.unused if _part(key) != "pooler"]
    if left:
        raise InputError(
            f"{source}: {len(left)} tensors of no head known here, first {left[0]}, and config.json names none; "
            "say with `head` which to write, `head=model` leaves them out"
        )


def _part(name: str) -> str:
    """What a parameter is a part of: ``qa_outputs``, ``cls.predictions``, ``pooler``."""
    first, *rest = name.removeprefix(BACKBONE_PREFIX).split(".")
    return f"cls.{rest[0]}" if first == "cls" and rest else first


def _is_backbone(name: str) -> bool:
    return name.removeprefix(BACKBONE_PREFIX).startswith(("embeddings.", "encoder."))


def _check_tied(
    state: State, fitted: State, expected: Mapping[str, tuple[int, ...]], report: LoadReport, source: str
) -> None:
    """Take off the list of unused keys what copies another tensor, or stands for it where that one is not stored."""
    for key, origin in TIED_KEYS.items():
        if key not in state or origin not in expected:
            continue
        if origin not in fitted and state[key].shape == expected[origin]:
            fitted[origin] = state[key]
            report.loaded.append(origin)
            report.renamed[key] = origin
        if origin not in fitted:
            continue
        report.unused.remove(key)
        if not np.array_equal(state[key], fitted[origin]):
            raise InputError(f"{source}: {key} differs from {origin}, but MobileBERT ties them; which one is right?")


def load_into(model: nn.Layer, state: State, layout: str, folder: Path) -> LoadReport:
    """Load weights into ``model``; parameters that the checkpoint lacks keep their values.

    Args:
        model: with a ``config``.
        state, layout: from ``tensor_files.read_state``.
        folder: how errors name the checkpoint.
    """
    check_classifier(model, state, str(folder))
    fitted, report = fit_state(model, state, layout, str(folder))
    check_backbone(report, str(folder))
    check_head(model, report, str(folder))
    if report.taken_off:
        _log.warning("%s: read without %s", folder, ", ".join(report.taken_off))
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


def save_model(model: nn.Layer, folder: Path) -> None:
    """Write a model's parameters as ``model.safetensors`` in Paddle's layout; bfloat16 as float32."""
    save_state(model_state(model), Path(folder), "pd")
