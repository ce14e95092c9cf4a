"""Several labels for one text, as people write them; and what is refused."""

import json

import pytest

from mobilebert.base.errors import InputError
from mobilebert.data.classify.columns import Columns
from mobilebert.data.classify.examples import FileRules, read_examples
from mobilebert.data.classify.label_sets import LabelSets, holds_lists, read_set_words
from mobilebert.data.tables import JsonValue

IDS = {"a": 0, "b": 1, "7": 2}


@pytest.mark.parametrize(
    ("sets", "cell", "words"),
    [
        (LabelSets(), JsonValue(["a", " b ", "a"]), ["a", "b"]),
        (LabelSets(), JsonValue([]), []),
        (LabelSets(), JsonValue([7]), ["7"]),
        (LabelSets(), JsonValue(7), ["7"]),
        (LabelSets(), "a", ["a"]),
        (LabelSets(), "['a', 'b']", ["a", "b"]),  # what pandas makes of lists in CSV
        (LabelSets(";"), "a; b", ["a", "b"]),
        (LabelSets(";"), "a", ["a"]),
        (LabelSets(";"), ";a;;", ["a"]),
        (LabelSets(";"), " ", []),
        (LabelSets(";"), "nan", None),
        (LabelSets(), JsonValue(None), None),
        (LabelSets(), JsonValue(None, "absent"), None),
    ],
)
def test_the_labels_of_a_cell(sets, cell, words):
    assert sets.words("t:2", [cell]) == words
    assert sets.read("t:2", [cell], IDS) == (None if words is None else [float(name in words) for name in IDS])


@pytest.mark.parametrize(
    ("cells", "flags"),
    [("10", [1, 0]), (["1.0", "0.0"], [1, 0]), (["true", "False"], [1, 0]), (["1", ""], None), (["1", "nan"], None)],
)
def test_indicators_are_0_and_1(cells, flags):
    assert LabelSets(indicators=("a", "b")).read("t:2", list(cells), {"a": 0, "b": 1}) == flags


@pytest.mark.parametrize(
    ("sets", "cells", "said"),
    [
        (LabelSets(indicators=("a", "b")), ["1", "2"], "t:2: 'b' is '2', expected 0 or 1"),
        (LabelSets(), [JsonValue({"a": 1})], "t:2: the label is an object"),
        (LabelSets(), [JsonValue(["a", None])], "t:2: the list of labels holds None; expected words or numbers"),
        (LabelSets(), ["[0 1]"], "t:2: the label is '.0 1.'; expected a list with commas"),
        (LabelSets(";"), ["a;c"], "t:2: unknown label 'c'; expected some of a, b, 7"),
    ],
)
def test_what_is_no_set_is_refused(sets, cells, said):
    with pytest.raises(InputError, match=said):
        sets.read("t:2", cells, IDS)


def test_rows_that_say_nothing_are_named_or_left_out(tmp_path):
    path = tmp_path / "t.jsonl"
    rows = [{"text": "x", "labels": ["b"]}, {"text": "y", "labels": None}, {"text": "z"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    columns = Columns(("text",), "labels")
    assert holds_lists(path, "labels")
    with pytest.raises(InputError, match=r"t.jsonl:2: no label \(null\); rows without one: 2 of 3 \(lines 2, 3\)"):
        read_set_words(path, columns)
    assert read_set_words(path, columns, "drop") == ("b",)
    rules = FileRules(on_missing_label="drop", label_sets=LabelSets())
    examples = read_examples(path, ("text",), "labels", {"b": 0}, rules)
    assert examples.texts == ["x"] and examples.labels.tolist() == [[1.0]] and examples.lines == [1]


def test_a_separator_that_is_nowhere_is_named(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("text,label\na,x|y\nb,y\n")
    with pytest.raises(InputError, match="no 'label' has two labels with ';' between them; check `label_separator`"):
        read_set_words(path, Columns(("text",), "label", separator=";"))
    assert read_set_words(path, Columns(("text",), "label", separator="|")) == ("x", "y")
