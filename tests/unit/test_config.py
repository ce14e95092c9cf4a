"""MobileBertConfig: presets, checks, JSON."""

import dataclasses
import json

import pytest

from mobilebert.base.errors import InputError
from mobilebert.model.config import HEAD_CLASSES, PRESETS, MobileBertConfig


def test_presets_have_the_papers_shapes():
    read = {name: MobileBertConfig.preset(name) for name in PRESETS}
    widths = {name: (c.query_key_input_size, c.value_input_size, c.true_hidden_size) for name, c in read.items()}
    assert widths == {
        "mobilebert": (128, 512, 128),
        "mobilebert-without-opt": (128, 512, 128),
        "mobilebert-tiny": (128, 128, 128),
        "ib-bert-large": (512, 512, 1024),
    }
    assert {name: c.num_feedforward_networks for name, c in read.items()} == {
        "mobilebert": 4, "mobilebert-without-opt": 4, "mobilebert-tiny": 2, "ib-bert-large": 1,
    }  # fmt: skip
    assert not any(c.classifier_activation for c in read.values()) and MobileBertConfig().classifier_activation
    assert read["mobilebert-without-opt"].normalization_type == "layer_norm"
    with pytest.raises(InputError, match="unknown preset 'base': expected one of mobilebert, "):
        MobileBertConfig.preset("base")


def test_without_a_bottleneck_the_inner_width_is_the_outer():
    config = MobileBertConfig(use_bottleneck=False)
    assert config.true_hidden_size == config.query_key_input_size == config.value_input_size == 512


def test_json_keeps_every_field_and_what_it_does_not_know(tmp_path):
    extra = {"architectures": ["MobileBertForTokenClassification"], "transformers_version": "5.0", "a": {"b": [1]}}
    config = MobileBertConfig(
        vocab_size=11, hidden_size=40, num_hidden_layers=3, num_attention_heads=5, intermediate_size=7,
        hidden_act="gelu_new", hidden_dropout_prob=0.25, attention_probs_dropout_prob=0.5, max_position_embeddings=13,
        type_vocab_size=3, initializer_range=0.5, layer_norm_eps=1e-6, torch_layer_norm_eps=1e-7, pad_token_id=4,
        embedding_size=6,
        trigram_input=False, use_bottleneck=False, intra_bottleneck_size=10, use_bottleneck_attention=True,
        key_query_shared_bottleneck=False, num_feedforward_networks=2, normalization_type="layer_norm",
        classifier_activation=False, classifier_dropout=0.75, problem_type="regression",
        id2label={0: "no", 1: "yes", 2: "ü"}, extra=extra,
    )  # fmt: skip
    default = MobileBertConfig()
    same = [f.name for f in dataclasses.fields(config) if getattr(config, f.name) == getattr(default, f.name)]
    assert same == ["tie_word_embeddings"]  # which has one legal value: all others are told apart from their default
    config.save_pretrained(tmp_path)
    assert MobileBertConfig.from_pretrained(tmp_path) == config
    written = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert written["model_type"] == "mobilebert" and written["a"] == {"b": [1]}
    assert written["id2label"] == {"0": "no", "1": "yes", "2": "ü"} and written["label2id"]["ü"] == 2


def test_labels_come_from_either_and_overrides_win():
    assert MobileBertConfig(num_labels=3).id2label == {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}
    assert MobileBertConfig(id2label={"1": "b", "0": "a"}).label2id == {"a": 0, "b": 1}
    values = MobileBertConfig(id2label={0: "a", 1: "b", 2: "c"}).to_dict()
    assert MobileBertConfig.from_dict(values, num_labels=2).id2label == {0: "LABEL_0", 1: "LABEL_1"}
    assert MobileBertConfig.from_dict(values, id2label={0: "x"}).num_labels == 1
    assert MobileBertConfig().with_labels(["x", "y", "z"], "regression").num_labels == 3


PLACEHOLDERS = {"LABEL_0": 0, "LABEL_1": 1, "LABEL_2": 2}


