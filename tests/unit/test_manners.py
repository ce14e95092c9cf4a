"""What every script says for itself: --help at once and without set-up, --version, misspelt flags; and the Makefile."""

import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mobilebert.commands import VERBS
from mobilebert.commands.train import KINDS

ROOT = Path(__file__).parents[2]
SHELL = sorted(path.name for path in (ROOT / "scripts").glob("[a-z]*.sh"))
TOP = sorted(path.name for path in ROOT.glob("*.py"))
MODULES = sorted(
    path.parent.name if path.stem == "__init__" else path.stem
    for path in (ROOT / "mobilebert" / "commands").rglob("*.py")
    if "\ndef run(" in path.read_text()
)
HEAVY = (
    "paddle", "torch", "transformers", "matplotlib", "onnx", "onnxruntime", "openvino", "visualdl", "sklearn", "scipy",
    "tokenizers", "huggingface_hub",
)  # fmt: skip
HELP_SECONDS = 2.0  # of the processor: a busy machine must not fail a test
SHELL_HELP_SECONDS = 1.0
CALLS = [*((name,) for name in TOP), ("predict.py", "qa"), ("predict.py", "classify")]
AS_MAIN = """
import runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    print("IMPORTED", *sys.modules)
"""


def python(*words):
    return subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=120)


