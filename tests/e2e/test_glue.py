"""``run_glue.py`` and the GLUE scripts as a person runs them, on the samples and a model of 2 tiny layers."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "samples" / "glue"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "MOBILEBERT_QUIET": "1"}


def run_glue(*arguments):
    command = [sys.executable, "run_glue.py", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True)


@pytest.fixture(scope="module")
def shape(tmp_path_factory):
    """A configuration and a vocabulary of the samples' words: the flags that begin from random weights."""
    folder = tmp_path_factory.mktemp("shape")
    words = sorted({word for path in SAMPLES.rglob("*.t*") for word in path.read_text("utf-8-sig").lower().split()})
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n", "utf-8")
    config = {
        "vocab_size": len(tokens), "hidden_size": 32, "embedding_size": 16, "intra_bottleneck_size": 16,
        "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "num_feedforward_networks": 2,
        "initializer_range": 0.1, "max_position_embeddings": 64, "attention_probs_dropout_prob": 0.0,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    return ("--config_name", folder / "config.json", "--tokenizer_name", folder / "vocab.txt")


@pytest.fixture(scope="module")
def trained(shape, tmp_path_factory):
    """An MNLI run from training to submission files."""
    output = tmp_path_factory.mktemp("runs") / "output_mnli"
    result = run_glue(
        "--task_name", "mnli", "--data_dir", SAMPLES, *shape, "--output_dir", output, "--do_train", "--do_eval",
        "--do_predict", "--label_order", "contradiction,entailment,neutral", "--max_seq_length", 40, "--batch_size", 16,
        "--num_train_epochs", 40, "--learning_rate", 2e-3, "--weight_decay", 0, "--eval_steps", 30, "--log_steps", 10,
        "--lr_schedule", "linear", "--max_grad_norm", 1, "--cache_dir", "",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return output, result.stdout


def test_training_learns_and_reports_both_sets_and_both_checkpoints(trained):
    output, printed = trained
    results = json.loads((output / "eval_results.json").read_text())
    assert results["task"] == "mnli" and results["examples"] == {"dev_matched": 12, "dev_mismatched": 12}
    for kind in ("dev_selected", "final"):
        assert set(results[kind]) == {"step", "loss", "accuracy", "loss_mm", "accuracy_mm"}
    # a third is chance; "never" and "in the rain" tell the classes apart
    assert results["dev_selected"]["accuracy"] >= 80, printed
    assert results["dev_selected"]["accuracy"] >= results["final"]["accuracy"]
    arguments = json.loads((output / "args.json").read_text())
    assert arguments["max_seq_length"] == 40 and arguments["min_lr"] == 5e-7  # given, and the preset's
    config = json.loads((output / "best" / "config.json").read_text())
    assert config["id2label"] == {"0": "contradiction", "1": "entailment", "2": "neutral"}
    noted = config["task_specific_params"]["sequence-classification"]
    assert noted == {"max_seq_length": 40, "takes_pairs": True}


def test_submission_files_have_the_servers_form(trained):
    output, _ = trained
    for name in ("MNLI-m.tsv", "MNLI-mm.tsv"):
        lines = (output / name).read_text().splitlines()
        assert lines[0] == "index\tprediction" and len(lines) == 10
        index, word = lines[-1].split("\t")
        assert index == "8" and word in ("entailment", "neutral", "contradiction")


def test_evaluation_of_the_saved_model_gives_the_same_numbers(trained, tmp_path):
    output, _ = trained
    result = run_glue(
        "--task_name", "mnli", "--data_dir", SAMPLES, "--model_name_or_path", output / "best", "--output_dir", tmp_path,
        "--do_eval", "--max_seq_length", 40, "--eval_batch_size", 5, "--cache_dir", "",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    evaluated = json.loads((tmp_path / "eval_results.json").read_text())["evaluated"]
    selected = json.loads((output / "eval_results.json").read_text())["dev_selected"]
    for name in ("accuracy", "accuracy_mm"):
        assert evaluated[name] == selected[name]
    for name in ("loss", "loss_mm"):
        assert evaluated[name] == pytest.approx(selected[name], rel=1e-5)
    assert result.stdout.splitlines()[-4:] == [
        "m_acc:",
        f"  eval loss: {evaluated['loss']:.6f}, acc: {evaluated['accuracy'] / 100}",
        "mm_acc:",
        f"  eval loss: {evaluated['loss_mm']:.6f}, acc: {evaluated['accuracy_mm'] / 100}",
    ]


def test_ax_is_predicted_with_the_mnli_model(trained, tmp_path):
    output, _ = trained
    result = run_glue(
        "--task_name", "ax", "--data_dir", SAMPLES, "--model_name_or_path", output / "best", "--output_dir", tmp_path,
        "--do_predict", "--cache_dir", "", "--max_seq_length", 40,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert len((tmp_path / "AX.tsv").read_text().splitlines()) == 10


def test_a_regression_on_a_file_of_ones_own_begins_with_the_mnli_encoder(trained, tmp_path):
    rows = [("a", "b", 0.5), ("a, b", 'say "c"', 1.5), ("c", "d", 2.5)]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(dict(zip("xyz", row, strict=True))) + "\n" for row in rows))
    files = [word for kind in ("train", "dev", "test") for word in (f"--{kind}_file", tmp_path / "mine.jsonl")]
    output, _ = trained
    result = run_glue(
        *files, "--text_column", "x", "y", "--label_column", "z", "--regression", "--init_from", output / "best",
        "--output_dir", tmp_path / "out", "--do_train", "--do_eval", "--do_predict", "--max_steps", 2,
        "--max_seq_length", 16, "--cache_dir", tmp_path / "cache",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    results = json.loads((tmp_path / "out" / "eval_results.json").read_text())
    assert set(results["final"]) == {"step", "loss", "pearson", "spearmanr"}
    assert len((tmp_path / "out" / "predictions.tsv").read_text().splitlines()) == 4
    assert list((tmp_path / "cache").glob("glue-own-*"))


def test_rows_without_a_label_are_left_out_on_request_and_predictions_stay_a_table(shape, tmp_path):
    table = tmp_path / "t.CSV"
    table.write_text('id;text; label\n"1\n2";a b; pos\n3;c d;\n"4\t5";e f;neg\n', "utf-8")
    own = ("--train_file", table, "--test_file", table, "--text_column", "text", *shape, "--cache_dir", "")
    own += ("--output_dir", tmp_path / "out", "--do_train", "--do_predict", "--max_steps", 1, "--max_seq_length", 16)
    result = run_glue(*own, "--on_missing_label", "drop")
    assert result.returncode == 0, result.stderr
    assert "rows without a label, left out as asked: 1 of 3 (line 4)" in result.stdout
    assert "own: classes neg, pos" in result.stdout
    lines = (tmp_path / "out" / "predictions.tsv").read_text().splitlines()
    assert [line.split("\t")[0] for line in lines] == ["index", "1\\n2", "3", "4\\t5"]


MNLI_EVAL = ("--task_name", "mnli", "--data_dir", SAMPLES, "--do_eval")
BAD_FLAGS = {
    "nothing to read": (("--do_train",), "which data? give --task_name, or --train_file"),
    "unknown task": (("--task_name", "snli", "--do_eval"), "--task_name snli: expected one of cola"),
    "number for classes": (("--task_name", "rte", "--regression"), "--regression: --task_name rte already says"),
    "no rows at once": ((*MNLI_EVAL, "--eval_batch_size", "0"), "--eval_batch_size 0: expected at least 1"),
    "misspelt flag": ((*MNLI_EVAL, "--learning-rate", "1"), "did you mean --learning_rate?"),
}


@pytest.mark.parametrize("case", BAD_FLAGS)
def test_bad_flags_end_in_one_line(case, tmp_path):
    arguments, message = BAD_FLAGS[case]
    result = run_glue(*arguments, "--output_dir", tmp_path / "out")
    assert result.returncode == 2 and not (tmp_path / "out").exists()
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1, result.stderr
    assert message in result.stderr


def test_bad_input_ends_in_one_line_and_writes_nothing(shape, trained, tmp_path, monkeypatch, capsys):
    output, _ = trained
    (tmp_path / "bad.tsv").write_text("sentence\tlabel\nfine\t1\nodd\tx\n")
    (tmp_path / "own.csv").write_text("text,label\na,x\nb,\nc,y\n")
    own = (*shape, "--train_file", tmp_path / "own.csv", "--text_column", "text", "--do_train")
    here = ("--output_dir", tmp_path / "out", "--cache_dir", "")
    best = ("--model_name_or_path", output / "best")
    sst2 = ("--task_name", "sst2", "--data_dir", SAMPLES)
    for arguments, message in [
        ((*MNLI_EVAL, *shape[:2], *here), "--model_name_or_path is missing"),
        ((*MNLI_EVAL, "--model_name_or_path", tmp_path / "no", *here), "no: no such folder"),
        ((*sst2, "--do_eval", *best, *here), "cannot be matched with negative, positive (sst2)"),
        ((*sst2, *shape, "--train_file", tmp_path / "bad.tsv", "--do_train", *here), "bad.tsv:3: unknown label 'x'"),
        ((*sst2, *shape, "--do_train", "--max_seq_length", 65, *here), "--max_seq_length 65: expected 4 to 64 tokens"),
        ((*sst2, *shape, "--do_train", "--batch_size", 0, *here), "--batch_size=0: expected a whole number"),
        ((*own, *here), "own.csv:3: no label (''); rows without one: 1 of 3 (line 3): give each a label, or leave them "
         "out with --on_missing_label drop"),
        ((*own, "--label_order", "x,y,y", *here), "--label_order x,y,y: 'y' stands twice; name every class once"),
    ]:  # fmt: skip
        # In this process: each start of Paddle takes seconds.
        monkeypatch.setattr(sys, "argv", ["run_glue.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(ROOT / "run_glue.py"), run_name="__main__")
        errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
        assert end.value.code == 2 and len(errors) == 1 and message in errors[0], errors
        assert not (tmp_path / "out").exists()
