"""What stands in a command's way and is not its own: it is refused or kept, never deleted, mixed or overwritten."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.models import save_checkpoint, save_checkpoints_and_text
from support.texts import write_squad, write_vocabulary

from mobilebert.base import outputs
from mobilebert.model.config import MobileBertConfig
from mobilebert.model.heads import MobileBertForQuestionAnswering

ROOT = Path(__file__).parents[2]
SHAPE = {
    "hidden_size": 32, "embedding_size": 16, "intra_bottleneck_size": 16, "intermediate_size": 32,
    "num_hidden_layers": 1, "num_attention_heads": 2, "num_feedforward_networks": 1, "max_position_embeddings": 48,
}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A shape, a vocabulary and questions to train on; two checkpoints and text for the other commands."""
    folder = save_checkpoints_and_text(tmp_path_factory.mktemp("place"))
    size = len(write_vocabulary(folder / "vocab.txt").read_text().splitlines())
    (folder / "shape.json").write_text(json.dumps({**SHAPE, "vocab_size": size}))
    write_squad(folder / "train.json", 20)
    write_squad(folder / "dev.json", 4, seed=1)
    MobileBertForQuestionAnswering(MobileBertConfig.from_dict({**SHAPE, "vocab_size": size})).save_pretrained(
        folder / "untrained"
    )
    shutil.copy(folder / "vocab.txt", folder / "untrained")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def fill(folder: Path, *files: str) -> dict[str, bytes]:
    for name in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"mine: {name}")
    return contents(folder)


def train(place: Path, out: Path, *more) -> tuple:
    return (
        "run_squad", "--config_name", place / "shape.json", "--tokenizer_name", place / "vocab.txt",
        "--train_file", place / "train.json", "--dev_file", place / "dev.json", "--output_dir", out, "--cache_dir", "",
        "--do_train", "--do_eval", "--max_seq_length", 48, "--doc_stride", 8, "--batch_size", 8, "--max_steps", 2,
        "--save_steps", 1, "--log_steps", 1, *more,
    )  # fmt: skip


# Trainings and evaluations.


@pytest.mark.parametrize(
    "theirs",
    [
        "best/thesis.txt",
        "logs/day1.log",
        "checkpoints/a",
        "train.jsonl",
        "run.log",
        "eval_results.json",
        "final/x",
        ".best.old/x",
        ".best.new/x",
        ".final.new/x",
    ],
)
@pytest.mark.parametrize("flags", [(), ("--overwrite_output_dir",)])
def test_a_fresh_training_refuses_what_is_not_of_a_run(place, tmp_path, run_script, theirs, flags):
    before = fill(tmp_path, theirs, "notes.txt")
    code, _, errors = run_script(*train(place, tmp_path, *flags))
    assert code == 2 and errors.count("\n") == 1
    assert errors.startswith(
        f"error: {tmp_path / theirs.split('/')[0]}: is there already, and not as the output of a run"
    )
    assert contents(tmp_path) == before


def test_links_to_nowhere_are_not_written_through(place, tmp_path, run_script):
    out = tmp_path / "out"
    for name in ("run.log", "eval_results.json"):
        out.mkdir(exist_ok=True)
        (out / name).symlink_to(tmp_path / f"target of {name}")
        code, _, errors = run_script(*train(place, out))
        assert code == 2 and f"{out / name}: is there already" in errors
        assert sorted(os.listdir(tmp_path)) == ["out"] and os.readlink(out / name) == str(
            tmp_path / f"target of {name}"
        )
        (out / name).unlink()


