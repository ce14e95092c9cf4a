"""SQuAD files read and checked. Features, windows and labels: test_squad_features.py."""

import copy
import gzip
import json
import logging
import math
import os
from pathlib import Path

import pytest
from support.texts import letters_tokenizer

from mobilebert.base.errors import InputError
from mobilebert.data.qa.features import load_dev_features, load_train_features, read_squad
from mobilebert.data.qa.metrics import evaluate_v2
from mobilebert.data.qa.squad_json import is_labelled

CONTEXT = " The quick fox\u00a0jumps.\n"
GOOD = {
    "version": "1.1",
    "data": [
        {
            "title": "Fox",
            "paragraphs": [
                {
                    "context": CONTEXT,
                    "qas": [
                        {"id": "q1", "question": "  who jumps ?", "answers": [{"text": "fox", "answer_start": 11}]},
                        {
                            "id": "q2",
                            "question": "what ?",
                            "answers": [
                                {"text": "fox\u00a0jumps", "answer_start": 11},
                                {"text": "jumps", "answer_start": 15},
                            ],
                        },
                    ],
                }
            ],
        }
    ],
}


def written(tmp_path, content) -> Path:
    path = tmp_path / "file.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def changed(change):
    """A copy of the good file after ``change(paragraph)``."""
    content = copy.deepcopy(GOOD)
    change(content["data"][0]["paragraphs"][0])
    return content


def test_reading_keeps_every_character(tmp_path):
    examples, dropped = read_squad(written(tmp_path, GOOD))
    assert dropped == 0 and [example.id for example in examples] == ["q1", "q2"]
    assert examples[0].context == CONTEXT and examples[0].context is examples[1].context
    assert examples[1].answers == ("fox\u00a0jumps", "jumps") and examples[1].answer_starts == (11, 15)
    packed = tmp_path / "file.json.gz"
    packed.write_bytes(gzip.compress(b"\xef\xbb\xbf" + json.dumps(GOOD).encode()))
    assert read_squad(packed)[0] == examples


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p.pop("qas"), "data[0].paragraphs[0].qas is missing; expected SQuAD's structure"),
        (lambda p: p.update(qas={}), "data[0].paragraphs[0].qas is no list"),
        (lambda p: p.update(context=" \n"), "data[0].paragraphs[0].context is empty"),
        (lambda p: p.update(context=3), "data[0].paragraphs[0].context is 3, expected a text"),
        (lambda p: p.update(qas=["x"]), "data[0].paragraphs[0].qas[0] is no object"),
        (lambda p: p["qas"][1].pop("id"), "data[0].paragraphs[0].qas[1].id is missing"),
        (lambda p: p["qas"][1].pop("question"), "qas[1].question is missing"),
        (lambda p: p["qas"][1].pop("answers"), "qas[1].answers is missing"),
        (
            lambda p: p["qas"][1].update(answers=None),
            "qas[1].answers is null, expected a list ([] for a question without",
        ),
        (lambda p: p["qas"][1].update(answers={"text": "fox"}), "qas[1].answers is no list"),
        (lambda p: p["qas"][0]["answers"].append("fox"), "qas[0].answers[1].text is missing"),
        (lambda p: p["qas"][0]["answers"][0].pop("text"), "answers[0].text is missing"),
        (
            lambda p: p["qas"][0]["answers"][0].update(answer_start="11"),
            "answers[0].answer_start is '11', expected a n",
        ),
        (lambda p: p["qas"][0]["answers"][0].update(answer_start=True), "answer_start is True"),
        (lambda p: p["qas"][0].update(question="\ud800?"), "qas[0].question has an invalid character at 0"),
        (lambda p: p["qas"][1].update(id="q1"), "1 duplicate question ids (first: q1)"),
        (lambda p: p["qas"][1].update(answers=[]), "1 of 2 questions have no answer (first: q2); for SQuAD v2.0 set"),
        (lambda p: p.update(qas=[]), "has no question"),
        (
            lambda p: p["qas"][0]["answers"][0].update(answer_start=10),
            "1 of 2 questions have an answer that is not in the context at its answer_start (first: q1); repair them",
        ),
        (lambda p: p["qas"][0]["answers"][0].update(answer_start=-12), "not in the context at its answer_start"),
        (lambda p: p["qas"][1]["answers"][1].update(text=""), "not in the context at its answer_start (first: q2)"),
        (lambda p: p["qas"][1]["answers"][0].update(text="fox jumps"), "at its answer_start (first: q2)"),
    ],
)
def test_bad_files(tmp_path, change, message):
    path = written(tmp_path, changed(change))
    with pytest.raises(InputError) as raised:
        read_squad(path)
    assert message in str(raised.value) and str(raised.value).startswith(f"{path}: ") and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"data": [', "broken JSON at line 1 column 11"),
        ("[]", "the file is no object"),
        ("{}", "data is missing"),
        ('{"data": [1]}', "data[0] is no object"),
        ('{"data": []}', "has no question"),
    ],
)
def test_files_of_another_kind(tmp_path, content, message):
    with pytest.raises(InputError) as raised:
        read_squad(written(tmp_path, content))
    assert message in str(raised.value)


