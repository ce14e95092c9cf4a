"""The recipe scripts keep the batch of an update, whatever the number of processes."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from support.models import save_checkpoint
from support.texts import write_squad

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("global_batch")
    save_checkpoint(folder / "model", "question-answering", attention_probs_dropout_prob=0.0)
    write_squad(folder / "squad.json", 40)
    return folder


def train(files, output, processes, *flags):
    command = [
        "bash",
        "scripts/train_squadv1.sh",
        "--train_file",
        files / "squad.json",
        "--dev_file",
        files / "squad.json",
    ]
    command += [
        "--max_seq_length",
        "64",
        "--doc_stride",
        "16",
        "--max_steps",
        "4",
        "--log_steps",
        "1",
        "--cache_dir",
        "",
    ]
    environment = {**os.environ, "NPROC": str(processes), "OMP_NUM_THREADS": "1", "MODEL": str(files / "model"),
                   "OUTPUT": str(output)}  # fmt: skip
    done = subprocess.run([*map(str, command), *flags], capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    records = [json.loads(line) for line in (output / "train.jsonl").read_text().splitlines()]
    return [record["loss"] for record in records], (output / "run.log").read_text()


def test_one_two_and_four_processes_take_the_same_steps(files, tmp_path):
    one, log = train(files, tmp_path / "1", 1, "--global_batch_size", "16")
    assert "batch: 16 examples a step = 1 device x 16 examples x 1 forward pass\n" in log
    for processes, said in ((2, "2 devices x 8 examples"), (4, "4 devices x 4 examples")):
        losses, log = train(files, tmp_path / str(processes), processes, "--global_batch_size", "16")
        assert f"batch: 16 examples a step = {said} x 1 forward pass\n" in log
        assert len(losses) == 4
        np.testing.assert_allclose(losses, one, rtol=1e-6)
    again, _ = train(files, tmp_path / "recomputed", 4, "--global_batch_size", "16", "--recompute")
    assert again == losses  # layers computed again in the backward pass of each process: the same to the last bit
    # Negative control: another whole batch is another run.
    assert not np.allclose(train(files, tmp_path / "8", 1, "--global_batch_size", "8")[0], one, rtol=1e-4)


def test_a_smaller_batch_is_made_up_for_by_passes(files, tmp_path):
    losses, log = train(files, tmp_path / "out", 1, "--batch_size", "16", "--max_steps", "1")
    assert "batch: 64 examples a step = 1 device x 16 examples x 4 forward passes\n" in log and len(losses) == 1


def test_gpus_without_a_paddle_for_gpus_is_one_line():
    environment = {**os.environ, "GPUS": "0,1"}
    done = subprocess.run(
        ["bash", "scripts/train_squadv1.sh"], capture_output=True, text=True, cwd=ROOT, env=environment
    )
    assert done.returncode == 2 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: GPUS=0,1: the Paddle installed here is for the CPU; install the one for GPUs")
