"""What is printed of strangers' names and texts: on one line, without what steers a terminal, and not at any length."""

import logging

import pytest

from mobilebert.base import cli
from mobilebert.base.errors import InputError, one_line, shorten
from mobilebert.commands.predict import view
from mobilebert.convert.convert import _count_and_names

STEERING = "a\x1b[2Jb\x9b31mc\nd\re\u202ef\0g\u2066h\u2028i\x7fj"
ESCAPED = r"a\x1b[2Jb\x9b31mc\nd\re\u202ef\x00g\u2066h\u2028i\x7fj"


def test_what_steers_a_terminal_is_escaped_and_letters_of_all_scripts_stay():
    assert one_line(STEERING) == ESCAPED
    assert one_line("Käse 日本 🙂 ﷺ") == "Käse 日本 🙂 ﷺ"
    assert one_line("\ud800") == r"\ud800"
    assert one_line(ESCAPED) == ESCAPED


@pytest.mark.parametrize("text", ["x" * 5000, "word " * 5000, "x" * 10**7], ids=["a word", "many words", "ten million"])
@pytest.mark.parametrize("form", ["models/{}/config.json: no such file; remedy", "a.json: no column '{}'; remedy"])
def test_a_long_text_loses_its_middle_and_the_remedy_stays(form, text):
    said = str(InputError(form.format(text)))
    assert len(said) <= 1000 and said.endswith("; remedy") and " ... " in said
    assert said.startswith(form.split("{}")[0])
    if "word" not in text or "'" in form:
        assert said.count("x") + said.count("word") * 5 <= 310


def test_what_is_short_is_not_touched():
    message = "/a/path/of/some length/config.json: broken JSON at line 2 column 7 (x); is the file complete?"
    assert str(InputError(message)) == message
    assert shorten("x" * 300) == "x" * 300 and len(shorten("x" * 301)) <= 300


def fail(error):
    def main():
        raise error

    return main


@pytest.mark.parametrize("error", [InputError(STEERING), OSError(28, "No space left on device", STEERING)])
def test_an_error_is_one_harmless_line(error, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.run(fail(error))
    said = capsys.readouterr().err
    assert ended.value.code == 2 and said.startswith(f"error: {ESCAPED}") and said.count("\n") == 1


def test_so_are_flags_notices_and_logs(capsys, monkeypatch):
    parser = cli.ArgumentParser("x")
    parser.add_argument("--count", type=int)
    for words in (["--count", STEERING], [f"--{STEERING.replace(' ', '')}"], ["--count", "1" * 6000]):
        with pytest.raises(SystemExit):
            parser.parse_args(words)
        said = capsys.readouterr().err
        assert said.startswith("error: ") and said[:-1].isprintable() and len(said) < 500
    monkeypatch.setenv("MOBILEBERT_QUIET", "0")
    cli.notice(STEERING)
    cli.say(STEERING)
    shown = capsys.readouterr()
    assert shown.err == shown.out == ESCAPED + "\n"
    logger = logging.getLogger("mobilebert")
    monkeypatch.setattr(logger, "handlers", [])
    monkeypatch.setattr(logger, "propagate", logger.propagate)
    cli.log_to_console()
    logging.getLogger("mobilebert.data").warning("%s: left out", STEERING)
    assert capsys.readouterr().out == f"{ESCAPED}: left out\n"


def test_names_of_tensors_and_texts_of_answers_are_shown_harmlessly():
    assert view.printable(STEERING).isprintable()
    assert one_line(_count_and_names([STEERING])) == f"1 ({ESCAPED})"


@pytest.mark.parametrize("value", ["9" * 30, "-" + "9" * 30])
def test_a_number_that_no_library_takes_is_refused(value, capsys):
    parser = cli.ArgumentParser("x")
    parser.add_argument("--count", type=int)
    parser.add_argument("--seed", type=cli.seed)
    for flag in ("--count", "--seed"):
        with pytest.raises(SystemExit):
            parser.parse_args([f"{flag}={value}"])
        assert f"argument {flag}: expected a whole number of 64 bits" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        parser.parse_args(["--seed=-1"])
    assert capsys.readouterr().err == "error: argument --seed: expected at least 0, got -1\n"
    assert parser.parse_args(["--count=-7", "--seed=7"]).count == -7