ROW = '{"id": "a", "question": "Who?", "context": "Ann", "answers": {"text": ["Ann"], "answer_start": [0]}}'


@pytest.mark.parametrize(
    ("content", "said", "names_predict"),
    [
        (f"{ROW}\n{ROW}\n", "JSON lines (line 2 begins another value), expected one object", True),
        (f"\n{ROW}\n\n{ROW}\n{{", "JSON lines (line 4 begins another value)", True),
        (f"{ROW}\n", "a row of question and context, expected SQuAD's structure", True),
        (f"[{ROW}, {ROW}]", "a list of question and context, expected SQuAD's structure", True),
        (f'{{"version": "1", "data": [{ROW}]}}', "data[0] is a row of question and context (run_qa.py's flat", False),
    ],
)
def test_rows_instead_of_paragraphs_are_named(tmp_path, content, said, names_predict):
    """JSON lines, and the flat form of transformers' run_qa, are whole files: the remedy is their form."""
    path = written(tmp_path, content)
    for read in (*(lambda path, p=p: read_squad(path, purpose=p) for p in ("train", "score", "answer")), is_labelled):
        with pytest.raises(InputError) as raised:
            read(path)
        message = str(raised.value)
        assert message.startswith(f"{path}: {said}") and "\n" not in message
        assert '; nest each: {"data": [{"paragraphs": [{"context": ..., "qas": [{"id": ' in message
        assert ("named .jsonl" in message) is names_predict


def test_something_behind_the_end_is_no_json_lines(tmp_path):
    with pytest.raises(InputError, match=r"broken JSON at line 1 column \d+ \(Extra data\)"):
        read_squad(written(tmp_path, json.dumps(GOOD) + "}"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"question": "what ?"', '"question": "a", "question": "b"', "data[0].paragraphs[0].qas[1] has 'question'"),
        ('"text": "jumps"', '"text": "jumps", "text": "x"', "data[0].paragraphs[0].qas[1].answers[1] has 'text'"),
        ('"version": "1.1"', '"version": "1.1", "data": [{"a": 1, "a": 2}]', "the file has 'data'"),
        ('"title": "Fox"', '"title": "Fox", "title": "Fox"', "data[0] has 'title'"),
    ],
)
def test_a_key_twice_in_one_object_is_refused(tmp_path, old, new, said):
    text = json.dumps(GOOD)
    assert text.count(old) == 1
    path = written(tmp_path, text.replace(old, new))
    for read in (*(lambda path, p=p: read_squad(path, purpose=p) for p in ("train", "score", "answer")), is_labelled):
        with pytest.raises(InputError) as raised:
            read(path)
        assert str(raised.value) == f"{path}: {said} twice, which of them is meant? Keep one"


