"""Two processes on a CPU (gloo), started by Paddle's launcher: the same run as one process with the doubled batch."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = str(ROOT / "benchmarks" / "small_training.py")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
# 203 examples in steps of 24: the last step of an epoch has 11, unevenly shared.
COMMON = {"max_steps": 20, "eval_steps": 7, "save_steps": 10, "max_grad_norm": 1.0}


def launch(output_dir, *arguments, processes=2, **settings):
    command = [sys.executable]
    if processes > 1:
        command += ["-m", "paddle.distributed.launch", "--nproc_per_node", str(processes)]
        command += ["--log_dir", str(output_dir) + "_log"]
    command += [SCRIPT, str(output_dir), "--settings", json.dumps({**COMMON, **settings}), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=200, cwd=output_dir.parent)


def records(folder, name="train.jsonl"):
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def logged(folder, key):
    return [record[key] for record in records(folder)]


def weights(folder, step=20):
    return load_file(folder / "checkpoints" / f"step_{step:08d}" / "model.safetensors")


def test_two_processes_equal_one_with_the_doubled_batch(tmp_path):
    no_dropout = ["--dropout", "0"]
    one, two = tmp_path / "one", tmp_path / "two"
    done = launch(one, *no_dropout, processes=1, batch_size=24)
    assert done.returncode == 0, done.stderr
    # Also accumulation: 2 processes x 2 micro-batches x 6 = 24.
    done = launch(two, *no_dropout, batch_size=6, gradient_accumulation_steps=2)
    assert done.returncode == 0, done.stdout + done.stderr
    for key in ("loss", "grad_norm"):
        np.testing.assert_allclose(logged(two, key), logged(one, key), rtol=1e-6 if key == "loss" else 1e-5)
    for name, array in weights(one).items():
        np.testing.assert_allclose(weights(two)[name], array, rtol=1e-4, atol=1e-6)
    for a, b in zip(records(two, "eval.jsonl"), records(one, "eval.jsonl"), strict=True):
        # A sum over logits of all dev examples in order: sharded, gathered, none missing.
        assert a["accuracy"] == b["accuracy"] and abs(a["logit_sum"] - b["logit_sum"]) < 1e-3
    assert (two / "best" / "weights.json").exists()

    # Negative control: one process with the batch not doubled is another run.
    assert launch(tmp_path / "half", *no_dropout, processes=1, batch_size=12).returncode == 0
    assert not np.allclose(logged(tmp_path / "half", "loss"), logged(one, "loss"), rtol=1e-4)


def test_a_process_that_dies_ends_the_job_with_its_own_error_and_the_job_resumes_bit_for_bit(tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert launch(whole, batch_size=8).returncode == 0
    began = time.monotonic()
    done = launch(cut, "--fail_rank", "1", "--fail_batch", "14", batch_size=8)
    assert done.returncode != 0 and time.monotonic() - began < 60
    assert "ValueError: process 1 fails on purpose" in done.stdout + done.stderr
    done = launch(cut, "--resume", batch_size=8)
    assert done.returncode == 0 and "resumed at step 10" in done.stdout, done.stdout + done.stderr
    assert logged(cut, "loss") == logged(whole, "loss")
    for name, array in weights(whole).items():
        assert np.array_equal(weights(cut)[name], array), name
    done = launch(cut, "--resume", processes=1, batch_size=8)
    assert done.returncode == 2 and "number of processes was 2, is 1" in done.stderr
