"""compare.py: equal where the conversion is right, and different, with the place named, where one weight is not."""

import json
import shutil

import numpy as np
import pytest
from support.models import torch_model

from mobilebert.convert import convert as hf
from mobilebert.model import tensor_files
from mobilebert.verify.comparison import Comparison, Row

HEADS = ("model", "question-answering")
LENGTHS = ("--lengths", "1", "9", "32")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A checkpoint and its conversion."""
    folder = tmp_path_factory.mktemp("compare")
    torch_model("pretraining", "float32").save_pretrained(folder / "torch")
    hf.convert(folder / "torch", folder / "paddle")
    return folder / "torch", folder / "paddle"


@pytest.fixture
def changed(folders, tmp_path):
    """A function that changes the converted tensors and gives the arguments of compare.py."""

    def change(edit):
        shutil.copytree(folders[1], tmp_path / "changed")
        state, layout = tensor_files.read_state(tmp_path / "changed")
        edit(state)
        tensor_files.save_state(state, tmp_path / "changed", layout)
        return "--torch", folders[0], "--paddle", tmp_path / "changed", "--head", *HEADS, "--lengths", "9"

    return change


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_good_conversion_is_equal_in_every_tensor(dtype, folders, tmp_path, run_script):
    report, plot = tmp_path / "out" / "report.json", tmp_path / "out" / "plot.png"
    code, output, errors = run_script(
        "compare", "--torch", folders[0], "--paddle", folders[1], "--dtype", dtype, *LENGTHS,
        "--report", report, "--plot", plot,
    )  # fmt: skip
    assert code == 0 and not errors
    table, verdict = output.splitlines()[:-2], output.splitlines()[-2]
    assert verdict.startswith("equal: worst relative difference ") and f"({dtype})" in verdict
    names = [line[:42].strip() for line in table[1:]]
    assert names == [
        "embeddings", "encoder.layer.0", "encoder.layer.1", "pooler",
        "PreTraining.prediction_logits", "PreTraining.seq_relationship_logits", "MaskedLM.logits",
        "NextSentencePrediction.logits", "SequenceClassification.logits",
        "QuestionAnswering.start_logits", "QuestionAnswering.end_logits",
        "MultipleChoice.logits", "TokenClassification.logits",
    ]  # fmt: skip
    written = json.loads(report.read_text())
    assert written["passed"] and written["dtype"] == dtype and [row["name"] for row in written["rows"]] == names
    for row in written["rows"]:
        assert row["magnitude"] > 0.01 and row["relative"] <= written["tolerance"]
        assert row["relative"] == max(row["cls_relative"], row["tokens_relative"])
        assert row["torch_error"] < 1e-4 and row["paddle_error"] < 1e-4
    assert plot.read_bytes().startswith(b"\x89PNG") and plot.stat().st_size > 10_000


def first_layer(part):
    return f"mobilebert.encoder.layer.0.{part}"


def transpose(name):
    def edit(state):
        assert state[name].shape[0] == state[name].shape[1]
        state[name] = state[name].T

    return edit


def reverse_trigram(state):
    name = "mobilebert.embeddings.embedding_transformation.weight"
    following, current, previous = np.split(state[name], 3)
    state[name] = np.concatenate([previous, current, following])


def add(name, number):
    def edit(state):
        state[name] = state[name].copy()
        state[name][3] += number

    return edit


SPOILED = {
    "a square weight left untransposed": (transpose(first_layer("attention.self.query.weight")), "encoder.layer.0"),
    "another one": (transpose("mobilebert.encoder.layer.1.attention.output.dense.weight"), "encoder.layer.1"),
    "the trigram reversed": (reverse_trigram, "embeddings"),
    "one bias of a layer": (add(first_layer("ffn.0.output.dense.bias"), 1e-2), "encoder.layer.0"),
    "one gamma": (add("mobilebert.encoder.layer.1.output.bottleneck.LayerNorm.weight", 1e-2), "encoder.layer.1"),
    "one position": (add("mobilebert.embeddings.position_embeddings.weight", 1e-2), "embeddings"),
    "not a number": (add(first_layer("output.dense.bias"), np.nan), "encoder.layer.0"),
}


@pytest.mark.parametrize("name", SPOILED)
def test_one_wrong_weight_is_found_and_placed(name, changed, run_script, tmp_path):
    spoil, place = SPOILED[name]
    code, output, _ = run_script("compare", *changed(spoil), "--report", tmp_path / "report.json")
    verdict = output.splitlines()[-1]
    assert code == 1 and verdict.startswith("DIFFERENT: ") and "tolerance 1e-05 (float32)" in verdict
    assert verdict.endswith(f"; the first to differ is {place}")
    report = json.loads((tmp_path / "report.json").read_text())
    worst = verdict.removeprefix("DIFFERENT: ").split("[")[0]
    assert not report["passed"] and worst in [row["name"] for row in report["rows"]]


def test_a_weight_that_is_not_square_cannot_stay_untransposed(changed, run_script):
    name = first_layer("attention.self.value.weight")

    def edit(state):
        state[name] = state[name].T

    code, _, errors = run_script("compare", *changed(edit))
    assert code == 2 and f"{name} is [24, 48], the model has [48, 24]" in errors and errors.count("\n") == 1


def test_the_worst_difference_is_where_it_is_said_to_be():
    """The index points at the largest difference; the columns are what they are called."""
    row = Row("a")
    exact = np.ones((2, 3, 4))
    exact[:, 0] = 1000.0
    ours = exact.copy()
    ours[1, 0, 2] += 1.0  # 1e-3 of [CLS]
    ours[0, 2, 3] += 0.5  # 0.5 of the other tokens
    row.update(exact, ours, exact, has_tokens=True)
    assert row.index == (0, 2, 3) and row.magnitude == 1000 and row.max_absolute == 1
    assert row.cls_relative == pytest.approx(1e-3) and row.tokens_relative == 0.5 == row.relative
    assert row.torch_error == 0 and row.paddle_error == pytest.approx(1e-3)
    comparison = Comparison([Row("b"), row], "float32", 0.1)
    assert not comparison.passed and "a[0, 2, 3] differs by 5.00e-01" in comparison.verdict()
    assert Comparison([row], "float32", 0.6).passed


def test_a_looser_tolerance_is_taken(changed, run_script):
    arguments = changed(add(first_layer("output.dense.bias"), 1e-3))
    assert run_script("compare", *arguments)[0] == 1
    assert run_script("compare", *arguments, "--tolerance", "0.5")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--paddle", "nowhere"), "nowhere: no such folder; convert.py makes one"),
        (("--torch", "nowhere"), "nowhere: no such folder"),
        (("--lengths", "33"), "length 33: the model has 32 positions"),
        (("--lengths", "0"), "length 0: expected at least 1 token"),
        (("--head", "sequence-clasification"), "did you mean sequence-classification?"),
    ],
)
def test_bad_arguments_end_with_one_line(arguments, message, folders, run_script):
    code, output, errors = run_script("compare", "--torch", folders[0], "--paddle", folders[1], *arguments)
    assert code == 2 and not output and errors.startswith("error: ") and message in errors
    assert errors.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("head", ["sequence-classification", "token-classification", "multiple-choice"])
def test_a_classifier_is_compared_with_its_own_weights(head, tmp_path, run_script):
    torch_model(head, "float32", num_labels=5).save_pretrained(tmp_path / "torch")
    hf.convert(tmp_path / "torch", tmp_path / "paddle")
    code, output, _ = run_script("compare", "--torch", tmp_path / "torch", "--paddle", tmp_path / "paddle", *LENGTHS)
    own = {"sequence-classification", "token-classification", "multiple-choice"} - {head}
    titles = {name: "".join(part.title() for part in name.split("-")) for name in (*own, head)}
    assert code == 0 and f"\n{titles[head]}.logits" in output
    assert not any(f"\n{titles[other]}.logits" in output for other in own)


def test_a_head_is_not_taken_for_equal_because_both_are_fresh(tmp_path, run_script):
    torch_model("question-answering", "float32").save_pretrained(tmp_path / "torch")
    hf.convert(tmp_path / "torch", tmp_path / "paddle")
    state, layout = tensor_files.read_state(tmp_path / "paddle")
    state["qa_outputs.bias"] = state["qa_outputs.bias"] + np.float32(1e-2)
    tensor_files.save_state(state, tmp_path / "paddle", layout)
    code, output, _ = run_script(
        "compare", "--torch", tmp_path / "torch", "--paddle", tmp_path / "paddle", "--lengths", "9",
        "--head", "question-answering",
    )  # fmt: skip
    assert code == 1 and output.splitlines()[-1].endswith("the first to differ is QuestionAnswering.start_logits")