def test_overwriting_removes_all_of_the_earlier_run_and_nothing_else(place, tmp_path, run_script):
    out = tmp_path / "out"
    assert run_script(*train(place, out))[0] == 0
    first = set(contents(out))
    assert first >= {"eval_results.json", "predictions.json", "best/config.json", "train.jsonl"}
    mine = fill(
        out, "notes.txt", "best/thesis.txt", "best/onnx/model.onnx", "logs/mine.log", "data/x", "logs/vdl_notes.log",
        "checkpoints/step_00000002_backup/model.safetensors", "checkpoints/step_notes.txt", "nonfinite_step_notes.npz",
    )  # fmt: skip
    mine = {name: content for name, content in mine.items() if name not in first}
    assert len(mine) == 9
    stale = out / ".run.log.0123456789abcdef.tmp"
    stale.write_text("what a killed process leaves")
    code, _, errors = run_script(*train(place, out))
    assert code == 2 and f"{out}: holds an earlier run" in errors
    # A run that breaks off at once shows what was removed.
    code, _, errors = run_script(
        *train(place, out, "--overwrite_output_dir", "--learning_rate", 1e38, "--warmup_ratio", 0)
    )
    assert code == 2 and "loss nan" in errors
    left = contents(out)
    assert {name: left[name] for name in mine} == mine
    assert not {"eval_results.json", "predictions.json", "nbest_predictions.json", "best/config.json"} & set(left)
    assert list(out.glob("nonfinite_step[0-9]*.npz")) and not stale.exists()
    # And one that ends well, with a new best in the place of the old one.
    assert run_script(*train(place, out, "--overwrite_output_dir"))[0] == 0
    after = contents(out)
    assert {name: after[name] for name in mine} == mine and "best/config.json" in after
    assert not list(out.glob("nonfinite_step[0-9]*.npz"))


def test_an_evaluation_does_not_overwrite_somebody_elses_answers(place, tmp_path, run_script):
    evaluate = (
        "run_squad", "--model_name_or_path", place / "untrained", "--dev_file", place / "dev.json", "--do_eval",
        "--max_seq_length", 48, "--doc_stride", 8, "--cache_dir", "", "--output_dir", tmp_path,
    )  # fmt: skip
    before = fill(tmp_path, "predictions.json")
    code, _, errors = run_script(*evaluate)
    assert code == 2 and f"{tmp_path / 'predictions.json'}: is there already" in errors
    assert contents(tmp_path) == before
    (tmp_path / "predictions.json").unlink()
    for _ in range(2):  # its own it replaces
        assert run_script(*evaluate)[0] == 0
    table = (
        "run_glue", "--model_name_or_path", place / "sst2", "--text_column", "sentence", "--test_file",
        place / "sst2.tsv", "--do_predict", "--max_seq_length", 32, "--cache_dir", "", "--output_dir", tmp_path,
    )  # fmt: skip
    (tmp_path / "predictions.tsv").write_text("mine")
    code, _, errors = run_script(*table)
    assert code == 2 and f"{tmp_path / 'predictions.tsv'}: is there already" in errors
    assert (tmp_path / "predictions.tsv").read_text() == "mine"


def test_a_run_of_a_time_before_the_record_is_resumed(place, tmp_path, run_script):
    out = tmp_path / "out"
    assert run_script(*train(place, out))[0] == 0
    for name in (outputs.RECORD, "eval_results.json", "predictions.json", "nbest_predictions.json"):
        (out / name).unlink()
    assert run_script(*train(place, out, "--resume"))[0] == 0
    assert run_script(*train(place, out, "--overwrite_output_dir"))[0] == 0


