"""GLUE's scores against numbers worked out by hand, and the server's files."""

import warnings
import zipfile

import numpy as np
import pytest

from mobilebert.base.errors import InputError
from mobilebert.data.classify.metrics import compute
from mobilebert.data.glue.files import prediction_words, write_submission, zip_submissions
from mobilebert.data.glue.tasks import TASKS

# 3 true positives, 1 false positive, 2 false negatives, 4 true negatives
GOLD = np.array([1, 1, 1, 0, 1, 1, 0, 0, 0, 0])
PREDICTED = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0])


def test_classification_scores_by_hand():
    scores = compute(("accuracy", "f1", "matthews_correlation"), PREDICTED, GOLD)
    assert scores["accuracy"] == pytest.approx(70.0)
    assert scores["f1"] == pytest.approx(100 * 2 * 3 / (2 * 3 + 1 + 2))
    assert scores["matthews_correlation"] == pytest.approx(100 * (3 * 4 - 1 * 2) / np.sqrt(4 * 5 * 5 * 6))


def test_f1_follows_the_positive_class():
    flipped = compute(("f1",), 1 - PREDICTED, 1 - GOLD, positive=0)["f1"]
    assert flipped == pytest.approx(compute(("f1",), PREDICTED, GOLD)["f1"])
    assert compute(("f1",), PREDICTED, GOLD, positive=0)["f1"] != pytest.approx(flipped)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing to find and nothing found is no reason to warn
        assert compute(("f1",), np.zeros(4, int), np.zeros(4, int))["f1"] == 0.0


def test_correlations_by_hand():
    gold, predicted = np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.0, 1.0, 4.0, 3.0])
    scores = compute(("pearson", "spearmanr"), predicted, gold)
    assert scores["spearmanr"] == pytest.approx(80.0)  # 1 - 6 * 2 / (4 * 15)
    assert scores["pearson"] == pytest.approx(100 * 6 / np.sqrt(5 * 10))
    for pair in ((np.ones(4), gold), (gold, np.ones(4))):
        assert compute(("pearson", "spearmanr"), *pair) == {"pearson": 0.0, "spearmanr": 0.0}


@pytest.mark.parametrize("predicted", [[2**24, 2**24, 2**24 + 2], [1e38, 1e38, 3e38]], ids=["nearly constant", "huge"])
def test_pearson_of_float32_is_exact(predicted):
    found = compute(("pearson",), np.array(predicted, np.float32), np.array([1, 2, 3], np.float32))
    assert found["pearson"] == pytest.approx(100 * np.sqrt(3) / 2)


@pytest.mark.parametrize(
    ("predicted", "gold", "message"),
    [
        (np.zeros(0), np.zeros(0), "0 predictions for 0 labels"),
        (np.zeros(2), np.zeros(3), "2 predictions for 3 labels"),
        (np.array([1.0, np.nan]), np.zeros(2), "not finite"),
    ],
)
def test_what_cannot_be_scored_is_refused(predicted, gold, message):
    with pytest.raises(InputError, match=message):
        compute(("pearson",), predicted, gold)


def test_prediction_words():
    google = ("contradiction", "entailment", "neutral")
    assert prediction_words(TASKS["mnli"], google, np.array([1, 0])) == ["entailment", "contradiction"]
    assert prediction_words(TASKS["cola"], ("acceptable", "unacceptable"), np.array([0, 1])) == ["1", "0"]
    assert prediction_words(TASKS["wnli"], TASKS["wnli"].labels, np.array([0, 1])) == ["0", "1"]
    assert prediction_words(TASKS["stsb"], (), np.array([-0.3, 2.34567, 5.2])) == ["0.000", "2.346", "5.000"]


@pytest.fixture
def submissions(tmp_path):
    for task in TASKS.values():
        for name, rows in task.submissions.values():
            words = prediction_words(task, task.labels, np.zeros(rows, int))
            write_submission(tmp_path / name, [str(number) for number in range(rows)], words)
    return tmp_path


NAMES = ["CoLA", "SST-2", "MRPC", "STS-B", "QQP", "MNLI-m", "MNLI-mm", "QNLI", "RTE", "WNLI", "AX"]


def test_the_archive_is_what_the_server_wants(submissions):
    names = zip_submissions(submissions, submissions / "submission.zip")
    assert names == [f"{name}.tsv" for name in NAMES]
    with zipfile.ZipFile(submissions / "submission.zip") as archive:
        assert archive.namelist() == names
        assert archive.read("RTE.tsv").decode().split("\n")[:2] == ["index\tprediction", "0\tentailment"]
        assert archive.read("WNLI.tsv").decode().split("\n")[1] == "0\t0"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda lines: lines[:-1], r"RTE.tsv: 2999 predictions, but GLUE's rte test set has 3000"),
        (lambda lines: ["id\tlabel", *lines[1:]], r"RTE.tsv:1: expected the header"),
        (lambda lines: [*lines[:5], "4\t1", *lines[6:]], r"RTE.tsv:6: expected index 4 and a rte prediction"),
        (lambda lines: [*lines[:5], "5\tentailment", *lines[6:]], r"RTE.tsv:6: expected index 4"),
    ],
)
def test_a_spoilt_submission_is_refused(submissions, spoil, message):
    path = submissions / "RTE.tsv"
    path.write_text("\n".join(spoil(path.read_text().removesuffix("\n").split("\n"))) + "\n")
    with pytest.raises(InputError, match=message):
        zip_submissions(submissions, submissions / "submission.zip")
    assert not (submissions / "submission.zip").exists()


def test_a_missing_submission_is_refused(submissions):
    (submissions / "AX.tsv").unlink()
    with pytest.raises(InputError, match=r"AX.tsv: no such file"):
        zip_submissions(submissions, submissions / "submission.zip")
