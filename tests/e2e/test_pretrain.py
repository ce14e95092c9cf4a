"""Pre-training as a person runs it: killed and resumed, on two processes, scored, gone on with; what is refused."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from support.models import SIZES
from support.texts import NAMES, PLACES, THINGS, VOCABULARY, write_vocabulary

from mobilebert.model.config import MobileBertConfig

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "campaigns"))

import kill  # noqa: E402

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "MOBILEBERT_QUIET": "1"}
# 40 rows or so in steps of 8: the last step of an epoch is a short one, unevenly shared.
SHORT = {"max_steps": 12, "eval_steps": 6, "save_steps": 3, "log_steps": 1, "learning_rate": 0.003}


def text(seed: int) -> str:
    """Twelve documents of sentences of known words."""
    rng = np.random.default_rng(seed)
    sentence = lambda: f"{rng.choice(NAMES)} put the {rng.choice(THINGS)} in the {rng.choice(PLACES)} ."  # noqa: E731
    return "\n\n".join("\n".join(sentence() for _ in range(9)) for _ in range(12)) + "\n"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with rows to train and to score on, vocabulary and configuration."""
    folder = tmp_path_factory.mktemp("pretrain")
    write_vocabulary(folder / "vocab.txt")
    sizes = {**SIZES, "vocab_size": len(VOCABULARY), "hidden_dropout_prob": 0.0}
    for name, dropout in (("config", 0.0), ("dropout", 0.1)):
        changed = {**sizes, "attention_probs_dropout_prob": dropout}
        (folder / f"{name}.json").write_text(json.dumps(MobileBertConfig(**changed).to_dict()))
    for seed, part in enumerate(("train", "dev")):
        (folder / f"{part}.txt").write_text(text(seed))
        command = [sys.executable, "-m", "mobilebert", "pretrain-data", "--input", str(folder / f"{part}.txt")]
        command += ["--out", str(folder / part), "--vocab", str(folder / "vocab.txt"), "--max_seq_length", "32"]
        command += ["--masking", "dynamic", "--workers", "1"]
        done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, cwd=ROOT)
        assert done.returncode == 0, done.stderr
    return folder


def flags(home, output_dir, config="config", **settings):
    words = {**SHORT, "batch_size": 8, **settings}
    given = [word for name, value in words.items() for word in (f"--{name}", str(value))]
    paths = {"train_data": "train", "dev_data": "dev", "config_name": f"{config}.json", "tokenizer_name": "vocab.txt"}
    given += [word for name, value in paths.items() for word in (f"--{name}", str(home / value))]
    return [*given, "--do_train", "--do_eval", "--output_dir", str(output_dir)]


def start(arguments, processes=1, log_dir=None):
    launcher = ["-m", "paddle.distributed.launch", "--nproc_per_node", str(processes), "--log_dir", str(log_dir), "--"]
    command = [sys.executable, *(launcher if processes > 1 else []), "run_pretrain.py", *arguments]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, cwd=ROOT
    )


def finish(process):
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, output + errors
    return output


def records(folder, name="train.jsonl"):
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


@pytest.mark.slow
def test_a_killed_run_goes_on_bit_for_bit(home, tmp_path):
    arguments = {"config": "dropout", "optimizer": "lamb"}
    whole = start(flags(home, tmp_path / "whole", **arguments))
    cut = start(flags(home, tmp_path / "cut", **arguments))
    log = tmp_path / "cut" / "train.jsonl"
    deadline = time.monotonic() + 200
    while not (log.exists() and '"step": 8,' in log.read_text()):
        assert cut.poll() is None and time.monotonic() < deadline, cut.communicate()
        time.sleep(0.005)
    cut.kill()
    cut.communicate()
    assert "resumed at step" in finish(start([*flags(home, tmp_path / "cut", **arguments), "--resume"]))
    finish(whole)
    assert kill.compare(tmp_path / "whole", tmp_path / "cut") == []
    assert all({"masked_loss", "next_sentence_loss"} <= record.keys() for record in records(tmp_path / "cut"))


