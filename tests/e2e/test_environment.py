"""scripts/setup.sh installing for real, from a folder of stand-in packages, so that nothing is downloaded."""

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TIMEOUT_SECONDS = 600  # a busy machine


def make_wheel(folder: Path, name: str, version: str, module: str, needs: str = "") -> None:
    info = f"{name}-{version}.dist-info"
    files = {
        f"{module}/__init__.py": f"__version__ = '{version}'\n" + (f"import {needs}\n" if needs else ""),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        + (f"Requires-Dist: {needs}\n" if needs else ""),
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
    for name in ("setup.sh", "_python.sh", "_packages.sh"):
        shutil.copy(ROOT / "scripts" / name, folder / "scripts")
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    # As the build for CUDA: it does not start without libraries that the lock leaves out.
    make_wheel(wheels, "torch", "2.0", "torch", needs="nvidia")
    make_wheel(wheels, "nvidia", "1.0", "nvidia")
    for version in ("3.0", "3.1"):
        make_wheel(wheels, "paddlepaddle", version, "paddle")
    write_lock(folder, paddlepaddle="3.0", torch="2.0")
    return folder


def write_lock(project: Path, **versions: str) -> None:
    """With the hashes of the stand-ins; of those that there are not, any."""
    entries = []
    for name, version in versions.items():
        wheel = project.parent / f"wheels/{name}-{version}-py3-none-any.whl"
        digest = hashlib.sha256(wheel.read_bytes() if wheel.exists() else b"").hexdigest()
        entries.append(f"{name}=={version} \\\n    --hash=sha256:{digest}\n")
    entries.insert(1, "# ---- Not with --minimal ----\n")
    (project / "requirements.lock").write_text("".join(entries))


def start(project: Path, *arguments: str, **environment: str) -> subprocess.Popen:
    settings = {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": (project.parent / "wheels").as_uri(),
        "PYTHON": sys.executable,
    }
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PIP_") and key != "DEVICE"}
    return subprocess.Popen(
        ["bash", "scripts/setup.sh", *arguments],
        cwd=project,
        env=clean | settings | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def setup(project: Path, *arguments: str, **environment: str) -> str:
    process = start(project, *arguments, **environment)
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
    assert (
        sum("setup: this torch is for CUDA; the libraries of NVIDIA come without hashes" in text for text in said) == 1
    )
    assert paddle_version(project) == "3.0"

    # Again: at once and silently, also where the user names no Python.
    started = time.monotonic()
    assert setup(project) == ""
    assert time.monotonic() - started < 3
    assert setup(project, PYTHON="") == ""

    # Another lock: brought up to date in place.
    marker = project / ".venv/marker"
    marker.touch()
    write_lock(project, paddlepaddle="3.1", torch="2.0")
    said = setup(project)
    assert "installing" in said and "CUDA" not in said
    assert paddle_version(project) == "3.1"
    assert marker.exists()

    # A package that cannot be had: one line, exit code 2, and the next run goes on.
    write_lock(project, paddlepaddle="9.9", torch="2.0")
    failed = start(project)
    err = failed.communicate(timeout=TIMEOUT_SECONDS)[1]
    assert failed.returncode == 2
    assert "ERROR: No matching distribution found for paddlepaddle==9.9" in err
    assert "error: pip could not install requirements.lock" in err

    # A package that is not the one that was locked is not installed.
    write_lock(project, paddlepaddle="3.0", torch="2.0")
    wheel = project.parent / "wheels/paddlepaddle-3.0-py3-none-any.whl"
    locked = wheel.read_bytes()
    make_wheel(wheel.parent, "paddlepaddle", "3.0", "paddle", needs="nvidia")
    failed = start(project)
    err = failed.communicate(timeout=TIMEOUT_SECONDS)[1]
    assert failed.returncode == 2 and "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES" in err, err
    assert paddle_version(project) == "3.1"
    wheel.write_bytes(locked)
    assert "done" in setup(project)
    assert paddle_version(project) == "3.0"
    assert marker.exists()

    # An installation that broke off half-way: made anew, although pip would think that all is there.
    next((project / ".venv").rglob("paddle/__init__.py")).unlink()
    (project / ".venv/.unfinished").touch()
    assert "installing" in setup(project, PYTHON="")
    assert paddle_version(project) == "3.0"
    assert not marker.exists()


def has(project: Path, module: str) -> bool:
    return bool(list((project / ".venv").rglob(f"site-packages/{module}/__init__.py")))


def test_minimal_then_everything_from_a_folder_alone(project):
    folder = project.parent / "carried"
    assert "MB in " in setup(project, "--download", str(folder), "--minimal")
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["mobilebert-wheels.txt", "paddlepaddle-3.0-py3-none-any.whl"]
    alone = {"PIP_FIND_LINKS": "", "PIP_NO_INDEX": ""}

    assert "minimal): 1566 MB on the disk" in setup(project, "--wheels", str(folder), "--minimal", **alone)
    assert has(project, "paddle") and not has(project, "torch")
    # The other scripts leave it so; what it lacks comes where the user asks for it, and not from that folder.
    assert setup(project, "--kept", **alone) == setup(project, "--minimal", **alone) == ""
    refused = start(project, "--wheels", str(folder), **alone)
    said = refused.communicate(timeout=TIMEOUT_SECONDS)[1]
    assert refused.returncode == 2 and "those of a minimal environment" in said and said.count("\n") == 1

    # Filled for everything, but torch has been lost.
    note = folder / "mobilebert-wheels.txt"
    note.write_text(note.read_text().replace("minimal", "full"))
    refused = start(project, "--wheels", str(folder), **alone)
    said = refused.communicate(timeout=TIMEOUT_SECONDS)[1].splitlines()
    assert refused.returncode == 2 and len(said) == 2  # what will be done, and why it was not
    assert said[1].startswith(f"error: {folder}: has no wheel of torch==2.0 for Python 3.")
    for name in ("torch-2.0", "nvidia-1.0"):
        shutil.copy(project.parent / f"wheels/{name}-py3-none-any.whl", folder)
    setup(project, "--wheels", str(folder), **alone)
    assert paddle_version(project) == "3.0" and has(project, "torch") and not (project / ".venv/.minimal").exists()
    assert "has everything already" in setup(project, "--minimal", **alone)


def test_a_stopped_set_up_stops_pip_too(project):
    """While pip waits for an index that takes the connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as index:
        address = f"http://127.0.0.1:{index.getsockname()[1]}/"
        settings = {"PIP_NO_INDEX": "", "PIP_FIND_LINKS": "", "PIP_INDEX_URL": address, "PIP_RETRIES": "0"}
        process = start(project, "--minimal", no_proxy="*", **settings)
        index.settimeout(TIMEOUT_SECONDS)
        with index.accept()[0]:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
            assert process.returncode == 128 + signal.SIGTERM
            running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
            assert f"-r {project}/.venv" not in running and "--require-hashes" not in running
    assert (project / ".venv/.unfinished").exists()
