"""Tables and label columns that strangers bring: read as they are meant, or refused in one line."""

import json
from pathlib import Path

import pytest

from mobilebert.base.errors import InputError
from mobilebert.commands.predict.batch import read_texts
from mobilebert.data.classify.examples import FileRules, read_examples, read_lines
from mobilebert.data.classify.labels import NO_LABEL, read_label_words
from mobilebert.data.glue.files import read_file, read_split, write_submission
from mobilebert.data.glue.tasks import TASKS, Task
from mobilebert.data.tables import open_table
from mobilebert.model.config import MobileBertConfig
from mobilebert.tasks.class_files import Files
from mobilebert.tasks.own import own_task

SAMPLES = Path(__file__).parents[2] / "samples" / "glue"


def written(folder, name, content):
    path = folder / name
    path.write_text(content, "utf-8", newline="")
    return path


def csv_of(folder, labels):
    return written(folder, "t.csv", "text,label\n" + "".join(f"text {i},{label}\n" for i, label in enumerate(labels)))


def jsonl_of(folder, labels):
    rows = (json.dumps({"text": f"text {i}", "label": label}) + "\n" for i, label in enumerate(labels))
    return written(folder, "t.jsonl", "".join(rows))


# Rows without a label


@pytest.mark.parametrize("mark", [*sorted(NO_LABEL), " ", "\t", "\u00a0", "\u200b", " nan "])
def test_a_row_without_a_label_is_named_and_left_out_on_request_only(tmp_path, mark, caplog):
    path = csv_of(tmp_path, ["pos", "neg", f'"{mark}"', "pos", f'"{mark}"'])
    words = r"t.csv:4: no label \(.*\); rows without one: 2 of 5 \(lines 4, 6\): .*`on_missing_label=drop`"
    with pytest.raises(InputError, match=words):
        read_label_words(path, "label", "error")
    with pytest.raises(InputError, match=words):
        read_examples(path, ("text",), "label", {"neg": 0, "pos": 1}, FileRules(on_missing_label="error"))
    assert read_label_words(path, "label", "drop") == ["neg", "pos"]
    examples = read_examples(path, ("text",), "label", {"neg": 0, "pos": 1}, FileRules(on_missing_label="drop"))
    assert examples.texts == ["text 0", "text 1", "text 3"] and examples.labels.tolist() == [1, 0, 1]
    assert "t.csv: rows without a label, left out as asked: 2 of 5 (lines 4, 6)" in caplog.text


@pytest.mark.parametrize(
    "mark",
    [
        *(
            "#VALUE!",
            "#REF!",
            "#DIV/0!",
            "#NAME?",
            "#N/A N/A",
            "1.#QNAN",
            "-1.#IND",
            "NULL",
            "none",
            "NONE",
            "Nan",
            "<na>",
        ),
        *("n.a.", "N.A.", "NaT", "nil", "undefined", "--", "\u2013", "\u2014", "\\N"),
    ],
)
def test_marks_of_no_label_are_known_in_any_case(tmp_path, mark):
    path = csv_of(tmp_path, ["pos", "neg", mark])
    with pytest.raises(InputError, match=r"t.csv:4: no label .*or name .* as a class in `label_order`"):
        read_label_words(path, "label", "error")
    with pytest.raises(InputError, match=r"t.csv:4: no label"):
        read_examples(path, ("text",), "label", {"neg": 0, "pos": 1})
    task = own_task(Files(None, {"train": str(path)}), ("text",), "label", ("pos", "neg", mark), False, None)
    assert read_file(task, path, "train", task.labels, "error").labels.tolist() == [0, 1, 2]


def test_a_row_without_a_score_is_no_number(tmp_path):
    path = csv_of(tmp_path, ["0.5", "NaN", "-1"])
    with pytest.raises(InputError, match=r"t.csv:3: no label \('NaN'\); rows without one: 1 of 3 \(line 3\)"):
        read_examples(path, ("text",), "label", None)
    scores = read_examples(path, ("text",), "label", None, FileRules(on_missing_label="drop")).labels
    assert scores.tolist() == [0.5, -1.0]  # among scores, -1 is one


def test_null_and_an_absent_label_are_none(tmp_path):
    path = written(tmp_path, "t.jsonl", '{"text": "a", "label": "x"}\n{"text": "b", "label": null}\n{"text": "c"}\n')
    with pytest.raises(InputError, match=r"t.jsonl:2: no label \(null\); rows without one: 2 of 3 \(lines 2, 3\)"):
        read_label_words(path, "label", "error")
    assert read_label_words(path, "label", "drop") == ["x"]
    assert read_examples(path, ("text",), "label", {"x": 0}, FileRules(on_missing_label="drop")).texts == ["a"]