@pytest.mark.parametrize("question", ["", " \n", "\u200b", "\u00a0\ufeff"])
def test_questions_without_a_text_are_refused(tmp_path, question):
    path = written(tmp_path, changed(lambda p: p["qas"][1].update(question=question)))
    said = f"{path}: 1 of 2 questions are empty (first: q2); write them, or take them out"
    tokenizer = letters_tokenizer()
    for read in (
        lambda: load_train_features(path, tokenizer, on_bad_answer="drop", cache_folder=None),
        lambda: load_dev_features(path, tokenizer, cache_folder=None),
        lambda: load_dev_features(path, tokenizer, require_answers=False, cache_folder=None),
    ):
        with pytest.raises(InputError) as raised:
            read()
        assert str(raised.value).startswith(said) and "\n" not in str(raised.value)
    examples, _ = read_squad(path, purpose="answer", may_be_empty=True)
    assert [example.question for example in examples] == ["  who jumps ?", question]


# What annotation tools write.

BRIDGE = "The bridge was built by Ann Teel in 1843. It carries two roads."
ANN = {"text": "Ann Teel", "answer_start": 24}


def bridge(*questions, context=BRIDGE):
    """A file of one paragraph; each question is what its entry says beside ``question``, with ids from 0 by default."""
    qas = [{"id": f"q{number}", "question": "Who?", **entry} for number, entry in enumerate(questions)]
    return {"version": "v2.0", "data": [{"title": "t", "paragraphs": [{"context": context, "qas": qas}]}]}


@pytest.mark.parametrize("mark", [True, "true", "True", " TRUE ", 1, "1"])
def test_impossible_with_answers_is_a_contradiction(tmp_path, caplog, mark):
    """Training: named, or left out. Evaluation: the official rule, and a line that says how many."""
    marked = {"answers": [ANN], "is_impossible": mark}
    path = written(tmp_path, bridge({"answers": [ANN]}, marked, marked, {"answers": [ANN], "is_impossible": "false"}))
    said = "2 of 4 questions have answers, but is_impossible is true (first: q1, q2)"
    for version_2 in (True, False):
        with pytest.raises(InputError) as raised:
            read_squad(path, version_2_with_negative=version_2)
        assert str(raised.value) == (
            f"{path}: {said}; repair them, or leave these questions out with `on_bad_answer=drop`"
        )
        caplog.clear()
        examples, dropped = read_squad(path, version_2_with_negative=version_2, on_bad_answer="drop")
        assert [example.id for example in examples] == ["q0", "q3"] and dropped == 2
        assert f"{said}; left out" in caplog.text
        caplog.clear()
        examples, dropped = read_squad(path, version_2_with_negative=version_2, purpose="score")
        assert [example.answers for example in examples] == [("Ann Teel",)] * 4 and dropped == 0
        assert f"{said}; scored by their answers" in caplog.text
    caplog.clear()
    assert len(read_squad(path, purpose="answer")[0]) == 4 and not caplog.text


def test_no_answer_that_is_marked_as_possible_is_a_contradiction_too(tmp_path, caplog):
    path = written(tmp_path, bridge({"answers": [ANN]}, {"answers": [], "is_impossible": False}))
    said = "1 of 2 questions have no answer, but is_impossible is false (first: q1)"
    with pytest.raises(InputError) as raised:
        read_squad(path, version_2_with_negative=True)
    assert said in str(raised.value)
    assert read_squad(path, version_2_with_negative=True, on_bad_answer="drop")[1] == 1
    examples, _ = read_squad(path, version_2_with_negative=True, purpose="score")
    assert examples[1].answers == () and f"{said}; scored by their answers" in caplog.text


