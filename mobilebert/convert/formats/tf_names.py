"""What TensorFlow's two implementations of MobileBERT call each parameter, and how they lay it out: one table.

- TF1: google-research/mobilebert, and ymcui/Chinese-MobileBERT, which is made of it.
- TF2: tensorflow/models, official/projects/mobilebert ("Model Garden"), and what it exports for TensorFlow Hub.

A row is a module with Hugging Face's name; the kind says which variables it has. Kernels are [in, out] as Paddle's.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from mobilebert.model.config import MobileBertConfig
from mobilebert.model.weights import BACKBONE_PREFIX

STYLES = {"tf1": "Google's TF1 code", "tf2": "Model Garden"}

# Kind of a module -> end of a variable's name: its parameter here. Ends that begin with a letter continue the name.
_KINDS = {
    "table": {"": "weight"},
    "offset": {"": "bias"},
    "dense": {"/kernel": "weight", "/bias": "bias"},
    "norm": {"/gamma": "weight", "/beta": "bias"},
    "head": {"weights": "weight", "bias": "bias"},  # its weights are [classes, features]
}


def _always(_: MobileBertConfig) -> bool:
    return True


@dataclass(frozen=True)
class _Row:
    """A module under its three names.

    Attributes:
        module: Hugging Face's name.
        tf1, tf2: the beginning of its variables' names; None = there is no such module.
        kind: a key of ``_KINDS``.
        heads: which side of the kernel TF2 stores by attention head: ``"out"``, ``"in"``, or neither.
        when: which models have it. They are Google's conditions: what is not used is not stored.
    """

    module: str
    tf1: str | None
    tf2: str | None
    kind: str
    heads: str = ""
    when: Callable[[MobileBertConfig], bool] = _always


def _bottleneck(config: MobileBertConfig) -> bool:
    return config.use_bottleneck


def _shared(config: MobileBertConfig) -> bool:
    return config.use_bottleneck and config.key_query_shared_bottleneck and not config.use_bottleneck_attention


def _transformed(config: MobileBertConfig) -> bool:
    return config.trigram_input or config.embedding_size != config.hidden_size


# {norm} is FakeLayerNorm or LayerNorm, {last} the number of the last feed-forward network.
_EMBEDDINGS, _TF1_EMBEDDINGS, _TF2_EMBEDDINGS = (
    f"{BACKBONE_PREFIX}embeddings",
    "bert/embeddings",
    "mobile_bert_embedding",
)
_LAYER, _TF1_LAYER, _TF2_LAYER = (
    f"{BACKBONE_PREFIX}encoder.layer.{{i}}",
    "bert/encoder/layer_{i}",
    "transformer_layer_{i}",
)
_TF1_MLM, _TF2_MLM = "cls/predictions", "bert/cls/predictions"
_ONCE = (
    _Row(f"{_EMBEDDINGS}.word_embeddings", f"{_TF1_EMBEDDINGS}/word_embeddings",
         f"{_TF2_EMBEDDINGS}/word_embedding/embeddings", "table"),
    _Row(f"{_EMBEDDINGS}.position_embeddings", f"{_TF1_EMBEDDINGS}/position_embeddings",
         f"{_TF2_EMBEDDINGS}/position_embedding/embeddings", "table"),
    _Row(f"{_EMBEDDINGS}.token_type_embeddings", f"{_TF1_EMBEDDINGS}/token_type_embeddings",
         f"{_TF2_EMBEDDINGS}/type_embedding/embeddings", "table"),
    _Row(f"{_EMBEDDINGS}.embedding_transformation", f"{_TF1_EMBEDDINGS}/embedding_transformation",
         f"{_TF2_EMBEDDINGS}/embedding_projection", "dense", when=_transformed),
    _Row(f"{_EMBEDDINGS}.LayerNorm", f"{_TF1_EMBEDDINGS}/{{norm}}", f"{_TF2_EMBEDDINGS}/embedding_norm", "norm"),
    _Row(f"{BACKBONE_PREFIX}pooler.dense", "bert/pooler/dense", "pooler", "dense",
         when=lambda config: config.classifier_activation),
    _Row("cls.predictions.transform.dense", f"{_TF1_MLM}/transform/dense", f"{_TF2_MLM}/transform/dense", "dense"),
    _Row("cls.predictions.transform.LayerNorm", f"{_TF1_MLM}/transform/LayerNorm",
         f"{_TF2_MLM}/transform/LayerNorm", "norm"),
    _Row("cls.predictions", f"{_TF1_MLM}/output_bias", f"{_TF2_MLM}/output_bias/bias", "offset"),
    _Row("cls.predictions.dense", f"{_TF1_MLM}/extra_output_weights", f"{_TF2_MLM}/extra_output_weights", "table",
         when=lambda config: config.hidden_size > config.embedding_size),
    _Row("cls.seq_relationship", "cls/seq_relationship/output_", None, "head"),
    _Row("qa_outputs", "cls/squad/output_", None, "head"),
    _Row("classifier", "output_", None, "head"),
)  # fmt: skip
_EACH_LAYER = (
    _Row("bottleneck.input.dense", "bottleneck/input/dense", "bottleneck_input/dense", "dense", when=_bottleneck),
    _Row("bottleneck.input.LayerNorm", "bottleneck/input/{norm}", "bottleneck_input/norm", "norm", when=_bottleneck),
    _Row("bottleneck.attention.dense", "bottleneck/attention/dense", "kq_shared_bottleneck/dense", "dense",
         when=_shared),
    _Row("bottleneck.attention.LayerNorm", "bottleneck/attention/{norm}", "kq_shared_bottleneck/norm", "norm",
         when=_shared),
    _Row("attention.self.query", "attention/self/query", "attention/query", "dense", heads="out"),
    _Row("attention.self.key", "attention/self/key", "attention/key", "dense", heads="out"),
    _Row("attention.self.value", "attention/self/value", "attention/value", "dense", heads="out"),
    _Row("attention.output.dense", "attention/output/dense", "attention/attention_output", "dense", heads="in"),
    _Row("attention.output.LayerNorm", "attention/output/{norm}", "attention/norm", "norm"),
    _Row("intermediate.dense", "intermediate/dense", "ffn_layer_{last}/intermediate_dense", "dense"),
    _Row("output.dense", "output/dense", "ffn_layer_{last}/output_dense", "dense"),
    _Row("output.LayerNorm", "output/{norm}", "ffn_layer_{last}/norm", "norm"),
    _Row("output.bottleneck.dense", "output/bottleneck/dense", "bottleneck_output/dense", "dense", when=_bottleneck),
    _Row("output.bottleneck.LayerNorm", "output/bottleneck/{norm}", "bottleneck_output/norm", "norm",
         when=_bottleneck),
)  # fmt: skip
_EACH_FFN = (  # all but a layer's last
    _Row("ffn.{j}.intermediate.dense", "ffn_layer_{j}/intermediate/dense", "ffn_layer_{j}/intermediate_dense", "dense"),
    _Row("ffn.{j}.output.dense", "ffn_layer_{j}/output/dense", "ffn_layer_{j}/output_dense", "dense"),
    _Row("ffn.{j}.output.LayerNorm", "ffn_layer_{j}/output/{norm}", "ffn_layer_{j}/norm", "norm"),
)

# What a training stores beside the model: the optimizer's, the teacher's, the losses' own norms.
BESIDE = {
    "of the optimizer": re.compile(
        r"(^|/)(adam_[mv]|Adam(_1)?|AdamWeightDecayOptimizer\w*|LAMBOptimizer\w*|global_step|beta[12]_power|save_counter"
        r"|\.OPTIMIZER_SLOT|optimizer)(/|$)"
    ),
    "of the teacher": re.compile(r"^teacher/"),
    "of the losses": re.compile(r"^(hidden|attention)_distill_\d+/"),
}
QUANTIZED = re.compile(r"FakeQuantWithMinMaxVars|(^|/)(act|weights)_quant(/|$)")
# What Keras may put in front of TF2's names, and the number of a second model in one process.
_TF2_PREFIX = re.compile(
    r"^(mobile_bert_encoder|mobile_bert_pretrainer|bert)(_\d+)?/(?=mobile_bert|transformer_|pooler/)"
)
_TF2_NUMBER = re.compile(r"^(mobile_bert_embedding)_\d+/")
_TF2_HEAD = re.compile(r"^(\w+/)?cls/predictions/")


@dataclass(frozen=True)
class Variable:
    """One variable of a checkpoint, and the parameter that it is.

    Attributes:
        name: in the checkpoint.
        parameter: Hugging Face's name, with ``mobilebert.`` in front of the backbone's.
        transposed: whether it is stored as [out, in].
        heads: how TF2 splits it: ``"out"`` [in, A, d] and [A, d], ``"in"`` [A, d, out].
    """

    name: str
    parameter: str
    transposed: bool = False
    heads: str = ""

    def read(self, value: np.ndarray) -> np.ndarray:
        """The parameter's value in Paddle's layout from the stored one."""
        if self.heads == "out" and value.ndim > 1:
            value = value.reshape(*value.shape[:-2], -1)
        elif self.heads == "in" and value.ndim == 3:
            value = value.reshape(-1, value.shape[-1])
        return value.T if self.transposed else value

    def store(self, value: np.ndarray, num_heads: int) -> np.ndarray:
        """What ``read`` reads: the stored value from the parameter's in Paddle's layout."""
        if self.heads == "out":
            value = value.reshape(*value.shape[:-1], num_heads, -1)
        elif self.heads == "in":
            value = value.reshape(num_heads, -1, value.shape[-1])
        return np.ascontiguousarray(value.T if self.transposed else value)


def variables(config: MobileBertConfig, style: str) -> Iterator[Variable]:
    """Every variable that a checkpoint of this shape can have, with all heads.

    Args:
        config: of the model.
        style: a key of ``STYLES``.
    """
    words: dict[str, object] = {
        "norm": "FakeLayerNorm" if config.normalization_type == "no_norm" else "LayerNorm",
        "last": config.num_feedforward_networks - 1,
    }
    prefix = {"tf1": _TF1_LAYER, "tf2": _TF2_LAYER}[style]
    for row in _ONCE:
        yield from _expand(row, config, style, "", "", words)
    for i in range(config.num_hidden_layers):
        module, name = f"{_LAYER.format(i=i)}.", f"{prefix.format(i=i)}/"
        for row in _EACH_LAYER:
            yield from _expand(row, config, style, module, name, words)
        for j in range(config.num_feedforward_networks - 1):
            for row in _EACH_FFN:
                yield from _expand(row, config, style, module, name, {**words, "j": j})


def _expand(
    row: _Row, config: MobileBertConfig, style: str, module: str, name: str, words: dict[str, object]
) -> Iterator[Variable]:
    start = getattr(row, style)
    if start is None or not row.when(config):
        return
    for end, parameter in _KINDS[row.kind].items():
        is_weight = parameter == "weight"
        heads = row.heads if style == "tf2" and (is_weight or row.heads == "out") else ""
        yield Variable(
            name + start.format_map(words) + end,
            module + row.module.format_map(words) + f".{parameter}",
            transposed=row.kind == "head" and is_weight,
            heads=heads,
        )


def tf2_name(name: str) -> str:
    """A TF2 variable's name as the table has it: without what Keras puts in front or counts."""
    return _TF2_HEAD.sub(f"{_TF2_MLM}/", _TF2_NUMBER.sub(r"\1/", _TF2_PREFIX.sub("", name)))