@pytest.mark.parametrize("labels", [["0", "1", "-1"], ["2", "0", "-1", "1"], ["pos", "neg", "-1"], ["0", "1", "-1.0"]])
def test_minus_one_beside_classes_is_no_class(tmp_path, labels):
    path = csv_of(tmp_path, labels)
    line = 2 + next(i for i, label in enumerate(labels) if label.startswith("-1"))
    remedy = rf"t.csv:{line}: no label \('-1.*or name '-1.*' as a class in `label_order`"
    with pytest.raises(InputError, match=remedy):
        read_label_words(path, "label", "error")
    assert len(read_label_words(path, "label", "drop")) == len(labels) - 1


def test_a_typeset_minus_sign_is_one(tmp_path):
    with pytest.raises(InputError, match=r"t.csv:4: no label \(.*1.\)"):
        read_label_words(csv_of(tmp_path, ["0", "1", "\u22121"]), "label", "error")
    assert read_label_words(csv_of(tmp_path, ["0", "1", "\u22121"]), "label", "drop") == ["0", "1"]
    assert read_label_words(csv_of(tmp_path, ["1", "\u22121"]), "label") == ["1", "\u22121"]
    assert read_examples(csv_of(tmp_path, ["\u22120.5", "1"]), ("text",), "label", None).labels.tolist() == [-0.5, 1]


@pytest.mark.parametrize(
    "labels",
    [["0,14", "0,5", "1"], ["12%", "50%"], ["12 %", "7,5 %"], ["1,000", "2,000"], ["-0,5", ",5"], ["0,00", "1,00"]],
)
def test_numbers_in_a_local_form_ask_for_points_and_regression(tmp_path, labels):
    rows = "".join(f"a {i};{label}\n" for i, label in enumerate(labels))
    path = written(tmp_path, "t.csv", "text;label\n" + rows)
    message = r"t.csv: 'label' holds numbers such as '.*': are they scores\? write numbers with a decimal point, 0.14, "
    with pytest.raises(InputError, match=message + ".*`regression`.*`label_order`"):
        own_task(Files(None, {"train": str(path)}), ("text",), "label", (), False, None)
    with pytest.raises(InputError, match=r"t.csv:2: label '.*' is not a number; write numbers with a decimal point"):
        read_examples(path, ("text",), "label", None)
    assert own_task(Files(None, {"train": path}), ("text",), "label", tuple(labels), False, None).labels == tuple(
        labels
    )
    # beside words they are words
    assert len(read_label_words(written(tmp_path, "w.csv", f"text;label\n{rows}x;word\n"), "label")) == len(labels) + 1


def test_minus_one_that_is_a_class_stays_one(tmp_path):
    assert read_label_words(csv_of(tmp_path, ["1", "-1"]), "label") == ["1", "-1"]
    assert read_label_words(csv_of(tmp_path, ["2", "1", "0", "-1", "-2"]), "label") == ["0", "1", "2", "-1", "-2"]
    # and so does whatever is listed as a class
    path = str(csv_of(tmp_path, ["0", "-1", "None"]))
    task = own_task(Files(None, {"train": path}), ("text",), "label", ("None", "-1", "0"), False, None)
    assert read_file(task, path, "train", task.labels, "error").labels.tolist() == [2, 1, 0]


@pytest.mark.parametrize("classes", [["None", "pos"], ["-1", "0", "1"], ["n/a", "x"], ["0.5", "1.5"]])
def test_what_the_model_names_as_a_class_is_one(tmp_path, classes):
    MobileBertConfig().with_labels(classes, "single_label_classification").save_pretrained(tmp_path / "model")
    files = Files(None, {"train": str(csv_of(tmp_path, classes))})
    with pytest.raises(InputError, match=r"no label|are they scores"):
        own_task(files, ("text",), "label", (), False, None)
    task = own_task(files, ("text",), "label", (), False, str(tmp_path / "model"))
    assert sorted(task.labels) == sorted(classes)
    assert len(read_file(task, files.given["train"], "train", classes).texts) == len(classes)