@pytest.mark.parametrize(
    "entry",
    [
        {"answers": [], "is_impossible": True},
        {"answers": []},
        {"answers": [{"text": "", "answer_start": -1}], "is_impossible": True},
        {"answers": [{"text": "", "answer_start": 0}]},
        {"answers": [{"text": "", "answer_start": len(BRIDGE)}], "is_impossible": "true"},
        {"answers": [{"text": "", "answer_start": -1}], "is_impossible": False},
        {"answers": [{"text": ""}, {"text": "", "answer_start": None}]},
        {"answers": [{"text": None, "answer_start": None}], "is_impossible": True},
        {"answers": [{"text": " ", "answer_start": 3}], "is_impossible": True},
        {"answers": {"text": [], "answer_start": []}},
        {"answers": {"text": [""], "answer_start": [-1]}, "is_impossible": True},
        {"answers": None, "is_impossible": True},
        {"is_impossible": "True"},
    ],
)
def test_every_way_to_say_no_answer(tmp_path, entry, caplog):
    """One unanswerable question, in training and in evaluation; without version 2 it is named in both."""
    path = written(tmp_path, bridge({"answers": [ANN]}, entry))
    for purpose in ("train", "score"):
        caplog.clear()
        with caplog.at_level(logging.INFO):
            examples, dropped = read_squad(path, version_2_with_negative=True, purpose=purpose, on_bad_answer="drop")
        assert [example.answers for example in examples] == [("Ann Teel",), ()] and dropped == 0
        told = "1 of 2 questions have only answers without a text (first: q1); they count as unanswerable"
        has_entries = bool(entry.get("answers")) and entry["answers"] != {"text": [], "answer_start": []}
        assert (told in caplog.text) is has_entries
        with pytest.raises(InputError, match=r"1 of 2 questions have no answer \(first: q1\); for SQuAD v2.0 set"):
            read_squad(path, purpose=purpose)
    rows = load_train_features(path, letters_tokenizer(), version_2_with_negative=True, cache_folder=None)
    assert rows.info == {"examples": 2, "unanswerable": 1, "dropped": 0}


def test_empty_answers_score_as_in_the_official_script(tmp_path):
    """``[{"text": ""}]`` is answerable there, unanswerable here: exact and F1 of all questions are the same."""
    path = written(tmp_path, bridge({"answers": [ANN]}, {"answers": [{"text": "", "answer_start": -1}]}))
    examples, _ = read_squad(path, version_2_with_negative=True, purpose="score")
    for predictions in ({"q0": "Ann Teel", "q1": ""}, {"q0": "Ann", "q1": "Ann"}):
        ours = evaluate_v2({example.id: example.answers for example in examples}, predictions)
        official = evaluate_v2({"q0": ["Ann Teel"], "q1": [""]}, predictions)
        assert [ours[name] for name in ("exact", "f1", "total")] == [
            official[name] for name in ("exact", "f1", "total")
        ]
        assert ours["NoAns_total"] == 1 and "NoAns_total" not in official


@pytest.mark.parametrize("mark", ["maybe", 2, [True], ""])
def test_marks_that_are_none(tmp_path, mark):
    path = written(tmp_path, bridge({"answers": [ANN], "is_impossible": mark}))
    for purpose in ("train", "score"):
        with pytest.raises(InputError) as raised:
            read_squad(path, purpose=purpose)
        assert f"qas[0].is_impossible is {mark!r}, expected true or false" in str(raised.value)


@pytest.mark.parametrize(("mark", "answers"), [(1.0, []), ("1.0", None), (0.0, [ANN]), ("0.0", [ANN])])
def test_whole_numbers_as_floats(tmp_path, mark, answers):
    """pandas makes floats of whole numbers where a value of the column is missing."""
    first = {"answers": [{**ANN, "answer_start": 24.0}]}
    path = written(tmp_path, bridge(first, {"answers": answers, "is_impossible": mark}))
    for purpose in ("train", "score"):
        examples, _ = read_squad(path, version_2_with_negative=True, purpose=purpose)
        assert examples[0].answer_starts == (24,) and type(examples[0].answer_starts[0]) is int
        assert examples[1].answers == (("Ann Teel",) if answers else ())
    listed = {"answers": {"text": ["Ann Teel"], "answer_start": [24.0]}}
    assert read_squad(written(tmp_path, bridge(listed)))[0][0].answer_starts == (24,)


