"""The shell scripts delete only what they made: quickstart.sh for itself, setup.sh for .venv."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WORK = """#!/usr/bin/env bash
source "$(dirname "$0")/_common.sh"
renew_folder "$OUTPUT" data compare.json
mkdir "$OUTPUT/data"
echo ready
read -r _
"""


@pytest.fixture
def project(tmp_path) -> Path:
    """The scripts with an environment that is there already, and one that makes a folder and waits for a line."""
    place = tmp_path / "project"
    shutil.copytree(ROOT / "scripts", place / "scripts")
    (place / "scripts" / "setup.sh").write_text("#!/usr/bin/env bash\n")
    (place / "scripts" / "work.sh").write_text(WORK)
    for name in ("mobilebert", "samples", *(path.name for path in ROOT.glob("*.py"))):
        (place / name).symlink_to(ROOT / name)
    python = place / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return place


def start(project: Path, script: str, output: Path) -> subprocess.Popen:
    environment = {**os.environ, "OUTPUT": str(output), "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        ["bash", f"scripts/{script}"], cwd=project, env=environment, text=True, start_new_session=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def run(project: Path, script: str, output: Path) -> tuple[int, str]:
    """Exit code and standard error."""
    process = start(project, script, output)
    _, errors = process.communicate("\n", timeout=60)
    return process.returncode, errors


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("script", ["quickstart.sh", "work.sh"])
def test_a_folder_of_somebody_else_is_left_alone(project, tmp_path, script):
    mine = tmp_path / "mine"
    (mine / "data").mkdir(parents=True)
    (mine / "data" / "thesis.txt").write_text("years of work")
    assert run(project, script, mine) == (
        2,
        f"error: {mine}: {script} did not make it (no .made_by in it says so) and deletes nothing there; "
        "name another with OUTPUT\n",
    )
    (mine / ".made_by").write_text("other.sh\n")
    assert run(project, script, mine)[0] == 2
    assert names(mine) == [".made_by", "data", "data/thesis.txt"]
    code, errors = run(project, script, mine / "data" / "thesis.txt")
    assert code == 2 and "thesis.txt: a file, but a folder is to be made" in errors and errors.count("\n") == 1
    assert (mine / "data" / "thesis.txt").read_text() == "years of work"


def test_its_own_folder_is_made_anew_but_for_what_others_put_there(project, tmp_path):
    out = tmp_path / "out of it"
    out.mkdir()  # empty: nobody's
    assert run(project, "work.sh", out) == (0, "")
    for name in ("data/old", "notes.txt"):
        (out / name).write_text("")
    assert run(project, "work.sh", out) == (0, "")
    assert names(out) == [".made_by", "data", "notes.txt"]


def test_two_at_once_do_not_share_a_folder(project, tmp_path):
    out = tmp_path / "out"
    first = start(project, "work.sh", out)
    assert first.stdout.readline() == "ready\n"
    code, errors = run(project, "work.sh", out)
    assert code == 2 and errors.count("\n") == 1
    assert f"{out}: another run is writing it" in errors and f"pid {first.pid}, since 2" in errors
    assert (out / "data").is_dir()
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate(timeout=30)
    deadline = time.monotonic() + 30
    while (ended := run(project, "work.sh", out)) != (0, "") and time.monotonic() < deadline:
        time.sleep(0.1)
    assert ended == (0, "")


def test_an_environment_of_somebody_else_is_not_deleted(tmp_path):
    """Where .venv is of another Python, setup.sh would make it anew."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    for name in ("requirements.txt", "requirements.lock", "requirements-paddlenlp.txt"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "tool").write_text("mine")
    environment = {key: value for key, value in os.environ.items() if key not in ("DEVICE", "CUDA")}
    ended = subprocess.run(
        ["bash", "scripts/setup.sh"], cwd=tmp_path, env={**environment, "PYTHON": sys.executable},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert ended.returncode == 2 and ended.stderr.count("\n") == 1, ended.stderr
    assert ended.stderr.startswith("error: .venv: not made by scripts/setup.sh (no .made_by in it)")
    assert (tmp_path / ".venv" / "bin" / "tool").read_text() == "mine"