@pytest.mark.slow
def test_two_processes_equal_one_with_the_doubled_batch(home, tmp_path):
    # The processes' rows have other numbers of masked tokens; also accumulation: 2 x 2 x 2 = 8.
    settings = {"batch_size": 2, "gradient_accumulation_steps": 2, "max_grad_norm": 1.0}
    one, two = tmp_path / "one", tmp_path / "two"
    both = [
        start(flags(home, one, max_grad_norm=1.0)),
        start(flags(home, two, **settings), processes=2, log_dir=tmp_path / "log"),
    ]
    for process in both:
        finish(process)
    for key, tolerance in {"loss": 1e-6, "masked_loss": 1e-6, "next_sentence_loss": 1e-6, "grad_norm": 1e-5}.items():
        expected, found = ([record[key] for record in records(folder)] for folder in (one, two))
        np.testing.assert_allclose(found, expected, rtol=tolerance, err_msg=key)
    expected, found = (load_file(folder / "checkpoints/step_00000012/model.safetensors") for folder in (one, two))
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-4, atol=1e-6)
    for a, b in zip(records(two, "eval.jsonl"), records(one, "eval.jsonl"), strict=True):
        assert a.keys() == b.keys()
        np.testing.assert_allclose(list(a.values()), list(b.values()), rtol=1e-5)


def test_from_random_weights_to_scores_and_on(home, tmp_path, run_script):
    code, said, errors = run_script("run_pretrain", *flags(home, tmp_path / "first", max_steps=40, learning_rate=0.02))
    assert code == 0, errors
    results = json.loads((tmp_path / "first" / "eval_results.json").read_text())
    first, best = records(tmp_path / "first", "eval.jsonl")[0], results["dev_selected"]
    assert best["perplexity"] < first["perplexity"] and best["masked_accuracy"] > first["masked_accuracy"]
    assert min(record["loss"] for record in records(tmp_path / "first", "eval.jsonl")) == best["loss"]

    dev = ["--dev_data", home / "dev", "--do_eval", "--output_dir", tmp_path / "scores"]
    code, said, errors = run_script("run_pretrain", "--model", tmp_path / "first" / "best", *dev)
    assert code == 0 and "perplexity: " in said, errors
    alone = json.loads((tmp_path / "scores" / "eval_results.json").read_text())["evaluated"]
    assert alone["masked_accuracy"] == best["masked_accuracy"] and abs(alone["loss"] / best["loss"] - 1) < 1e-6

    on = ["--init_from", tmp_path / "first" / "best", "--train_data", home / "train", "--do_train", "--max_steps", 1]
    code, said, errors = run_script("run_pretrain", *on, "--output_dir", tmp_path / "on", "--log_steps", 1)
    assert code == 0 and "new weights" not in said, errors
    assert records(tmp_path / "on")[0]["loss"] < 1.1 * best["loss"] and (tmp_path / "on" / "final").is_dir()


@pytest.mark.parametrize(
    "change, words",
    [
        ({"--train_data": "nowhere"}, "no such folder of pre-training data"),
        ({"--train_data": None}, "which train rows? give --train_data"),
        ({"--tokenizer_name": "other.txt"}, "made with another vocabulary than the model's"),
        ({"--optimizer": "sgd"}, "--optimizer"),
        ({"--config_name": None}, "give exactly one of"),
    ],
)
def test_what_cannot_be_is_one_line(home, tmp_path, run_script, change, words):
    others = [*VOCABULARY[:-1], "otherwise"]
    (home / "other.txt").write_text("\n".join(others) + "\n")
    given = flags(home, tmp_path / "out")
    for name, value in change.items():
        if name in given:
            place = given.index(name)
            given[place : place + 2] = [] if value is None else [name, str(home / value)]
        else:
            given += [name, value]
    code, _, errors = run_script("run_pretrain", *given)
    assert code == 2 and words in errors and errors.count("\n") == 1, errors
    assert not (tmp_path / "out" / "train.jsonl").exists()
