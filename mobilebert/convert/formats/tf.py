"""TensorFlow's checkpoints of MobileBERT: Google's (TF1), ymcui's, and Model Garden's (TF2), as TensorFlow reads them.

A folder holds ``bert_config.json``, ``NAME.index`` and ``NAME.data-*`` (or ``variables/``, in a SavedModel of
TensorFlow Hub) and ``vocab.txt``. Where it holds several steps, ``checkpoint`` says which is meant, or else it is the
newest. The names are in ``tf_names``; TF2 stores variables under a path of Python's attributes, and names beside that.
"""

import math
import os
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mobilebert.base import digests, extras, noise
from mobilebert.base.errors import InputError, first_line
from mobilebert.base.files import regular, write_json, write_text
from mobilebert.convert.formats import tf_config, tf_names
from mobilebert.model import tensor_files
from mobilebert.model.config import HEAD_CLASSES, MobileBertConfig
from mobilebert.model.tensor_files import State
from mobilebert.model.weights import BACKBONE_PREFIX, Renames

CHECKPOINT = "mobilebert.ckpt"  # what is written here is called so
_STATE_FILE = "checkpoint"
_NAMED = re.compile(r'^model_checkpoint_path:\s*"([^"\n]+)"', re.MULTILINE)
_STEP = re.compile(r"-(\d{1,18})$")
_INDEX, _SAVED_MODEL = ".index", "variables"
_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"  # TF2: the objects of a checkpoint, with the names of its variables
_KEY = "VARIABLE_VALUE"
_TRANSFORMATION = f"{BACKBONE_PREFIX}embeddings.embedding_transformation"
_TF1_WORDS = "bert/embeddings/word_embeddings"


class Reader(Protocol):
    """What is used of ``tf.train.CheckpointReader``."""

    def get_variable_to_shape_map(self) -> Mapping[str, list[int]]: ...  # noqa: D102

    def get_tensor(self, name: str) -> Any: ...  # noqa: D102


class TensorFlow:
    """One of TensorFlow's two formats; see ``formats.Format``. Either reads both: the names tell them apart.

    Args:
        style: a key of ``tf_names.STYLES``.
    """

    LAYOUT = "pd"  # kernels are [in, out]
    RENAMES: Renames = ()
    HINT = "name another with `to`"
    WEIGHTS = f"{CHECKPOINT}.data-00000-of-00001"
    TOKENIZER_FOLDERS: tuple[str, ...] = ("", "assets")

    def __init__(self, style: str):
        self.style = style
        self.NAME = f"TensorFlow ({tf_names.STYLES[style]})"

    def detect(self, folder: Path) -> bool:
        """See ``formats.Format``; ``folder`` may also be a checkpoint's prefix."""
        return bool(_prefixes(folder))

    def read_config(self, folder: Path) -> MobileBertConfig:
        """See ``formats.Format``; a classifier's number of classes is that of its weights."""
        prefix = find_prefix(folder)
        config = tf_config.read(_root(prefix))
        bias = _open(prefix).get_variable_to_shape_map().get("output_bias")
        if bias and len(bias) == 1 and config.head is None:
            extra = {**config.extra, "architectures": [HEAD_CLASSES["sequence-classification"]]}
            labels = config.id2label if config.num_labels == bias[0] else None
            config = replace(config, num_labels=None if labels else bias[0], id2label=labels, extra=extra)
        return config

    def read(self, folder: Path) -> State:
        """See ``formats.Format``."""
        prefix = find_prefix(folder)
        config, reader = tf_config.read(_root(prefix)), _open(prefix)
        shapes = dict(reader.get_variable_to_shape_map())
        _check_sizes(prefix, shapes)
        if config.num_hidden_layers * config.num_feedforward_networks > len(shapes):
            raise InputError(
                f"{prefix}: has {len(shapes)} variables, too few for the {config.num_hidden_layers} layers of its "
                f"{tf_config.BERT_CONFIG}; does it belong to it?"
            )
        style = "tf1" if _TF1_WORDS in shapes else "tf2"
        keys = _keys_by_name(reader, shapes, prefix) if style == "tf2" else {name: name for name in shapes}
        wanted = {variable.name: variable for variable in tf_names.variables(config, style)}
        state = State(taken_off=_check_others({name: keys[name] for name in keys if name not in wanted}, prefix))
        for name, variable in wanted.items():
            if name in keys:
                value = variable.read(_array(_get(reader, keys[name], prefix), prefix, name))
                state[variable.parameter], state.renamed[variable.parameter] = value, name
        # Ours, as Hugging Face's, has this product even where it is skipped; Google's has not.
        words = state.get(f"{BACKBONE_PREFIX}embeddings.word_embeddings.weight")
        if words is not None and f"{_TRANSFORMATION}.weight" not in (v.parameter for v in wanted.values()):
            state[f"{_TRANSFORMATION}.weight"] = np.zeros((config.hidden_size,) * 2, words.dtype)
            state[f"{_TRANSFORMATION}.bias"] = np.zeros(config.hidden_size, words.dtype)
        return tensor_files.as_floats(state, self.LAYOUT, prefix)

    def write(self, state: State, folder: Path, config: MobileBertConfig) -> None:
        """See ``formats.Format``."""
        if self.style == "tf2" and not (config.trigram_input and config.use_bottleneck):
            raise InputError(
                "Model Garden's encoder always has trigram_input and use_bottleneck; this model has not both"
            )
        wanted = {variable.parameter: variable for variable in tf_names.variables(config, self.style)}
        values = {}
        for key, value in state.items():
            parameter = key if key.startswith((BACKBONE_PREFIX, "cls.", "qa_outputs.", "classifier.")) else None
            parameter = parameter or BACKBONE_PREFIX + key
            if variable := wanted.get(parameter):
                values[variable.name] = variable.store(np.asarray(value), config.num_attention_heads)
            elif value.size and not _unused(parameter, config):
                raise self._no_place(parameter)
        if "output_weights" in values and config.head != "sequence-classification":
            raise self._no_place("classifier.weight")
        content = tf_config.to_dict(config)
        with digests.recorded(folder, tf_config.BERT_CONFIG, f"{CHECKPOINT}{_INDEX}", self.WEIGHTS):
            write_json(folder / tf_config.BERT_CONFIG, content)
            save(values, folder / CHECKPOINT)
        write_text(folder / _STATE_FILE, f'model_checkpoint_path: "{CHECKPOINT}"\n')

    def remark(self, config: MobileBertConfig) -> str | None:
        """See ``formats.Format``."""
        eps = {config.layer_norm_eps, config.torch_layer_norm_eps}
        if config.normalization_type == "no_norm" or eps == {tf_config.LAYER_NORM_EPS}:
            return None
        said = " and ".join(f"{value:g}" for value in sorted(eps))
        return f"{self.NAME} has eps={tf_config.LAYER_NORM_EPS:g} in every LayerNorm, this model {said}"

    def _no_place(self, parameter: str) -> InputError:
        return InputError(
            f"{parameter}: {tf_names.STYLES[self.style]} has no such part; "
            "name with `head` another to write, `head=model` is the encoder alone"
        )