def test_a_file_without_any_label_is_refused_whatever_is_asked(tmp_path):
    path = csv_of(tmp_path, ["-1", "-1"])
    with pytest.raises(InputError, match=r"rows without one: 2 of 2 \(lines 2, 3\): nothing would be left"):
        read_label_words(path, "label", "drop")
    with pytest.raises(InputError, match=r"expected one of error, drop"):
        read_label_words(path, "label", "skip")


def test_many_lines_are_counted_and_the_first_are_named(tmp_path):
    with pytest.raises(InputError, match=r"30 of 31 \(lines 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, \.\.\.\)"):
        read_label_words(csv_of(tmp_path, ["a"] + [""] * 30), "label")


# Label words


@pytest.mark.parametrize("space", [" ", "\t", "\u00a0", "\u3000", "\u200b", "\ufeff", " \u200b "])
def test_white_space_is_no_part_of_a_label(tmp_path, space):
    path = written(tmp_path, "t.csv", f"text,{space}label\na,{space}1\nb,0{space}\nc,1\nd,0\n")
    assert read_label_words(path, "label") == ["0", "1"]
    assert read_examples(path, ("text",), "label", {"0": 0, "1": 1}).labels.tolist() == [1, 0, 1, 0]
    assert read_examples(path, ("text",), "label", None).labels.tolist() == [1, 0, 1, 0]
    rows = jsonl_of(tmp_path, [f"{space}1", f"0{space}"])
    assert read_label_words(rows, "label") == ["0", "1"]


def test_classes_of_older_checkpoints_may_have_white_space(tmp_path):
    path = written(tmp_path, "t.csv", "text,label\na, 1\nb,1\n")
    assert read_examples(path, ("text",), "label", {" 1": 0, "1": 1}).labels.tolist() == [0, 1]


@pytest.mark.parametrize("labels", [["Pos", "neg", "pos"], ["1", "1.0"], ["café", "cafe\u0301"], ["a  b", "a b"]])
def test_words_that_are_nearly_the_same_are_pointed_out(tmp_path, labels, caplog):
    assert len(read_label_words(csv_of(tmp_path, labels), "label")) == len(labels)
    assert "differ in case or form only; are they one class?" in caplog.text


def test_a_word_that_differs_from_a_class_in_case_says_so(tmp_path, caplog):
    assert read_label_words(csv_of(tmp_path, ["pos", "neg"]), "label") and not caplog.text
    with pytest.raises(InputError, match=r"t.csv:2: unknown label 'Pos'; .*; it differs from 'pos' in case only"):
        read_examples(csv_of(tmp_path, ["Pos"]), ("text",), "label", {"neg": 0, "pos": 1})


def test_a_number_in_the_form_of_a_float_is_its_class(tmp_path):
    path = written(tmp_path, "t.tsv", "sentence\tlabel\na\t1.0\nb\t0.0\n")
    assert read_file(TASKS["sst2"], path, "dev").labels.tolist() == [1, 0]
    assert read_examples(csv_of(tmp_path, ["1", "0"]), ("text",), "label", {"0.0": 0, "1.0": 1}).labels.tolist() == [
        1,
        0,
    ]
    assert read_examples(csv_of(tmp_path, ["1.0", "1"]), ("text",), "label", {"1": 0, "1.0": 1}).labels.tolist() == [
        1,
        0,
    ]
    rows = jsonl_of(tmp_path, [1.0, 0.0])
    assert read_examples(rows, ("text",), "label", {"0": 0, "1": 1}).labels.tolist() == [1, 0]
    for label, classes in (("1.5", {"0": 0, "1": 1}), ("1.00", {"1": 0, "1.0": 1})):  # another number; which of two?
        with pytest.raises(InputError, match=rf"unknown label '{label}'"):
            read_examples(csv_of(tmp_path, [label]), ("text",), "label", classes)


def test_only_digits_of_numbers_are_numbers(tmp_path):
    assert read_label_words(csv_of(tmp_path, ["²", "³", "²"]), "label") == ["²", "³"]
    assert read_label_words(csv_of(tmp_path, ["①", "10", "9", "½"]), "label") == ["9", "10", "½", "①"]


@pytest.mark.parametrize("label", [[0, 1], [], {"a": 1}])
def test_lists_and_objects_are_no_labels(tmp_path, label):
    path = jsonl_of(tmp_path, ["x", label])
    message = r"t.jsonl:2: the label is a (list|object), .*: several labels for one text are not supported"
    with pytest.raises(InputError, match=message):
        read_label_words(path, "label")
    with pytest.raises(InputError, match=message):
        read_examples(path, ("text",), "label", {"x": 0})
    with pytest.raises(InputError, match=message):
        read_examples(jsonl_of(tmp_path, [1, label]), ("text",), "label", None)


