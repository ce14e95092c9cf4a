"""export.py from the command line: what it makes, what it measures, what it refuses."""

import hashlib
import json
import re

import numpy as np
import onnx
import pytest
from safetensors.numpy import load_file, save_file
from support.models import forget_digests, save_checkpoint, save_checkpoints_and_text

from mobilebert.base import extras
from mobilebert.data.collate import INPUT_NAMES
from mobilebert.export.export import ExportPlan, export
from mobilebert.export.fold.writer import Writer
from mobilebert.export.targets import TARGETS
from mobilebert.inference.predictor import Predictor
from mobilebert.model.heads import HEADS
from mobilebert.text.tokenizer import MobileBertTokenizer


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    return save_checkpoints_and_text(tmp_path_factory.mktemp("checkpoints"))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


TOKENIZER = ["tokenizer.json", "tokenizer_config.json", "vocab.txt"]


def test_all_formats(checkpoints, tmp_path, run_script):
    out = tmp_path / "out"
    code, output, _ = run_script(
        "export", "--model", checkpoints / "qa", "--out", out, "--format", "all",
        "--evaluation", checkpoints / "squad.json",
    )  # fmt: skip
    assert code == 0
    models = ["model.json", "model.onnx", "model.pdiparams", "model.safetensors"]
    models += TARGETS["native"].files()
    assert names(out) == sorted(["README.md", "config.json", "export.json", *models, *TOKENIZER])
    manifest = json.loads((out / "export.json").read_text())
    assert set(manifest["errors"]) == {"onnxruntime", "paddle", "native", "dygraph"}
    assert all(0 < error < 1e-5 for error in manifest["errors"].values())
    checksum = hashlib.sha256((checkpoints / "qa" / "model.safetensors").read_bytes()).hexdigest()
    assert manifest["source_sha256"] == checksum
    card = (out / "README.md").read_text()
    assert checksum in card
    assert f"| model.onnx | {(out / 'model.onnx').stat().st_size / 1e6:.2f} |" in card
    assert f"| onnxruntime | {manifest['errors']['onnxruntime']:.1e} |" in card
    assert "question-answering for onnxruntime, paddle, native, dygraph" in output
    assert "fp32: exact_match" in output
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(("model", "data", "metric"), [("qa", "squad.json", "f1"), ("sst2", "sst2.tsv", "accuracy")])
def test_int8_is_measured_beside_float(checkpoints, tmp_path, run_script, model, data, metric):
    out = tmp_path / "out"
    int8 = ("--quantize", "int8", "--calibration", checkpoints / data)
    code, output, _ = run_script("export", "--model", checkpoints / model, "--out", out, *int8)
    assert code == 0
    manifest = json.loads((out / "export.json").read_text())
    assert set(manifest["metrics"]) == {"fp32", "int8"}
    assert all(metric in values for values in manifest["metrics"].values())
    assert f"  int8: {next(iter(manifest['metrics']['int8']))}" in output
    assert 1e-5 < manifest["errors"]["onnxruntime"] < 0.3
    assert "fp32.onnx" not in names(out)
    types = {tensor.data_type for tensor in onnx.load(out / "model.onnx").graph.initializer}
    assert onnx.TensorProto.INT8 in types
    predictor = Predictor(out)
    assert predictor.classify("good").label if model == "sst2" else predictor.answer("Who ?", "Ada wrote it")[0].text


def card_of(folder):
    """The card's snippet, and its lines by their first word."""
    text = (folder / "README.md").read_text()
    lines = {line[2:].split()[0].rstrip(":,"): line for line in text.splitlines() if line.startswith("- ")}
    return text.split("```python\n")[1].split("```")[0], lines


@pytest.mark.parametrize("head", HEADS)
def test_the_card_says_how_it_is_called(head, tmp_path):
    """Its snippet runs as it stands, and its names, order and shapes are the file's."""
    out = tmp_path / 'an "odd" name'
    notes = {"max_seq_length": 20, "takes_pairs": True}
    save_checkpoint(tmp_path / "model", head, extra={"task_specific_params": {head: notes}})
    export(ExportPlan(str(tmp_path / "model"), out))
    snippet, lines = card_of(out)
    shape = (2, 3, 7) if head == "multiple-choice" else (2, 7)
    assert ("The street is wet." in snippet) == (head == "sequence-classification")
    names = {"batch": dict.fromkeys(INPUT_NAMES, np.ones(shape, np.int64))}
    exec(compile(snippet, "card", "exec"), names)
    session = extras.load("onnxruntime").InferenceSession(out / "model.onnx")
    assert re.findall(r"`(\w+)`", lines["Inputs"]) == [given.name for given in session.get_inputs()]
    assert {given.type for given in session.get_inputs()} == {"tensor(int64)"} and "each int64 [" in lines["Inputs"]
    described = [f"`{got.name}` [{', '.join(map(str, got.shape))}]" for got in session.get_outputs()]
    assert f"in this order: {', '.join(described)}; float32." in lines["Outputs"]


