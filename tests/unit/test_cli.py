import errno
import subprocess
import sys

import pytest

from mobilebert import __version__, cli
from mobilebert.errors import InputError


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


def test_run_passes_the_exit_code_on():
    assert exit_of(lambda: cli.run(lambda: None)) == 0
    assert exit_of(lambda: cli.run(lambda: 1)) == 1


def raise_(error: BaseException):
    raise error


def test_bad_input_is_one_line(capsys):
    assert exit_of(lambda: cli.run(lambda: raise_(InputError("x.json: no such file")))) == 2
    assert capsys.readouterr().err == "error: x.json: no such file\n"


def test_a_full_disk_is_one_line(capsys):
    error = OSError(errno.ENOSPC, "No space left on device", "out/x.bin")
    assert exit_of(lambda: cli.run(lambda: raise_(error))) == 2
    said = "error: out/x.bin: No space left on device; free some space or choose another place\n"
    assert capsys.readouterr().err == said


def test_our_own_mistakes_keep_their_traceback():
    for error in (KeyError("x"), OSError(errno.EBADF, "Bad file descriptor")):
        with pytest.raises(type(error)):
            cli.run(lambda error=error: raise_(error))


def test_ctrl_c_is_130():
    assert exit_of(lambda: cli.run(lambda: raise_(KeyboardInterrupt()))) == 130


def test_a_closed_pipe_ends_quietly():
    program = "from mobilebert import cli\ncli.run(lambda: [print('x' * 1000) for _ in range(1000)] and None)"
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    child.stdout.read(10)
    child.stdout.close()
    assert child.stderr.read() == b""
    child.stderr.close()
    assert child.wait() == 141
