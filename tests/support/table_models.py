"""Exported models of known behaviour, for the tests of what is built around models: a table says what each word does.

No training, no Paddle: the ONNX graph looks every token up in a table.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from mobilebert.data.collate import INPUT_NAMES
from mobilebert.inference.manifest import ONNX_FILE, Manifest
from mobilebert.model.config import MobileBertConfig
from support.texts import VOCABULARY, make_tokenizer

MAX_SEQ_LENGTH = 32
HIGH = 10.0


def save_reader(
    folder: Path, first: str, last: str, quantization: str | None = None, pieces: Sequence[str] = ()
) -> Path:
    """A model that answers from the token ``first`` to the token ``last``; ``pieces`` are tokens that it knows too."""
    vocabulary = [*VOCABULARY, *pieces]
    start, end = np.zeros(len(vocabulary), np.float32), np.zeros(len(vocabulary), np.float32)
    start[vocabulary.index(first)] = end[vocabulary.index(last)] = HIGH
    nodes = [
        helper.make_node("Gather", ["start", "input_ids"], ["start_logits"]),
        helper.make_node("Gather", ["end", "input_ids"], ["end_logits"]),
    ]
    outputs = {"start_logits": ["batch", "tokens"], "end_logits": ["batch", "tokens"]}
    constants = {"start": start, "end": end}
    return _save(folder, "question-answering", nodes, constants, outputs, quantization, vocabulary=vocabulary)


def save_classifier(
    folder: Path, labels: Sequence[str], votes: Mapping[str, str], problem_type: str | None = None
) -> Path:
    """A model that gives each label a score of 2 where a word that votes for it is in the text, else 0."""
    table = np.zeros((len(VOCABULARY), len(labels)), np.float32)
    for word, label in votes.items():
        table[VOCABULARY.index(word), labels.index(label)] = 2.0
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["scores"]),
        helper.make_node("ReduceMax", ["scores", "axis"], ["logits"], keepdims=0),
    ]
    constants = {"table": table, "axis": np.array([1])}
    outputs = {"logits": ["batch", len(labels)]}
    names = {"id2label": dict(enumerate(labels)), "problem_type": problem_type}
    return _save(folder, "sequence-classification", nodes, constants, outputs, None, names)


def save_tagger(folder: Path, tags: Mapping[str, str]) -> Path:
    """A model that gives each word of ``tags`` its tag, all others O."""
    labels = ["O", *dict.fromkeys(tags.values())]
    table = np.zeros((len(VOCABULARY), len(labels)), np.float32)
    table[:, 0] = 1.0
    for word, tag in tags.items():
        table[VOCABULARY.index(word), labels.index(tag)] = HIGH
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["logits"])]
    outputs = {"logits": ["batch", "tokens", len(labels)]}
    names = {"id2label": dict(enumerate(labels))}
    return _save(folder, "token-classification", nodes, {"table": table}, outputs, None, names)


def _save(
    folder: Path,
    head: str,
    nodes: list[onnx.NodeProto],
    constants: dict[str, np.ndarray],
    outputs: dict[str, list],
    quantization: str | None,
    names: dict | None = None,
    vocabulary: list[str] = VOCABULARY,
) -> Path:
    sizes = {"vocab_size": len(vocabulary), "max_position_embeddings": MAX_SEQ_LENGTH, "num_hidden_layers": 1}
    MobileBertConfig.preset("mobilebert", **sizes, **(names or {})).save_pretrained(folder)
    make_tokenizer(vocabulary).save_pretrained(folder)
    graph = helper.make_graph(
        nodes,
        "table",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"]) for name in INPUT_NAMES],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    model.ir_version = 10
    onnx.checker.check_model(model)
    onnx.save(model, folder / ONNX_FILE)
    Manifest(head, list(outputs), ["onnxruntime"], quantization, True, 20, MAX_SEQ_LENGTH).save(folder)
    return folder