def test_the_card_of_what_openvino_does_not_read(checkpoints, tmp_path):
    plan = ExportPlan(
        str(checkpoints / "qa"), tmp_path / "out", quantize="int8", calibration=str(checkpoints / "squad.json")
    )
    export(plan)
    assert "does not read the int8 file" in (tmp_path / "out" / "README.md").read_text()
    export(ExportPlan(str(checkpoints / "qa"), tmp_path / "onnx"))
    assert "OpenVINO (`pip install" in (tmp_path / "onnx" / "README.md").read_text()
    export(ExportPlan(str(checkpoints / "qa"), tmp_path / "paddle", format="paddle"))
    assert "OpenVINO" not in (tmp_path / "paddle" / "README.md").read_text()
    lines = card_of(tmp_path / "paddle")[1]
    assert lines["Inputs"].startswith("- Inputs of model.json, in this order: `input_ids`")


@pytest.mark.parametrize(("flag", "length"), [((), 64), (("--max_seq_length", "20"), 20)])
def test_the_tokenizer_of_an_export_cuts_where_the_model_reads(checkpoints, tmp_path, run_script, flag, length):
    """Other people's pipelines cut long texts at ``model_max_length``, or not at all."""
    code, _, errors = run_script("export", "--model", checkpoints / "sst2", "--out", tmp_path / "out", *flag)
    assert code == 0, errors
    config = json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())
    assert (
        config["model_max_length"]
        == length
        == json.loads((tmp_path / "out" / "export.json").read_text())["max_seq_length"]
    )
    tokenizer = MobileBertTokenizer.from_pretrained(tmp_path / "out")
    assert len(tokenizer("a " * 900, truncation=True).input_ids) == length


def test_the_tokenizer_of_a_checkpoint_cuts_where_it_was_trained(checkpoints, tmp_path, run_script):
    code, _, errors = run_script(
        "run_glue", "--task_name", "sst2", "--model_name_or_path", checkpoints / "sst2", "--output_dir", tmp_path,
        "--train_file", checkpoints / "sst2.tsv", "--dev_file", checkpoints / "sst2.tsv", "--do_train", "--do_eval",
        "--max_seq_length", 18, "--max_steps", 1, "--cache_dir", "",
    )  # fmt: skip
    assert code == 0, errors
    assert MobileBertTokenizer.from_pretrained(tmp_path / "best").model_max_length == 18
    export(ExportPlan(str(tmp_path / "best"), tmp_path / "export"))
    assert MobileBertTokenizer.from_pretrained(tmp_path / "export").model_max_length == 18


def test_an_existing_folder_is_kept_without_force(checkpoints, tmp_path, run_script):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    code, _, errors = run_script("export", "--model", checkpoints / "qa", "--out", out)
    assert code == 2
    assert errors == f"error: {out} exists; choose another folder, or --force to replace it\n"
    assert names(out) == ["mine.txt"]
    code, _, errors = run_script("export", "--model", checkpoints / "qa", "--out", out, "--force", "--portable")
    assert code == 2
    assert errors == f"error: {out}: holds no export.json of an export, and only an export is replaced\n"
    assert names(out) == ["mine.txt"]
    (out / "mine.txt").unlink()
    code, _, _ = run_script("export", "--model", checkpoints / "qa", "--out", out, "--force")
    assert code == 0
    code, _, _ = run_script("export", "--model", checkpoints / "qa", "--out", out, "--force", "--portable")
    assert code == 0
    assert "model.onnx" in names(out)
    assert {node.domain for node in onnx.load(out / "model.onnx").graph.node} == {""}


@pytest.mark.parametrize("forgotten", ["layer.0.ffn.1.output", "layer.1.bottleneck.attention", "output.bottleneck"])
def test_a_wrong_fold_is_refused(checkpoints, tmp_path, run_script, monkeypatch, forgotten):
    def norm_but_one(self, name):
        gamma, beta = original(self, name)
        return (np.ones_like(gamma), beta) if name.endswith(forgotten) else (gamma, beta)

    original = Writer.norm
    monkeypatch.setattr(Writer, "norm", norm_but_one)
    code, _, errors = run_script("export", "--model", checkpoints / "qa", "--out", tmp_path / "out")
    assert code == 2
    assert "the folded program's start_logits in float64: differs from the checkpoint by" in errors
    assert "nothing was written" in errors
    assert names(tmp_path) == []


