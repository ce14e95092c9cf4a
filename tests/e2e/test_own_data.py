"""Tables of one's own: the commands of docs/own-data.md, one after the other, and what they leave; two processes."""

import json
import logging
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support import documents
from support.models import save_checkpoint
from support.texts import write_long_squad

ROOT = Path(__file__).parents[2]
PAGE = documents.read("docs/own-data.md")
# Appended to the page's trainings, so that they take seconds; tickets learns something.
SHORT = {
    "tickets": ["--max_steps", "90", "--eval_steps", "90", "--save_steps", "90"],
    "topics": ["--max_steps", "10"],
    "scores": ["--max_steps", "10"],
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder in which the page's commands run as in the repository."""
    folder = tmp_path_factory.mktemp("own")
    for name in ("samples", "mobilebert", *(path.name for path in ROOT.glob("*.py"))):
        (folder / name).symlink_to(ROOT / name)
    return folder


@pytest.fixture
def command(place, monkeypatch, capsys):
    """Run a command in this process, in ``place``: exit code, output, errors."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("MOBILEBERT_QUIET", "1")

    def run(*words):
        words = [str(word) for word in words]
        if words[:3] == ["python", "-m", "mobilebert"]:
            monkeypatch.setattr(sys, "argv", ["mobilebert", *words[3:]])
            start = lambda: runpy.run_module("mobilebert", run_name="__main__")  # noqa: E731
        else:
            monkeypatch.setattr(sys, "argv", words[1:])
            start = lambda: runpy.run_path(str(place / words[1]), run_name="__main__")  # noqa: E731
        logging.getLogger("mobilebert").handlers = []  # an earlier command's writes to that command's output
        with pytest.raises(SystemExit) as end:
            start()
        output, errors = capsys.readouterr()
        return end.value.code, output, errors

    return run


def page_commands(word):
    """The page's Python commands in which a word occurs, in order."""
    blocks = "\n".join(body for language, body in documents.FENCE.findall(PAGE) if language == "bash")
    found = documents.commands(f"```bash\n{blocks}```\n")
    return [words for words in found if words[0] == "python" and any(word in part for part in words)]


@pytest.fixture(scope="module")
def done():
    """Names of the sections whose commands have run."""
    return {}


def run_section(command, done, name):
    """Run the page's commands about one table, once; what each printed."""
    if name not in done:
        if "generate" not in done:
            done["generate"] = [succeed(command, words) for words in page_commands("generate.py")]
        trained = [
            succeed(command, [*words, *(SHORT[name] if "train" in words else [])]) for words in page_commands(name)
        ]
        assert len(trained) >= 3
        done[name] = trained
    return done[name]


def succeed(command, words):
    code, output, errors = command(*words)
    assert code == 0, f"{words}: {output}{errors}"
    return output


def noted(place, name):
    config = json.loads((place / f"outputs/own/{name}/best/config.json").read_text())
    return config["task_specific_params"]["sequence-classification"]


def test_questions_over_documents(command, place):
    """On a reader with random weights: the answers are whatever they are, the commands and files are the page's."""
    best = save_checkpoint(
        place / "outputs/quickstart/training/best", "question-answering", max_position_embeddings=512
    )
    shutil.copytree(best, place / "task/squadv1")
    (place / "outputs/quickstart/data").mkdir()
    write_long_squad(place / "outputs/quickstart/data/dev.json")
    one, many = [succeed(command, words) for words in page_commands("outputs/quickstart/training/best")]
    assert "1880" in one and "%" in one
    answers = [json.loads(line) for line in (place / "outputs/quickstart/answers.jsonl").read_text().splitlines()]
    assert len(answers) == 4 and many
    (code,) = (body for language, body in documents.FENCE.findall(PAGE) if language == "python" and "qas" in body)
    exec(code, {})
    shutil.copyfile(place / "train.json", place / "dev.json")
    (train,) = page_commands("output_documents")
    succeed(command, [*train, "--max_steps", "1", "--cache_dir", ""])
    scores = json.loads((place / "output_documents/eval_results.json").read_text())
    assert {"exact_match", "f1"} <= scores["final"].keys()


def test_a_classifier_from_the_table_to_its_export(command, done, place):
    train, one, many, export, native = run_section(command, done, "tickets")
    said = PAGE.split("```text\n")[1].split("```")[0].splitlines()
    assert len(said) == 6 and all(line in train.splitlines() for line in said)
    output = place / "outputs/own/tickets"
    results = json.loads((output / "eval_results.json").read_text())
    assert results["dev_selected"]["accuracy"] >= 75, train  # billing alone has 42 %
    assert "best macro_f1" in train
    report = json.loads((output / "classes.json").read_text())["dev"]
    assert report["averages"]["micro"]["f1"] == pytest.approx(results["dev_selected"]["accuracy"])
    assert report["averages"]["macro"]["f1"] == pytest.approx(results["dev_selected"]["macro_f1"])
    text = (output / "confusion.txt").read_text()
    assert text == (output / "best" / "confusion.txt").read_text() and all(line in train for line in text.splitlines())
    assert (output / "confusion.png").read_bytes().startswith(b"\x89PNG")
    assert "%" in one and "400 texts" in many and "accuracy" in export and "int8: accuracy" in native

    own = noted(place, "tickets")
    assert own["text_columns"] == ["ticket"] and own["label_column"] == "team"
    rows = json.loads((output / "dev_rows.json").read_text())
    lines = (place / "outputs/own/tickets.csv").read_text().splitlines()
    labels = [lines[line - 1].rsplit(",", 1)[1] for line in rows["lines"]]
    assert {name: labels.count(name) for name in sorted(set(labels))} == {
        name: values["support"] for name, values in report["classes"].items()
    }
    predicted = [json.loads(line) for line in (place / "outputs/own/teams.jsonl").read_text().splitlines()]
    on_dev = [predicted[int(row)]["label"] for row in rows["ids"]]
    right = 100 * np.mean([one == other for one, other in zip(on_dev, labels, strict=True)])
    assert right == pytest.approx(results["dev_selected"]["accuracy"])


def test_the_same_dev_rows_are_evaluated_later_and_another_split_is_not_resumed(command, done, place):
    run_section(command, done, "tickets")
    table, best = "outputs/own/tickets.csv", "outputs/own/tickets/best"
    door = ("python", "-m", "mobilebert", "train", "classify", "--cache_dir", "")
    again = succeed(command, [*door, "--train", table, "--model", best, "--do_eval", "--dev_split", "0.1",
                              "--output_dir", "outputs/again"])  # fmt: skip
    assert "text from ticket, label from team" in again
    results = [
        json.loads((place / f"outputs/{name}/eval_results.json").read_text()) for name in ("own/tickets", "again")
    ]
    assert results[1]["evaluated"]["accuracy"] == results[0]["dev_selected"]["accuracy"]
    rows = [(place / f"outputs/{name}/dev_rows.json").read_text() for name in ("own/tickets", "again")]
    assert rows[0] == rows[1]
    shape = ("--config_name", "outputs/own", "--tokenizer_name", "outputs/own", "--class_weights", "balanced")
    resume = (*door, "--train", table, *shape, "--resume", "--output_dir", "outputs/own/tickets", *SHORT["tickets"])
    for change in (("--dev_split_seed", 7), ("--dev_split", 0.2), ("--class_weights", "press=2")):
        code, _, errors = command(*resume, *change)
        assert (code == 2 and "train data" in errors) or "checksum" in errors, errors
    succeed(command, resume)  # and with the same one there is nothing left to do


def test_several_labels_from_the_table_to_its_export(command, done, place):
    train, one, export = run_section(command, done, "topics")
    assert "any of the labels food, noise, price, staff" in train and "texts without any" in train
    assert "exact_match" in export and "food" in one
    assert noted(place, "topics") == {
        "max_seq_length": 128, "takes_pairs": False, "text_columns": ["text"], "label_column": "topics",
        "threshold": 0.5, "label_separator": "", "label_columns": [],
    }  # fmt: skip
    results = json.loads((place / "outputs/own/topics/eval_results.json").read_text())
    assert set(results["final"]) == {"step", "loss", "micro_f1", "macro_f1", "exact_match"}
    assert 'predictor.classify("A joy to watch.").chosen' in (place / "outputs/own/topics-onnx/README.md").read_text()
    ask = ("python", "predict.py", "classify", "--text", "The soup was cold.", "--json", "--model")
    scores = []
    for model in ("outputs/own/topics/best", "outputs/own/topics-onnx"):
        found = json.loads(succeed(command, [*ask, model]))
        assert found["labels"] == [name for name, score in sorted(found["scores"].items(), key=lambda item: -item[1])
                                   if score > 0.5]  # fmt: skip
        scores.append(list(found["scores"].values()))
    np.testing.assert_allclose(scores[0], scores[1], atol=2e-6)
    low = json.loads(succeed(command, [*ask, model, "--threshold", "0.000001"]))
    assert len(low["labels"]) == 4


def test_scores_from_the_table_to_their_export(command, done, place):
    train, one, export = run_section(command, done, "scores")
    assert "scores from" in train and "score: " in one and "pearson" in export
    assert not (place / "outputs/own/scores/classes.json").exists()


def test_one_empty_text_costs_its_own_row(command, done, place):
    run_section(command, done, "tickets")
    (place / "gap.csv").write_text("ticket\nHello\n \nHi\n")
    run = ("python", "predict.py", "classify", "--model", "outputs/own/tickets/best", "--input", "gap.csv", "--output")
    code, _, errors = command(*run, "gap.jsonl")
    assert code == 2 and errors.splitlines()[-1] == (
        "error: gap.jsonl: 1 of 3 texts are not classified, their lines hold the error (first: text 1 is empty); "
        "all others are classified"
    )
    rows = [json.loads(line) for line in (place / "gap.jsonl").read_text().splitlines()]
    assert rows[1].keys() == {"id", "error", "fingerprint"} and {"label", "scores"} <= rows[2].keys()


@pytest.mark.slow
def test_two_processes_train_and_split_as_one(command, done, place):
    if "generate" not in done:
        done["generate"] = [succeed(command, words) for words in page_commands("generate.py")]
    shape = ["--config_name", "outputs/own", "--tokenizer_name", "outputs/own", "--cache_dir", ""]
    short = ["--max_steps", "4", "--log_steps", "1", "--save_steps", "0", "--class_weights", "balanced"]
    flags = ["run_classify.py", "--train", "outputs/own/tickets.csv", *shape, *short, "--output_dir"]
    succeed(command, ["python", *flags, "outputs/1", "--gradient_accumulation_steps", 2, "--batch_size", 16])
    launch = [
        sys.executable,
        "-m",
        "paddle.distributed.launch",
        "--nproc_per_node",
        "2",
        "--log_dir",
        "outputs/log",
        "--",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    two = subprocess.run([*launch, *flags, "outputs/2"], cwd=place, env=environment, capture_output=True, text=True)
    assert two.returncode == 0, two.stdout + two.stderr
    succeed(command, ["python", *flags, "outputs/0", "--class_weights", "none"])  # negative control

    def read(name, number):
        return [json.loads(line) for line in (place / f"outputs/{number}/{name}").read_text().splitlines()]

    losses = [[record["loss"] for record in read("train.jsonl", number)] for number in (1, 2, 0)]
    assert len(losses[0]) == 4
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-6)
    assert not np.allclose(losses[2], losses[0], rtol=1e-3)
    assert read("dev_rows.json", 1) == read("dev_rows.json", 2)
    assert read("eval.jsonl", 2)[-1]["loss"] == pytest.approx(read("eval.jsonl", 1)[-1]["loss"], rel=1e-6)
