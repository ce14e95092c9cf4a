import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mobilebert import __version__
from mobilebert.base import cli, extras
from mobilebert.base.errors import InputError

ROOT = Path(__file__).parents[2]


def parser() -> cli.ArgumentParser:
    made = cli.ArgumentParser("Counts sheep.", "  python count.py --sheep 3")
    made.add_argument("--sheep", type=int, default=7, help="how many")
    made.add_argument("--max_seq_length", type=int, help="in tokens")
    made.add_argument("--loud", action="store_true", help="bleat")
    return made


def exit_of(call) -> int:
    with pytest.raises(SystemExit) as stopped:
        call()
    return stopped.value.code


def test_help_shows_examples_and_only_real_defaults(capsys):
    assert exit_of(lambda: parser().parse_args(["--help"])) == 0
    text = capsys.readouterr().out
    assert "examples:\n  python count.py --sheep 3" in text
    assert "how many (default: 7)" in text
    assert "None" not in text
    assert "False" not in text


def test_version(capsys):
    assert exit_of(lambda: parser().parse_args(["--version"])) == 0
    assert capsys.readouterr().out == f"mobilebert-paddle {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--max_sequence_length", "3"], "unknown argument --max_sequence_length; did you mean --max_seq_length?"),
        (["--shep=3"], "unknown argument --shep; did you mean --sheep?"),
        (["--max", "3"], "unknown argument --max; see --help"),
        (["flock"], "unknown argument flock; see --help"),
        (["--sheep", "many"], "argument --sheep: invalid int value: 'many'"),
    ],
)
def test_a_wrong_argument_is_one_line(arguments, said, capsys):
    assert exit_of(lambda: parser().parse_args(arguments)) == 2
    shown = capsys.readouterr()
    assert shown.err == f"error: {said}\n"
    assert shown.out == ""


def parser_with_commands() -> cli.ArgumentParser:
    made = cli.ArgumentParser("Keeps animals.", "  %(prog)s feed --hay 3", prog="python farm.py")
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")
    feed = commands.add_parser("feed", help="give them food", description="Feeds.", examples="  %(prog)s --hay 3")
    feed.add_argument("--hay", type=int, default=1, help="kilograms")
    feed.add_argument("--animal", choices=("sheep", "horses"), default="sheep", help="whom")
    count = commands.add_parser("count", help="count them", description="Counts.", examples="  %(prog)s")
    count.add_argument("--loudly", action="store_true", help="bleat")
    return made


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fed"], "unknown command fed; did you mean feed?"),
        (["milk"], "unknown command milk; expected feed or count"),
        ([], "the following arguments are required: COMMAND"),
        (["feed", "--hey", "3"], "unknown argument --hey; did you mean --hay?"),
        (["count", "--hay", "3"], "unknown argument --hay; see --help"),
        (["--hay", "3", "feed"], "unknown argument --hay; see --help"),
        (["feed", "3"], "unknown argument 3; see --help"),
        (
            ["feed", "--animal", "sheeps"],
            "argument --animal: expected one of sheep, horses, got 'sheeps'; did you mean sheep?",
        ),
        (["feed", "--animal", "owls"], "argument --animal: expected one of sheep, horses, got 'owls'"),
    ],
)
def test_commands_and_choices_have_near_misses_too(arguments, said, capsys):
    assert exit_of(lambda: parser_with_commands().parse_args(arguments)) == 2
    shown = capsys.readouterr()
    assert shown.err == f"error: {said}\n"
    assert shown.out == ""


def test_a_command_has_its_own_help(capsys):
    parsed = parser_with_commands().parse_args(["feed", "--hay", "5"])
    assert (parsed.command, parsed.hay, parsed.animal) == ("feed", 5, "sheep")
    assert exit_of(lambda: parser_with_commands().parse_args(["feed", "--help"])) == 0
    text = capsys.readouterr().out
    assert text.startswith("usage: python farm.py feed [options]\n\nFeeds.\n")
    assert "kilograms (default: 1)" in text and "examples:\n  python farm.py feed --hay 3" in text
    assert exit_of(lambda: parser_with_commands().parse_args(["count", "--version"])) == 0


def test_a_misspelt_flag_is_said_before_what_is_therefore_missing(capsys):
    made = parser()
    made.add_argument("--output_dir", required=True)
    assert exit_of(lambda: made.parse_args(["--output_dri", "x"])) == 2
    assert capsys.readouterr().err == "error: unknown argument --output_dri; did you mean --output_dir?\n"


def test_values_that_look_like_flags_are_left_alone():
    made = parser()
    made.add_argument("texts", nargs="*")
    made.add_argument("--score", type=float)
    parsed = made.parse_args(["--score", "-1.5", "--", "--not-a-flag"])
    assert (parsed.score, parsed.texts) == (-1.5, ["--not-a-flag"])
    assert made.parse_args(["-- a dash begins this text"]).texts == ["-- a dash begins this text"]


