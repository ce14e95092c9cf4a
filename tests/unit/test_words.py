"""Answers that end where words end."""

import json
import unicodedata

import pytest
from support.demo_server import Server
from support.table_models import save_reader

from mobilebert.data.qa.words import widen
from mobilebert.inference.predictor import Predictor


@pytest.mark.parametrize(
    ("context", "piece", "whole"),
    [
        ("Built by fishermen from the north.", "rmen from the nor", "fishermen from the north"),
        ("Built by fishermen.", "fishermen", "fishermen"),
        ("in 1843.", "84", "1843"),
        ("the 1990s", "1990", "1990"),  # the letter is another word to a reader of years
        ("km10a", "0", "10"),
        ("O'Brien's co-worker", "rie", "Brien"),
        ("a well-known one", "kno", "known"),
        ("snake_case", "cas", "case"),
        ("Zo\u00eb's", "o\u00eb", "Zo\u00eb"),
        ("re\u0301sume\u0301, she", "sume\u0301", "re\u0301sume\u0301"),
        ("re\u0301sume\u0301, she", "re\u0301", "re\u0301sume\u0301"),
        ("re\u0301sume\u0301, she", "re\u0301sume", "re\u0301sume\u0301"),
        ("co\u00adope\u200drate it", "ope", "co\u00adope\u200drate"),
        ("at the e\u0301", "at", "at"),
        ("\u0301abc", "bc", "abc"),
        ("Straße und Öl", "traß", "Straße"),
        ("Москва стоит", "оскв", "Москва"),
        ("क्रिकेट खेल", "रिके", "क्रिकेट"),  # spacing vowel signs are letters here
        ("北京大学在北京", "京大", "京大"),
        ("Ada在北京", "d", "Ada"),
        ("東京でカレーを食べる", "カレー", "カレー"),
        ("กรุงเทพมหานคร", "เทพ", "เทพ"),
        ("서울은 크다", "서울", "서울"),
        ("a\tb\nc", "b", "b"),
        ("!!", "!", "!"),
        ("a\u0301 \u0301b", " \u0301", " \u0301"),
    ],
)
def test_what_is_inside_a_word_becomes_the_word(context, piece, whole):
    start = context.index(piece)
    low, high = widen(context, start, start + len(piece))
    assert context[low:high] == whole or unicodedata.normalize("NFC", context[low:high]) == whole


def test_long_words_take_time_in_proportion():
    context = "a" + "\u0301" * 100_000 + "b"
    assert widen(context, len(context) - 1, len(context)) == (0, len(context))


CONTEXT = "The fishermen who was in it , and fisher , and unfishermen ."


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """Answers "men" by its table: a piece of two words."""
    pieces = ("fisher", "##men", "un", "##fisher")
    return save_reader(tmp_path_factory.mktemp("reader") / "model", "##men", "##men", pieces=pieces)


@pytest.fixture(scope="module")
def predictor(reader):
    return Predictor(reader)


def test_a_predictor_widens_on_request_alone(predictor):
    context = CONTEXT[:24]
    (answer,) = predictor.answer("who ?", context)
    assert (answer.text, answer.start, answer.end) == ("men", 10, 13)
    (answer,) = predictor.answer("who ?", context, whole_words=True)
    assert (answer.text, answer.start, answer.end) == ("fishermen", 4, 13)


def test_answers_that_become_the_same_are_one(predictor):
    places = [(answer.start, answer.end) for answer in predictor.answer("who ?", CONTEXT, top_k=50)]
    readings = predictor.answer("who ?", CONTEXT, top_k=50, whole_words=True)
    whole = [(answer.start, answer.end) for answer in readings]
    assert len(set(whole)) == len(whole) < len(places)
    assert set(whole) == {widen(CONTEXT, *place) for place in places} and not set(places) <= set(whole)
    assert sum(answer.probability for answer in readings) == pytest.approx(1)
    assert [answer.score for answer in readings] == sorted((answer.score for answer in readings), reverse=True)


def test_no_answer_stays_no_answer(predictor):
    options = {"allow_no_answer": True, "null_score_diff_threshold": -1e9, "whole_words": True}
    assert predictor.answer("who ?", CONTEXT, **options)[0].start == -1


@pytest.mark.parametrize(
    ("flags", "one", "many"),
    [((), "fishermen", "men"), (["--whole_words"], "fishermen", "fishermen"), (["--no-whole_words"], "men", "men")],
)
def test_the_command_widens_for_people_and_not_in_files(reader, tmp_path, run_script, flags, one, many):
    command = ["predict", "qa", "--model", reader, *flags]
    code, shown, errors = run_script(*command, "--question", "who ?", "--context_text", CONTEXT[:24], "--json")
    assert code == 0 and json.loads(shown)["answer"] == one, errors
    (tmp_path / "asked.jsonl").write_text(json.dumps({"question": "who ?", "context": CONTEXT[:24]}) + "\n")
    code, _, errors = run_script(*command, "--input", tmp_path / "asked.jsonl", "--output", tmp_path / "answers.jsonl")
    assert code == 0 and json.loads((tmp_path / "answers.jsonl").read_text())["answer"] == many, errors


def test_the_page_shows_whole_words(reader):
    with Server([reader]) as server:
        status, result = server.ask(passage=CONTEXT[:24])
    texts = [answer["text"] for answer in result["answers"]]
    assert status == 200 and texts[0] == "fishermen" and len(set(texts)) == len(texts)
    assert set(" ".join(texts).split()) <= set(CONTEXT.split())  # no piece of a word