@pytest.mark.parametrize("start", [24.5, math.nan, math.inf])
def test_other_floats_are_no_place(tmp_path, start):
    path = written(tmp_path, bridge({"answers": [{**ANN, "answer_start": start}]}))
    with pytest.raises(InputError) as raised:
        read_squad(path)
    said = f"data[0].paragraphs[0].qas[0].answers[0].answer_start is {start}, expected a whole number"
    assert str(raised.value) == f"{path}: {said}"
    with pytest.raises(InputError, match=r"is_impossible is 0\.5, expected true or false"):
        read_squad(written(tmp_path, bridge({"answers": [ANN], "is_impossible": 0.5})))


def test_scores_need_texts_only(tmp_path):
    """A wrong start, or none, is no reason not to evaluate; training still refuses it."""
    entries = [{"text": "1843", "answer_start": 3}, {"text": "1843"}, {"text": "1843", "answer_start": "36"}]
    for entry in entries:
        path = written(tmp_path, bridge({"answers": [ANN]}, {"answers": [entry, {"text": " "}]}))
        examples, _ = load_dev_features(path, letters_tokenizer(), cache_folder=None)
        assert examples[1].answers == ("1843", " ")
        with pytest.raises(InputError, match=r"first: q1|answer_start is"):
            read_squad(path)


def test_answers_of_white_space_are_refused(tmp_path, caplog):
    path = written(tmp_path, bridge({"answers": [ANN]}, {"answers": [{"text": " ", "answer_start": 3}]}))
    said = "1 of 2 questions have an answer that is white space only (first: q1)"
    with pytest.raises(InputError) as raised:
        read_squad(path, version_2_with_negative=True)
    assert said in str(raised.value)
    assert read_squad(path, on_bad_answer="drop")[1] == 1 and f"{said}; left out" in caplog.text


def test_hugging_face_answers(tmp_path):
    """An object of two lists instead of a list of objects."""
    path = written(tmp_path, bridge({"answers": {"text": ["Ann Teel", "Ann"], "answer_start": [24, 24]}}))
    for purpose in ("train", "score"):
        (example,) = read_squad(path, purpose=purpose)[0]
        assert example.answers == ("Ann Teel", "Ann") and example.answer_starts == (24, 24)
    path = written(tmp_path, bridge({"answers": {"text": ["Ann Teel", "Ann"], "answer_start": [24]}}))
    with pytest.raises(InputError, match=r"answers has 2 in text, expected as many in answer_start"):
        read_squad(path)


@pytest.mark.parametrize("answers", [None, {"text": [], "answer_start": []}, "none", [{"text": None}], [1]])
def test_answers_are_not_read_where_none_are_needed(tmp_path, answers):
    path = written(tmp_path, bridge({"answers": answers, "is_impossible": "who knows"}))
    assert [example.answers for example in read_squad(path, purpose="answer")[0]] == [()]
    with pytest.raises(InputError):
        read_squad(path)


def test_numbers_are_ids(tmp_path):
    path = written(tmp_path, bridge({"id": 51, "answers": [ANN]}, {"id": 5.5, "answers": [ANN]}))
    for purpose in ("train", "score", "answer"):
        assert [example.id for example in read_squad(path, purpose=purpose)[0]] == ["51", "5.5"]
    for wrong, message in (
        (None, "id is missing"),
        (True, "id is True, expected a text or a number"),
        ([1], "id is [1]"),
        (" ", "id is empty"),
        ("\ud800", "id has an invalid character at 0"),
    ):
        path = written(tmp_path, bridge({"id": wrong, "answers": [ANN]}))
        for purpose in ("train", "score", "answer"):
            with pytest.raises(InputError) as raised:
                read_squad(path, purpose=purpose)
            assert f"data[0].paragraphs[0].qas[0].{message}" in str(raised.value)
    path = written(tmp_path, bridge({"id": 51, "answers": [ANN]}, {"id": "51", "answers": [ANN]}))
    with pytest.raises(InputError, match=r"1 duplicate question ids \(first: 51\)"):
        read_squad(path)


