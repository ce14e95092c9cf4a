"""Runs that are really killed, in processes of their own: ``small_training.py`` under ``kill -9``, SIGTERM, SIGINT."""

import fcntl
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CAMPAIGNS = ROOT / "tests" / "campaigns"
SCRIPT = str(ROOT / "benchmarks" / "small_training.py")
sys.path.insert(0, str(CAMPAIGNS))

import kill  # noqa: E402

pytestmark = pytest.mark.slow

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def start(output_dir, *arguments, **settings):
    command = [sys.executable, SCRIPT, str(output_dir), "--settings", json.dumps(settings), *arguments]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # as in a terminal
    )  # fmt: skip


def finish(process):
    output, errors = process.communicate(timeout=120)
    return process.returncode, output, errors


def wait_for(process, path, text):
    """Wait until a file holds a text."""
    deadline = time.monotonic() + 60
    while not (path.exists() and text in path.read_text()):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.005)


STEPS = {"max_steps": 600, "eval_steps": 200, "save_steps": 200}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "undisturbed"
    code, _, errors = finish(start(folder, **STEPS))
    assert code == 0, errors
    return folder


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_the_run_after_a_step_and_nothing_is_lost(tmp_path, undisturbed, number, code):
    process = start(tmp_path, **STEPS)
    wait_for(process, tmp_path / "train.jsonl", '"step": 20,')
    process.send_signal(number)
    if number == signal.SIGTERM:  # the launcher sends it three times
        process.send_signal(number)
    status, output, errors = finish(process)
    assert status == code and "Traceback" not in errors, errors
    last = output.splitlines()[-1]
    stopped = int(last.split("after step ")[1].split()[0])
    assert last.startswith(signal.Signals(number).name) and 20 <= stopped < 600
    assert (tmp_path / "checkpoints" / f"step_{stopped:08d}").is_dir()
    if number == signal.SIGTERM:
        status, output, errors = finish(start(tmp_path, "--resume", **STEPS))
        assert status == 0 and f"resumed at step {stopped}" in output, errors
        assert kill.compare(undisturbed, tmp_path) == []


def test_a_terminal_that_closes_ends_the_run_like_a_signal(tmp_path):
    def own_terminal():
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    settings = {**STEPS, "max_steps": 100000, "log_steps": 20}
    master, slave = pty.openpty()
    command = [
        sys.executable,
        SCRIPT,
        str(tmp_path),
        "--settings",
        json.dumps(settings),
    ]
    process = subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, env=ENVIRONMENT, start_new_session=True,
        preexec_fn=own_terminal,
    )  # fmt: skip
    os.close(slave)
    wait_for(process, tmp_path / "train.jsonl", '"step": 20,')
    os.close(master)  # the system sends SIGHUP, and whatever is printed from now on is an error
    assert process.wait(60) == 129
    last = (tmp_path / "run.log").read_text().splitlines()[-1]
    stopped = int(last.split("SIGHUP: stopped after step ")[1].split()[0])
    assert (tmp_path / "checkpoints" / f"step_{stopped:08d}").is_dir()


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


def test_a_damaged_checkpoint_ends_in_one_line_and_the_one_before_gives_the_same_run(tmp_path, undisturbed):
    copy = shutil.copytree(undisturbed, tmp_path / "copy")
    with open(copy / "checkpoints" / "step_00000600" / "optimizer.safetensors", "r+b") as handle:
        handle.truncate(100)
    status, _, errors = finish(start(copy, "--resume", **STEPS))
    assert status == 2 and "Traceback" not in errors
    assert errors.splitlines()[-1].startswith("error: ") and "--resume_fallback resumes from step 400" in errors
    status, output, errors = finish(start(copy, "--resume", "--resume_fallback", **STEPS))
    assert status == 0 and "set aside as step_00000600.damaged" in output and "resumed at step 400" in output, errors
    shutil.rmtree(copy / "checkpoints" / "step_00000600.damaged")
    assert kill.compare(undisturbed, copy) == []


def test_a_small_kill_campaign_loses_nothing():
    run = [
        sys.executable,
        SCRIPT,
        "{output_dir}",
        "--settings",
        '{"max_steps": 200, "save_steps": 8, "eval_steps": 50}',
    ]
    campaign = [sys.executable, str(CAMPAIGNS / "kill.py"), "--kills", "2", "--seed", "5", "--"]
    done = subprocess.run([*campaign, *run], capture_output=True, text=True, env=ENVIRONMENT, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 kills" in done.stdout and "equal to the last bit" in done.stdout and "0 runs differ" in done.stdout


def change_a_loss(folder):
    text = (folder / "train.jsonl").read_text()
    (folder / "train.jsonl").write_text(text.replace('"loss": 0.', '"loss": 0.0', 1))


def change_a_weight(folder):
    path = folder / "checkpoints" / "step_00000600" / "model.safetensors"
    raw = bytearray(path.read_bytes())
    raw[-3] ^= 1
    path.write_bytes(raw)


def change_the_evaluation(folder):
    (folder / "eval.jsonl").write_text("")


def change_the_best(folder):
    (folder / "best" / "weights.json").unlink()


@pytest.mark.parametrize(
    "change, words",
    [
        (change_a_loss, "train.jsonl differs from step"),
        (change_a_weight, "model.safetensors differs"),
        (change_the_evaluation, "eval.jsonl differs"),
        (change_the_best, "best/weights.json differs"),
    ],
)
def test_the_campaign_sees_what_differs(tmp_path, undisturbed, change, words):
    copy = shutil.copytree(undisturbed, tmp_path / "copy")
    assert kill.compare(undisturbed, copy) == []
    change(copy)
    (difference,) = kill.compare(undisturbed, copy)
    assert words in difference
