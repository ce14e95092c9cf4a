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
    assert "--require-hashes" in lines[2] and "--index-url https://download.pytorch.org/whl/cpu" in lines[2]
    assert lines[3].endswith(" --no-deps --require-hashes --only-binary :all: -r requirements.lock")
    assert lines[4].endswith(f" torch=={pinned('torch')}; }}")
    assert "gpu" not in "".join(lines)


@pytest.mark.parametrize(("cuda", "folder"), [(None, "cu126"), ("11.8", "cu118"), ("12.9", "cu129"), ("13.0", "cu130")])
def test_gpu_commands(cuda, folder):
    environment = {"CUDA": cuda} if cuda else {}
    text = setup("--print", DEVICE="gpu", PYTHON=sys.executable, **environment).stdout
    index = f"https://www.paddlepaddle.org.cn/packages/stable/{folder}/"
    assert f"paddlepaddle-gpu=={pinned('paddlepaddle')} --index-url {index}\n" in text
    assert "--require-hashes --only-binary :all: -r .venv/requirements.txt\n" in text
    assert "-r requirements.lock" not in text
    assert "without hashes" in text


def test_one_package_is_taken_out_of_the_lock():
    """As the commands do it: torch alone, and all but Paddle."""
    lines = setup("--print", DEVICE="gpu", PYTHON=sys.executable).stdout.splitlines()
    lock = (ROOT / "requirements.lock").read_text()
    torch, rest = (
        subprocess.run(
            ["bash", "-c", line.split(" >")[0]], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        for line in lines
        if line.startswith("awk")
    )  # fmt: skip
    assert re.fullmatch(rf"torch=={pinned('torch')}( \\\n    --hash=sha256:[0-9a-f]{{64}}){{9}}\n", torch)
    paddle = re.search(r"^paddlepaddle==.*(\n    --hash.*)+\n", lock, re.MULTILINE)[0]
    assert paddle.count("--hash") == 4 and rest == lock.replace(paddle, "")


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
        (["--print"], {"PYTHON": "/nowhere/python"}, "PYTHON=/nowhere/python is not a Python 3.10 to 3.13; "),
    ],
)
def test_bad_requests_are_one_line(arguments, environment, said):
    outcome = setup(*arguments, **environment)
    assert outcome.returncode == 2
    assert outcome.stderr.startswith(f"error: {said}")
    assert outcome.stderr.count("\n") == 1


def test_a_gpu_is_not_passed_over_in_silence(tmp_path):
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\nexit $FAKE_SMI\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    warned = "setup: warning: there is a GPU (nvidia-smi), and this is Paddle for the CPU; the other: DEVICE=gpu bash "
    for device, smi, expected in ((None, "0", True), (None, "9", False), ("cpu", "0", False), ("gpu", "0", False)):
        chosen = {} if device is None else {"DEVICE": device}
        outcome = setup("--print", PATH=path, FAKE_SMI=smi, **chosen)
        assert outcome.returncode == 0 and (warned in outcome.stderr) is expected


def test_the_device_is_kept(tmp_path):
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    shutil.copy(ROOT / "requirements.lock", tmp_path)
    command = ["bash", str(tmp_path / "scripts/setup.sh"), "--print"]
    environment = {key: value for key, value in os.environ.items() if key not in ("DEVICE", "CUDA")}
    assert "gpu" not in subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv/.device").write_text("gpu 12.9\n")
    assert "/cu129/" in subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    environment["DEVICE"] = "cpu"
    assert "gpu" not in subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    ("system", "found", "advice"),
    [
        ('ID=debian\nVERSION_ID="13"', "3.14", "sudo apt-get install python3 python3-venv, or"),
        ('ID=ubuntu\nVERSION_ID="22.04"', "3.9", "sudo apt-get install python3 python3-venv, or"),
        ('ID=debian\nVERSION_ID="11"', "3.9", "where the system's packages have none, get one with uv"),
        ('ID=ubuntu\nVERSION_ID="26.04"', "3.14", "where the system's packages have none, get one with uv"),
        (None, "3.8", "where the system's packages have none, get one with uv"),
    ],
)
def test_a_missing_python_is_said(tmp_path, system, found, advice):
    """In a copy without .venv, with a PATH that has the tools but no Python that will do."""
    project = tmp_path / "project"
    (project / "scripts").mkdir(parents=True)
    release = tmp_path / "os-release"
    if system:
        release.write_text(system + "\n")
    script = (ROOT / "scripts/setup.sh").read_text().replace("/etc/os-release", str(release))
    (project / "scripts/setup.sh").write_text(script)
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("bash", "dirname", "cksum", "grep", "awk"):
        where = subprocess.run(["bash", "-c", f"type -P {tool}"], capture_output=True, text=True, check=True)
        (tools / tool).symlink_to(where.stdout.strip())
    (tools / "python3").write_text(f"#!/bin/sh\necho {found}\n")
    (tools / "python3").chmod(0o755)
    outcome = subprocess.run(
        [tools / "bash", "scripts/setup.sh"], cwd=project, env={"PATH": str(tools)}, capture_output=True, text=True
    )
    assert outcome.returncode == 2
    assert outcome.stderr.startswith(f"error: no Python 3.10 to 3.13 found (python3 is {found}); {advice}")
    assert "PYTHON=/path/to/python" in outcome.stderr and outcome.stderr.count("\n") == 1


@pytest.mark.parametrize("script", ["setup", "test", "download_weights"])
def test_help_is_the_comment_at_the_top(script):
    outcome = subprocess.run(
        ["bash", str(ROOT / f"scripts/{script}.sh"), "--help"], capture_output=True, text=True, timeout=10
    )
    assert outcome.returncode == 0
    assert f"bash scripts/{script}.sh" in outcome.stdout
    assert "#" not in outcome.stdout
    assert "set -euo" not in outcome.stdout
