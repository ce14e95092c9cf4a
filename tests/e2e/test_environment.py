"""scripts/setup.sh installing for real, from a folder of stand-in packages, so that nothing is downloaded."""

import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TIMEOUT_SECONDS = 600  # a busy machine


def make_wheel(folder: Path, name: str, version: str, module: str) -> None:
    info = f"{name}-{version}.dist-info"
    files = {
        f"{module}/__init__.py": f"__version__ = '{version}'\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "project with a space"
    (folder / "scripts").mkdir(parents=True)
    shutil.copy(ROOT / "scripts/setup.sh", folder / "scripts")
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    make_wheel(wheels, "torch", "2.0", "torch")
    for version in ("3.0", "3.1"):
        make_wheel(wheels, "paddlepaddle", version, "paddle")
    (folder / "requirements.txt").write_text("paddlepaddle==3.0\ntorch==2.0\n")
    return folder


def start(project: Path, **environment: str) -> subprocess.Popen:
    settings = {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": (project.parent / "wheels").as_uri(),
        "PYTHON": sys.executable,
    }
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PIP_") and key != "DEVICE"}
    return subprocess.Popen(
        ["bash", "scripts/setup.sh"],
        cwd=project,
        env=clean | settings | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def setup(project: Path, **environment: str) -> str:
    process = start(project, **environment)
    out, err = process.communicate(timeout=TIMEOUT_SECONDS)
    assert out == ""
    assert process.returncode == 0, err
    return err


def paddle_version(project: Path) -> str:
    command = [project / ".venv/bin/python", "-c", "import paddle, torch; print(paddle.__version__)"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_from_nothing_to_repaired(project):
    # Two at once: one installs, the other waits and finds everything done.
    both = [start(project), start(project)]
    said = [process.communicate(timeout=TIMEOUT_SECONDS)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sorted("installing" in text for text in said) == [False, True]
    assert paddle_version(project) == "3.0"

    # Again: at once and silently, also where the user names no Python.
    started = time.monotonic()
    assert setup(project) == ""
    assert time.monotonic() - started < 3
    assert setup(project, PYTHON="") == ""

    # Other requirements: brought up to date in place.
    marker = project / ".venv/marker"
    marker.touch()
    (project / "requirements.txt").write_text("paddlepaddle==3.1\ntorch==2.0\n")
    assert "installing" in setup(project)
    assert paddle_version(project) == "3.1"
    assert marker.exists()

    # A package that cannot be had: one line, exit code 2, and the next run goes on.
    (project / "requirements.txt").write_text("paddlepaddle==9.9\ntorch==2.0\n")
    failed = start(project)
    err = failed.communicate(timeout=TIMEOUT_SECONDS)[1]
    assert failed.returncode == 2
    assert "ERROR: No matching distribution found for paddlepaddle==9.9" in err
    assert "error: pip could not install requirements.txt" in err
    (project / "requirements.txt").write_text("paddlepaddle==3.0\ntorch==2.0\n")
    assert "done" in setup(project)
    assert paddle_version(project) == "3.0"
    assert marker.exists()

    # An installation that broke off half-way: made anew, although pip would think that all is there.
    next((project / ".venv").rglob("paddle/__init__.py")).unlink()
    (project / ".venv/.unfinished").touch()
    assert "installing" in setup(project, PYTHON="")
    assert paddle_version(project) == "3.0"
    assert not marker.exists()
