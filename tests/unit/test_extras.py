"""What the optional libraries do behind the user's back, and that they do not do it here."""

import ast
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from support.models import save_checkpoint

from mobilebert.base import extras
from mobilebert.base.errors import InputError
from mobilebert.export.export import ExportPlan, export

ROOT = Path(__file__).parents[2]
ASK = (
    "import sys; from mobilebert.inference.predictor import Predictor; "
    "print(Predictor(sys.argv[1], engine=sys.argv[2]).answer('Who ?', 'Ada wrote it .'))"
)
# ONNX Runtime and OpenVINO keep quiet where these say that a test runs; nothing may leave this machine in a control.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name in ("PATH", "LD_LIBRARY_PATH", "TMPDIR")}
DEAD_END = {"https_proxy": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9"}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    export(
        ExportPlan(
            str(save_checkpoint(folder / "qa", "question-answering")), folder / "out", format="all", portable=True
        )
    )
    return {"dygraph": folder / "qa", **dict.fromkeys(("onnxruntime", "paddle", "openvino"), folder / "out")}


def python(code, *words, home, **settings):
    """A process with an empty home folder. -> the files that it leaves there, and what it printed."""
    home.mkdir()
    environment = {**ENVIRONMENT, "HOME": str(home), "PYTHONPATH": str(ROOT), **settings}
    command = [sys.executable, "-W", "ignore", "-c", code, *map(str, words)]
    done = subprocess.run(command, env=environment, cwd=home, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    left = (path.relative_to(home) for path in home.rglob("*") if path.is_file())
    return [path for path in left if path.parts[:2] != (".cache", "mobilebert")], done.stdout


@pytest.mark.parametrize("engine", ["onnxruntime", "paddle", "dygraph", "openvino"])
def test_an_engine_leaves_nothing_in_the_home_folder(engine, exported, tmp_path):
    if engine == "openvino":
        pytest.importorskip("openvino", reason="the optional engine openvino is not installed")
    files, printed = python(ASK, exported[engine], engine, home=tmp_path / "home")
    assert files == [] and "Answer(" in printed


def test_what_the_user_has_set_stays_and_would_be_noticed(exported, tmp_path):
    if tuple(map(int, metadata.version("onnxruntime").split(".")[:2])) < (1, 32):
        pytest.skip("this ONNX Runtime reports nothing")
    settings = {"ORT_DISABLE_TELEMETRY": "0", **DEAD_END}
    files, _ = python(ASK, exported["onnxruntime"], "onnxruntime", home=tmp_path / "home", **settings)
    assert any(path.name == "deviceid" for path in files)


OPENVINO = """
try:
    import openvino_telemetry
    reports = True
except ImportError:
    reports = False
"""


@pytest.mark.parametrize("answer", [None, "0", "1"])
def test_openvino_finds_its_reporter_only_if_the_user_has_answered_it(answer, tmp_path):
    """Stand-ins, as OpenVINO 2026.4 looks for it; what an answer means is its own business."""
    home = tmp_path / "home"
    code = (
        "import pathlib, sys; from mobilebert.base import extras; answer = sys.argv[1]\n"
        "path = pathlib.Path.home() / 'intel' / 'openvino_telemetry'\n"
        "path.parent.mkdir()\n"
        "if answer: path.write_text(answer)\n"
        "print(extras.load('openvino').reports)"
    )
    for name, text in (("openvino", OPENVINO), ("openvino_telemetry", "")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(text)
    path = os.pathsep.join((str(tmp_path), str(ROOT)))
    assert python(code, answer or "", home=home, PYTHONPATH=path)[1] == f"{answer is not None}\n"


def test_a_library_that_is_absent_or_broken_is_said_in_one_line(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("onnxruntime", "openvino"):
        monkeypatch.setitem(sys.modules, name, None)
    said = r"^onnxruntime is not installed: pip install '\.\[deploy\]' in the repository's folder$"
    with pytest.raises(InputError, match=said):
        extras.load("onnxruntime")
    monkeypatch.delitem(sys.modules, "openvino")
    (tmp_path / "openvino.py").write_text("raise ImportError('libtbb.so.12: cannot open shared object file\\n...')")
    said = r"^openvino is installed but cannot be imported \(libtbb\.so\.12: [^\n]*file\); install it again$"
    with pytest.raises(InputError, match=said):
        extras.load("openvino")


def test_a_minimal_environment_names_the_set_up(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    assert str(extras.missing("torch")) == "torch is not installed: pip install '.[torch]' in the repository's folder"
    (tmp_path / ".minimal").touch()
    assert str(extras.missing("torch")) == "torch is not in a minimal environment; bash scripts/setup.sh adds it"
    assert "pip install '.[openvino]'" in str(extras.missing("openvino"))  # which setup.sh does not bring


def loud(source: str) -> list[str]:
    """Libraries that a source imports without ``extras.load``."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append(node.module or "")
    return [name for name in names if name.split(".")[0] in ("onnxruntime", "openvino")]


def test_nothing_here_imports_them_by_itself():
    for folder in ("mobilebert", "benchmarks", "tests", "scripts", "samples", "."):
        for path in (ROOT / folder).rglob("*.py") if folder != "." else ROOT.glob("*.py"):
            if path.parents[1] != ROOT / "tests" / "clients":  # others' environments: scripts/clients.sh silences them
                assert loud(path.read_text(encoding="utf-8")) == [], path
    assert loud("def f():\n    from onnxruntime.quantization import QuantType\n    import openvino as ov") != []


def test_the_environment_is_given_back(monkeypatch):
    monkeypatch.setenv("MB_ONE", "1")
    monkeypatch.delenv("MB_TWO", raising=False)
    with pytest.raises(KeyError), extras.environment(MB_ONE="2", MB_TWO="3"):
        assert (os.environ["MB_ONE"], os.environ["MB_TWO"]) == ("2", "3")
        os.environ["MB_THREE"] = "4"
        raise KeyError
    assert os.environ["MB_ONE"] == "1" and not {"MB_TWO", "MB_THREE"} & {*os.environ}