@pytest.mark.parametrize("label", ["[0, 1]", "['a', 'b']", "[]", "(1, 2)", "{'a': 1}", "[0 1 0]", "[1. 0.]"])
def test_lists_written_as_text_are_no_labels(tmp_path, label):
    with pytest.raises(InputError, match=r"t.csv:3: the label is a list"):
        read_label_words(csv_of(tmp_path, ["x", f'"{label}"']), "label")


def test_brackets_alone_make_no_list(tmp_path):
    assert read_label_words(csv_of(tmp_path, ["[URGENT]", "(none)"]), "label") == ["(none)", "[URGENT]"]


@pytest.mark.parametrize(
    "labels",
    [
        [f"{i / 7:.3f}" for i in range(40)],
        ["0.5", "1.5", "0.5", "1.5"],
        [str(i) for i in range(40)],  # each once
        [str(3 * i) for i in range(40)] * 3,  # with gaps
        ["1e-3", "-.5"],
    ],
)
def test_numbers_that_measure_ask_for_regression(tmp_path, labels):
    path = csv_of(tmp_path, labels)
    with pytest.raises(InputError, match=r"t.csv: 'label' holds \d+ different numbers, .*`regression`.*`label_order`"):
        own_task(Files(None, {"train": str(path)}), ("text",), "label", (), False, None)
    assert own_task(Files(None, {"train": str(path)}), ("text",), "label", (), True, None).is_regression
    order = tuple(dict.fromkeys(labels))
    assert own_task(Files(None, {"train": str(path)}), ("text",), "label", order, False, None).labels == order


@pytest.mark.parametrize("labels", [list("12345"), ["0.0", "1.0"], [str(i) for i in range(77)] * 3, ["1", "10", "100"]])
def test_numbers_that_name_are_classes(tmp_path, labels):
    path = csv_of(tmp_path, labels)
    task = own_task(Files(None, {"train": str(path)}), ("text",), "label", (), False, None)
    assert set(task.labels) == set(labels)


@pytest.mark.parametrize(("order", "message"), [("aab", "'a' stands twice"), (("a", "", "b"), "class 1 has no name")])
def test_a_class_order_names_every_class_once(order, message):
    with pytest.raises(InputError, match=rf"`label_order=a,.*`: {message}"):
        own_task(Files(None, {}), ("text",), "label", tuple(order), False, None)


# GLUE's own files, given by their names


@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if task.dev_splits])
def test_glues_files_are_read_alike_by_folder_and_by_name(name):
    task = TASKS[name]
    for split in task.splits:
        path = SAMPLES / task.folder / f"{split}.tsv"
        ours, theirs = (
            read_file(task, path, split.split("_")[0], on_missing_label="error"),
            read_split(task, SAMPLES, split),
        )
        assert (ours.ids, ours.texts, ours.pairs) == (theirs.ids, theirs.texts, theirs.pairs)
        assert (ours.labels is None) == (theirs.labels is None)
        assert ours.labels is None or ours.labels.tolist() == theirs.labels.tolist()


def test_mrpcs_original_file_is_split_by_its_ids_when_given_by_its_name(tmp_path):
    original = SAMPLES / "MRPC" / "original"
    for kind in ("train", "dev"):
        ours = read_file(TASKS["mrpc"], original / "msr_paraphrase_train.txt", kind)
        assert ours.texts == read_split(TASKS["mrpc"], original, kind).texts
    alone = written(tmp_path, "msr_paraphrase_train.txt", (original / "msr_paraphrase_train.txt").read_text("utf-8"))
    with pytest.raises(InputError, match=r"no dev_ids.tsv or mrpc_dev_ids.tsv"):
        read_file(TASKS["mrpc"], alone, "train")


