"""Runs that are really killed, in processes of their own: ``small_training.py`` under ``kill -9``, SIGTERM, SIGINT."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = str(ROOT / "benchmarks" / "small_training.py")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def start(output_dir, *arguments, **settings):
    command = [sys.executable, SCRIPT, str(output_dir), "--settings", json.dumps(settings), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)


def finish(process):
    output, errors = process.communicate(timeout=120)
    return process.returncode, output, errors


def wait_for(process, path, text):
    """Wait until a file holds a text."""
    deadline = time.monotonic() + 60
    while not (path.exists() and text in path.read_text()):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.005)


def outcome(output_dir):
    lines = [json.loads(line) for line in (output_dir / "train.jsonl").read_text().splitlines()]
    newest = max((output_dir / "checkpoints").glob("step_*"))
    weights = [(newest / name).read_bytes() for name in ("model.safetensors", "optimizer.safetensors")]
    logged = [(line["step"], line["loss"], line["lr"], line["grad_norm"]) for line in lines]
    return logged, (output_dir / "eval.jsonl").read_text(), weights


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    code, _, errors = finish(start(folder, max_steps=1500, eval_steps=500, save_steps=500))
    assert code == 0, errors
    return outcome(folder)


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_the_run_after_a_step_and_nothing_is_lost(tmp_path, undisturbed, number, code):
    process = start(tmp_path, max_steps=1500, eval_steps=500, save_steps=500)
    wait_for(process, tmp_path / "train.jsonl", '"step": 20,')
    process.send_signal(number)
    if number == signal.SIGTERM:  # the launcher sends it three times
        process.send_signal(number)
    status, output, errors = finish(process)
    assert status == code and "Traceback" not in errors, errors
    last = output.splitlines()[-1]
    stopped = int(last.split("after step ")[1].split()[0])
    assert last.startswith(signal.Signals(number).name) and 20 <= stopped < 1500
    assert (tmp_path / "checkpoints" / f"step_{stopped:08d}").is_dir()
    status, output, errors = finish(start(tmp_path, "--resume", max_steps=1500, eval_steps=500, save_steps=500))
    assert status == 0 and f"resumed at step {stopped}" in output, errors
    assert outcome(tmp_path) == undisturbed


def test_a_signal_during_an_evaluation_does_not_wait_for_its_end(tmp_path):
    slow = ["--evaluation_seconds", "60"]
    process = start(tmp_path, *slow, max_steps=30, eval_steps=20, save_steps=0)
    wait_for(process, tmp_path / "train.jsonl", '"step": 20,')
    time.sleep(0.5)
    began = time.monotonic()
    process.terminate()
    status, output, errors = finish(process)
    assert (status, time.monotonic() - began < 20) == (143, True), errors
    assert "stopped after step 20" in output and not (tmp_path / "eval.jsonl").read_text()
    status, output, errors = finish(start(tmp_path, "--resume", max_steps=30, eval_steps=20, save_steps=0))
    assert status == 0 and [
        json.loads(line)["step"] for line in (tmp_path / "eval.jsonl").read_text().splitlines()
    ] == [20, 30]


def test_a_damaged_checkpoint_ends_in_one_line(tmp_path):
    assert finish(start(tmp_path, max_steps=10, save_steps=5))[0] == 0
    with open(tmp_path / "checkpoints" / "step_00000010" / "optimizer.safetensors", "r+b") as handle:
        handle.truncate(100)
    status, _, errors = finish(start(tmp_path, "--resume", max_steps=10, save_steps=5))
    assert status == 2 and "Traceback" not in errors
    assert errors.splitlines()[-1].startswith("error: ") and "--resume_fallback resumes from step 5" in errors
    status, output, errors = finish(start(tmp_path, "--resume", "--resume_fallback", max_steps=10, save_steps=5))
    assert status == 0 and "set aside as step_00000010.damaged" in output and "resumed at step 5" in output, errors


def test_a_small_kill_campaign_loses_nothing():
    campaign = str(ROOT / "benchmarks" / "kill_campaign.py")
    done = subprocess.run(
        [sys.executable, campaign, "--kills", "3", "--seed", "5"],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 kills" in done.stdout and "equal to the last bit" in done.stdout and "0 runs differ" in done.stdout


def test_the_campaign_sees_a_difference(tmp_path):
    """Negative control: two runs with another seed are told apart."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    import kill_campaign

    for seed in (1, 2):
        assert finish(start(tmp_path / str(seed), max_steps=6, eval_steps=3, seed=seed))[0] == 0
    differences = kill_campaign.compare(tmp_path / "1", tmp_path / "2")
    assert "train.jsonl differs from step 1 (6 and 6 records)" in differences and "random states differ" in differences
    assert any("model.safetensors differs" in difference for difference in differences)
    assert kill_campaign.compare(tmp_path / "1", tmp_path / "1") == []