@pytest.mark.parametrize(
    ("id2label", "label2id", "names"),
    [
        ({"0": "a", "1": "b"}, {"a": 0, "b": 1}, ["a", "b"]),
        ({"0": "a", "1": "b"}, {"b": "1", "a": "0"}, ["a", "b"]),
        ({"0": "a", "1": "b"}, PLACEHOLDERS, ["a", "b"]),  # transformers leaves them where only id2label was given
        ({"0": "a", "1": "b"}, {"a": 0}, ["a", "b"]),
        ({"0": "a", "1": "b"}, {"a": 0, "first": 0, "B": 1}, ["a", "b"]),
        ({"0": "a", "1": "b"}, {}, ["a", "b"]),
        ({"0": "a", "1": "b"}, None, ["a", "b"]),
        ({"0": "LABEL_0", "1": "LABEL_1"}, {"no": 0, "yes": 1}, ["no", "yes"]),
        (None, {"yes": 1, "no": 0, "maybe": 2}, ["no", "yes", "maybe"]),
        (None, PLACEHOLDERS, ["LABEL_0", "LABEL_1", "LABEL_2"]),
    ],
)
def test_class_names_are_those_that_a_file_has(id2label, label2id, names):
    values = {"label2id": label2id} if id2label is None else {"id2label": id2label, "label2id": label2id}
    config = MobileBertConfig.from_dict(values)
    assert list(config.id2label.values()) == names
    assert config.to_dict()["label2id"] == {name: index for index, name in enumerate(names)}


@pytest.mark.parametrize(
    ("id2label", "label2id", "message"),
    [
        ({"0": "a", "1": "b"}, {"a": 1, "b": 0}, "label2id calls class 1 'a', id2label calls it 'b'; correct one"),
        ({"0": "a", "1": "b"}, {"x": 0, "y": 1}, "label2id calls class 0 'x', id2label calls it 'a'"),
        ({"0": "a", "1": "b"}, {"a": 0, "b": 1, "c": 2}, "label2id has class 2, 'c', which id2label lacks"),
        ({"0": "LABEL_0", "1": "LABEL_1"}, {"a": 0, "b": 1, "c": 2}, "label2id=.*: cannot tell each class's name"),
        (None, {"a": 0, "b": 0}, "label2id=.*: cannot tell each class's name from it; name the classes in id2label"),
        (None, {"a": 0, "b": 2}, "id2label.*: expected the class indices 0 to 1"),
        (None, ["a"], r"label2id=\['a'\]: expected a mapping from label word to class index"),
        (None, {"a": "first"}, "label2id=.*: expected a mapping from label word to class index"),
    ],
)
def test_class_names_that_contradict_each_other_are_refused(tmp_path, id2label, label2id, message):
    values = {"label2id": label2id} if id2label is None else {"id2label": id2label, "label2id": label2id}
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(InputError, match=f"config.json: {message}"):
        MobileBertConfig.from_pretrained(tmp_path)
    # what is asked for anew makes the file's names irrelevant
    assert MobileBertConfig.from_pretrained(tmp_path, num_labels=3).num_labels == 3