def test_the_rules_of_glues_tasks_hold_for_given_files(tmp_path, caplog):
    header = "index\tsentence1\tsentence2\tgold_label\n"
    mnli = written(tmp_path, "m.tsv", header + "0\ta\tb\tentailment\n1\ta\tc\t-\n")
    assert read_file(TASKS["mnli"], mnli, "dev", on_missing_label="error").ids == ["0"]
    cola = written(tmp_path, "c.tsv", "gj04\t1\t\tOne.\ngj04\t0\t*\tTwo.\n")
    assert read_file(TASKS["cola"], cola, "train").texts == ["One.", "Two."]
    named = written(tmp_path, "n.tsv", "sentence\tlabel\nOne.\t1\n")  # a file of one's own may have a header
    assert read_file(TASKS["cola"], named, "train").texts == ["One."]
    qqp = written(
        tmp_path, "q.tsv", "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n7\t1\t2\ta\tb\t1\n8\t3\t4\tcut\n"
    )
    assert read_file(TASKS["qqp"], qqp, "train").ids == ["7"] and "left out (lines [3])" in caplog.text
    stsb = written(tmp_path, "s.tsv", "sentence1\tsentence2\tscore\na\tb\t5.5\n")
    with pytest.raises(InputError, match=r"s.tsv:2: score 5.5 is outside 0..5"):
        read_file(TASKS["stsb"], stsb, "dev")
    own = Task("own", "", ("sentence1",), "score")
    assert read_file(own, stsb, "dev").labels.tolist() == [5.5]
    sst2 = written(tmp_path, "l.tsv", "sentence\tlabel\na\t0\nb\t-1\n")
    with pytest.raises(InputError, match=r"l.tsv:3: no label \('-1'\).*`on_missing_label=drop`$"):
        read_file(TASKS["sst2"], sst2, "dev", on_missing_label="error")
    assert read_file(TASKS["sst2"], sst2, "dev", on_missing_label="drop").texts == ["a"]


# Formats


@pytest.mark.parametrize("name", ["t.json", "t.jsonl", "t.JSON"])
@pytest.mark.parametrize("indent", [None, 1])
def test_an_array_of_objects_is_a_table(tmp_path, name, indent):
    rows = [{"text": "good]", "label": "pos"}, {"label": 7, "text": "b,\nad"}, {"text": "", "label": "x", "more": []}]
    path = written(tmp_path, name, "\n " + json.dumps(rows, indent=indent) + "\n")
    table = open_table(path)
    assert table.header == ("text", "label")
    assert [row for _, row in table.rows] == [["good]", "pos"], ["b,\nad", "7"], ["", "x"]]
    lines = [line for line, _ in open_table(path).rows]
    assert lines == ([2, 2, 2] if indent is None else [3, 7, 11])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "t.json: empty; expected one JSON object a line, or an array of objects"),
        ('[\n{"t": 1},\n 2]', "t.json:3: expected one JSON object a line, got list of int; an array must hold objects"),
        ('[\n{"t": 1}\n', r"t.json:3: broken JSON \(expected a comma or the end of the array\)"),
        ('[{"t": 1},\n]', "t.json:2: broken JSON at column 1"),
        ('[{"t": 1}]\n[{"t": 2}]', r"t.json:1: broken JSON \(more text behind the end"),
        ('{\n"t": 1\n}', "t.json:1: broken JSON .*; expected one JSON object a line, or an array of objects"),
        ('{"t": 1}\n{"t": 1, "t": 2}', "t.json:2: 't' stands twice in one object"),
        ('[{"t": 1},\n{"t": 1, "t": 2}]', "t.json:2: 't' stands twice in one object"),
        ('[{"t": "a"},\n{}]', "t.json:2: no 't', which the first line has"),
    ],
)
def test_broken_json_is_named(tmp_path, content, message):
    with pytest.raises(InputError, match=message):
        list(open_table(written(tmp_path, "t.json", content)).rows)