def _unused(parameter: str, config: MobileBertConfig) -> bool:
    """Whether a parameter takes no part in what the model computes: Google's code does not have it then."""
    if parameter.startswith(f"{_TRANSFORMATION}."):
        return not config.trigram_input and config.embedding_size == config.hidden_size
    return ".bottleneck.attention." in parameter and config.use_bottleneck_attention


# Files


def _prefixes(folder: Path) -> list[Path]:
    """The checkpoints in a folder (or the one that is named): paths without their endings."""
    if not folder.is_dir():
        named = folder.with_name(folder.name.removesuffix(_INDEX))
        return [named] if os.path.isfile(f"{named}{_INDEX}") else []
    found = sorted([*folder.glob(f"*{_INDEX}"), *folder.glob(f"{_SAVED_MODEL}/{_SAVED_MODEL}{_INDEX}")])
    return [path.with_name(path.name.removesuffix(_INDEX)) for path in found]


def _root(prefix: Path) -> Path:
    """The folder that a checkpoint's configuration is in."""
    return prefix.parents[1] if prefix.parts[-2:] == (_SAVED_MODEL, _SAVED_MODEL) else prefix.parent


def find_prefix(folder: Path) -> Path:
    """The checkpoint to read: the one named, the one that ``checkpoint`` names, or the one of the highest step.

    Args:
        folder: of the checkpoint, or the path of one of its steps (``run/model.ckpt-500``).

    Raises:
        InputError: there is none, or nothing says which of several.
    """
    prefixes = _prefixes(folder)
    if not prefixes:
        raise InputError(f"{folder}: no checkpoint of TensorFlow (NAME{_INDEX} and NAME.data-...)")
    if len(prefixes) == 1:
        return prefixes[0]
    if regular(folder / _STATE_FILE).exists():
        text = (folder / _STATE_FILE).read_text(encoding="utf-8", errors="replace")
        named = [Path(name).name for name in _NAMED.findall(text)]  # a path is the training machine's
        chosen = [prefix for prefix in prefixes if prefix.name in named]
        if chosen:
            return chosen[0]
    steps = {prefix: _STEP.search(prefix.name) for prefix in prefixes}
    if not all(steps.values()):
        names = ", ".join(prefix.name for prefix in prefixes[:4])
        raise InputError(
            f"{folder}: holds several checkpoints ({names}); name one with `src`, {folder / prefixes[0].name}"
        )
    return max(prefixes, key=lambda prefix: int(steps[prefix][1]))


def _data_files(prefix: Path) -> list[Path]:
    return sorted(prefix.parent.glob(f"{prefix.name}.data-*"))


def _open(prefix: Path) -> Reader:
    """TensorFlow's reader of a checkpoint; its index is read, no tensor."""
    data = _data_files(prefix)
    if not data:
        raise InputError(f"{prefix}.data-00000-of-00001: no such file; is the checkpoint complete?")
    paths = [regular(path) for path in (Path(f"{prefix}{_INDEX}"), *data)]
    digests.check(prefix.parent, *(path.name for path in paths))
    tensorflow = _tensorflow()
    try:
        return tensorflow.train.load_checkpoint(str(prefix))
    except Exception as error:  # its C++ raises an OpError, or whatever of Python's is like it
        raise _damaged(prefix, error) from None