def test_the_examples_say_how_the_script_was_called(monkeypatch, capsys):
    for called, shown in (("convert.py", "python convert.py"), ("/usr/bin/mobilebert-convert", "mobilebert-convert")):
        monkeypatch.setattr(sys, "argv", [called])
        made = cli.ArgumentParser("Converts.", "  %(prog)s --src here")
        assert exit_of(lambda made=made: made.parse_args(["--help"])) == 0
        text = capsys.readouterr().out
        assert f"usage: {shown} [options]" in text and f"\n  {shown} --src here" in text


def test_a_module_that_is_run_says_so():
    command = [sys.executable, "-m", "mobilebert.base.hub", "--help"]
    text = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout
    assert text.startswith("usage: python -m mobilebert.base.hub ")
    assert "\n  python -m mobilebert.base.hub google/" in text


def test_run_passes_the_exit_code_on():
    assert exit_of(lambda: cli.run(lambda: None)) == 0
    assert exit_of(lambda: cli.run(lambda: 1)) == 1


def raise_(error: BaseException):
    raise error


def test_bad_input_is_one_line(capsys):
    assert exit_of(lambda: cli.run(lambda: raise_(InputError("x.json: no such file")))) == 2
    assert capsys.readouterr().err == "error: x.json: no such file\n"


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("give `do_train`, `do_eval` or `do_predict`", "give --do_train, --do_eval or --do_predict"),
        ("`max_seq_length=900`: expected 4 to 512", "--max_seq_length 900: expected 4 to 512"),
        ("`text_column=a b c`: expected two", "--text_column a b c: expected two"),
        ("leave out `head=`", "leave out --head"),
        ("my `notes`.txt, `Label`, `a b`, `x.json`, ``, `", "my --notes.txt, `Label`, `a b`, `x.json`, ``, `"),
    ],
)
def test_arguments_in_backquotes_become_flags(message, shown, capsys):
    assert exit_of(lambda: cli.run(lambda: raise_(InputError(message)))) == 2
    assert capsys.readouterr().err == f"error: {shown}\n"


def test_a_full_disk_is_one_line(capsys):
    error = OSError(errno.ENOSPC, "No space left on device", "out/x.bin")
    assert exit_of(lambda: cli.run(lambda: raise_(error))) == 2
    said = "error: out/x.bin: No space left on device; free some space or choose another place\n"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.EDQUOT, "free some space or choose another place"),
        (errno.EFBIG, "raise the limit on a file's size (ulimit -f) or choose another place"),
        (errno.EROFS, "choose another place"),
        (errno.ENOTDIR, "choose another name: a file is where a folder should be"),
        (errno.ENAMETOOLONG, "choose a shorter name"),
        (errno.ENOENT, "was it removed meanwhile?"),
        (errno.EIO, "is the disk damaged, or gone?"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line(number, advice, capsys):
    error = OSError(number, os.strerror(number), "out/x")
    assert exit_of(lambda: cli.run(lambda: raise_(error))) == 2
    assert capsys.readouterr().err == f"error: out/x: {os.strerror(number)}; {advice}\n"


def test_output_that_finds_no_space_is_one_line():
    program = "from mobilebert.base import cli\ncli.run(lambda: print('x'))"
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr == "error: No space left on device; free some space or choose another place\n"


def test_a_missing_extra_is_named(capsys):
    for module, extra in (("sklearn.metrics", "train"), ("onnxruntime", "deploy"), ("transformers", "torch")):
        error = ModuleNotFoundError(f"No module named '{module}'", name=module)
        assert exit_of(lambda error=error: cli.run(lambda: raise_(error))) == 2
        name = module.split(".")[0]
        advice = f"pip install '.[{extra}]' in the repository's folder"
        assert capsys.readouterr().err == f"error: {name} is not installed: {advice}\n"
    advice = "pip install '.[cpu]' in the repository's folder; for a GPU, "
    assert str(extras.missing("paddle")).startswith(f"paddle is not installed: {advice}")


def test_every_extra_is_one_of_the_package():
    text = (ROOT / "pyproject.toml").read_text()
    table = text.split("[project.optional-dependencies]\n")[1].split("\n[")[0]
    assert set(extras.EXTRAS) < set(re.findall(r"^(\w+) = ", table, re.MULTILINE))


def test_our_own_mistakes_keep_their_traceback():
    for error in (
        KeyError("x"),
        OSError(errno.EBADF, "Bad file descriptor"),
        ModuleNotFoundError("No module named 'mobilebert.no'", name="mobilebert.no"),
    ):
        with pytest.raises(type(error)):
            cli.run(lambda error=error: raise_(error))


def test_ctrl_c_is_130(capsys):
    assert exit_of(lambda: cli.run(lambda: raise_(KeyboardInterrupt()))) == 130
    assert capsys.readouterr().err == "interrupted (SIGINT)\n"


def test_a_closed_pipe_ends_quietly():
    program = "from mobilebert.base import cli\ncli.run(lambda: [print('x' * 1000) for _ in range(1000)] and None)"
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    child.stdout.read(10)
    child.stdout.close()
    assert child.stderr.read() == b""
    child.stderr.close()
    assert child.wait() == 141