def test_rows_of_json_need_only_the_columns_that_are_read(tmp_path):
    rows = [{"text": "a", "label": "x", "note": 1}, {"text": "b", "label": "y"}, {"label": "x", "text": "c", "z": []}]
    path = written(tmp_path, "t.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert read_label_words(path, "label") == ["x", "y"]
    assert read_examples(path, ("text",), "label", {"x": 0, "y": 1}).labels.tolist() == [0, 1, 0]
    assert read_texts(path, None).texts == ["a", "b", "c"]
    with pytest.raises(InputError, match=r"t.jsonl:2: no 'note', which the first line has"):
        read_examples(path, ("text", "note"), "label", {"x": 0, "y": 1})
    with pytest.raises(InputError, match=r"t.jsonl:1: no 'z', which others have"):
        read_examples(path, ("z",), "label", {"x": 0, "y": 1})
    with pytest.raises(InputError, match=r"t.jsonl: no column 'q'; the file has text, label, note"):
        read_examples(path, ("q",), "label", {"x": 0, "y": 1})
    with pytest.raises(InputError, match=r"i.jsonl:2: no 'id', which the first line has"):
        read_texts(written(tmp_path, "i.jsonl", '{"id": "1", "text": "a"}\n{"text": "b"}\n'), None)


@pytest.mark.parametrize("name", ["t.jsonl", "t.json"])
def test_the_first_row_may_be_the_one_without_a_label(tmp_path, name):
    rows = [{"text": "a"}, {"text": "b", "label": "y"}, {"text": "c", "label": "x"}]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    path = written(tmp_path, name, json.dumps(rows, indent=1) if name == "t.json" else lines)
    message = r":[12]: no 'label', which others have; rows without one: 1 of 3 .*`on_missing_label=drop`"
    with pytest.raises(InputError, match=message):
        read_label_words(path, "label", "error")
    with pytest.raises(InputError, match=message):
        read_examples(path, ("text",), "label", {"x": 0, "y": 1}, FileRules(on_missing_label="error"))
    assert read_label_words(path, "label", "drop") == ["x", "y"]
    rules = FileRules(on_missing_label="drop")
    assert read_examples(path, ("text",), "label", {"x": 0, "y": 1}, rules).texts == ["b", "c"]


@pytest.mark.parametrize("columns", [{"text": {"0": "a"}, "label": {"0": 1}}, {"text": ["a", "b"], "label": [0, 1]}])
def test_json_of_whole_columns_says_how_to_write_rows(tmp_path, columns):
    path = written(tmp_path, "t.json", json.dumps(columns))
    message = r"t.json:1: one object that holds whole columns, text, label; .*to_json\(orient='records', lines=True\)"
    with pytest.raises(InputError, match=message):
        read_label_words(path, "label")
    with pytest.raises(InputError, match=message):
        read_texts(path, None)


@pytest.mark.parametrize("suffix", [".xlsx", ".parquet", ".ods", ".pkl"])
def test_files_that_are_no_text_are_to_be_saved_as_csv(tmp_path, suffix):
    with pytest.raises(InputError, match=rf"cannot tell the format from '{suffix}', which is no text; save it as CSV"):
        read_label_words(written(tmp_path, f"t{suffix}", ""), "label")


def test_suffixes_are_read_in_any_case(tmp_path):
    for name, content in (("t.CSV", 'text,label\n"a, b",1\n'), ("t.TSV", "text\tlabel\na, b\t1\n")):
        assert [row for _, row in open_table(written(tmp_path, name, content)).rows] == [["a, b", "1"]]


@pytest.mark.parametrize("mark", [";", "\t"])
def test_csv_is_separated_as_its_header_says(tmp_path, mark):
    path = written(tmp_path, "t.csv", f'text{mark} label\n"a{mark} ""b"""{mark}1\nc, d{mark}0\n')
    table = open_table(path)
    assert table.header == ("text", "label")
    assert [row for _, row in table.rows] == [[f'a{mark} "b"', "1"], ["c, d", "0"]]


@pytest.mark.parametrize("line", ["sep=;", '"sep=;"'])
def test_excels_first_line_says_what_separates(tmp_path, line):
    table = open_table(written(tmp_path, "t.csv", f"{line}\r\ntext, all;label\r\na,b;1\r\n"))
    assert table.header == ("text, all", "label") and list(table.rows) == [(3, ["a,b", "1"])]


@pytest.mark.parametrize("name", ["t.csv", "t.tsv"])
def test_lines_that_end_in_carriage_returns_alone_are_refused(tmp_path, name):
    with pytest.raises(InputError, match=rf"{name}: its lines end in carriage returns alone; save it with line feeds"):
        open_table(written(tmp_path, name, "text\ra\rb\r"))


@pytest.mark.parametrize("name", ["text;1", '"text;1"'])
def test_a_comma_in_the_header_separates_whatever_follows(tmp_path, name):
    table = open_table(written(tmp_path, "t.csv", f"{name},label\na;b,1\n"))
    assert table.header == ("text;1", "label") and [row for _, row in table.rows] == [["a;b", "1"]]
    single = open_table(written(tmp_path, "s.csv", "text\na; b\n"))
    assert [row for _, row in single.rows] == [["a; b"]]


def test_long_csv_fields_are_read(tmp_path):
    long = "word " * 40_000
    path = written(tmp_path, "t.csv", f'text,label\n"{long}",1\n')
    assert read_examples(path, ("text",), "label", {"1": 0}).texts == [long]


QUOTED = {
    "a quotation mark": 'text\tlabel\nplain\t1\n"He said ""yes"""\t0\n',
    "a tab": 'text\tlabel\nplain\t1\n"a\tb"\t0\n',
    "a line break": 'text\tlabel\nplain\t1\n"a\nb"\t0\n',
    "Windows": 'text\tlabel\r\nplain\t1\r\n"a\r\nb ""c"""\t0\r\n',
}


@pytest.mark.parametrize("case", QUOTED)
def test_tsv_as_pandas_quotes_it_is_detected_and_read_under_another_name(tmp_path, case):
    path = written(tmp_path, "t.tsv", QUOTED[case])
    with pytest.raises(
        InputError, match=r"t.tsv:3: looks quoted, .*; in .tsv a quotation mark is text; name the file .csv"
    ):
        read_examples(path, ("text",), "label", {"0": 0, "1": 1})
    renamed = path.rename(tmp_path / "t.csv")
    texts = {"a quotation mark": 'He said "yes"', "a tab": "a\tb", "a line break": "a\nb", "Windows": 'a\r\nb "c"'}
    assert read_examples(renamed, ("text",), "label", {"0": 0, "1": 1}).texts == ["plain", texts[case]]


@pytest.mark.parametrize("mark", [",", ";"])
@pytest.mark.parametrize("name", ["t.tsv", "t.txt"])
def test_tab_delimited_text_of_excel_is_detected(tmp_path, name, mark):
    content = f'text\tlabel\r\nplain\t1\r\n"Good{mark} but long"\t0\r\n'
    for rows in (content, content + '"So ""good"""\t1\r\n'):
        path = written(tmp_path, name, rows)
        with pytest.raises(InputError, match=rf"{name}:3: looks quoted, as pandas, Excel .*; name the file .csv"):
            read_examples(path, ("text",), "label", {"0": 0, "1": 1})
        texts = read_examples(path.rename(tmp_path / "t.csv"), ("text",), "label", {"0": 0, "1": 1}).texts
        assert texts[:2] == ["plain", f"Good{mark} but long"]


@pytest.mark.parametrize("other", ["no, not quoted; so", '"Hello"', 'He said "yes, sir"', '"one, two" and "three"'])
def test_speech_with_commas_in_quotation_marks_is_text_where_another_field_shows_it(tmp_path, other):
    path = written(tmp_path, "t.tsv", f'text\tlabel\n"Well, yes; or no"\t1\n{other}\t1\n')
    assert read_examples(path, ("text",), "label", {"1": 0}).texts == ['"Well, yes; or no"', other]


def test_a_quoted_header_says_so(tmp_path):
    with pytest.raises(InputError, match=r"t.tsv:1: the columns' names are quoted; .*name the file .csv"):
        open_table(written(tmp_path, "t.tsv", '"text"\t"label"\n"a"\t"x"\n'))


@pytest.mark.parametrize("text", ['"Hello"', 'He said "yes"', '"One" and "two"', '"open', 'closed"', '"a"b"', '""'])
def test_quotation_marks_of_tsv_that_are_text_stay(tmp_path, text):
    quoted = '"He said ""yes"""'  # would be refused alone
    path = written(tmp_path, "t.tsv", f"text\tlabel\n{quoted}\t1\n{text}\t1\n")
    assert read_examples(path, ("text",), "label", {"1": 0}).texts == [quoted, text]


def test_qqp_is_quoted_and_read_as_it_is(tmp_path):
    path = written(tmp_path, "train.tsv", 'id\tquestion1\tquestion2\tis_duplicate\n0\t"What is ""x""?"\tb\t1\n')
    assert read_split(TASKS["qqp"], tmp_path, "train").texts == ['"What is ""x""?"']
    assert read_examples(path, ("question1",), None, None).texts == ['"What is ""x""?"']


@pytest.mark.parametrize(
    ("value", "kind"), [("null", "a null"), ("NaN", "a NaN"), ('["a"]', "a list"), ('{"a": 1}', "an object")]
)
def test_text_that_is_none_is_refused(tmp_path, value, kind):
    path = written(tmp_path, "t.jsonl", f'{{"text": "a", "other": null}}\n{{"text": {value}, "other": 1}}\n')
    with pytest.raises(InputError, match=rf"t.jsonl:2: 'text' is {kind}, expected text"):
        read_examples(path, ("text",), None, None)


@pytest.mark.parametrize("empty", ["", " ", "\t", "\u00a0", "\u200b"])
def test_empty_texts_are_refused_and_their_lines_are_named(tmp_path, empty):
    path = written(tmp_path, "t.csv", f'text,pair,label\na,b,1\n"{empty}",c,1\nd,"{empty}",1\n')
    own = Task("own", "", ("text",), "label", ("0", "1"))
    for kind in ("train", "test"):
        with pytest.raises(InputError, match=r"t.csv:3: 'text' is empty; rows without text: line 3: give each a text"):
            read_file(own, path, kind)
    with pytest.raises(InputError, match=r"t.csv:3: 'text' is empty; rows without text: lines 3, 4: "):
        read_examples(path, ("text", "pair"), None, None)
    assert read_texts(path, None).texts == ["a", empty, "d"]  # predict.py gives such a row an error of its own
    assert read_file(own, written(tmp_path, "p.csv", "text,pair,label\na,,1\n"), "train").texts == ["a"]
    with pytest.raises(InputError, match=r"t.jsonl:1: 'text' is empty"):
        read_examples(written(tmp_path, "t.jsonl", json.dumps({"text": empty}) + "\n"), ("text",), None, None)


def test_empty_texts_of_a_task_whose_official_files_have_none_are_refused(tmp_path):
    written(tmp_path, "train.tsv", "sentence\tlabel\na\t1\n \t0\n")
    with pytest.raises(InputError, match=r"train.tsv:3: 'sentence' is empty"):
        read_split(TASKS["sst2"], tmp_path, "train")


def test_questions_of_qqp_may_be_empty(tmp_path):
    path = written(tmp_path, "train.tsv", "id\tquestion1\tquestion2\tis_duplicate\n0\ta\t\t0\n")
    assert read_split(TASKS["qqp"], tmp_path, "train").pairs == [""]
    assert read_texts(path, None).pairs == [""]


def test_numbers_are_text(tmp_path):
    path = written(tmp_path, "t.jsonl", '{"text": 12, "label": true}\n')
    assert read_examples(path, ("text",), "label", {"true": 0}).texts == ["12"]


def test_a_column_that_is_there_twice_is_refused_where_it_is_asked_for(tmp_path):
    path = written(tmp_path, "t.csv", "text,x,x, text\na,1,2,b\n")
    with pytest.raises(InputError, match=r"t.csv: 2 columns are called 'text'; rename one"):
        read_examples(path, ("text",), None, None)


def test_another_separator_is_pointed_out(tmp_path):
    with pytest.raises(
        InputError, match=r"no column 'text'; the file has text,label as one column; columns of .tsv are"
    ):
        read_examples(written(tmp_path, "t.tsv", "text,label\na,1\n"), ("text",), None, None)


def test_lines_of_text_end_at_line_feeds_only(tmp_path):
    path = written(tmp_path, "t.txt", "a\u2028b\x0bc\x85d\r\n\ne\rf\n")
    assert read_lines(path).texts == ["a\u2028b\x0bc\x85d", "e\rf"]


def test_predict_reads_the_same_tables(tmp_path):
    rows = [{"text": "a", "label": None}, {"text": "b", "label": "x"}]
    assert read_texts(written(tmp_path, "t.json", json.dumps(rows)), None).texts == ["a", "b"]
    assert read_texts(written(tmp_path, "t.CSV", 'id;text\nx;"a; b"\n'), None).texts == ["a; b"]
    assert read_texts(written(tmp_path, "t.TXT", "a\u2028b\nc\n"), None).texts == ["a\u2028b", "c"]
    with pytest.raises(InputError, match=r"t.jsonl:1: 'text' is a null, expected text"):
        read_texts(written(tmp_path, "t.jsonl", '{"text": null}\n'), None)
    with pytest.raises(InputError, match=r"t.tsv:2: looks quoted"):
        read_texts(written(tmp_path, "t.tsv", 'text\n"a ""b"""\n'), None)


def test_predictions_stay_a_table(tmp_path):
    path = tmp_path / "predictions.tsv"
    write_submission(path, ["a\tb", "c\nd", "e\\f", "g\u2028\\"], ["x", "y\r\nz", "w", "v"])
    text = path.read_text("utf-8")
    assert text == "index\tprediction\na\\tb\tx\nc\\nd\ty\\r\\nz\ne\\f\tw\ng\\u2028\\\\\tv\n"
    assert len(text.splitlines()) == 5 and all(line.count("\t") == 1 for line in text.splitlines())
