"""Pythons and systems that this was not made for: one line, and not a traceback, from every script."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mobilebert.base import early

ROOT = Path(__file__).parents[2]
SCRIPTS = [
    *sorted(path.name for path in ROOT.glob("*.py")),
    "samples/make_checkpoint.py",
    "samples/squad/generate.py",
    *sorted(f"benchmarks/{path.name}" for path in (ROOT / "benchmarks").glob("*.py") if "def main" in path.read_text()),
]
# What another Python reads before it is refused.
READ_FIRST = ["mobilebert/__init__.py", "mobilebert/base/__init__.py", "mobilebert/base/early.py"]
# A stand-in for another interpreter: this one, which gives another version as its own.
PRETEND = """
import runpy, sys
sys.version_info = (*map(int, sys.argv[1].split(".")), 0, "final", 0)
del sys.orig_argv  # there is none before 3.10
if sys.argv[2] == "-m":
    sys.argv = ["-m", *sys.argv[4:]]
    runpy.run_module("mobilebert", run_name="__main__")
else:
    sys.argv = sys.argv[2:]
    runpy.run_path(sys.argv[0], run_name="__main__")
"""


def pretend(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-S", "-c", PRETEND, *words], cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize("version", ["3.9", "3.14"])
def test_another_python_is_one_line(version):
    """``-S``: without the packages of the environment, as that other Python is."""
    assert len(SCRIPTS) > 10
    for words in [*([name] for name in SCRIPTS), ["-m", "mobilebert"], ["-m", "mobilebert", "squad"]]:
        ended = pretend(version, *words)
        assert ended.returncode == 2, (words, ended.stderr)
        said = f"error: this is Python {version}, and MobileBERT needs 3.10 to 3.13; bash scripts/setup.sh makes an "
        assert ended.stderr.startswith(said) and ended.stderr.count("\n") == 1


@pytest.mark.parametrize("name", [*READ_FIRST, *SCRIPTS])
def test_older_pythons_can_read_that_far(name):
    ast.parse((ROOT / name).read_text(), feature_version=(3, 8 if name in SCRIPTS else 6))


def test_that_check_would_notice():
    with pytest.raises(SyntaxError):
        ast.parse("match a:\n    case 1: pass", feature_version=(3, 9))


@pytest.mark.parametrize(("what", "said"), [("sys.version_info = (3, 14)", "3.14"), ("os.name = 'nt'", "WSL 2")])
def test_a_program_that_imports_the_package_gets_an_exception(what, said):
    program = f"import os, sys\n{what}\ntry:\n    import mobilebert\nexcept ImportError as error:\n    print(error)"
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0 and said in ended.stdout and ended.stdout.count("\n") == 1


def test_the_pythons_are_the_same_everywhere():
    oldest, newest = early.OLDEST[1], early.NEWEST[1]
    text = (ROOT / "pyproject.toml").read_text()
    assert f'requires-python = ">=3.{oldest},<3.{newest + 1}"' in text and f"python_version < '3.{newest + 1}'" in text
    minors = range(oldest, newest + 1)
    assert f"^3\\.({'|'.join(map(str, minors))})$" in (ROOT / "scripts/_python.sh").read_text()
    assert f"PYTHONS = [{', '.join(f'(3, {minor})' for minor in minors)}]" in (ROOT / "scripts/lock.py").read_text()
    matrix = re.search(r"python: \[(.*)\]", (ROOT / ".github/workflows/ci.yml").read_text())[1]
    assert matrix == ", ".join(f'"3.{minor}"' for minor in minors)
