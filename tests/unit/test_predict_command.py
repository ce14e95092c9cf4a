"""predict.py in this process: what it shows, what it writes, what it refuses."""

import json
import logging
import multiprocessing
from pathlib import Path

import pytest
from support.models import save_checkpoint
from support.texts import write_long_squad

from mobilebert.base import outputs
from mobilebert.base.errors import InputError
from mobilebert.commands.predict import view as predict_view
from mobilebert.commands.predict.batch import read_questions
from mobilebert.commands.predict.output import CHUNK, write_rows
from mobilebert.export.export import ExportPlan, export
from mobilebert.inference.predictor import Answer, Classification, Reading

CONTEXT = "The engine was in it. Ada Lovelace wrote the notes in 1843. It is a program?"
PLAIN = predict_view.Style(lambda text: f"**{text}**", str, 80)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Exports of three heads, a checkpoint that notes how it was trained, and texts."""
    folder = tmp_path_factory.mktemp("predict")
    labels = {0: "negative", 1: "positive"}
    pairs = {"task_specific_params": {"sequence-classification": {"max_seq_length": 16, "takes_pairs": True}}}
    for name, head, changes in (
        ("qa", "question-answering", {}),
        ("classes", "sequence-classification", {"id2label": labels}),
        ("pairs", "sequence-classification", {"id2label": labels, "extra": pairs}),
        ("score", "sequence-classification", {"num_labels": 1}),
    ):
        export(ExportPlan(str(save_checkpoint(folder / "checkpoint" / name, head, **changes)), folder / name))
    save_checkpoint(folder / "lm", "masked-lm")
    (folder / "passage.txt").write_text(CONTEXT)
    write_long_squad(folder / "squad.json")
    return folder


# What is shown.


def answer(context: str, text: str, probability: float = 0.5, score: float = 1.0) -> Answer:
    start = context.index(text)
    return Answer(text, start, start + len(text), probability, score)


def test_the_answer_is_marked_in_its_sentence():
    reading = Reading(
        [answer(CONTEXT, "Ada Lovelace", 0.9), answer(CONTEXT, "program", 0.1)], None, [(0, len(CONTEXT))]
    )
    assert predict_view.show_reading(CONTEXT, reading, 0.0, PLAIN).splitlines() == [
        "**Ada Lovelace** wrote the notes in 1843.",
        "",
        "  1   90.0%  Ada Lovelace",
        "  2   10.0%  program    It is a **program**?",
    ]


def test_no_answer_and_its_odds():
    none = Answer("", -1, -1, 0.75, 3.0)
    reading = Reading([none, answer(CONTEXT, "1843", 0.25)], 2.5, [(0, 40), (30, 76)])
    assert predict_view.show_reading(CONTEXT, reading, -1.5, PLAIN).splitlines() == [
        "(no answer)",
        "",
        "  1   75.0%  (no answer)",
        "  2   25.0%  1843    Ada Lovelace wrote the notes in **1843**.",
        "     no answer: odds +2.50, chosen above -1.50",
        "     the passage was read in 2 windows",
    ]


def test_a_long_sentence_is_shortened_around_the_answer():
    context = "word " * 100 + "Ada " + "word " * 100
    shown = predict_view.show_reading(context, Reading([answer(context, "Ada")], None, [(0, 1)]), 0.0, PLAIN)
    first = shown.splitlines()[0]
    assert first.startswith("... word ") and first.endswith(" word ...") and " **Ada** " in first
    assert len(first) <= 80


def test_nothing_in_a_passage_steers_the_terminal():
    context = "Red \x1b[31m Ada\x07\nwrote \u202eit\u2028now."
    shown = predict_view.show_reading(context, Reading([answer(context, "Ada\x07")], None, [(0, 1)]), 0.0, PLAIN)
    assert shown.splitlines()[0] == "Red \ufffd[31m **Ada\ufffd** wrote \ufffdit now."
    assert not set("\x1b\x07\u202e") & set(shown)


class Terminal:
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


def test_colours_only_where_they_are_wanted(monkeypatch, tmp_path):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert predict_view.Style.of(Terminal()).strong("Ada") == "\x1b[1;32mAda\x1b[0m"
    with open(tmp_path / "file", "w") as stream:
        assert predict_view.Style.of(stream).strong("Ada") == "**Ada**"
    monkeypatch.setenv("NO_COLOR", "1")
    assert predict_view.Style.of(Terminal()).strong("Ada") == "**Ada**"
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert predict_view.Style.of(Terminal()).strong("Ada") == "**Ada**"


def test_classes_and_numbers():
    result = Classification("good", 0.75, {"bad": 0.2, "good": 0.75, "so so": 0.05})
    shown = predict_view.show_classification(result, False, PLAIN)
    assert shown == "**good    75.0%**\nbad     20.0%\nso so    5.0%"
    assert predict_view.show_classification(Classification("similarity", 3.5, {}), True, PLAIN) == "similarity: 3.500"


# The command line.


def test_one_question(place, run_script):
    code, output, errors = run_script(
        "predict", "qa", "--model", place / "qa", "--question", "Who wrote it?", "--context", place / "passage.txt"
    )
    assert (code, errors) == (0, "")
    marked = output.split("**")[1]
    assert marked in CONTEXT
    assert f"  1  {output.split('  1  ')[1][:6]}  {marked}" in output


def test_one_question_for_programs(place, run_script):
    arguments = ("predict", "qa", "--model", place / "qa", "--question", "Who wrote it?", "--json")
    code, output, _ = run_script(*arguments, "--context_text", CONTEXT, "--top_k", 4, "--allow_no_answer")
    assert code == 0
    document = json.loads(output)
    assert list(document) == ["question", "answer", "answers", "null_odds", "windows"]
    assert document["question"] == "Who wrote it?"
    assert document["answer"] == document["answers"][0]["text"]
    assert document["windows"] == [[0, len(CONTEXT)]]
    assert isinstance(document["null_odds"], float)
    assert len(document["answers"]) == 4
    for one in document["answers"]:
        assert list(one) == ["text", "start", "end", "probability", "score", "sentence"]
        if one["text"]:
            assert one["text"] == CONTEXT[one["start"] : one["end"]]
            low, high = one["sentence"]
            assert low <= one["start"] < one["end"] <= high
    _, always, _ = run_script(*arguments, "--context_text", CONTEXT, "--always_answer")
    assert json.loads(always)["null_odds"] is None


def test_one_text(place, run_script):
    code, output, _ = run_script("predict", "classify", "--model", place / "classes", "--text", "good film")
    assert code == 0
    best, other = output.splitlines()
    assert best.startswith("**") and {best[2:10], other[:8]} == {"negative", "positive"}
    _, output, _ = run_script(
        "predict", "classify", "--model", place / "pairs", "--text", "a", "--text_pair", "b", "--json"
    )
    document = json.loads(output)
    assert list(document) == ["text", "text_pair", "label", "score", "scores"]
    assert document["scores"][document["label"]] == document["score"] == max(document["scores"].values())
    assert sum(document["scores"].values()) == pytest.approx(1, abs=1e-5)
    _, output, _ = run_script("predict", "classify", "--model", place / "score", "--text", "good")
    label, number = output.strip().split(": ")
    assert label == "LABEL_0" and float(number) != 0


def test_a_checkpoint_is_read_as_it_was_trained(place, tmp_path, run_script):
    noted = {"max_seq_length": 20, "doc_stride": 4, "max_answer_length": 2, "version_2_with_negative": True}
    extra = {"task_specific_params": {"question-answering": noted}}
    checkpoint = save_checkpoint(tmp_path / "noted", "question-answering", extra=extra)
    question = ("--question", "Who ?", "--context", place / "passage.txt", "--json")
    _, output, _ = run_script("predict", "qa", "--model", checkpoint, *question)
    _, plain, _ = run_script("predict", "qa", "--model", place / "checkpoint" / "qa", *question)
    document, other = json.loads(output), json.loads(plain)
    assert (len(document["windows"]), len(other["windows"])) == (2, 1)
    assert document["null_odds"] is not None and other["null_odds"] is None
    flags = ("--max_seq_length", 64, "--doc_stride", 8, "--max_answer_length", 30, "--always_answer")
    _, again, _ = run_script("predict", "qa", "--model", checkpoint, *question, *flags)
    assert json.loads(again) == other


# Files.


def rows_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_squad_file(place, tmp_path, run_script):
    out = tmp_path / "new" / "answers.jsonl"
    arguments = ("predict", "qa", "--model", place / "qa", "--input", place / "squad.json", "--output", out)
    code, output, _ = run_script(*arguments)
    assert (code, output) == (0, f"{out}: 4 answers\n")
    rows = rows_of(out)
    assert [row["id"] for row in rows] == ["q0", "q1", "q2", "q3"]
    assert list(rows[0]) == ["id", "question", "answer", "answers", "null_odds", "windows", "fingerprint"]
    before = out.read_bytes(), out.stat().st_mtime_ns
    code, output, _ = run_script(*arguments)
    assert (code, output) == (0, f"{out}: 4 answers, 4 of them were there already\n")
    assert (out.read_bytes(), out.stat().st_mtime_ns) == before
    code, _, errors = run_script(*arguments, "--top_k", 1)
    assert code == 2
    assert f"{out}:1: is of a run with another model, input or setting; choose another --output" in errors
    assert out.read_bytes() == before[0]
    code, _, _ = run_script(*arguments, "--top_k", 1, "--overwrite")
    assert code == 0
    assert len(rows_of(out)[0]["answers"]) == 1


def test_tables_of_questions(place, tmp_path, run_script):
    (tmp_path / "q.jsonl").write_text(
        '{"id": "a", "question": "Who?", "context": "Ada wrote it."}\n'
        '{"id": 7, "question": "When?", "context": "In 1843 \\u2028 \\u00e9"}\n'
    )
    (tmp_path / "q.tsv").write_text("context\tquestion\nAda wrote it.\tWho?\n")
    for name, ids in (("q.jsonl", ["a", "7"]), ("q.tsv", ["0"])):
        out = tmp_path / f"{name}.out"
        code, _, errors = run_script(
            "predict", "qa", "--model", place / "qa", "--input", tmp_path / name, "--output", out
        )
        assert (code, errors) == (0, "")
        assert [row["id"] for row in rows_of(out)] == ids
    alone = run_script(
        "predict", "qa", "--model", place / "qa", "--question", "Who?", "--context_text", "Ada wrote it.", "--json"
    )[1]
    together = rows_of(tmp_path / "q.jsonl.out")[0]
    assert {key: together[key] for key in ("question", "answer", "windows")} == {
        key: json.loads(alone)[key] for key in ("question", "answer", "windows")
    }


@pytest.mark.parametrize(
    "answers", [None, {"text": ["Ada"], "answer_start": [0]}, [{"text": "Ada", "answer_start": "0"}]]
)
def test_a_squad_file_and_a_table_are_read_alike(tmp_path, answers):
    """Ids as numbers; answers in any form, where none are needed; a column that a row lacks and nobody reads."""
    rows = [
        {"id": 51, "question": "Who?", "context": "Ada wrote it.", "answers": answers, "title": "t"},
        {"id": 5.5, "question": "When?", "context": "In 1843.", "answers": answers},
    ]
    paragraphs = [{"context": row["context"], "qas": [row]} for row in rows] + [{"context": "", "qas": []}]
    (tmp_path / "q.json").write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}))
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = [read_questions(tmp_path / name) for name in ("q.json", "q.jsonl")]
    assert found[0] == found[1]
    assert [(q.id, q.question, q.context, q.answers) for q in found[0]] == [
        ("51", "Who?", "Ada wrote it.", ()), ("5.5", "When?", "In 1843.", ())
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"id": None}, "id is missing"),
        ({"id": True}, "id is True, expected a text or a number"),
        ({"id": [1]}, "id is [1], expected a text or a number"),
        ({"id": " "}, "id is empty"),
        ({"id": "\ud800"}, "id has an invalid character at 0"),
        ({"context": ""}, "context is empty"),
        ({"context": None}, "context"),
        ({"question": ["Who?"]}, "question"),
    ],
)
def test_a_squad_file_and_a_table_are_refused_alike(tmp_path, change, said):
    row = {"id": "a", "question": "Who?", "context": "Ada wrote it.", **change}
    content = {"data": [{"paragraphs": [{"context": row["context"], "qas": [row]}]}]}
    (tmp_path / "q.json").write_text(json.dumps(content))
    (tmp_path / "q.jsonl").write_text(json.dumps(row) + "\n")
    for name, place in (("q.json", "data[0].paragraphs[0]"), ("q.jsonl", "q.jsonl:1: ")):
        with pytest.raises(InputError) as raised:
            read_questions(tmp_path / name)
        assert place in str(raised.value) and said in str(raised.value) and "\n" not in str(raised.value)


def test_a_question_that_is_too_long_costs_its_own_row_only(place, tmp_path, run_script):
    """Its line says why, all others are answered; a run that is resumed does not try again; the status is 2."""
    rows = [{"id": f"n{number}", "question": "Who?", "context": f"Ada wrote {number} . " * 20} for number in range(40)]
    for number in (0, 35):
        rows[number]["question"] = "who " * 70
    source, out, plain = tmp_path / "in.jsonl", tmp_path / "out.jsonl", tmp_path / "plain.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = ("predict", "qa", "--model", place / "qa", "--input", source, "--output", out)
    code, output, errors = run_script(*arguments)
    reason = (
        "question n0: its 70 tokens leave the context -9 of max_seq_length=64, not more than doc_stride=21; "
        "raise the one or lower the other"
    )
    assert (code, output) == (2, "")
    assert errors == (
        f"error: {out}: 2 of 40 questions are not answered, their lines hold the error (first: {reason}); "
        "all others are answered\n"
    )
    written = rows_of(out)
    assert [row["id"] for row in written] == [row["id"] for row in rows]
    assert list(written[0]) == ["id", "error", "fingerprint"] and written[0]["error"] == reason
    assert [row["id"] for row in written if "error" in row] == ["n0", "n35"]
    assert all(row["answer"] for row in written if "error" not in row)
    content = out.read_bytes()
    assert run_script(*arguments) == (2, "", errors) and out.read_bytes() == content
    lines = content.splitlines(keepends=True)
    for cut in (1, 34, 36):
        out.write_bytes(b"".join(lines[:cut]) + b'{"id": "n')
        assert run_script(*arguments) == (2, "", errors) and out.read_bytes() == content
    # Without them: the same answers, and all is well.
    source.write_text("".join(json.dumps(row) + "\n" for row in rows if len(row["question"]) < 9))
    code, _, errors = run_script(*arguments[:-1], plain)
    assert (code, errors) == (0, "")
    kept = [row for row in written if "error" not in row]
    assert [row["answer"] for row in rows_of(plain)] == [row["answer"] for row in kept]


def test_rows_named_json_are_sent_to_the_name_that_is_read(tmp_path):
    rows = [{"id": name, "question": "Who?", "context": "Ada wrote it.", "answers": []} for name in "ab"]
    for text in ("".join(json.dumps(row) + "\n" for row in rows), json.dumps(rows), json.dumps(rows[0])):
        (tmp_path / "q.json").write_text(text)
        with pytest.raises(InputError, match=r"q\.json: .*reads such rows as they are where the file is named \.jsonl"):
            read_questions(tmp_path / "q.json")
        (tmp_path / "q.jsonl").write_text(text)
        assert [question.id for question in read_questions(tmp_path / "q.jsonl")] == ["a", "b"][: text.count('"id"')]


def test_an_empty_question_costs_its_own_row_only(place, tmp_path, run_script):
    """In a SQuAD file and in a table alike, beside one that is too long."""
    asked = {"n0": "Who?", "n1": " ", "n2": "who " * 70, "n3": "\u200b", "n4": "When?"}
    rows = [{"id": name, "question": text, "context": "Ada wrote in 1843 . " * 20} for name, text in asked.items()]
    paragraphs = [{"context": row["context"], "qas": [row]} for row in rows]
    (tmp_path / "q.json").write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}))
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name in ("q.json", "q.jsonl"):
        out = tmp_path / f"{name}.out"
        arguments = ("predict", "qa", "--model", place / "qa", "--input", tmp_path / name, "--output", out)
        code, _, errors = run_script(*arguments)
        assert code == 2 and errors.startswith(f"error: {out}: 3 of 5 questions are not answered, their lines hold")
        assert "(first: question n1 is empty)" in errors and errors.count("\n") == 1
        found = {row["id"]: row.get("error") for row in rows_of(out)}
        assert found.pop("n2").startswith("question n2: its 70 tokens leave")
        assert found == {"n0": None, "n1": "question n1 is empty", "n3": "question n3 is empty", "n4": None}
        assert run_script(*arguments) == (code, "", errors)


def test_files_of_texts(place, tmp_path, run_script):
    (tmp_path / "t.txt").write_text("good film\r\n\nbad film\n")
    (tmp_path / "t.csv").write_text('sentence,label\n"good, film",1\n')
    (tmp_path / "t.jsonl").write_text('{"title": "good", "body": "film", "index": "x1"}\n')
    for name, model, more, expected in (
        ("t.txt", "classes", (), [("0", "good film", None), ("1", "bad film", None)]),
        ("t.csv", "classes", (), [("0", "good, film", None)]),
        ("t.jsonl", "pairs", ("--text_column", "title", "body"), [("x1", "good", "film")]),
    ):
        out = tmp_path / f"{name}.out"
        code, output, errors = run_script(
            "predict", "classify", "--model", place / model, "--input", tmp_path / name, "--output", out, *more
        )
        assert (code, errors) == (0, "")
        assert output == f"{out}: {len(expected)} texts\n"
        rows = rows_of(out)
        assert [(row["id"], row["text"], row.get("text_pair")) for row in rows] == expected
        assert all(set(row["scores"]) == {"negative", "positive"} for row in rows)


# Resuming.


def compute_with(seen: list[int]):
    def compute(rows: slice) -> list[dict]:
        seen.extend(range(rows.start, rows.stop))
        return [{"value": f"é{number} in {rows.start}"} for number in range(rows.start, rows.stop)]

    return lambda: compute


def test_a_run_cut_anywhere_ends_with_the_same_file(tmp_path):
    count = 2 * CHUNK + 5
    ids, prints = [f"n{i}" for i in range(count)], [f"f{i}" for i in range(count)]
    whole = tmp_path / "whole"
    assert write_rows(whole, ids, prints, compute_with([]), False, "") == 0
    content = whole.read_bytes()
    assert content.count(b"\n") == count
    part = tmp_path / "part"
    for cut in [0, 1, 8, 9, *range(100, len(content), 97), len(content) - 1]:
        part.write_bytes(content[:cut])
        seen = []
        done = write_rows(part, ids, prints, compute_with(seen), False, "")
        assert part.read_bytes() == content
        assert done == content[:cut].count(b"\n")
        assert seen == list(range(done - done % CHUNK, count))  # whole chunks are not computed again
    part.write_bytes(content)
    assert write_rows(part, ids, prints, lambda: pytest.fail("loads the model for nothing"), False, "") == count


def test_a_foreign_file_is_left_alone(tmp_path):
    path = tmp_path / "mine"
    line = '{"id": "n0", "value": 1, "fingerprint": "f0"}\n'
    for content, number, why in (
        ("my notes", 1, "none that predict.py wrote"),
        ("my notes\n", 1, "none that predict.py wrote"),
        (line + '{"id": "n1"}\n', 2, "none that predict.py wrote"),
        (line + '{"id": "n\n' + line, 2, "none that predict.py wrote"),
        (line + "[1]\n", 2, "none that predict.py wrote"),
        (line + line, 2, "of a run with another model, input or setting"),
        (line + line.replace("0", "1") + line, 3, "of a run with another model, input or setting"),
    ):
        path.write_text(content)
        with pytest.raises(InputError, match=rf"mine:{number}: is {why}; choose another --output"):
            write_rows(path, ["n0", "n1"], ["f0", "f1"], lambda: pytest.fail("computes"), False, "")
        assert path.read_text() == content
        write_rows(path, ["n0"], ["f0"], compute_with([]), True, "")
        assert len(rows_of(path)) == 1


def hold(path, is_held, release):
    with outputs.lock_beside(path):
        is_held.set()
        release.wait(30)


def test_two_runs_do_not_share_a_file(tmp_path):
    context = multiprocessing.get_context("spawn")
    is_held, release = context.Event(), context.Event()
    other = context.Process(target=hold, args=(tmp_path / "out", is_held, release))
    other.start()
    assert is_held.wait(30)
    with pytest.raises(
        InputError, match=r"out: another run is writing it; choose another output.*host \S+, pid \d+, since 2"
    ):
        write_rows(tmp_path / "out", ["n"], ["f"], compute_with([]), False, "")
    release.set()
    other.join(30)
    assert write_rows(tmp_path / "out", ["n"], ["f"], compute_with([]), False, "") == 0


# What is refused.

QA, CLASSIFY = ("qa", "--model", "{qa}"), ("classify", "--model", "{classes}")
BATCH = ("--output", "{tmp}/out")
MISTAKES = {
    "no command": ((), "the following arguments are required: qa|classify"),
    "a misspelt command": (("clasify",), "unknown command clasify; did you mean classify?"),
    "a misspelt flag": ((*QA, "--qestion", "x"), "unknown argument --qestion; did you mean --question?"),
    "no model": (("qa",), "the following arguments are required: --model"),
    "no such model": (("qa", "--model", "{tmp}/no", "--question", "x", "--context_text", "y"), "no: no such folder"),
    "another head": (("qa", "--model", "{classes}", "--question", "x", "--context_text", "y"),
                     "its head is sequence-classification; only question-answering answers questions"),
    "the other way": (("classify", "--model", "{qa}", "--text", "x"), "only sequence-classification classifies texts"),
    "a language model": (("qa", "--model", "{lm}", "--question", "x", "--context_text", "y"),
                         "architectures says ['MobileBertForMaskedLM'], expected MobileBertForQuestionAnswering or"),
    "no files for the engine": ((*QA, "--engine", "paddle", "--question", "x", "--context_text", "y"),
                                "was not exported for paddle"),
    "a checkpoint's engine": (("qa", "--model", "{checkpoint}/qa", "--engine", "onnxruntime", "--question", "x",
                               "--context_text", "y"), "runs in dygraph only; for onnxruntime make an export"),
    "no passage": ((*QA, "--question", "x"), "--question about what? give the passage: --context FILE"),
    "no passage for a pipe": (QA, "questions about what? give the passage: --context FILE"),
    "two passages": ((*QA, "--context", "a", "--context_text", "b"), "not allowed with argument --context"),
    "passage and questions from one pipe": ((*QA, "--context", "-"), "--context - takes the passage from standard"),
    "no such passage": ((*QA, "--question", "x", "--context", "{tmp}/no.txt"), "no.txt: no such file"),
    "a folder": ((*QA, "--question", "x", "--context", "{tmp}"), "a folder, but a file is expected"),
    "a picture": ((*QA, "--question", "x", "--context", "{tmp}/latin.txt"), "latin.txt: not UTF-8 text (byte 1)"),
    "zero bytes": ((*QA, "--question", "x", "--context", "{tmp}/zeros"), "zeros: holds zero bytes, so it is no text"),
    "an empty passage": ((*QA, "--question", "x", "--context", "{tmp}/blank.txt"), "blank.txt: is empty; expected a"),
    "an empty question": ((*QA, "--question", " ", "--context_text", "y"), "question 0 is empty"),
    "a bad byte": ((*QA, "--question", "a\udce9", "--context_text", "y"), "question 0: has an invalid character at 1"),
    "a long question": ((*QA, "--question", "who " * 70, "--context_text", "y " * 70), "leave the context -"),
    "no answers": ((*QA, "--question", "x", "--context_text", "y", "--top_k", "0"), "top_k=0: expected at least 1"),
    "too many tokens": ((*QA, "--question", "x", "--context_text", "y", "--max_seq_length", "65"),
                        "max_seq_length=65: expected 4 to 64 tokens"),
    "one and many": ((*QA, "--question", "x", "--input", "{tmp}/a.jsonl", *BATCH), "--input is a file of them"),
    "no output": ((*QA, "--input", "{tmp}/a.jsonl"), "--input and --output go together"),
    "no input": ((*QA, "--context_text", "x", *BATCH), "--input and --output go together"),
    "overwrite what": ((*QA, "--context_text", "x", "--overwrite"), "--overwrite is for --output"),
    "no such input": ((*QA, "--input", "{tmp}/no.jsonl", *BATCH), "no.jsonl: no such file"),
    "input is output": ((*QA, "--input", "{tmp}/a.jsonl", "--output", "{tmp}/a.jsonl"), "a.jsonl: is --input; choose"),
    "output is a folder": ((*QA, "--input", "{tmp}/a.jsonl", "--output", "{tmp}"), "a folder, but --output is a file"),
    "an unknown format": ((*QA, "--input", "{tmp}/zeros", *BATCH), "zeros: expected SQuAD's .json, or .jsonl"),
    "broken JSON": ((*QA, "--input", "{tmp}/broken.jsonl", *BATCH), "broken.jsonl:2: broken JSON at column"),
    "no context": ((*QA, "--input", "{tmp}/lacks.jsonl", *BATCH), "lacks.jsonl:2: no 'context'"),
    "an empty one": ((*QA, "--input", "{tmp}/empty.jsonl", *BATCH), "empty.jsonl:1: context is empty"),
    "half a character": ((*QA, "--input", "{tmp}/half.jsonl", *BATCH), "half.jsonl:1: 'context' has an invalid"),
    "the same id": ((*QA, "--input", "{tmp}/twice.jsonl", *BATCH), "only 1 different ids for 2 questions"),
    "no column": ((*QA, "--input", "{tmp}/c.tsv", *BATCH), "no column 'question'; the file has words, label"),
    "a stride for no question": ((*QA, "--input", "{tmp}/long.jsonl", *BATCH, "--doc_stride", "61"),
                                 "question q9: its 70 tokens leave"),
    "which column": ((*CLASSIFY, "--input", "{tmp}/c.tsv", *BATCH), "is the text? --text_column words|label"),
    "columns of lines": ((*CLASSIFY, "--input", "{tmp}/blank.txt", *BATCH, "--text_column", "x"), "without columns"),
    "no text": ((*CLASSIFY, "--input", "{tmp}/blank.txt", *BATCH), "blank.txt: has no text"),
    "columns for one": ((*CLASSIFY, "--text", "x", "--text_column", "y"), "--text_column names columns of --input"),
    "half a pair": ((*CLASSIFY, "--text_pair", "x"), "--text_pair is the second text of a pair; give --text too"),
    "a pair wanted": (("classify", "--model", "{pairs}", "--text", "x"), "trained on pairs of texts; give the second"),
    "pairs wanted": (("classify", "--model", "{pairs}", "--input", "{tmp}/lines.txt", *BATCH), "give two columns"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_one_line(name, place, tmp_path, run_script):
    (tmp_path / "latin.txt").write_bytes(b"a\xe9b")
    (tmp_path / "zeros").write_bytes(b"a\0b")
    (tmp_path / "blank.txt").write_text(" \n\n")
    (tmp_path / "lines.txt").write_text("good\n")
    (tmp_path / "c.tsv").write_text("words\tlabel\ngood\t1\n")
    row = '{"id": "q9", "question": "Who?", "context": "Ada"}\n'
    for file, text in {
        "a": row,
        "broken": row + "{]\n",
        "lacks": row + '{"id": "b", "question": "Who?"}\n',
        "empty": row.replace("Ada", " "),
        "half": row.replace("Ada", "\\ud800"),
        "twice": row + row,
        "long": row.replace("Who?", "who " * 70).replace("Ada", "ada " * 70),
    }.items():
        (tmp_path / f"{file}.jsonl").write_text(text)
    arguments, message = MISTAKES[name]
    names = {model: place / model for model in ("qa", "classes", "pairs", "lm", "checkpoint")}
    code, output, errors = run_script("predict", *(word.format(tmp=tmp_path, **names) for word in arguments))
    assert code == 2
    assert message in errors
    assert errors.startswith("error: ") and errors.count("\n") == 1
    assert output == ""
    assert not (tmp_path / "out").exists() or (tmp_path / "out").read_text() == ""


def test_logging_stays_as_it_was(place, run_script):
    run_script("predict", "classify", "--model", place / "classes", "--text", "good")
    assert logging.getLogger("mobilebert").handlers == []