def test_a_paragraph_without_questions_is_passed_over(tmp_path):
    content = bridge({"answers": [ANN]})
    content["data"][0]["paragraphs"] += [{"context": " ", "qas": []}, {"context": None, "qas": []}]
    for purpose in ("train", "score", "answer"):
        assert len(read_squad(written(tmp_path, content), purpose=purpose)[0]) == 1


def test_whether_a_file_is_labelled(tmp_path):
    for entry, expected in (
        ({"answers": [ANN]}, True),
        ({}, False),
        ({"answers": None}, False),
        ({"answers": []}, True),
        ({"is_impossible": True}, True),
    ):
        assert is_labelled(written(tmp_path, bridge({}, entry))) is expected


def test_missing_file(tmp_path):
    for load in (read_squad, lambda path: load_train_features(path, letters_tokenizer(), cache_folder=tmp_path)):
        with pytest.raises(InputError, match=r"nowhere\.json"):
            load(tmp_path / "nowhere.json")


def test_bad_answers_can_be_dropped(tmp_path, caplog):
    path = written(tmp_path, changed(lambda p: p["qas"][0]["answers"][0].update(answer_start=10)))
    with caplog.at_level(logging.WARNING):
        examples, dropped = read_squad(path, on_bad_answer="drop")
    assert [example.id for example in examples] == ["q2"] and dropped == 1
    assert "(first: q1); left out" in caplog.text
    rows = load_train_features(path, letters_tokenizer(), on_bad_answer="drop", cache_folder=tmp_path / "cache")
    assert rows.info == {"examples": 1, "unanswerable": 0, "dropped": 1}
    with pytest.raises(InputError, match="on_bad_answer=maybe: expected one of error, drop"):
        read_squad(path, on_bad_answer="maybe")


def test_version_2_and_questions_to_be_answered_only(tmp_path):
    path = written(tmp_path, changed(lambda p: p["qas"][0].update(answers=[], is_impossible=True)))
    examples, _ = read_squad(path, version_2_with_negative=True)
    assert examples[0].answers == ()
    path = written(tmp_path, changed(lambda p: [qa.pop("answers") for qa in p["qas"]]))
    examples, rows = load_dev_features(path, letters_tokenizer(), require_answers=False, cache_folder=None)
    assert [example.answers for example in examples] == [(), ()] and len(rows) == 2


def test_answers_without_a_token_are_counted(tmp_path, caplog):
    content = bridge(
        {"answers": [ANN]}, {"answers": [{"text": "\u200b", "answer_start": len(BRIDGE)}]}, context=BRIDGE + "\u200b"
    )
    rows = load_train_features(written(tmp_path, content), letters_tokenizer(), cache_folder=None)
    assert rows.info == {"examples": 2, "unanswerable": 0, "dropped": 0, "answers without a token": 1}
    assert rows.labels["start_positions"][0] > 0 and rows.labels["start_positions"][1] == 0
    assert "1 of 2 questions have an answer of which the tokenizer leaves nothing (first: q1)" in caplog.text


def test_cache_key_covers_content_and_settings(tmp_path):
    path, folder = written(tmp_path, GOOD), tmp_path / "cache"

    def files(**settings):
        load_train_features(path, letters_tokenizer(), cache_folder=folder, **settings)
        return len(list(folder.iterdir()))

    assert [files(), files(), files(max_seq_length=100), files(doc_stride=5)] == [1, 1, 2, 3]
    os.utime(path, (0, 0))
    assert files() == 3
    written(tmp_path, changed(lambda p: p["qas"][0].update(question="why ?")))
    assert files() == 4
    load_dev_features(path, letters_tokenizer(), cache_folder=folder)
    assert len(list(folder.iterdir())) == 5
