"""SQuAD scores on cases small enough to be worked out by hand."""

import logging
import math

import pytest

from mobilebert.base.errors import InputError
from mobilebert.data.qa.metrics import evaluate_v1, evaluate_v2, normalize_answer


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The  Cat,\tsat.", "cat sat"),
        ("an a the", ""),
        ("theatre", "theatre"),
        ("the-cat", "thecat"),  # punctuation goes first, and so the article is one no more
        ("a—b", "—b"),  # a dash outside ASCII stays and bounds the article
        ("“Été”", "“été”"),
        ("U.S.A.", "usa"),
        ("x\u00a0y", "x y"),
        ("İ", "i̇"),
        ("", ""),
    ],
)
def test_normalisation(text, expected):
    assert normalize_answer(text) == expected


def test_v1_takes_the_best_gold_answer_and_counts_missing_ones_as_zero(caplog):
    answers = {"q1": ["Denver Broncos", "The Broncos"], "q2": ["1990"], "q3": ["in the city of Rome"]}
    with caplog.at_level(logging.WARNING):
        metrics = evaluate_v1(answers, {"q1": "broncos!", "q3": "Rome city", "unknown": "ignored"})
    # q3: 2 common tokens, precision 2/2, recall 2/4 (in, city, of, rome)
    assert metrics["exact_match"] == 100.0 * 1 / 3
    assert metrics["f1"] == pytest.approx(100 * (1 + 2 / 3) / 3, abs=1e-12)
    assert "1 questions have no prediction and score 0 (first: q2)" in caplog.text


def test_the_two_scripts_differ_on_nothing_against_nothing():
    """v1.1 gives F1 0 where both texts normalise to nothing, v2.0 gives 1: a gold answer like "The" is none."""
    answers, predictions = {"q": ["The"]}, {"q": "a"}
    assert evaluate_v1(answers, predictions) == {"exact_match": 100.0, "f1": 0.0}
    assert evaluate_v2(answers, predictions)["f1"] == 100.0


def test_v2_splits_by_answerability():
    answers = {"a": ["Paris"], "b": ["big red dog"], "c": [], "d": []}
    metrics = evaluate_v2(answers, {"a": "paris", "b": "red dog", "c": "", "d": "something"})
    assert metrics["exact"] == 50.0 and metrics["total"] == 4
    assert metrics["HasAns_exact"] == 50.0 and metrics["HasAns_total"] == 2
    assert metrics["HasAns_f1"] == pytest.approx(100 * (1 + 0.8) / 2, abs=1e-12)
    assert metrics["NoAns_exact"] == metrics["NoAns_f1"] == 50.0
    assert not any(name.startswith("best") for name in metrics)


def test_v2_leaves_out_groups_that_do_not_exist():
    assert "NoAns_exact" not in evaluate_v2({"a": ["x"]}, {"a": "x"})
    assert "HasAns_exact" not in evaluate_v2({"a": []}, {"a": ""})


def test_v2_best_threshold():
    answers = {"a": ["x"], "b": [], "c": ["y"], "d": []}
    predictions = {"a": "x", "b": "no", "c": "y", "d": "no"}
    odds = {"a": -3.0, "b": -1.0, "c": -2.0, "d": 4.0}
    metrics = evaluate_v2(answers, predictions, odds)
    # from 2 of 4 (nothing answered) over a and c to 4 of 4, then b and d cost one each
    assert (metrics["best_exact"], metrics["best_exact_thresh"]) == (100.0, -2.0)
    worse = evaluate_v2(answers, predictions, odds | {"c": 5.0})
    assert (worse["best_exact"], worse["best_exact_thresh"]) == (75.0, -3.0)
    never = evaluate_v2(answers, dict.fromkeys(answers, "no"), odds)
    assert (never["best_exact"], never["best_exact_thresh"]) == (50.0, 0.0)


def test_v2_threshold_empties_predictions():
    answers, predictions, odds = {"a": ["x"], "b": []}, {"a": "x", "b": "no"}, {"a": 2.0, "b": 2.0}
    assert evaluate_v2(answers, predictions, odds)["NoAns_exact"] == 100.0
    assert evaluate_v2(answers, predictions, odds)["HasAns_exact"] == 0.0
    as_they_are = evaluate_v2(answers, predictions, odds, null_threshold=math.inf)
    assert (as_they_are["NoAns_exact"], as_they_are["HasAns_exact"]) == (0.0, 100.0)


def test_v2_missing_prediction_scores_zero_even_without_an_answer(caplog):
    metrics = evaluate_v2({"a": ["x"], "b": [], "c": []}, {"a": "x", "c": ""}, {"a": 0.0, "b": -1.0, "c": 1.0})
    assert metrics["total"] == 3 and metrics["NoAns_exact"] == metrics["NoAns_f1"] == 50.0
    assert metrics["best_exact"] == 100.0 * 2 / 3
    assert "first: b" in caplog.text


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: evaluate_v1({}, {}), "no questions to evaluate"),
        (lambda: evaluate_v1({"a": ["x"], "b": []}, {}), "1 questions have no gold answer (first: b)"),
        (lambda: evaluate_v1(dict.fromkeys("abcd", ()), {}), "4 questions have no gold answer (first: a, b, c)"),
        (lambda: evaluate_v1({"a": ["x"]}, {"a": None}), "prediction of question a is None, expected a text"),
        (lambda: evaluate_v2({"a": ["x"]}, {"a": "x"}, {}), "1 predictions have no null odds (first: a)"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(InputError) as raised:
        call()
    assert message in str(raised.value)
