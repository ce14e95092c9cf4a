"""A head in stored weights arrives, begins anew or is refused: never half of it, nor another head's for one's own."""

import json
import shutil

import numpy as np
import pytest
from support.models import parameters, save_checkpoint, write_safetensors

from mobilebert.base.errors import InputError
from mobilebert.model import tensor_files
from mobilebert.model.heads import HEADS, MobileBertForQuestionAnswering

HEAD = "qa_outputs.weight"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A small float32 question-answering checkpoint, with its tokenizer; not to be written to."""
    return save_checkpoint(tmp_path_factory.mktemp("float32") / "qa", "question-answering")


@pytest.fixture
def copy(checkpoint, tmp_path):
    """A copy of it without weights."""
    left_out = shutil.ignore_patterns("*.safetensors", "manifest.json")
    return shutil.copytree(checkpoint, tmp_path / "copy", ignore=left_out)


def without_head(values):
    return {key: value for key, value in values.items() if not key.startswith("qa_outputs")}


def renamed(prefix):
    return lambda values: {
        f"{prefix}{key}" if key.startswith("qa_outputs") else key: value for key, value in values.items()
    }


BAD_HEADS = {
    "under another name": (renamed("net.head."), ", but the model's qa_outputs.weight has another name"),
    "in two parts": (
        lambda values: without_head(values) | {"qa_outputs.1.weight": values[HEAD]},
        "holds qa_outputs.1.weight, but the model's qa_outputs.weight has another name",
    ),
    "without its bias": (
        lambda values: {key: value for key, value in values.items() if key != "qa_outputs.bias"},
        "holds qa_outputs.weight, but no qa_outputs.bias",
    ),
    "promised": (without_head, "config.json says MobileBertForQuestionAnswering, but the weights have no qa_outputs."),
}


@pytest.mark.parametrize("kind", BAD_HEADS)
def test_a_head_that_is_held_or_promised_arrives_or_is_refused(kind, checkpoint, copy, run_script, tmp_path):
    change, message = BAD_HEADS[kind]
    write_safetensors(change(parameters(checkpoint)), copy, {"format": "pd"})
    with pytest.raises(InputError) as refused:
        MobileBertForQuestionAnswering.from_pretrained(copy)
    assert message in str(refused.value) and "\n" not in str(refused.value)
    code, _, errors = run_script("convert", "--reverse", "--src", copy, "--dst", tmp_path / "new")
    assert code == 2 and message in errors and not (tmp_path / "new").exists()


def test_a_new_head_on_a_backbone_or_on_another_task_is_no_error(checkpoint, copy):
    write_safetensors(without_head(parameters(checkpoint)), copy, {"format": "pd"})
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "architectures": ["MobileBertModel"]}))
    assert MobileBertForQuestionAnswering.from_pretrained(copy).load_report.initialised == [HEAD, "qa_outputs.bias"]
    classifier = HEADS["sequence-classification"].from_pretrained(checkpoint)
    assert classifier.load_report.initialised == ["classifier.weight", "classifier.bias"]


def without(word, state):
    return {key: value for key, value in state.items() if word not in key}


@pytest.mark.parametrize("head", ["sequence-classification", "multiple-choice", "next-sentence", "pretraining"])
@pytest.mark.parametrize("architectures", ["own", None])
def test_a_trained_head_does_not_get_a_random_pooler(head, architectures, tmp_path, run_script):
    source = save_checkpoint(tmp_path / "source", head, classifier_activation=True)
    state = dict(tensor_files.read_state(source)[0])
    HEADS[head].from_pretrained(source)
    write_safetensors(without("pooler", state), source, {"format": "pd"})
    if architectures is None:
        config = json.loads((source / "config.json").read_text())
        (source / "config.json").write_text(json.dumps({**config, "architectures": None}))
    message = "but no mobilebert.pooler.dense.weight, which that head reads"
    with pytest.raises(InputError, match=message):
        HEADS[head].from_pretrained(source)
    command = ("convert", "--reverse", "--head", head, "--src", source, "--dst", tmp_path / "new")
    code, _, errors = run_script(*command)
    assert code == 2 and message in errors and errors.count("\n") == 1 and not (tmp_path / "new").exists()


@pytest.mark.parametrize("head", ["sequence-classification", "token-classification", "model"])
def test_question_answering_starts_from_any_number_of_classes(head, tmp_path, run_script):
    names = {0: "no", 1: "yes", 2: "maybe"}
    source = save_checkpoint(tmp_path / "source", head, id2label=names, problem_type="single_label_classification")
    model = MobileBertForQuestionAnswering.from_pretrained(source)
    assert model.load_report.initialised == [HEAD, "qa_outputs.bias"] and model.qa_outputs.weight.shape == [96, 2]
    assert model.config.id2label == {0: "LABEL_0", 1: "LABEL_1"} and model.config.problem_type is None
    np.testing.assert_array_equal(
        model.get_input_embeddings().weight.numpy(), HEADS[head].from_pretrained(source).get_input_embeddings().weight
    )
    command = ("convert", "--reverse", "--head", "question-answering", "--src", source, "--dst", tmp_path / "new")
    code, output, errors = run_script(*command)
    assert code == 0, errors
    assert "newly initialised  2 (qa_outputs" in output
    assert json.loads((tmp_path / "new" / "config.json").read_text())["id2label"] == {"0": "LABEL_0", "1": "LABEL_1"}


def test_a_config_for_question_answering_is_taken_at_its_word(checkpoint, copy):
    shutil.copy(checkpoint / "model.safetensors", copy)
    config = json.loads((copy / "config.json").read_text())
    three = {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}
    wrong = {key: value for key, value in config.items() if key != "label2id"} | {"id2label": three}
    (copy / "config.json").write_text(json.dumps(wrong))
    with pytest.raises(InputError, match=r"num_labels=3: question answering has 2"):
        MobileBertForQuestionAnswering.from_pretrained(copy)


CLASSIFIERS = ("sequence-classification", "multiple-choice", "token-classification")


@pytest.mark.parametrize("stored", CLASSIFIERS)
@pytest.mark.parametrize("wanted", CLASSIFIERS)
def test_another_heads_classifier_is_not_taken_for_ones_own(stored, wanted, tmp_path, run_script):
    source = save_checkpoint(tmp_path / "source", stored)
    assert HEADS["question-answering"].from_pretrained(source).load_report.unused
    if stored == wanted:
        assert not HEADS[wanted].from_pretrained(source).load_report.unused
        return
    message = f"config.json says {HEADS[stored].__name__}, whose classifier is not that of {HEADS[wanted].__name__}"
    with pytest.raises(InputError, match=f"^{source}: {message}"):
        HEADS[wanted].from_pretrained(source)
    command = ("convert", "--reverse", "--head", wanted, "--src", source, "--dst", tmp_path / "new")
    code, _, errors = run_script(*command)
    assert code == 2 and message in errors and errors.count("\n") == 1 and not (tmp_path / "new").exists()
    # Without a classifier among the weights there is none to be mistaken: a new one.
    state = dict(tensor_files.read_state(source)[0])
    write_safetensors(without("classifier", state), source, {"format": "pd"})
    assert HEADS[wanted].from_pretrained(source).load_report.initialised == ["classifier.weight", "classifier.bias"]
    write_safetensors(state, source, {"format": "pd"})
    # Where the config names no head that is known here, the caller's word stands.
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps({**config, "architectures": ["MyModel"]}))
    if "multiple-choice" not in (stored, wanted):
        assert not HEADS[wanted].from_pretrained(source).load_report.unused


@pytest.mark.parametrize("part", ["weight", "bias"])
def test_half_a_pooler_or_one_of_another_name_is_refused(part, tmp_path):
    source = save_checkpoint(tmp_path / "source", "pretraining", classifier_activation=True)
    state = dict(tensor_files.read_state(source)[0])
    write_safetensors(without(f"pooler.dense.{part}", state), source, {"format": "pd"})
    with pytest.raises(InputError, match=rf"holds mobilebert.pooler.*, but no mobilebert.pooler.dense.{part}"):
        HEADS["sequence-classification"].from_pretrained(source)
    other = {key.replace("mobilebert.pooler", "bert.pooler"): value for key, value in state.items()}
    write_safetensors(other, source, {"format": "pd"})
    with pytest.raises(InputError, match=r"holds bert.pooler.dense.*, but the model's mobilebert.pooler.dense"):
        HEADS["sequence-classification"].from_pretrained(source)


@pytest.mark.parametrize("activation", [True, False])
@pytest.mark.parametrize("pooler", [True, False])
@pytest.mark.parametrize("head", ["sequence-classification", "multiple-choice", "token-classification",
                                  "question-answering", "masked-lm", "model"])  # fmt: skip
def test_every_task_starts_from_a_base_checkpoint_with_or_without_a_pooler(activation, pooler, head, tmp_path):
    # Saved with a pooler, whatever the config will say: the released files have one that they do not use.
    source = save_checkpoint(tmp_path / "source", "pretraining", classifier_activation=True)
    state = dict(tensor_files.read_state(source)[0])
    write_safetensors(state if pooler else without("pooler", state), source, {"format": "pd"})
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps({**config, "classifier_activation": activation}))
    report = HEADS[head].from_pretrained(source).load_report
    uses_pooler = activation and head in ("sequence-classification", "multiple-choice", "model")
    assert any("pooler" in name for name in report.initialised) == (uses_pooler and not pooler)
