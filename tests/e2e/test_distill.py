"""run_distill.py as a user runs it: every strategy, cut off in every stage, on two processes, with a cache; refused."""

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from support.models import randomise
from support.texts import NAMES, PLACES, THINGS, VOCABULARY, make_tokenizer, write_vocabulary

from mobilebert.base.files import write_json
from mobilebert.commands import distill, pretrain_data
from mobilebert.model.config import MobileBertConfig
from mobilebert.model.heads import HEADS

ROOT = Path(__file__).resolve().parents[2]
STUDENT = {
    "vocab_size": len(VOCABULARY), "hidden_size": 24, "embedding_size": 12, "intra_bottleneck_size": 12,
    "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "num_feedforward_networks": 2,
    "max_position_embeddings": 32, "classifier_activation": False,
}  # fmt: skip
TEACHER = {
    **STUDENT, "intra_bottleneck_size": 32, "intermediate_size": 32, "num_feedforward_networks": 1,
    "key_query_shared_bottleneck": False, "normalization_type": "layer_norm", "hidden_act": "gelu",
}  # fmt: skip
# Four steps of transfer, then four of distillation; a checkpoint at each.
STEPS = ("--transfer_steps", 4, "--max_steps", 4, "--batch_size", 8, "--save_steps", 1, "--keep_checkpoints", 99,
         "--log_steps", 1, "--eval_steps", 4, "--warmup_steps", 1, "--learning_rate", "1e-2")  # fmt: skip


def sentences(seed):
    generator = random.Random(seed)
    for _ in range(14):
        yield from (
            f"{generator.choice(NAMES)} put the {generator.choice(THINGS)} in the {generator.choice(PLACES)} ."
            for _ in range(8)
        )
        yield ""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Rows of both kinds, a teacher and a student's shape."""
    folder = tmp_path_factory.mktemp("distill")
    write_vocabulary(folder / "vocab.txt")
    for seed, name in enumerate(("train", "dev")):
        (folder / f"{name}.txt").write_text("\n".join(sentences(seed)))
        told = ("--vocab", folder / "vocab.txt", "--max_seq_length", 24, "--dupe_factor", 1, "--workers", 1)
        for masking in ("static", "dynamic"):
            data = ("--input", folder / f"{name}.txt", "--out", folder / f"{name}-{masking}", "--masking", masking)
            if name == "train" or masking == "static":
                command(pretrain_data, *data, *told)
    for name, sizes in (("teacher", TEACHER), ("narrow", {**TEACHER, "hidden_size": 36})):
        randomise(HEADS["pretraining"](MobileBertConfig(**sizes)), 1).save_pretrained(folder / name)
        make_tokenizer().save_pretrained(folder / name)
    write_json(folder / "student.json", STUDENT)
    return folder


