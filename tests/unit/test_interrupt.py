"""Signals: one line, the code of a shell, nothing temporary left; also where an import swallows exceptions."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mobilebert.base import early, interrupt

ROOT = Path(__file__).parents[2]
# Works until it is told to stop; sends itself a signal in the midst of its work, or of an import that swallows all.
PROGRAM = """
import os, signal, sys
from pathlib import Path
from mobilebert.base import cli, files

def main():
    with files.atomic_path(Path(sys.argv[1]) / "x") as temporary:
        temporary.write_text("half")
        if sys.argv[3] == "import":
            import swallowing
        else:
            os.kill(os.getpid(), int(sys.argv[2]))
        print("went on")

cli.run(main)
"""
SWALLOWING = """
import os, signal, sys
for _ in range(2):
    try:
        os.kill(os.getpid(), int({}))
        for _ in range(1000): pass
    except BaseException:
        pass
"""


def at_a_terminal() -> None:
    """In the child: none of the signals is ignored, as they may be where the tests run in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def start(*command, path: Path = ROOT) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": f"{path}{os.pathsep}{ROOT}", "MOBILEBERT_QUIET": "1"}
    return subprocess.run(
        [sys.executable, *map(str, command)], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60,
        preexec_fn=at_a_terminal,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
@pytest.mark.parametrize("where", ["work", "import"])
def test_a_signal_is_one_line_and_nothing_is_left(tmp_path, name, where):
    number = int(getattr(signal, name))
    (tmp_path / "swallowing.py").write_text(SWALLOWING.format("sys.argv[2]"))
    (tmp_path / "out").mkdir()
    done = start("-c", PROGRAM, tmp_path / "out", number, where, path=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, "", f"interrupted ({name})\n")
    assert os.listdir(tmp_path / "out") == []


@pytest.mark.parametrize("module", ["difflib", "paddle"])
@pytest.mark.parametrize("command", [["convert.py"], ["-m", "mobilebert", "convert"]])
def test_ctrl_c_during_the_imports_of_a_command_is_one_line(tmp_path, module, command):
    (tmp_path / f"{module}.py").write_text(SWALLOWING.format("signal.SIGINT"))
    done = start(*command, path=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted (SIGINT)\n")


def test_every_script_at_the_top_is_known_as_a_command(monkeypatch):
    scripts = {path.name for path in ROOT.glob("*.py") if "cli.run" in path.read_text()}
    assert set(early.SCRIPTS) == scripts
    for called, words, expected in (
        (str(ROOT / "convert.py"), [], True),
        ("/usr/bin/mobilebert-export", [], True),
        ("-m", ["python", "-m", "mobilebert.base.hub", "a"], True),
        ("-m", ["python", "-m", "pytest", "mobilebert"], False),
        ("/somewhere/else/convert.py", [], False),
        (str(ROOT / "mine.py"), [], False),
        ("mobilebert-mine.py", [], False),
        ("", [], False),
    ):
        monkeypatch.setattr(sys, "argv", [called, *words[3:]])
        monkeypatch.setattr(sys, "orig_argv", words)
        assert early.is_command() is expected, called


def test_a_program_that_uses_the_package_keeps_its_signals():
    done = start("-c", "import signal, mobilebert, mobilebert.base.cli; print(signal.getsignal(signal.SIGINT))")
    assert "default_int_handler" in done.stdout


def test_paddle_does_not_take_sigterm_away(tmp_path):
    (tmp_path / "out").mkdir()
    program = PROGRAM.replace("def main():", "def main():\n    import paddle")
    done = start("-c", program, tmp_path / "out", int(signal.SIGTERM), "work")
    assert done.returncode == 143 and done.stderr.endswith("interrupted (SIGTERM)\n") and "Fatal" not in done.stderr
    assert os.listdir(tmp_path / "out") == []


def test_what_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        handlers = interrupt.take_over(interrupt.handle)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN and signal.SIGHUP not in handlers
        interrupt.give_back(handlers)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_renames_that_belong_together_are_not_cut(monkeypatch):
    monkeypatch.setattr(interrupt, "received", 0)
    handlers = interrupt.take_over(interrupt.handle)
    steps = []
    try:
        with pytest.raises(SystemExit) as ended, interrupt.held():
            os.kill(os.getpid(), signal.SIGTERM)
            steps.append("the second rename")
        assert ended.value.code == 143 and steps
    finally:
        interrupt.give_back(handlers)


def test_scripts_of_the_shell_end_with_ctrl_c():
    assert re.search(r"^trap .*130.* INT$", (ROOT / "scripts/_common.sh").read_text(), re.MULTILINE)