def test_a_wrong_file_is_refused(checkpoints, tmp_path, run_script, monkeypatch):
    from mobilebert.export import onnx_graph

    def build_wrongly(program, **options):
        name = next(name for name in program.weights if name.endswith("value.weight"))
        program.weights[name] = program.weights[name] * 1.001
        return original(program, **options)

    original = onnx_graph.build
    monkeypatch.setattr(onnx_graph, "build", build_wrongly)
    code, _, errors = run_script("export", "--model", checkpoints / "qa", "--out", tmp_path / "out")
    assert code == 2
    assert "error: the ONNX file: differs from the checkpoint by" in errors
    assert names(tmp_path) == []


def copy(source, target):
    target.mkdir()
    for path in source.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


def test_bad_checkpoints(checkpoints, tmp_path, run_script):
    def refuse(model, *arguments):
        code, _, errors = run_script("export", "--model", model, "--out", tmp_path / "out", *arguments)
        assert code == 2
        assert errors.startswith("error: ") and errors.count("\n") == 1
        assert not (tmp_path / "out").exists()
        return errors

    assert "no such folder" in refuse(tmp_path / "missing")
    damaged = copy(checkpoints / "qa", tmp_path / "damaged")
    weights = (damaged / "model.safetensors").read_bytes()
    (damaged / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    size = f"has {len(weights) // 2} bytes instead of {len(weights)}"
    assert f"model.safetensors: {size}, says manifest.json: damaged or replaced" in refuse(damaged)
    assert "model.safetensors: not a readable safetensors file" in refuse(forget_digests(damaged))

    diverged = copy(checkpoints / "qa", tmp_path / "diverged")
    state = load_file(forget_digests(diverged) / "model.safetensors")
    state["qa_outputs.bias"] = state["qa_outputs.bias"] * np.nan
    save_file(state, diverged / "model.safetensors", {"format": "pd"})
    assert "qa_outputs.bias holds values that are not finite" in refuse(diverged)

    for name in ("qa", "sst2"):
        headless = copy(checkpoints / name, tmp_path / f"headless-{name}")
        config = json.loads((headless / "config.json").read_text())
        del config["architectures"]
        (headless / "config.json").write_text(json.dumps(config))
    assert "name it with --head sequence-classification" in refuse(headless)
    headless = tmp_path / "headless-qa"
    assert "has no classifier" in refuse(headless, "--head", "sequence-classification")
    assert "--head nonsense: expected one of model" in refuse(headless, "--head", "nonsense")
    (headless / "vocab.txt").unlink()
    (headless / "tokenizer.json").unlink()
    assert str(headless) in refuse(headless, "--head", "question-answering")


def test_bad_flags_and_calibration_files(checkpoints, tmp_path, run_script):
    def refuse(model, *arguments):
        code, _, errors = run_script("export", "--model", checkpoints / model, "--out", tmp_path / "out", *arguments)
        assert code == 2
        assert errors.startswith("error: ") and errors.count("\n") == 1
        assert not (tmp_path / "out").exists()
        return errors

    int8 = ("--quantize", "int8", "--calibration")
    assert "--quantize int8 needs --calibration FILE" in refuse("qa", "--quantize", "int8")
    assert "--calibration is read by --quantize int8 only" in refuse("qa", "--calibration", "x.json")
    assert "--quantize fp16 is for ONNX" in refuse("qa", "--quantize", "fp16", "--format", "paddle")
    assert "--portable has no int8" in refuse("qa", "--quantize", "dynamic-int8", "--portable")
    assert "--max_seq_length 65: expected 4 to 64" in refuse("qa", "--max_seq_length", "65")
    assert "missing.json: no such file" in refuse("qa", *int8, tmp_path / "missing.json")
    assert "broken JSON at line 1" in refuse("qa", *int8, checkpoints / "sst2.tsv")

    def write(name, text):
        path = tmp_path / name
        path.write_text(text)
        return path

    table = write("other.tsv", "a\tb\n1\t2\n")
    assert "its columns are a, b; expected one of sentence1 + sentence2" in refuse("sst2", *int8, table)
    table = write("labels.tsv", "sentence\tlabel\ngood\tsplendid\n")
    assert "splendid" in refuse("sst2", *int8, table)
    assert "a sequence-classification model wants .tsv" in refuse("sst2", *int8, write("a.xml", "<a/>"))
    assert "has no text" in refuse("sst2", *int8, write("empty.txt", "\n\n"))


def test_help_is_quick_and_complete(run_script):
    code, output, _ = run_script("export", "--help")
    assert code == 0
    assert all(flag in output for flag in ("--model", "--out", "--format", "--quantize", "--portable", "--force"))
