"""Which columns of somebody's table are the text and the label."""

import json

import pytest

from mobilebert.base.errors import InputError
from mobilebert.data.classify.columns import Columns, find_columns, find_label_column, find_text_columns
from mobilebert.tasks.class_files import Files
from mobilebert.tasks.own import label_sets_of, own_columns, own_task, row_count


def table(folder, header, *rows, name="t.csv"):
    path = folder / name
    path.write_text("\n".join(";".join(cells) for cells in (header, *rows)) + "\n")
    return path


@pytest.mark.parametrize(
    ("header", "texts", "label"),
    [
        (["text", "label"], ["text"], "label"),
        (["id", "Review Text", "Stars"], ["Review Text"], "Stars"),
        (["reviewText", "class"], ["reviewText"], "class"),
        (["category", "title", "body"], ["title", "body"], "category"),
        (["Sentence1", "Sentence2", "score"], ["Sentence1", "Sentence2"], "score"),
        (["question", "passage", "target"], ["question", "passage"], "target"),
        (["tweet", "sentiment", "user"], ["tweet"], "sentiment"),
        (["Sentence Text", "Class name", "Source"], ["Sentence Text"], "Class name"),
        (["text", "label", "label_text"], ["text"], "label"),
        (["premise", "hypothesis", "gold_label", "text"], ["premise", "hypothesis"], "gold_label"),
        (["class_a", "class_b", "text"], ["text"], None),  # two could be meant
        (["a", "b"], None, None),
    ],
)
def test_well_known_names_are_found(header, texts, label):
    assert find_text_columns(header) == (None if texts is None else tuple(texts))
    assert find_label_column(header) == label


def rows_of(count):
    return [(f"text number {i}", "yes" if i % 3 else "no") for i in range(count)]


def test_a_table_of_two_columns_is_told_by_its_shape(tmp_path):
    rows = rows_of(12)
    assert find_columns(table(tmp_path, ("Kommentar", "Urteil"), *rows)) == Columns(("Kommentar",), "Urteil")
    turned = table(tmp_path, ("Urteil", "Kommentar"), *((b, a) for a, b in rows), name="u.csv")
    assert find_columns(turned) == Columns(("Kommentar",), "Urteil")
    counted = table(tmp_path, ("", "x", "y"), *((str(i), *row) for i, row in enumerate(rows)), name="n.csv")
    assert find_columns(counted) == Columns(("x",), "y")  # as pandas writes its index
    half = table(tmp_path, ("text", "kind"), *rows, name="h.csv")
    assert find_columns(half) == Columns(("text",), "kind")
    assert find_columns(half, (), "kind") == Columns(("text",), "kind")


def test_of_two_columns_the_numbers_are_the_scores(tmp_path):
    path = table(tmp_path, ("essay", "mark"), *((f"text {i}", f"{i / 7:.2f}") for i in range(9)))
    assert find_columns(path, regression=True) == Columns(("essay",), "mark")
    with pytest.raises(InputError, match="which of its columns is the text and which the label"):
        find_columns(path)


@pytest.mark.parametrize(
    ("header", "rows", "given", "said"),
    [
        ("abc", [("x", "y", "z")], {}, r"the text and which the label\? it has a, b, c; say so with `text_column`"),
        ("ab", [("x", "y")] * 2, {}, r"the text and which the label\? it has a, b;"),  # too few rows to see a shape
        ("ab", [("x", "y"), ("z", "y")] * 9, {}, "which the label"),  # both repeat
        ("abc", [("x", "y", "z")], {"texts": ("a",)}, "which of its columns is the label.*`label_column`$"),
        ("abc", [("x", "y", "z")], {"label": "a"}, r"is the text\?.*`text_column` \(two for pairs\)$"),
    ],
)
def test_what_cannot_be_told_is_asked_in_one_line(tmp_path, header, rows, given, said):
    path = table(tmp_path, tuple(header), *rows)
    with pytest.raises(InputError, match=said):
        find_columns(path, **given)


def test_a_json_row_may_lack_the_label(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text('{"comment": "a"}\n{"comment": "b", "category": "x"}\n')
    assert find_columns(path) == Columns(("comment",), "category")


# The whole of it: flags, notes, kinds of labels


def test_only_what_was_not_given_is_looked_for(tmp_path, caplog):
    caplog.set_level("INFO")
    path = table(tmp_path, ("text", "title", "label", "stars"), ("a", "b", "c", "d"))
    files = Files(None, {"train": str(path)})
    assert own_columns(files, Columns(()), None) == Columns(("text",), "label")
    assert "t.csv: text from text, label from label" in caplog.text
    assert own_columns(files, Columns(("title",), "stars"), None) == Columns(("title",), "stars")
    assert own_columns(files, Columns((), "stars"), None) == Columns(("text",), "stars")
    flags = Columns((), "label", ("label", "stars"))
    assert own_columns(files, flags, None) == Columns(("text",), "label", ("label", "stars"))
    assert own_columns(Files(None, {"test": str(path)}), Columns(()), None) == Columns(("text",))


def test_lists_and_separators_and_indicators_mean_several_labels(tmp_path):
    path = tmp_path / "t.jsonl"
    rows = [{"text": "a", "labels": []}, {"text": "b", "labels": ["x", "y"]}, {"text": "c", "labels": ["y"]}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = Files(None, {"train": str(path)})
    columns = own_columns(files, Columns(()), None)
    sets = label_sets_of(files, columns, None)
    task = own_task(files, columns.texts, columns.label, (), False, None, sets)
    assert task.labels == ("x", "y") and task.problem_type == "multi_label_classification"
    assert files.read(task, "train", task.labels).labels.tolist() == [[0, 0], [1, 1], [0, 1]]
    assert task.metrics == ("micro_f1", "macro_f1", "exact_match") and row_count(path) == 3

    csv = Files(None, {"train": str(table(tmp_path, ("text", "label"), ("a", "x|y"), ("b", "y"), ("c", "")))})
    assert label_sets_of(csv, Columns(("text",), "label"), None) is None
    sets = label_sets_of(csv, Columns(("text",), "label", separator="|"), None)
    task = own_task(csv, ("text",), "label", ("y", "x"), False, None, sets)
    assert csv.read(task, "train", task.labels).labels.tolist() == [[1, 1], [1, 0], [0, 0]]

    ones = table(tmp_path, ("text", "x", "y"), ("a", "1", "0"), ("b", "1.0", "true"), name="i.csv")
    files = Files(None, {"train": str(ones)})
    columns = Columns(("text",), "x", ("x", "y"))
    task = own_task(files, ("text",), "x", (), False, None, label_sets_of(files, columns, None))
    assert task.labels == ("x", "y") and files.read(task, "train", task.labels).labels.tolist() == [[1, 0], [1, 1]]