def command(module, *words):
    """Run a verb in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [module.__name__, *map(str, words)])
        module.main()


def words(place, *more, rows="static", teacher="teacher"):
    return (
        "--teacher", place / teacher, "--config_name", place / "student.json", "--tokenizer_name", place / "vocab.txt",
        "--train_data", place / f"train-{rows}", "--dev_data", place / "dev-static", "--do_train", "--do_eval", *STEPS,
        *more,
    )  # fmt: skip


def records(folder, name="train.jsonl"):
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def losses(folder):
    return [record["loss"] for record in records(folder)]


def weights(folder):
    return load_file(folder / "checkpoints" / "step_00000008" / "model.safetensors")


@pytest.fixture(scope="module")
def whole(place):
    """A progressive run that nothing interrupts."""
    folder = place / "whole"
    command(distill, *words(place, "--output_dir", folder, rows="dynamic"))
    return folder


def test_a_progressive_run_learns_layer_by_layer_and_says_so(place, whole):
    assert [record["stage"] for record in records(whole)] == [1, 1, 2, 2, 3, 3, 3, 3]
    log = (whole / "run.log").read_text()
    for line in (
        "stage 1 of 3, transfer to layer 1: steps 1 to 2",
        "stage 2 of 3, transfer to layer 2: steps 3 to 4",
        "stage 3 of 3, pre-training distillation: steps 5 to 8",
    ):
        assert line in log
    first, last = records(whole)[0], records(whole)[-1]
    assert first["feature_map_loss"] > 0 < first["attention_loss"] and first["masked_loss"] == first["soft_loss"] == 0
    assert last["masked_loss"] > 0 < last["soft_loss"] and last["attention_loss"] == last["mean_loss"] == 0

    def at(step):
        return load_file(whole / "checkpoints" / f"step_{step:08d}" / "model.safetensors")

    start, second, fourth, end = at(0), at(2), at(4), at(8)
    teacher = load_file(place / "teacher" / "model.safetensors")
    moved = {name: [not np.array_equal(a[name], b[name]) for a, b in ((start, second), (second, fourth), (fourth, end))]
             for name in start}  # fmt: skip
    for name, when in moved.items():
        if "encoder.layer.0" in name:
            assert when[0], name
        elif "encoder.layer.1" in name:
            assert when[:2] == [False, True], name
        else:  # embeddings and heads: the teacher's, until everything learns
            assert when[:2] == [False, False], name
            if "embeddings.LayerNorm" not in name:
                np.testing.assert_array_equal(start[name], teacher[name])
    assert moved["mobilebert.embeddings.word_embeddings.weight"][2] and moved["cls.predictions.bias"][2]
    assert {"loss", "perplexity", "masked_accuracy", "next_sentence_accuracy"} <= records(whole, "eval.jsonl")[
        -1
    ].keys()
    assert (whole / "best" / "vocab.txt").exists() or (whole / "best" / "tokenizer.json").exists()


@pytest.mark.parametrize("step", [1, 5])
def test_a_run_that_was_cut_off_in_a_stage_goes_on_bit_for_bit(place, whole, tmp_path, run_script, step):
    shutil.copytree(whole, tmp_path / "cut")
    for folder in (tmp_path / "cut" / "checkpoints").iterdir():
        if int(folder.name[5:]) > step:
            shutil.rmtree(folder)
    arguments = words(place, "--output_dir", tmp_path / "cut", "--resume", rows="dynamic")
    code, _, errors = run_script("run_distill", *arguments)
    assert code == 0, errors
    assert losses(tmp_path / "cut") == losses(whole)
    ours, theirs = weights(tmp_path / "cut"), weights(whole)
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)
    if step == 1:
        code, _, errors = run_script("run_distill", *arguments, "--lower_rate", 0)
        assert code == 2 and "checkpoint of another run (data checksum was" in errors


@pytest.mark.slow
def test_two_processes_equal_one(place, whole, tmp_path):
    launched = [sys.executable, "-m", "paddle.distributed.launch", "--nproc_per_node", "2", "--log_dir", "log", "--"]
    more = ("--output_dir", tmp_path / "two", "--global_batch_size", 8)
    arguments = list(map(str, words(place, *more, rows="dynamic")))
    at = arguments.index("--batch_size")
    del arguments[at : at + 2]
    done = subprocess.run(
        [*launched, str(ROOT / "run_distill.py"), *arguments],
        capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    np.testing.assert_allclose(losses(tmp_path / "two"), losses(whole), rtol=1e-5)


def test_a_teacher_that_is_kept_on_disk_gives_the_same_run(place, tmp_path, run_script):
    runs = {}
    for name, more in (("asked", ()), ("kept", ("--cache_teacher", tmp_path / "cache"))):
        arguments = words(place, "--strategy", "joint", "--output_dir", tmp_path / name, *more)
        code, _, errors = run_script("run_distill", *arguments)
        assert code == 0, errors
        runs[name] = losses(tmp_path / name)
    np.testing.assert_allclose(runs["kept"], runs["asked"], rtol=1e-5)
    assert [record["stage"] for record in records(tmp_path / "kept")] == [1] * 4 + [2] * 4
    assert {path.name for path in (tmp_path / "cache").glob("teacher-*/*.float32")} == {
        "map0.float32", "map1.float32", "attention0.float32", "attention1.float32", "masked.float32",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (("--teacher", "narrow"), "the teacher has hidden_size=36, the student 24"),
        (("--transfer_steps", 1), "--transfer_steps 1: fewer than the model's 2 layers"),
        (("--max_steps", 0), "--max_steps 0: how many updates"),
        (("--alpha", 2), "--alpha 2: expected a share"),
        (("--mean_weight", -1), "--mean_weight -1: expected a number of at least 0"),
        (("--recompute",), "--recompute: transfer looks into each layer"),
        (("--resume", "--extend"), "--extend: stages have their lengths"),
        (("--cache_teacher", "cache"), "masked anew in each epoch"),
        (("--teacher", "headless"), "has no heads for pre-training"),
    ],
)
def test_what_does_not_go_together_is_one_line_and_writes_nothing(
    place, tmp_path, run_script, monkeypatch, changes, said
):
    monkeypatch.chdir(place)
    if not (place / "headless").exists():
        HEADS["model"](MobileBertConfig(**TEACHER)).save_pretrained(place / "headless")
        make_tokenizer().save_pretrained(place / "headless")
    arguments = words(place, *changes, "--output_dir", tmp_path / "out", rows="dynamic")
    code, _, errors = run_script("run_distill", *arguments)
    lines = [line for line in errors.splitlines() if not line.startswith("warning: matrix products")]
    assert code == 2 and len(lines) == 1 and said in lines[0], errors
    assert not (tmp_path / "out").exists() or not [p for p in (tmp_path / "out").iterdir() if p.name[0] != "."]
