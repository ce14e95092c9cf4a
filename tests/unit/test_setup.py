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
        ".venv-paddlenlp/bin/python -m pip --disable-pip-version-check install -r requirements-paddlenlp.txt"
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
        (["--wheels"], {}, "--wheels: name the folder of wheels behind it"),
        (
            ["--print", "--wheels", "/nowhere"],
            {},
            "/nowhere: no such folder; fill one with bash scripts/setup.sh --downl",
        ),
        (["--wheels", "a", "--download", "b"], {}, "--wheels and --download: one of them at a time"),
        (["paddlenlp", "--minimal"], {}, "paddlenlp: without --minimal, --wheels and --download"),
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
    shutil.copytree(ROOT / "scripts", project / "scripts")
    release = tmp_path / "os-release"
    if system:
        release.write_text(system + "\n")
    script = (ROOT / "scripts/_python.sh").read_text().replace("/etc/os-release", str(release))
    (project / "scripts/_python.sh").write_text(script)
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


def sections() -> tuple[str, str]:
    """Of requirements.txt: what a minimal environment has, and the rest."""
    minimal, rest = (ROOT / "requirements.txt").read_text().split("\n# ---- Not with --minimal ----\n")
    return minimal, rest


def test_a_minimal_environment_is_four_extras():
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 cannot read pyproject.toml")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *(line for name in ("cpu", "train", "deploy", "demo") for line in extras[name])]
    minimal, rest = (set(re.findall(r"^([\w-]+)==", part, re.MULTILINE)) for part in sections())
    assert {re.match(r"[\w-]+", line)[0] for line in wanted} == minimal
    assert {"torch", "transformers", "pytest", "mypy", "playwright"} <= rest and not minimal & rest


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_minimal_commands(device):
    lines = setup("--print", "--minimal", DEVICE=device, PYTHON=sys.executable).stdout.splitlines()
    assert not re.search("torch|transformers", "".join(lines))
    part = subprocess.run(
        ["bash", "-c", lines[1].split(" >")[0]], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    lock = (ROOT / "requirements.lock").read_text()
    assert lock.startswith(part) and "\nuvicorn==" in part and "\npytest==" in lock and "\npytest==" not in part
    assert "--require-hashes" in lines[2 if device == "cpu" else 3]


def test_wheels_are_fetched_into_a_folder_and_installed_from_there_alone(tmp_path):
    folder = tmp_path / "a folder"
    fetching = setup("--print", "--download", str(folder), DEVICE="cpu", PYTHON=sys.executable).stdout.splitlines()
    assert fetching[0] == f"{sys.executable} -m venv .cache/download"
    for line in fetching[1:]:
        assert line.startswith(("awk ", "ls ")) or f" download --dest {tmp_path}/a\\ folder --no-deps --req" in line
    folder.mkdir()
    lines = setup("--print", "--wheels", str(folder), DEVICE="cpu", PYTHON=sys.executable).stdout.splitlines()
    assert not re.search("--index-url|://", "".join(lines))
    installing = [line for line in lines if "pip" in line]
    assert len(installing) == 3 and all(
        f" --no-index --find-links {tmp_path}/a\\ folder" in line for line in installing
    )


@pytest.mark.parametrize(
    ("filled_for", "arguments", "said"),
    [
        ("3.9 cpu - full", [], "its wheels are for Python 3.9, and "),
        ("{version} gpu 12.6 full", [], "its wheels are for DEVICE=gpu CUDA=12.6, not cpu and -; fill"),
        ("{version} cpu - minimal", [], "its wheels are those of a minimal environment; say --minimal too, or fill"),
        ("{version} cpu - full 1 2", [], "its wheels are not those of this requirements.lock; fill"),
        ("{version} cpu - minimal 1 2", ["--minimal"], "its wheels are not those of this requirements.lock; fill"),
    ],
)
def test_a_folder_of_wheels_for_something_else_is_refused(tmp_path, filled_for, arguments, said):
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    (tmp_path / "mobilebert-wheels.txt").write_text(filled_for.format(version=version) + "\n")
    outcome = setup("--print", "--wheels", str(tmp_path), *arguments, DEVICE="cpu", PYTHON=sys.executable)
    assert outcome.returncode == 2 and outcome.stderr.startswith(f"error: {tmp_path}: {said}")
    assert outcome.stderr.count("\n") == 1


def test_the_sizes_that_are_said_are_those_of_the_document_and_of_this_environment():
    script, page = (ROOT / "scripts/_packages.sh").read_text(), (ROOT / "docs/install.md").read_text()
    said = {name: re.search(rf"^{name}=\((\d+) (\d+) (\d+)\)$", script, re.MULTILINE) for name in ("FULL", "MINIMAL")}
    for name, row in (("FULL", "everything"), ("MINIMAL", "minimal")):
        download, disk, minutes = said[name].groups()
        assert f"| {row} | {download} MB | {disk} MB | {minutes} minute" in page
    venv = ROOT / ".venv"
    if Path(sys.prefix).resolve() != venv.resolve() or sys.version_info[:2] != (3, 11) or (venv / ".minimal").exists():
        pytest.skip("measured is the environment of setup.sh with Python 3.11")
    if "cpu" not in (venv / ".device").read_text():
        pytest.skip("measured is the environment for the CPU")
    measured = int(
        subprocess.run(["du", "-sk", f"{venv}/"], capture_output=True, text=True, check=True).stdout.split()[0]
    )
    assert measured * 1.024e-3 == pytest.approx(int(said["FULL"][2]), rel=0.1)


def test_every_script_refuses_another_python(tmp_path):
    """With an interpreter that says that it is one; tests/unit/test_other_pythons.py has the Python scripts."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    for path in ROOT.glob("requirements*"):
        shutil.copy(path, tmp_path)
    python = tmp_path / "python3.14"
    python.write_text("#!/bin/sh\necho 3.14\n")
    python.chmod(0o755)
    scripts = sorted(path.name for path in (ROOT / "scripts").glob("[!_]*.sh"))
    for script in set(scripts) - {"test_c.sh"}:  # which needs no Python
        outcome = subprocess.run(
            ["bash", f"scripts/{script}"], cwd=tmp_path, env={**os.environ, "PYTHON": str(python)},
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert outcome.returncode == 2, script
        assert outcome.stderr == f"error: PYTHON={python} is Python 3.14, not 3.10 to 3.13; give the path of one\n", (
            script
        )
    assert not (tmp_path / ".venv").exists()


def test_a_script_that_needs_everything_says_so_in_a_minimal_environment(tmp_path):
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    (tmp_path / "scripts/setup.sh").write_text("")
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv/.minimal").touch()
    for script in ("test", "lint", "fuzz", "coverage", "mutants", "docs", "licences", "benchmark"):
        outcome = subprocess.run(["bash", f"scripts/{script}.sh"], cwd=tmp_path, capture_output=True, text=True)
        assert outcome.returncode == 2
        said = ".venv is minimal, and this needs the rest too; bash scripts/setup.sh adds it\n"
        assert outcome.stderr == f"error: scripts/{script}.sh: {said}"


@pytest.mark.parametrize("script", ["setup", "test", "download_weights"])
def test_help_is_the_comment_at_the_top(script):
    outcome = subprocess.run(
        ["bash", str(ROOT / f"scripts/{script}.sh"), "--help"], capture_output=True, text=True, timeout=10
    )
    assert outcome.returncode == 0
    assert f"bash scripts/{script}.sh" in outcome.stdout
    assert "#" not in outcome.stdout
    assert "set -euo" not in outcome.stdout