def test_two_trainings_do_not_share_a_folder(place, tmp_path, run_script):
    out = tmp_path / "out"
    script, *arguments = train(place, out, "--max_steps", 100_000, "--eval_steps", 0, "--save_steps", 50)
    first = subprocess.Popen(
        [sys.executable, f"{script}.py", *map(str, arguments)], cwd=ROOT, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert any(line.startswith("step 60/") for line in first.stdout)
    for more in (("--overwrite_output_dir",), ("--resume", "--max_steps", 100_000, "--eval_steps", 0)):
        code, _, errors = run_script(*train(place, out, *more))
        assert code == 2 and errors.count("\n") == 1
        assert f"{out}: another run is writing it" in errors and f", pid {first.pid}, since 2" in errors
    assert first.poll() is None
    first.send_signal(signal.SIGKILL)
    first.communicate()
    code, _, errors = run_script(*train(place, out, "--overwrite_output_dir"))
    assert code == 0, errors


# Exports.


def test_only_an_export_is_replaced(place, tmp_path, run_script, monkeypatch, tmp_path_factory):
    def refused(out, words, model=place / "sst2", *more):
        before = contents(tmp_path)
        code, _, errors = run_script("export", "--model", model, "--out", out, "--force", *more)
        assert code == 2 and errors.count("\n") == 1 and words in errors, errors
        assert contents(tmp_path) == before

    checkpoint, out, link = tmp_path / "checkpoint", tmp_path / "out", tmp_path / "link"
    here = tmp_path_factory.mktemp("here")
    (here / "circle").symlink_to("circle")
    monkeypatch.chdir(here)  # a link there that leads nowhere is nobody's concern
    shutil.copytree(place / "sst2", checkpoint)
    refused(checkpoint, f"is {checkpoint}, which must not be replaced", checkpoint)
    refused(checkpoint, "holds no export.json of an export, and only an export is replaced")
    assert run_script("export", "--model", checkpoint, "--out", out, "--format", "all")[0] == 0
    refused(out, f"is {out}, which must not be replaced", out)  # an export with the checkpoint in it
    link.symlink_to(out)
    refused(link, "a link, and an export never replaces what a link points to")
    refused(out, f"is {link}, which must not be replaced", link)
    fill(out, "thesis.txt")
    refused(out, "holds thesis.txt, which no export wrote")
    (out / "thesis.txt").rename(tmp_path / "thesis.txt")
    shutil.copy(place / "sst2.tsv", out / "README.md")
    shutil.copytree(out, out / "inner")
    refused(out, "which must not be replaced", out / "inner")
    shutil.rmtree(out / "inner")
    text = ("--evaluation", out / "README.md")
    refused(out, f"holds {out / 'README.md'}, which must not be replaced", place / "sst2", *text)
    before = contents(out)["model.onnx"]
    code, _, errors = run_script("export", "--model", place / "sst2", "--out", out, "--force", "--portable")
    assert code == 0 and contents(out)["model.onnx"] != before, errors
    assert sorted(os.listdir(tmp_path)) == ["checkpoint", "link", "out", "thesis.txt"]


def test_weights_that_are_linked_or_were_never_exported_are_not_lost(place, tmp_path, run_script, monkeypatch):
    out, linked = tmp_path / "out", tmp_path / "linked"
    assert run_script("export", "--model", place / "sst2", "--out", out, "--format", "all")[0] == 0
    shutil.copytree(place / "sst2", linked)
    (linked / "model.safetensors").unlink()
    (linked / "model.safetensors").symlink_to(out / "model.safetensors")
    monkeypatch.setenv("HOME", str(tmp_path))
    before = contents(tmp_path)
    for model, words in ((linked, f"holds {linked / 'model.safetensors'}"), ("~/out", f"is {out}")):
        code, _, errors = run_script("export", f"--model={model}", "--out", out, "--force")
        assert code == 2 and f"{words}, which must not be replaced" in errors and contents(tmp_path) == before
    shutil.rmtree(out)
    assert run_script("export", "--model", place / "sst2", "--out", out)[0] == 0
    shutil.copy(place / "sst2" / "model.safetensors", out)
    code, _, errors = run_script("export", "--model", place / "sst2", "--out", out, "--force")
    assert code == 2 and "holds model.safetensors, which no export wrote" in errors


def test_the_folder_that_one_works_in_is_not_replaced(place, tmp_path, run_script, monkeypatch):
    assert run_script("export", "--model", place / "sst2", "--out", tmp_path / "out")[0] == 0
    monkeypatch.chdir(tmp_path / "out")
    code, _, errors = run_script("export", "--model", place / "sst2", "--out", ".", "--force")
    assert code == 2 and "which must not be replaced" in errors and errors.count("\n") == 1


@pytest.mark.parametrize("command", ["export", "convert"])
def test_two_exports_or_conversions_do_not_share_a_folder(place, tmp_path, run_script, command):
    arguments = {
        "export": ("export", "--model", place / "sst2", "--out", tmp_path / "out"),
        "convert": ("convert", "--reverse", "--src", place / "sst2", "--dst", tmp_path / "out"),
    }[command]
    code = (
        "import sys; from pathlib import Path; from mobilebert.base import outputs\n"
        f"with outputs.lock_beside(Path({str(tmp_path / 'out')!r})): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "held\n"
        ended, _, errors = run_script(*arguments)
        other.stdin.close()
    assert ended == 2 and "out: another run is writing it" in errors and f"pid {other.pid}," in errors
    assert os.listdir(tmp_path) == []
    assert run_script(*arguments)[0] == 0
    assert os.listdir(tmp_path) == ["out"]


# Predictions.


@pytest.mark.parametrize(
    "theirs",
    ['{"id": "0", "text": "my own line"}', '{"id": 1, "x": 2}', '{"id": "0"}', '{"id": "7", "torn of another', "{}"],
)
def test_a_file_of_one_line_is_not_taken_for_a_torn_output(place, tmp_path, run_script, theirs):
    out = tmp_path / "out.jsonl"
    out.write_text(theirs)
    arguments = ("predict", "classify", "--model", place / "sst2", "--input", place / "sst2.tsv", "--output", out)
    code, _, errors = run_script(*arguments)
    assert code == 2 and f"{out}:1: is none that predict.py wrote" in errors
    assert out.read_text() == theirs
    out.unlink()
    assert run_script(*arguments)[0] == 0
    whole = out.read_bytes()
    out.write_bytes(whole[:40])  # the control: its own torn line it does take
    assert run_script(*arguments)[0] == 0
    assert out.read_bytes() == whole


def test_overwriting_keeps_the_old_answers_until_there_are_new_ones(place, tmp_path, run_script):
    out, broken = tmp_path / "out.jsonl", tmp_path / "broken"
    arguments = ("predict", "classify", "--input", place / "sst2.tsv", "--output", out, "--overwrite", "--model")
    assert run_script(*arguments, place / "sst2")[0] == 0
    before = out.read_bytes()
    shutil.copytree(place / "sst2", broken)
    (broken / "model.safetensors").write_bytes(b"torn")
    for model, more in (
        (broken, ()),
        (tmp_path / "missing", ()),
        (place / "sst2", ("--engine", "onnxruntime")),
        (place / "sst2", ("--max_seq_length", 100_000)),
        (place / "sst2", ("--threads", 0)),
    ):
        code, _, errors = run_script(*arguments, model, *more)
        assert code == 2, errors
        assert out.read_bytes() == before
    assert run_script(*arguments, place / "sst2", "--max_seq_length", 8)[0] == 0
    assert out.read_bytes() != before
    assert os.listdir(tmp_path) == ["broken", "out.jsonl"] or sorted(os.listdir(tmp_path)) == ["broken", "out.jsonl"]


def test_answers_in_the_models_own_folder(place, tmp_path, run_script):
    model = tmp_path / "model"
    shutil.copytree(place / "sst2", model)
    arguments = ("predict", "classify", "--model", model, "--input", place / "sst2.tsv", "--output")
    code, _, errors = run_script(*arguments, model / "model.safetensors", "--overwrite")
    assert code == 2 and f"{model / 'model.safetensors'}: is a file of the model" in errors
    assert contents(model) == contents(place / "sst2")
    assert run_script(*arguments, model / "classes.jsonl")[0] == 0
    whole = (model / "classes.jsonl").read_bytes()
    (model / "classes.jsonl").write_bytes(whole[: len(whole) // 2])  # the model is the same with answers beside it
    code, output, _ = run_script(*arguments, model / "classes.jsonl")
    assert code == 0 and "were there already" in output and (model / "classes.jsonl").read_bytes() == whole
    (model / "classes.jsonl").write_bytes(whole + b'{"id": mine')
    code, _, errors = run_script(*arguments, model / "classes.jsonl")
    assert code == 2 and f"{model / 'classes.jsonl'}:13: is none that predict.py wrote" in errors
    code, _, errors = run_script(*arguments, "/dev/null")
    assert code == 2 and "/dev/null: a device or pipe, but --output is a file" in errors


# Infinite logits.


@pytest.fixture(scope="module")
def infinite(tmp_path_factory) -> Path:
    """Checkpoints whose heads add infinity."""
    import numpy as np

    from mobilebert.model.heads import HEADS

    folder = tmp_path_factory.mktemp("infinite")
    for name, head, bias in (
        ("qa", "question-answering", "qa_outputs.bias"),
        ("sst2", "sequence-classification", "classifier.bias"),
    ):
        labels = {} if name == "qa" else {"id2label": {0: "negative", 1: "positive"}}
        save_checkpoint(folder / name, head, **labels)
        for sign, value in (("plus", np.inf), ("minus", -np.inf)):
            shutil.copytree(folder / name, folder / f"{name}-{sign}")
            model = HEADS[head].from_pretrained(folder / name)
            parameter = dict(model.named_parameters())[bias]
            parameter.set_value(np.array([value, 0.0], np.float32))
            model.save_pretrained(folder / f"{name}-{sign}")
    return folder


@pytest.mark.parametrize("sign", ["plus", "minus"])
def test_infinite_logits_are_refused(place, infinite, tmp_path, run_script, sign):
    qa, classes, out = infinite / f"qa-{sign}", infinite / f"sst2-{sign}", tmp_path / "out"
    reading = ("--max_seq_length", 64, "--doc_stride", 16, "--cache_dir", "", "--output_dir", out)
    table = ("--text_column", "sentence", "--label_order", "negative,positive", "--max_seq_length", 32)
    (tmp_path / "words.tsv").write_text(
        (place / "sst2.tsv").read_text().replace("\t1", "\tpositive").replace("\t0", "\tnegative")
    )
    glue = ("run_glue", "--model_name_or_path", classes, *table, "--cache_dir", "", "--output_dir", out)
    for arguments in (
        ("predict", "qa", "--model", qa, "--question", "Who ?", "--context_text", "Ada wrote it .", "--json"),
        ("predict", "qa", "--model", qa, "--input", place / "squad.json", "--output", out),
        ("predict", "classify", "--model", classes, "--text", "good", "--json"),
        ("predict", "classify", "--model", classes, "--input", place / "sst2.tsv", "--output", out),
        ("run_squad", "--model_name_or_path", qa, "--dev_file", place / "squad.json", "--do_eval", *reading),
        ("run_squad", "--model_name_or_path", qa, "--test_file", place / "squad.json", "--do_predict", *reading),
        (*glue, "--dev_file", tmp_path / "words.tsv", "--do_eval"),
        (*glue, "--test_file", tmp_path / "words.tsv", "--do_predict"),
        ("export", "--model", qa, "--out", out, "--evaluation", place / "squad.json"),
        ("export", "--model", classes, "--out", out, "--quantize", "dynamic-int8"),
    ):
        code, output, errors = run_script(*arguments)
        assert code == 2 and errors.count("\n") == 1 and "diverge" in errors, (arguments, errors)
        assert "Infinity" not in output and "NaN" not in output
        assert not out.exists() or not list(out.iterdir()), arguments