def cpu_seconds() -> float:
    """Of all child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize("call", CALLS, ids=" ".join)
def test_help_is_complete_and_there_at_once(call):
    begin = cpu_seconds()
    result = python("-c", AS_MAIN, *call, "--help")
    assert cpu_seconds() - begin < HELP_SECONDS
    assert result.returncode == 0 and result.stderr == ""
    text, imported = result.stdout.split("IMPORTED")
    assert [name for name in HEAVY if name in imported.split()] == []
    command = " ".join(("python", *call))
    assert text.startswith(f"usage: {command} ")
    assert f"{command} " in text.split("\nexamples:\n")[1]
    assert [line for line in option_lines(text) if not re.search(r"\S {2,}\S", line)] == []  # all are explained
    if call != ("predict.py",):  # it has commands, and they the options
        assert "(default: " in text
        groups = re.findall(r"^\w.*:$", text, re.MULTILINE)
        assert len(groups) > 3, groups  # not only options and examples


def option_lines(text: str) -> list[str]:
    """Each option of a help text with its explanation in one line."""
    return [re.sub(r"\n {10,}", "  ", option) for option in re.findall(r"^  -\S.*(?:\n {10,}.*)*", text, re.MULTILINE)]


def test_options_without_explanation_and_heavy_imports_would_be_noticed(tmp_path):
    script = tmp_path / "bad.py"
    script.write_text(
        "import matplotlib\nfrom mobilebert.base import cli\nparser = cli.ArgumentParser('Bad.', '  bad')\n"
        "parser.add_argument('--mute', type=int)\nparser.parse_args()\n"
    )
    text, imported = python("-c", AS_MAIN, str(script), "--help").stdout.split("IMPORTED")
    assert "matplotlib" in imported.split()
    assert [line for line in option_lines(text) if not re.search(r"\S {2,}\S", line)] == ["  --mute MUTE"]


@pytest.mark.parametrize("script", TOP)
def test_near_misses(script):
    missed = python(script, "--verison")
    assert missed.returncode == 2 and missed.stdout == ""
    assert missed.stderr == "error: unknown argument --verison; did you mean --version?\n"


def test_every_command_has_a_script_and_a_console_command():
    scripts = (ROOT / "pyproject.toml").read_text().split("[project.scripts]\n")[1].split("\n\n")[0]
    commands = dict(re.findall(r'^(\S+) = "mobilebert\.commands\.(\w+):run"$', scripts, re.MULTILINE))
    kinds = {module.removeprefix("mobilebert.commands.") for module, _ in KINDS.values()}  # of mobilebert train
    assert kinds <= {*MODULES}
    assert {*commands.values()} == {*MODULES} - (kinds - {*commands.values()})
    assert all(name == f"mobilebert-{module.replace('_', '-')}" for name, module in commands.items())
    reached = {re.search(r"from mobilebert\.commands\.(\w+) import main", (ROOT / name).read_text())[1] for name in TOP}
    # These have a shell script, or are called as python -m mobilebert doctor.
    assert reached | {"bulk", "demo", "doctor", "pretrain_data", "train"} == {*MODULES}
    verbs = {verb: module.removeprefix("mobilebert.commands.") for verb, (module, _) in VERBS.items()}
    assert verbs == {name.removeprefix("mobilebert-"): module for name, module in commands.items()} | {
        "download": "mobilebert.base.hub"
    }
    assert 'mobilebert = "mobilebert.__main__:run"\n' in scripts


def bare_copy(place: Path, setup: str) -> Path:
    """The scripts alone, without an environment; ``setup`` stands in for scripts/setup.sh."""
    shutil.copytree(ROOT / "scripts", place / "scripts")
    (place / "scripts" / "setup.sh").write_text(setup)
    return place


@pytest.mark.parametrize("script", SHELL)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_shell_help_needs_no_environment(script, flag, tmp_path):
    place = bare_copy(tmp_path, "#!/usr/bin/env bash\necho called >called\nexit 1\n")
    if script == "setup.sh":
        shutil.copy(ROOT / "scripts" / script, place / "scripts" / script)
    before = sorted(tmp_path.rglob("*"))
    begin = cpu_seconds()
    result = subprocess.run(["bash", f"scripts/{script}", flag], cwd=place, capture_output=True, text=True)
    assert cpu_seconds() - begin < SHELL_HELP_SECONDS
    assert result.returncode == 0 and result.stderr == ""
    assert f"bash scripts/{script}" in result.stdout and not re.search(r"^#|set -euo", result.stdout, re.MULTILINE)
    assert sorted(tmp_path.rglob("*")) == before  # nothing set up, nothing written


# Some hand their arguments to pytest.
@pytest.mark.parametrize("script", [name for name in SHELL if name not in ("test.sh", "coverage.sh", "fuzz.sh")])
def test_an_unknown_first_flag_is_refused_before_anything_is_written(script, tmp_path):
    place = bare_copy(tmp_path, "#!/usr/bin/env bash\n")
    if script == "setup.sh":
        shutil.copy(ROOT / "scripts" / script, place / "scripts" / script)
    for folder in ("mobilebert", "benchmarks", "samples"):
        (place / folder).symlink_to(ROOT / folder)
    for name in TOP:
        (place / name).symlink_to(ROOT / name)
    (place / ".venv" / "bin").mkdir(parents=True)
    (place / ".venv" / "bin" / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (place / ".venv" / "bin" / "python").chmod(0o755)
    before = sorted(tmp_path.rglob("*"))
    environment = {key: value for key, value in os.environ.items() if key not in ("OUTPUT", "RUNS", "GPUS", "NPROC")}
    environment["PYTHONPATH"] = str(ROOT)  # a script below a link is where the link points
    result = subprocess.run(
        ["bash", f"scripts/{script}", "--no_such_flag"], cwd=place, env=environment, capture_output=True, text=True
    )
    assert result.returncode == 2
    if script != "lint.sh":  # ruff has words of its own
        assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1, result.stderr
        assert re.search(r"--no_such_flag|which (task|table|text|rows|files?)", result.stderr)
        assert "--help" in result.stderr
    assert sorted(tmp_path.rglob("*")) == before


def targets() -> dict[str, str]:
    """Target -> its line of help."""
    return dict(re.findall(r"^([a-z]+):.*## (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE))


def make(*words):
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    return subprocess.run(["make", "--no-print-directory", *words], cwd=ROOT, capture_output=True, text=True)


def test_make_alone_lists_the_targets():
    result = make()
    lines = result.stdout.splitlines()
    assert result.returncode == 0 and len(lines) == len(targets()) > 6
    for (target, explanation), line in zip(targets().items(), lines, strict=True):
        assert line.split(maxsplit=2) == ["make", target, explanation]


@pytest.mark.parametrize("target", [name for name in targets() if name != "help"])
def test_a_target_is_one_script_and_passes_arguments_on(target):
    result = make("-n", target, "ARGS=--one two")
    assert result.returncode == 0, result.stderr
    script = re.fullmatch(r"bash (scripts/\w+\.sh) --one two\n", result.stdout)
    assert script and (ROOT / script[1]).is_file(), result.stdout


def test_an_unknown_target_is_refused():
    assert make("-n", "no-such-target").returncode != 0
