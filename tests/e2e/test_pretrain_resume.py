"""``python -m mobilebert pretrain-data`` as a user runs it: killed and started again, on several cores."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.corpus import write_text
from support.texts import write_vocabulary

from mobilebert.data.pretrain.rows import PretrainingRows

ROOT = Path(__file__).parents[2]


def start(folder: Path, out: str) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MOBILEBERT_QUIET": "1"}
    words = ["pretrain-data", "--input", "text.txt", "--vocab", "vocab.txt", "--out", out, "--block_bytes", "20000"]
    return subprocess.Popen(
        [sys.executable, "-m", "mobilebert", *words, "--dupe_factor", "20", "--workers", "2"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}


def below(pid: int) -> list[int]:
    """The processes that one has started."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(what, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "took too long"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_text(folder / "text.txt", 1200)
    write_vocabulary(folder / "vocab.txt")
    return folder


@pytest.fixture(scope="module")
def whole(folder):
    """What a run that nobody disturbs makes."""
    process = start(folder, "whole")
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "1,200 documents" in output
    return contents(folder / "whole")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)])
def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(folder, whole, number, code):
    out = f"stopped-{number}"
    process = start(folder, out)
    wait_for(lambda: len(list((folder / out).glob("block-*"))) > 2)
    workers = below(process.pid)
    if number == signal.SIGKILL:
        process.kill()
    else:
        os.killpg(process.pid, number)  # as a terminal does: all processes get it
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == code, errors
    assert errors == ("interrupted (SIGINT)\n" if number == signal.SIGINT else "")
    wait_for(lambda: not any(map(lives, workers)), 20)
    there = contents(folder / out)
    assert len(workers) >= 2 and 2 < len(there) < len(whole) and there.items() <= whole.items()

    process = start(folder, out)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert f"{len(whole) - 1 - len(there)} of them new" in output
    assert contents(folder / out) == whole
    assert {path.name for path in (folder / out).iterdir()} - set(whole) == {".mobilebert.json"}
    assert len(PretrainingRows.open(folder / out)) > 10_000