def _tensorflow() -> Any:
    """TensorFlow, without its messages about this machine's GPU and instructions, which no variable turns off."""
    with noise.without(lambda line: bool(re.match(rb"[IWE]\d{4} |WARNING: All log messages", line))):
        return extras.load("tensorflow")


def _damaged(prefix: Path, error: Exception) -> InputError:
    return InputError(f"{prefix}: not a readable checkpoint ({first_line(error)[:200]}); fetch or save it again")


def _check_sizes(prefix: Path, shapes: Mapping[str, list[int]]) -> None:
    """Refuse an index that promises more numbers than its files can hold, before memory is asked for them."""
    held = sum(path.stat().st_size for path in _data_files(prefix))
    promised = sum(math.prod(shape) for shape in shapes.values())
    if promised > held:
        raise InputError(
            f"{prefix}: its index promises {promised:,} numbers, its files have {held:,} bytes; is it complete?"
        )


def _get(reader: Reader, key: str, prefix: Path) -> Any:
    try:
        return reader.get_tensor(key)
    except Exception as error:  # as above
        raise _damaged(prefix, error) from None


def _array(value: Any, prefix: Path, name: str) -> np.ndarray:
    """A tensor as this package's readers hand them over: bfloat16 as its bits."""
    value = np.asarray(value)
    if value.dtype.name == "bfloat16":
        return value.view(np.uint16).view(tensor_files.BFLOAT16)
    if value.dtype.name not in tensor_files.FLOAT_TYPES:
        raise tensor_files.wrong_type(prefix, name, value.dtype.name)
    return value


def _keys_by_name(reader: Reader, shapes: Mapping[str, list[int]], prefix: Path) -> dict[str, str]:
    """TF2: names of variables, as the table has them -> keys in the checkpoint."""
    if _GRAPH not in shapes:  # by name, as Model Garden's converter makes them
        return {tf_names.tf2_name(name): name for name in shapes}
    from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

    try:
        graph = TrackableObjectGraph.FromString(_get(reader, _GRAPH, prefix))
    except InputError:
        raise
    except Exception as error:  # protobuf's, or a value that is no bytes
        raise _damaged(prefix, error) from None
    variables = [item for node in graph.nodes for item in node.attributes if item.name == _KEY]
    slots = {slot.slot_variable_node_id for node in graph.nodes for slot in node.slot_variables}
    optimizer = {
        item.checkpoint_key
        for number in slots
        if 0 <= number < len(graph.nodes)
        for item in graph.nodes[number].attributes
    }
    found = {}
    for item in variables:
        if item.checkpoint_key in shapes:
            is_slot = item.checkpoint_key in optimizer or not item.full_name
            found[item.checkpoint_key if is_slot else tf_names.tf2_name(item.full_name)] = item.checkpoint_key
    return found


def _check_others(keys: Mapping[str, str], prefix: Path) -> list[str]:
    """What a checkpoint holds beside the model, a phrase each.

    Args:
        keys: names of variables that are none of the model's -> keys in the checkpoint.
        prefix: how errors name the checkpoint.

    Raises:
        InputError: something of the model itself, or of a training for quantization.
    """
    kinds: dict[str, list[str]] = defaultdict(list)
    for name in sorted(keys):
        if tf_names.QUANTIZED.search(name):
            raise InputError(
                f"{prefix}: was trained for quantization ({name}), and clips its activations, which no model here "
                "does; take the checkpoint that it was started from"
            )
        kind = next((kind for kind, pattern in tf_names.BESIDE.items() if pattern.search(name)), "")
        kinds[kind].append(name)
    own = kinds.pop("", [])
    if backbone := [name for name in own if name.startswith(("bert/", "mobile_bert_", "transformer_layer_"))]:
        raise InputError(
            f"{prefix}: {len(backbone)} variables have no place in the model, first {backbone[0]}; "
            f"does its {tf_config.BERT_CONFIG} belong to it?"
        )
    phrases = [f"{len(found)} variables {kind}" for kind, found in sorted(kinds.items())]
    own = [keys[name].split("/.")[0] for name in own if name != _GRAPH]  # Keras calls many just "Variable"
    if own:
        phrases.append(f"{len(own)} other variables ({', '.join(own[:3])}{', ...' if len(own) > 3 else ''})")
    return phrases


def save(values: Mapping[str, np.ndarray], prefix: Path) -> None:
    """Write variables by name, as ``tf.compat.v1.train.Saver`` does, without a graph."""
    tensorflow = _tensorflow()
    names = sorted(values)
    with noise.without(lambda line: bool(re.match(rb"[IWE]\d{4} |WARNING: All log messages", line))):
        tensorflow.raw_ops.SaveV2(
            prefix=str(prefix),
            tensor_names=names,
            shape_and_slices=[""] * len(names),
            tensors=[tensorflow.constant(values[name]) for name in names],
        )


tf1, tf2 = TensorFlow("tf1"), TensorFlow("tf2")