def test_a_config_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        MobileBertConfig().hidden_size = 3


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hidden_size": 0}, "hidden_size=0: expected a whole number of at least 1"),
        ({"vocab_size": "30522"}, "vocab_size='30522': expected a whole number"),
        ({"num_hidden_layers": 2.0}, "num_hidden_layers=2.0: expected a whole number"),
        ({"num_hidden_layers": True}, "num_hidden_layers=True: expected a whole number"),
        ({"num_attention_heads": 3}, "num_attention_heads=3 does not divide true_hidden_size=128"),
        ({"num_attention_heads": 7, "use_bottleneck": False}, "does not divide true_hidden_size=512"),
        ({"hidden_dropout_prob": 1.0}, "hidden_dropout_prob=1.0: expected a probability, 0 <= p < 1"),
        ({"attention_probs_dropout_prob": "0.1"}, "attention_probs_dropout_prob='0.1': expected a probability"),
        ({"classifier_dropout": -0.1}, "classifier_dropout=-0.1: expected a probability"),
        ({"hidden_act": "relu6"}, "hidden_act='relu6': expected one of relu, gelu, "),
        ({"hidden_act": ["relu"]}, r"hidden_act=\['relu'\]: expected one of relu, gelu, "),
        ({"normalization_type": "rms"}, "normalization_type='rms': expected one of no_norm, layer_norm"),
        ({"problem_type": "ranking"}, "problem_type='ranking': expected one of None, regression"),
        ({"pad_token_id": 30522}, "pad_token_id=30522 is outside the vocabulary of 30522 tokens"),
        ({"pad_token_id": "0"}, "pad_token_id='0' is outside the vocabulary"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings=false: MobileBERT's decoder is its embedding"),
        ({"trigram_input": "no"}, "trigram_input='no': expected true or false"),
        ({"layer_norm_eps": None}, "layer_norm_eps=None: expected a number of at least 0"),
        ({"initializer_range": -1}, "initializer_range=-1: expected a number of at least 0"),
        ({"num_labels": 3, "id2label": {0: "a"}}, "num_labels=3 contradicts id2label with 1 labels"),
        ({"id2label": ["a", "b"]}, r"id2label=\['a', 'b'\]: expected a mapping from class index to label word"),
        ({"id2label": {"a": 0}}, "expected a mapping from class index to label word"),
        ({"id2label": {0: "a", 2: "b"}}, "id2label.*: expected the class indices 0 to 1"),
        ({"id2label": {0: "a", 1: "b", 2: "a"}}, "id2label: classes 0 and 2 are both called 'a'; give each a name"),
        ({"id2label": {0: "a", 1: "a "}}, "id2label: classes 0 and 1 are both called 'a '"),
        ({"id2label": {"0": "a", "00": "b"}}, "id2label=.*: a class index stands twice"),
        ({"id2label": {0: "a", 1: None}}, "id2label=.*: class 1 has no name"),
        ({"id2label": {0: "a", 1: ["b"]}}, "id2label=.*: class 1 has no name"),
    ],
)  # fmt: skip
def test_bad_values_are_named(values, message):
    with pytest.raises(InputError, match=message):
        MobileBertConfig(**values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "config.json: no such file"),
        ("{", "config.json: broken JSON at line 1"),
        ("[1]", "config.json: expected a JSON object, got list"),
        ('{"model_type": "bert"}', "config.json: model_type='bert': expected 'mobilebert'"),
        ('{"hidden_size": -1}', "config.json: hidden_size=-1: expected a whole number"),
    ],
)
def test_a_bad_file_is_named(tmp_path, text, message):
    if text is not None:
        (tmp_path / "config.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        MobileBertConfig.from_pretrained(tmp_path)


def test_every_head_has_one_class():
    assert len(set(HEAD_CLASSES.values())) == 8


def test_how_a_model_is_to_be_used_is_noted_by_head(tmp_path):
    first = MobileBertConfig(extra={"architectures": ["MobileBertForQuestionAnswering"], "other": 1})
    assert (first.head, first.task_params("question-answering")) == ("question-answering", {})
    noted = first.with_task_params("question-answering", doc_stride=64).with_task_params("masked-lm", depth=3)
    noted.save_pretrained(tmp_path)
    loaded = MobileBertConfig.from_pretrained(tmp_path)
    assert loaded == noted
    assert loaded.task_params("question-answering") == {"doc_stride": 64}
    assert loaded.with_task_params("masked-lm").task_params("question-answering") == {"doc_stride": 64}
    assert loaded.extra["other"] == 1 and "task_specific_params" not in first.extra
    for odd in (None, [], {"question-answering": 3}):
        assert MobileBertConfig(extra={"task_specific_params": odd}).task_params("question-answering") == {}
    for declared in (None, [], ["BertModel"]):
        assert MobileBertConfig(extra={"architectures": declared}).head is None


@pytest.mark.parametrize(("num_labels", "own", "expected"), [
    (3, "MobileBertForSequenceClassification", 2), (1, "MobileBertForSequenceClassification", 2), (3, None, 2),
    (2, "MobileBertForSequenceClassification", 2), (3, "MobileBertForQuestionAnswering", 3),
])  # fmt: skip
def test_question_answering_has_two_outputs_whatever_classes_its_encoder_came_with(num_labels, own, expected):
    config = MobileBertConfig(num_labels=num_labels, extra={"architectures": [own] if own else None})
    assert config.for_head("question-answering").num_labels == expected
    assert config.for_head("sequence-classification") is config
