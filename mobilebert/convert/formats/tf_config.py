"""``bert_config.json``, the configuration of Google's code, to and from ours.

It has no ``model_type``, other defaults, and its ``gelu`` is the approximation by tanh.

Source: ``BertConfig`` and ``get_activation`` of google-research/mobilebert/modeling.py; Model Garden's model_utils.py.
"""

import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from mobilebert.base import digests, hub
from mobilebert.base.errors import InputError
from mobilebert.base.records import read_record
from mobilebert.model.config import CONFIG_NAME, MobileBertConfig

BERT_CONFIG = "bert_config.json"

# What a missing key means there.
_DEFAULTS: dict[str, Any] = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "max_position_embeddings": 512,
    "type_vocab_size": 16,
    "initializer_range": 0.02,
    "trigram_input": False,
    "use_bottleneck": False,
    "use_bottleneck_attention": False,
    "key_query_shared_bottleneck": False,
    "num_feedforward_networks": 1,
    "normalization_type": "layer_norm",
    "classifier_activation": True,
}
_WIDTHS = ("embedding_size", "intra_bottleneck_size")  # the hidden size, where they are missing
_ACTIVATIONS = {"relu": "relu", "gelu": "gelu_new", "tanh": "tanh"}
_STORED_ACTIVATIONS = {"relu": "relu", "gelu_new": "gelu", "gelu_pytorch_tanh": "gelu", "tanh": "tanh"}
LAYER_NORM_EPS = 1e-12  # of every norm: tf.contrib's, and Model Garden's


def find(folder: Path) -> Path:
    """The configuration of a folder: ``bert_config.json``, or else the only JSON file that can be one.

    Raises:
        InputError: there is none, or there are several.
    """
    if (folder / BERT_CONFIG).exists():
        return folder / BERT_CONFIG
    known = {*hub.TOKENIZER_FILES, CONFIG_NAME, digests.TABLE, digests.EXPORT_TABLE}
    others = [path for path in sorted(folder.glob("*.json")) if path.name not in known]
    if len(others) == 1:
        return others[0]
    found = f"no {BERT_CONFIG}"
    if others:
        found += f", and several others that could be it ({', '.join(path.name for path in others[:4])})"
    raise InputError(
        f"{folder}: {found}; put the checkpoint's configuration there under that name (of the released one it is "
        "config/uncased_L-24_H-128_B-512_A-4_F-4_OPT.json of google-research/mobilebert)"
    )


def read(folder: Path) -> MobileBertConfig:
    """The configuration of a folder of TensorFlow's.

    Raises:
        InputError: none, a damaged one, or one of a model that cannot be computed here.
    """
    path = find(folder)
    digests.check(path.parent, path.name)
    values = read_record(path, dict[str, Any])
    try:
        return from_dict(values)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def from_dict(values: dict[str, Any]) -> MobileBertConfig:
    """Our configuration from the content of a ``bert_config.json``."""
    values = {**_DEFAULTS, **values}
    if values.get("vocab_size") is None:
        raise InputError("vocab_size is missing; is it the configuration of a BERT?")
    for name in _WIDTHS:
        if values.get(name) is None:
            values[name] = values["hidden_size"]
    activation = values["hidden_act"]
    if not isinstance(activation, str) or activation.lower() not in _ACTIVATIONS:
        quantized = ", of a training for quantization" if activation == "relu6" else ""
        raise InputError(f"hidden_act={activation!r}{quantized}: expected {', '.join(_ACTIVATIONS)}")
    values["hidden_act"] = _ACTIVATIONS[activation.lower()]
    if values["normalization_type"] == "layer_norm":
        values = {"layer_norm_eps": LAYER_NORM_EPS, "torch_layer_norm_eps": LAYER_NORM_EPS, **values}
    config = MobileBertConfig.from_dict(values)
    if config.use_bottleneck_attention and config.key_query_shared_bottleneck:
        # Google asks for the first alone, and has no second bottleneck then.
        config = replace(config, num_labels=None, key_query_shared_bottleneck=False)
    return config


def to_dict(config: MobileBertConfig) -> dict[str, Any]:
    """The content of ``bert_config.json``: what Google's code reads, then labels and notes, which it lets be.

    Raises:
        InputError: Google's code does not compute this model.
    """
    if config.hidden_act not in _STORED_ACTIVATIONS:
        advice = "; where the approximation will do, set gelu_new in config.json" if config.hidden_act == "gelu" else ""
        exact = " (the exact one)" if config.hidden_act == "gelu" else ""
        raise InputError(f"hidden_act={config.hidden_act}{exact}: Google's code has relu, tanh, gelu_new{advice}")
    values: dict[str, Any] = {name: getattr(config, name) for name in ("vocab_size", *_DEFAULTS, *_WIDTHS)}
    values["hidden_act"] = _STORED_ACTIVATIONS[config.hidden_act]
    understood = from_dict(values)
    for own in fields(config):
        is_kept = own.name in (*values, "num_labels", "id2label", "extra")
        if not is_kept and getattr(config, own.name) != getattr(understood, own.name):
            values[own.name] = getattr(config, own.name)
    if config.num_labels != 2 or not all(re.fullmatch(r"LABEL_\d+", label) for label in config.id2label.values()):
        values["id2label"] = {str(index): label for index, label in config.id2label.items()}
    return {**values, **config.extra}
