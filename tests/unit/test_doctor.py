"""``mobilebert doctor``: what to paste into a question, and nothing that should not be pasted."""

import os

import pytest

from mobilebert.commands import doctor


@pytest.fixture
def screen(capsys, monkeypatch):
    """Runs the command; returns its exit code and its lines by name."""
    monkeypatch.setattr("sys.argv", ["doctor"])
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("MOBILEBERT_MIRROR", "mirror")
    monkeypatch.setenv("MOBILEBERT_QUIET", "1")  # set by the command, to be put back

    def run():
        code = doctor.main()
        output = capsys.readouterr().out
        assert "hf_secret" not in output
        return code, {line[:18].strip(): line[19:] for line in output.splitlines()}

    return run


def test_one_screen_says_what_there_is(screen):
    code, lines = screen()
    assert code == 0 and len(lines) <= 25
    assert lines["paddle"].startswith("3.") and "device cpu" in lines["paddle"]
    assert "GFLOP/s of about" in lines["matrix products"]
    assert lines["encoder layer"].startswith(("in C", "in Python"))
    assert lines["extra [deploy]"].startswith("onnx 1.")
    assert "MOBILEBERT_MIRROR=mirror" in lines["environment"]
    assert "writable" in lines["working folder"]


def test_the_home_folder_is_not_told(screen, monkeypatch):
    monkeypatch.setenv("HOME", os.path.dirname(os.getcwd()))
    _, lines = screen()
    assert lines["working folder"].startswith("~/")


def test_without_paddle_it_says_what_to_install(screen, monkeypatch):
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    code, lines = screen()
    assert code == 1 and lines["paddle"].startswith("paddle is not installed: pip install '.[cpu]'")
    assert "matrix products" not in lines
