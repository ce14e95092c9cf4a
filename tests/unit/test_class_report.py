"""Per-class scores equal scikit-learn's; the weights of classes too; what the report and the warning say."""

import numpy as np
import pytest
from sklearn.metrics import classification_report, confusion_matrix, multilabel_confusion_matrix
from sklearn.utils.class_weight import compute_class_weight

from mobilebert.base.errors import InputError
from mobilebert.data.classify.balance import check_spec, class_weights, count_line, warning_of
from mobilebert.data.classify.report import make_report, report_text

NAMES = ("first", "second", "third", "never")


def equal_to_sklearn(report, theirs):
    for name, values in theirs.items():
        if name in ("accuracy", "samples avg"):
            continue
        ours = report["averages"][name.split()[0]] if name.endswith(" avg") else report["classes"][name]
        for score, key in (("precision", "precision"), ("recall", "recall"), ("f1", "f1-score")):
            assert ours[score] == pytest.approx(100 * values[key], abs=1e-10), (name, score)
        if not name.endswith(" avg"):
            assert ours["support"] == values["support"]


@pytest.mark.parametrize("seed", range(5))
def test_classes_as_scikit_learn_counts_them(seed):
    rng = np.random.default_rng(seed)
    gold, said = rng.integers(0, 3, 50), rng.integers(0, 3, 50)
    report = make_report(NAMES, gold, said)
    options = {"output_dict": True, "zero_division": 0.0}
    theirs = classification_report(gold, said, labels=range(3), target_names=NAMES[:3], **options)
    equal_to_sklearn(report, theirs)
    assert report["averages"]["micro"]["f1"] == pytest.approx(100 * theirs["accuracy"])
    assert report["confusion"] == confusion_matrix(gold, said, labels=range(4)).tolist()
    assert report["classes"]["never"] == {"precision": 0, "recall": 0, "f1": 0, "support": 0, "predicted": 0}
    with pytest.raises(AssertionError):  # turned round, precision is recall
        equal_to_sklearn(make_report(NAMES, said, gold), theirs)


@pytest.mark.parametrize("seed", range(5))
def test_several_labels_as_scikit_learn_counts_them(seed):
    rng = np.random.default_rng(seed)
    gold, said = (rng.random((40, 3)) < 0.3).astype(np.float32), (rng.random((40, 3)) < 0.4).astype(np.int64)
    report = make_report(NAMES[:3], gold, said)
    options = {"output_dict": True, "zero_division": 0.0}
    equal_to_sklearn(report, classification_report(gold, said, target_names=NAMES[:3], **options))
    assert report["confusion"] == multilabel_confusion_matrix(gold, said).reshape(3, 4).tolist()


def test_the_report_is_a_table_and_a_matrix():
    report = make_report(("no", "yes"), np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]))
    assert report_text("dev", report).splitlines() == [
        "dev: 4 examples, in percent",
        "",
        "          precision  recall      f1  support",
        "no           100.00   66.67   80.00        3",
        "yes           50.00  100.00   66.67        1",
        "",
        "micro         75.00   75.00   75.00        4",
        "macro         75.00   83.33   73.33        4",
        "weighted      87.50   75.00   76.67        4",
        "",
        "confusion: a row a class, a column what the model says",
        "               0    1",
        "0 no           2    1",
        "1 yes          0    1",
    ]


def test_of_many_classes_the_pairs_that_are_confused_most_are_named():
    gold = np.arange(40).repeat(3)
    said = gold.copy()
    said[:3], said[3] = 7, 9
    lines = report_text("dev", make_report([f"c{i}" for i in range(40)], gold, said)).splitlines()
    assert lines[-3:] == ["confused most: the class, what the model says, how often", "c0 -> c7  3", "c1 -> c9  1"]


# Weights


@pytest.mark.parametrize("seed", range(3))
def test_balanced_weights_are_scikit_learns(seed):
    gold = np.random.default_rng(seed).choice(4, 100, p=[0.6, 0.2, 0.15, 0.05])
    counts = {str(index): int((gold == index).sum()) for index in range(4)}
    theirs = compute_class_weight("balanced", classes=np.arange(4), y=gold)
    np.testing.assert_allclose(class_weights("balanced", counts), theirs, rtol=1e-6)
    with_another = class_weights("balanced", {**counts, "without examples": 0})
    np.testing.assert_allclose(with_another, [*theirs, 1.0], rtol=1e-6)


def test_weights_by_name():
    counts = {"a": 1, "b": 2, "x=y": 3}
    assert class_weights("none", counts) is None
    assert class_weights("b=2.5", counts).tolist() == [1, 2.5, 1]
    assert class_weights(" x=y = 2, a=0.5", counts).tolist() == [0.5, 1, 2]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("balance", "expected balanced, none, or NAME=WEIGHT,NAME=WEIGHT, got 'balance'"),
        ("a=0", "a=0: expected a number above 0"),
        ("a=-1", "expected a number above 0"),
        ("a=inf", "expected a number above 0"),
        ("a=x", "expected a number above 0"),
        ("a=1,a=2", "'a' stands twice"),
        ("=1", "expected balanced"),
    ],
)
def test_a_wrong_weight_is_named(spec, said):
    with pytest.raises(InputError, match=said):
        check_spec(spec)


def test_a_class_that_is_not_there_is_named():
    with pytest.raises(InputError, match="`class_weights`: no class 'c'; there are a, b"):
        class_weights("c=2", {"a": 1, "b": 1})


def test_sizes_and_the_warning():
    assert count_line({"a": 5, "b": 1}) == "a 5, b 1"
    assert count_line({str(i): i + 1 for i in range(50)}) == "50 classes, from 0 1 to 49 50"
    assert warning_of({"a": 49, "b": 10}) is None
    assert "a has 5.0 times as many examples as b" in warning_of({"a": 50, "b": 10})
    assert "`class_weights=balanced` helps" in warning_of({"a": 50, "b": 10})
    assert "class_weights" not in warning_of({"a": 50, "b": 10}, is_multi_label=True)
    assert warning_of({"a": 50, "b": 0}).startswith("no example of b")
