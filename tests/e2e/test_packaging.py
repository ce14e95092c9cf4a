"""The wheel in environments that hold only what pyproject.toml asks for: what is in it, what starts, what is missed.

No network: the environments see libraries of the one that runs the tests through links, and nothing else of it.
"""

import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from support.models import save_checkpoint
from support.texts import write_long_squad

from mobilebert import __version__
from mobilebert.base.extras import EXTRAS
from mobilebert.export.export import ExportPlan, export

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
# Modules that a library of an extra is imported with; all others start with the core and Paddle.
NEED_EXTRAS = {
    "mobilebert.export.onnx_graph": "onnx",
    "mobilebert.export.onnx_writer": "onnx",
    "mobilebert.demo.app": "starlette",
    "mobilebert.demo.guard": "starlette",
    "mobilebert.demo.connections": "uvicorn",
    "mobilebert.demo.serve": "uvicorn",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy: setuptools leaves folders behind, and would find an earlier build's."""
    if metadata.version("setuptools") < "77":
        pytest.skip("setuptools is older than 77, which pyproject.toml asks for")
    place = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "mobilebert", place / "mobilebert", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, place)
    command = [sys.executable, "-m", "pip", "wheel", place, "--no-deps", "--no-build-isolation", "--no-index", "-q"]
    result = subprocess.run([*command, "-w", place / "dist"], capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    (built,) = (place / "dist").iterdir()
    return built


def test_everything_of_the_package_is_in_the_wheel(wheel):
    inside = set(zipfile.ZipFile(wheel).namelist())
    tracked = subprocess.run(["git", "ls-files", "mobilebert"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode or not tracked.stdout:
        pytest.skip("not a git checkout: what belongs to the package is not known")
    # The test program in C is no part of it.
    there = {name for name in tracked.stdout.split() if (ROOT / name).exists() and "/csrc/test/" not in name}
    assert there - inside == set() and "mobilebert/py.typed" in there
    assert {name.split("/")[0] for name in inside} == {"mobilebert", f"mobilebert_paddle-{__version__}.dist-info"}


def libraries(required: list[str], extra: str) -> set[str]:
    """The distributions of this environment that satisfy requirements, with all that those need in turn."""
    found: set[str] = set()
    wanted = [(Requirement(line), extra) for line in required]
    while wanted:
        requirement, extra = wanted.pop()
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        if name in found or (requirement.marker and not requirement.marker.evaluate({"extra": extra})):
            continue
        assert requirement.specifier.contains(metadata.version(name), prereleases=True), requirement
        found.add(name)
        wanted += [(Requirement(line), "") for line in metadata.requires(name) or []]
    return found


def make_environment(place: Path, wheel: Path, extra: str = "") -> Path:
    """An environment with the wheel and what it requires (for an extra); gives the folder of its commands."""
    venv.EnvBuilder(symlinks=True).create(place)
    (site,) = place.glob("lib/python*/site-packages")
    for library in libraries(requirements_of(wheel), extra):
        for file in metadata.distribution(library).files:
            top = file.parts[0]
            if top not in ("..", "__pycache__") and not (site / top).exists():
                (site / top).symlink_to(Path(file.locate()).parents[len(file.parts) - 1] / top)
    command = [sys.executable, "-m", "pip", "--python", place / "bin" / "python", "install", "--no-deps", "--no-index"]
    result = subprocess.run([*command, "-q", wheel], capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    return place / "bin"


def requirements_of(wheel: Path) -> list[str]:
    """Its ``Requires-Dist`` lines."""
    archive = zipfile.ZipFile(wheel)
    (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    return re.findall(r"^Requires-Dist: (.+)$", archive.read(name).decode(), re.MULTILINE)


@pytest.fixture(scope="module")
def core(wheel, tmp_path_factory):
    """Commands of an environment with the core and Paddle."""
    return make_environment(tmp_path_factory.mktemp("core"), wheel, "cpu")


@pytest.fixture(scope="module")
def without_paddle(wheel, tmp_path_factory):
    return make_environment(tmp_path_factory.mktemp("bare"), wheel)


def run(command: Path, *arguments, cwd: Path, code: int = 0) -> subprocess.CompletedProcess:
    """Outside the repository and without its environment."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    result = subprocess.run(
        [command, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=120,
        env={**clean, "MOBILEBERT_QUIET": "1", "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert result.returncode == code, result.stderr
    return result


IMPORT_ALL = """
import importlib, pkgutil, sys
import mobilebert
assert "site-packages" in mobilebert.__file__, mobilebert.__file__
for module in pkgutil.walk_packages(mobilebert.__path__, "mobilebert."):
    try:
        importlib.import_module(module.name)
    except ModuleNotFoundError as error:
        print(module.name, error.name)
print("imported", *sorted(name for name in sys.argv[1:] if name in sys.modules))
"""
FOUND = """
import importlib.util, sys
for name in sys.argv[1:]:
    try:
        found = importlib.util.find_spec(name)
    except ModuleNotFoundError:  # nor what it is a part of
        found = None
    if found:
        print(name)
"""
OPTIONAL = [module for extra, modules in EXTRAS.items() if extra != "cpu" for module in modules]


def test_the_environment_has_nothing_optional(core, tmp_path):
    found = run(core / "python", "-c", FOUND, *OPTIONAL, "paddle", "mobilebert", cwd=tmp_path).stdout.split()
    assert found == ["paddle", "mobilebert"]


def test_every_module_imports_with_the_core(core, tmp_path):
    lines = run(core / "python", "-c", IMPORT_ALL, *OPTIONAL, cwd=tmp_path).stdout.splitlines()
    assert lines[-1] == "imported"
    assert dict(line.split() for line in lines[:-1]) == NEED_EXTRAS


def test_every_console_command_starts_without_paddle(without_paddle, tmp_path):
    commands = sorted(without_paddle.glob("mobilebert*"))
    table = (ROOT / "pyproject.toml").read_text().split("[project.scripts]\n")[1].split("\n\n")[0]
    assert [command.name for command in commands] == sorted(re.findall(r"^(\S+) = ", table, re.MULTILINE))
    for command in commands:
        text = run(command, "--help", cwd=tmp_path).stdout
        assert text.startswith(f"usage: {command.name} ") and f"\n  {command.name} " in text
        assert run(command, "--version", cwd=tmp_path).stdout == f"mobilebert-paddle {__version__}\n"
    assert list(tmp_path.iterdir()) == []


EVALUATE = ("--out", "out", "--do_eval")
MISSING = {
    ("without_paddle", "convert", "--src", "a", "--dst", "b"): ("paddle", "cpu"),
    ("without_paddle", "squad", "--model", "model", *EVALUATE): ("paddle", "cpu"),
    ("core", "export", "--model", "model", "--out", "out"): ("onnx", "deploy"),
    ("core", "compare-tokenizer", "--vocab", "vocab.txt"): ("transformers", "torch"),
    ("core", "compare", "--torch", "model", "--paddle", "model"): ("torch", "torch"),
    ("core", "squad", "--model", "exported", "--engine", "onnxruntime", *EVALUATE): ("onnxruntime", "deploy"),
    ("core", "squad", "--model", "exported", "--engine", "openvino", *EVALUATE): ("openvino", "openvino"),
    ("core", "demo", "model", "--port", "0"): ("starlette", "demo"),
    ("core", "bulk", "qa", "--model", "exported", "--input", "a.csv", "--output", "out"): ("ray", "ray"),
    ("core", "glue", "--task_name", "rte", "--data_dir", ".", "--model", "model", *EVALUATE): ("scipy", "train"),
}


@pytest.mark.parametrize("case", MISSING, ids=lambda case: " ".join(case[1:4]))
def test_a_missing_extra_is_named(case, request, checkpoint, tmp_path):
    (environment, command, *arguments), (library, extra) = case, MISSING[case]
    shutil.copytree(checkpoint, tmp_path, dirs_exist_ok=True)
    before = sorted(tmp_path.rglob("*"))
    place = request.getfixturevalue(environment)
    result = run(place / f"mobilebert-{command}", *arguments, cwd=tmp_path, code=2)
    said = f"error: {library} is not installed: pip install '.[{extra}]' in the repository's folder"
    assert result.stderr.splitlines()[-1].startswith(said), result.stderr
    assert "Traceback" not in result.stderr
    assert sorted(tmp_path.rglob("*")) == before


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A checkpoint, its vocabulary, and what its export would look like to ``--engine``."""
    folder = tmp_path_factory.mktemp("checkpoint")
    save_checkpoint(folder / "model", "question-answering")
    shutil.copy(folder / "model" / "vocab.txt", folder / "vocab.txt")
    export(ExportPlan(str(folder / "model"), folder / "exported", portable=True))
    return folder


def test_a_model_is_trained_and_converted_with_the_core(core, checkpoint, tmp_path):
    """Only Paddle is needed; the run says what else it would have written, and with which extra."""
    data = write_long_squad(tmp_path / "squad.json")
    result = run(
        core / "mobilebert-squad", "--model", checkpoint / "model", "--out", "out", "--do_train", "--do_eval",
        "--train_file", data, "--dev_file", data, "--max_seq_length", 64, "--doc_stride", 16, "--max_steps", 2,
        "--batch_size", 2, "--save_steps", 0, "--cache_dir", "", cwd=tmp_path,
    )  # fmt: skip
    for missed, library in (("curves for VisualDL", "visualdl"), ("picture of the curves", "matplotlib")):
        advice = "pip install '.[train]' in the repository's folder"
        assert f"no {missed}: {library} is not installed: {advice}" in result.stdout
    run(core / "mobilebert-convert", "--reverse", "--src", "out/best", "--dst", "torch", cwd=tmp_path)
    assert (tmp_path / "torch" / "model.safetensors").is_file()
