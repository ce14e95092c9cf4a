"""scripts/distill_small.sh from text to both tables, at sizes of seconds; stopped, it goes on where it was."""

import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.texts import squad, write_vocabulary

ROOT = Path(__file__).resolve().parents[2]
SIZES = {
    "model_type": "mobilebert", "vocab_size": 40, "hidden_size": 16, "embedding_size": 8, "intra_bottleneck_size": 8,
    "intermediate_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "num_feedforward_networks": 1,
    "max_position_embeddings": 128, "classifier_activation": False,
}  # fmt: skip
TEACHER = {"key_query_shared_bottleneck": False, "normalization_type": "layer_norm", "hidden_act": "gelu"}
TINY = {
    "STEPS": "6", "TEACHER_STEPS": "3", "QUESTIONS": "12", "DEV_QUESTIONS": "4", "SST2_STEPS": "2", "SQUAD_EPOCHS": "1",
    "VOCAB_SIZE": "40", "BATCH": "8", "ARMS": "pkt", "OMP_NUM_THREADS": "1",
}  # fmt: skip


def articles(count):
    paragraphs = squad(2 * count)["data"][0]["paragraphs"]
    data = [{"title": f"{at}", "paragraphs": paragraphs[2 * at : 2 * at + 2]} for at in range(count)]
    return {"version": "1.1", "data": data}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The scripts beside an environment that is there already, and data in the official forms."""
    place = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "scripts", place / "scripts")
    (place / "scripts" / "setup.sh").write_text("#!/usr/bin/env bash\n")
    for name in ("mobilebert", *(path.name for path in ROOT.glob("*.py"))):
        (place / name).symlink_to(ROOT / name)
    python = place / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    data = place / "data"
    (data / "squad").mkdir(parents=True)
    (data / "squad" / "train-v1.1.json.gz").write_bytes(gzip.compress(json.dumps(articles(48)).encode()))
    (data / "squad" / "dev-v1.1.json").write_text(json.dumps(articles(4)))
    shutil.copytree(ROOT / "samples" / "glue" / "SST-2", data / "glue" / "SST-2")
    write_vocabulary(data / "vocab.txt")
    (place / "configs").mkdir()
    (place / "configs" / "student.json").write_text(json.dumps(SIZES))
    (place / "configs" / "teacher.json").write_text(json.dumps({**SIZES, "intra_bottleneck_size": 16, **TEACHER}))
    return place


def script(project, *arguments, **changes):
    environment = {**os.environ, **TINY, "DATA": "data", "OUTPUT": "out", "CONFIGS": "configs", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        ["bash", "scripts/distill_small.sh", *arguments], cwd=project, env={**environment, **changes},
        capture_output=True, text=True,
    )  # fmt: skip


@pytest.mark.slow
def test_from_text_to_both_tables(project):
    done = script(project)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = {line[:22].strip(): line[22:].split() for line in done.stdout.split("\norder by")[0].splitlines()}
    for name in ("teacher (IB-BERT)", "no transfer", "PKT (FMT + AT + PD)"):
        assert lines[name][0] == "1" and 0 < float(lines[name][1]) < 10 and 0 <= float(lines[name][3]) <= 1
    assert lines["JKT (FMT + AT + PD)"][1] == "-"
    assert "  PD -> PD + FMT: not measured" in done.stdout
    assert done.stdout.count("random weights") == 2 and "SQuAD v1.1 dev, F1" in done.stdout
    results = json.loads((project / "out/seed_1/pkt/eval_results.json").read_text())
    assert results["final"]["step"] == 6 and results["rows"] > 0
    # What has finished is not repeated; what was cut off is.
    shutil.rmtree(project / "out/seed_1/pkt")
    again = script(project, "--stage", "pretrain")
    assert [line for line in again.stdout.splitlines() if line.startswith("==")] == ["== out/seed_1/pkt"]
    repeated = json.loads((project / "out/seed_1/pkt/eval_results.json").read_text())
    assert repeated["final"] == results["final"]
    # What is there is of other settings: neither taken for finished nor replaced.
    for changes, said in (
        ({"TEACHER_STEPS": "4"}, "error: out/seed_1/teacher: was made with other settings than now"),
        ({"STEPS": "9"}, "error: out/seed_1/none: was made with other settings"),
        ({"VOCAB_SIZE": "41"}, "error: out/text: was made with other settings"),
    ):
        other = script(project, **changes)
        assert other.returncode == 2 and said in other.stderr and "==" not in other.stdout, other.stderr
    assert "caution" not in (project / "out/seed_1/finetuned/squad_pkt/best/config.json").read_text()


def test_wrong_arguments_are_one_line(project):
    for arguments, changes, said in (
        (("--seeds", "x"), {}, "error: --seeds x: expected 1 to 9"),
        (("--speed", "1"), {}, "error: --speed: unknown"),
        (("--stage", "txt"), {}, "error: --stage txt: expected text, pretrain or finetune"),
        ((), {"DATA": "nowhere"}, "error: DATA='nowhere': expected a folder"),
    ):
        done = script(project, *arguments, **changes)
        assert done.returncode == 2 and said in done.stderr, done.stderr


def test_the_order_is_told_as_it_is(tmp_path):
    found = {"none": 3.0, "pd": 2.5, "pd_fmt": 2.6, "pkt": 2.0, "akt": 2.1, "jkt": 2.05}
    for seed, shift in ((1, 0.0), (2, 0.01)):
        for name, loss in found.items():
            folder = tmp_path / f"seed_{seed}" / name
            folder.mkdir(parents=True)
            metrics = {"step": 6, "masked_loss": loss + shift, "perplexity": 9.0, "masked_accuracy": 0.5,
                       "next_sentence_accuracy": 0.5}  # fmt: skip
            (folder / "eval_results.json").write_text(json.dumps({"final": metrics, "seconds": 1.0}))
    table = [sys.executable, str(ROOT / "scripts" / "distill_small_table.py"), str(tmp_path)]
    said = subprocess.run(table, capture_output=True, text=True).stdout
    assert "no transfer -> PD: +0.5000 better in 2 of 2 seeds, as in the paper" in said
    assert "PD -> PD + FMT: -0.1000 better in 0 of 2 seeds, NOT as in the paper" in said
    assert subprocess.run([*table, "--best"], capture_output=True, text=True).stdout == "pkt\n"
    # Of two arms the seeds that both have are compared, whichever those are.
    shutil.rmtree(tmp_path / "seed_1" / "pd")
    said = subprocess.run(table, capture_output=True, text=True).stdout
    assert "no transfer -> PD: +0.5000 better in 1 of 1 seeds, as in the paper" in said
    path = tmp_path / "seed_2" / "pd" / "eval_results.json"
    path.write_text(path.read_text().replace('"step": 6', '"step": 7'))
    refused = subprocess.run(table, capture_output=True, text=True)
    assert refused.returncode == 2 and "has 6 steps, seed_2/pd 7: nothing to be compared" in refused.stderr
