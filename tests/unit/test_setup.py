"""What scripts/setup.sh decides; tests/e2e/test_environment.py lets it install."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def setup(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    clean = {key: value for key, value in os.environ.items() if key not in ("DEVICE", "CUDA", "PYTHON")}
    command = ["bash", str(ROOT / "scripts/setup.sh"), *arguments]
    return subprocess.run(command, env=clean | environment, capture_output=True, text=True, timeout=300)


def pinned(package: str) -> str:
    found = re.search(rf"^{package}==(\S+)$", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert found, package
    return found[1]


def test_everything_is_pinned():
    for name in ("requirements.txt", "requirements-paddlenlp.txt"):
        for line in (ROOT / name).read_text().splitlines():
            assert (
                not line
                or line.startswith("#")
                or re.fullmatch(r"[\w-]+==[\w.]+(; python_version [<>]=? \"3\.\d+\")?", line)
            )


def test_cpu_commands():
    lines = setup("--print", DEVICE="cpu", PYTHON=sys.executable).stdout.splitlines()
    assert lines[0] == f"{sys.executable} -m venv .venv"
    assert f"torch=={pinned('torch')} --index-url https://download.pytorch.org/whl/cpu" in lines[1]
    assert lines[2].endswith("-r requirements.txt")
    assert "gpu" not in "".join(lines)


@pytest.mark.parametrize(("cuda", "folder"), [(None, "cu126"), ("11.8", "cu118"), ("12.9", "cu129"), ("13.0", "cu130")])
def test_gpu_commands(cuda, folder):
    environment = {"CUDA": cuda} if cuda else {}
    text = setup("--print", DEVICE="gpu", PYTHON=sys.executable, **environment).stdout
    index = f"https://www.paddlepaddle.org.cn/packages/stable/{folder}/"
    assert f"paddlepaddle-gpu=={pinned('paddlepaddle')} --index-url {index}\n" in text
    assert "grep -v '^paddlepaddle==' requirements.txt" in text
    assert "-r .venv/requirements.txt" in text
    assert "-r requirements.txt" not in text


def test_paddlenlp_commands():
    lines = setup("paddlenlp", "--print", DEVICE="gpu", PYTHON=sys.executable).stdout.splitlines()
    assert lines[0].endswith("-m venv .venv-paddlenlp")
    assert lines[1:] == [
        ".venv-paddlenlp/bin/python -m pip install --disable-pip-version-check -r requirements-paddlenlp.txt"
    ]


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        (["gpu"], {}, "unknown argument gpu; see bash scripts/setup.sh --help"),
        (["--print"], {"DEVICE": "tpu"}, "DEVICE=tpu is not known; use DEVICE=cpu or DEVICE=gpu"),
        (
            ["--print"],
            {"DEVICE": "gpu", "CUDA": "12.1"},
            "CUDA=12.1: Paddle has no build for it; use CUDA=11.8, 12.6, ",
        ),
        (["--print"], {"PYTHON": "/nowhere/python"}, "PYTHON=/nowhere/python is not a Python 3.10, 3.11 or 3.12; "),
    ],
)
def test_bad_requests_are_one_line(arguments, environment, said):
    outcome = setup(*arguments, **environment)
    assert outcome.returncode == 2
    assert outcome.stderr.startswith(f"error: {said}")
    assert outcome.stderr.count("\n") == 1


def test_the_device_is_kept(tmp_path):
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    shutil.copy(ROOT / "requirements.txt", tmp_path)
    command = ["bash", str(tmp_path / "scripts/setup.sh"), "--print"]
    environment = {key: value for key, value in os.environ.items() if key not in ("DEVICE", "CUDA")}
    assert "gpu" not in subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv/.device").write_text("gpu 12.9\n")
    assert "/cu129/" in subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    environment["DEVICE"] = "cpu"
    assert "gpu" not in subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def test_a_missing_python_is_said(tmp_path):
    """In a copy without .venv, with a PATH that has the tools but no Python."""
    project = tmp_path / "project"
    (project / "scripts").mkdir(parents=True)
    (project / "scripts/setup.sh").write_text((ROOT / "scripts/setup.sh").read_text())
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("bash", "dirname", "cksum", "grep", "awk"):
        where = subprocess.run(["bash", "-c", f"type -P {tool}"], capture_output=True, text=True, check=True)
        (tools / tool).symlink_to(where.stdout.strip())
    (tools / "python3").write_text("#!/bin/sh\necho 3.8\n")
    (tools / "python3").chmod(0o755)
    outcome = subprocess.run(
        [tools / "bash", "scripts/setup.sh"], cwd=project, env={"PATH": str(tools)}, capture_output=True, text=True
    )
    assert outcome.returncode == 2
    assert outcome.stderr.startswith("error: no Python 3.10, 3.11 or 3.12 found; install one (Debian, Ubuntu: sudo ")


@pytest.mark.parametrize("script", ["setup", "test", "download_weights"])
def test_help_is_the_comment_at_the_top(script):
    outcome = subprocess.run(
        ["bash", str(ROOT / f"scripts/{script}.sh"), "--help"], capture_output=True, text=True, timeout=10
    )
    assert outcome.returncode == 0
    assert f"bash scripts/{script}.sh" in outcome.stdout
    assert "#" not in outcome.stdout
    assert "set -euo" not in outcome.stdout
