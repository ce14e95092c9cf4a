"""What the exporter measures on: read, windowed and answered as the model was trained."""

import json

import numpy as np
import pytest
from support.texts import CHECKPOINT_VOCABULARY

from mobilebert.base.errors import InputError
from mobilebert.export.samples import read_samples
from mobilebert.model.config import MobileBertConfig
from mobilebert.text.tokenizer import MobileBertTokenizer

TOKENIZER = MobileBertTokenizer(vocab={word: index for index, word in enumerate(CHECKPOINT_VOCABULARY)})
ANSWER = "the program engine notes"
CONTEXT = f"{ANSWER} was good in a film and the great film was boring"


@pytest.fixture
def squad(tmp_path):
    answer = {"text": ANSWER, "answer_start": 0}
    paragraph = {"context": CONTEXT, "qas": [{"id": "1", "question": "who", "answers": [answer]}]}
    path = tmp_path / "dev.json"
    path.write_text(json.dumps({"version": "1.1", "data": [{"title": "t", "paragraphs": [paragraph]}]}))
    return path


def config_with(**noted):
    config = MobileBertConfig(num_hidden_layers=1, max_position_embeddings=64)
    return config.with_task_params("question-answering", **noted) if noted else config


def exact_match(samples, first, last):
    """The score where the logits point at one span of the first window."""
    logits = np.zeros((2, len(samples.rows), int(samples.rows.lengths.max())))
    logits[0, 0, first] = logits[1, 0, last] = 9
    return samples.score(list(logits))["exact_match"]


def test_answers_are_as_long_as_the_model_was_trained_to_give(squad):
    first = 3  # [CLS] who [SEP]
    scores = {}
    for longest in (None, 30, 1):
        config = config_with(**({} if longest is None else {"max_answer_length": longest}))
        samples = read_samples(squad, "question-answering", config, TOKENIZER, 64)
        scores[longest] = exact_match(samples, first, first + len(ANSWER.split()) - 1)
    assert scores == {None: 100.0, 30: 100.0, 1: 0.0}


def test_windows_overlap_as_in_training(squad):
    counts = {}
    for stride in (None, 1, 4):
        config = config_with(**({} if stride is None else {"doc_stride": stride}))
        counts[stride] = len(read_samples(squad, "question-answering", config, TOKENIZER, 12).rows)
    assert counts[1] < counts[4] == counts[None]  # where nothing is noted, a third of the row


NAMES = MobileBertConfig(num_hidden_layers=1, id2label={0: "bad", 1: "good"})


def accuracy_of(path, *predictions):
    """The score of a classifier that answers so."""
    samples = read_samples(path, "sequence-classification", NAMES, TOKENIZER, 16)
    return samples.score([np.eye(2)[list(predictions)]])["accuracy"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.json", '[{"text": "a", "label": "good"},\n {"text": "b", "label": " bad"}]'),
        ("t.CSV", "text;label\na;good\nb; 0\n"),
        ("t.TSV", "text\tlabel\na\t1\nb\tbad\n"),
        ("t.tsv", "sentence1\tsentence2\tgold_label\na\tb\tgood\nno\tconsensus\t-\nb\tc\tbad\n"),
    ],
)
def test_tables_are_read_as_for_training(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    assert accuracy_of(tmp_path / name, 1, 0) == 100.0 and accuracy_of(tmp_path / name, 1, 1) == 50.0


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            '"text": "b", "label": null',
            r"t.jsonl:2: no label \(null\).*or take the rows or the column label out of the file$",
        ),
        ('"text": "b", "label": -1', r"t.jsonl:2: no label \('-1'\); rows without one: 1 of 2 \(line 2\)"),
        ('"text": "b", "label": [0, 1]', r"t.jsonl:2: the label is a list"),
        ('"text": ["b"], "label": 0', r"t.jsonl:2: 'text' is a list, expected text"),
    ],
)
def test_rows_that_say_nothing_are_named(tmp_path, row, message):
    (tmp_path / "t.jsonl").write_text('{"text": "a", "label": 1}\n{' + row + "}\n")
    with pytest.raises(InputError, match=message):
        accuracy_of(tmp_path / "t.jsonl", 0, 0)


def test_a_line_of_text_ends_at_a_line_feed_only(tmp_path):
    (tmp_path / "t.TXT").write_text("film\u2028great\x0bfilm\r\n\nboring\n", "utf-8", newline="")
    assert len(read_samples(tmp_path / "t.TXT", "sequence-classification", NAMES, TOKENIZER, 16).rows) == 2


def test_a_wrong_note_is_named(squad):
    with pytest.raises(InputError, match=r"config.json: task_specific_params has doc_stride='x'; correct it"):
        read_samples(squad, "question-answering", config_with(doc_stride="x"), TOKENIZER, 16)


def test_samples_are_scored_by_their_texts_or_not_at_all(squad, tmp_path):
    """A wrong start does not leave a question out; a question without answers among others is not guessed to be one."""
    content = json.loads(squad.read_text())
    (question,) = content["data"][0]["paragraphs"][0]["qas"]
    question["answers"][0]["answer_start"] = 3
    other = {"id": "2", "question": "what"}
    content["data"][0]["paragraphs"][0]["qas"].append(other)
    path = tmp_path / "half.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"qas\[1\].answers is missing"):
        read_samples(path, "question-answering", config_with(), TOKENIZER, 64)
    other["is_impossible"] = True
    path.write_text(json.dumps(content))
    samples = read_samples(path, "question-answering", config_with(), TOKENIZER, 64)
    assert len(samples.rows) == 2 and samples.score is not None
    for qa in (question, other):
        qa.update(answers=None, is_impossible=None)
    path.write_text(json.dumps(content))
    samples = read_samples(path, "question-answering", config_with(), TOKENIZER, 64)
    assert len(samples.rows) == 2 and samples.score is None


# Columns that the checkpoint notes


def classifier_with(problem_type=None, labels=("bad", "good"), **noted):
    config = MobileBertConfig(num_hidden_layers=1, id2label=dict(enumerate(labels)), problem_type=problem_type)
    return config.with_task_params("sequence-classification", **noted)


def test_the_columns_that_were_trained_on_are_read(tmp_path):
    (tmp_path / "t.csv").write_text("text;Meinung;Urteil\nx;great film;good\ny;boring;bad\n")
    config = classifier_with(text_columns=["Meinung"], label_column="Urteil")
    read = lambda config: read_samples(tmp_path / "t.csv", "sequence-classification", config, TOKENIZER, 16)  # noqa: E731
    assert read(config).score([np.eye(2)[[1, 0]]]) == {"accuracy": 100.0}
    assert read(config).rows.lengths.tolist() == [4, 3]
    # Without the note the well-known names are read, and there is no label among them.
    assert read(classifier_with()).score is None and read(classifier_with()).rows.lengths.tolist() == [3, 3]
    elsewhere = classifier_with(text_columns=["review"], label_column="Urteil")
    assert read(elsewhere).score is None


@pytest.mark.parametrize(
    ("name", "content", "noted"),
    [
        ("t.jsonl", '{"text": "a", "labels": ["x", "y"]}\n{"text": "b", "labels": []}\n', {"label_column": "labels"}),
        ("t.csv", "text,labels\na,x|y\nb,\n", {"label_column": "labels", "label_separator": "|"}),
        ("t.csv", "text,x,y\na,1,1\nb,0,0\n", {"label_column": "x", "label_columns": ["x", "y"]}),
    ],
)
def test_several_labels_are_scored(tmp_path, name, content, noted):
    (tmp_path / name).write_text(content)
    config = classifier_with("multi_label_classification", ("x", "y"), text_columns=["text"], **noted)
    samples = read_samples(tmp_path / name, "sequence-classification", config, TOKENIZER, 16)
    logits = np.array([[1.0, 2.0], [-1.0, -3.0]])
    assert samples.score([logits]) == {"micro_f1": 100.0, "macro_f1": 100.0, "exact_match": 100.0}
    assert samples.score([logits - 1.5])["exact_match"] == 50.0
    stricter = classifier_with("multi_label_classification", ("x", "y"), text_columns=["text"], threshold=0.8, **noted)
    samples = read_samples(tmp_path / name, "sequence-classification", stricter, TOKENIZER, 16)
    assert samples.score([logits])["exact_match"] == 50.0  # the sigmoid of 1 is 0.73


def test_a_label_that_the_first_row_lacks_is_seen(tmp_path):
    (tmp_path / "t.jsonl").write_text('{"text": "a"}\n{"text": "b", "label": "good"}\n')
    with pytest.raises(InputError, match=r"t.jsonl:1: no 'label', which others have; rows without one: 1 of 2"):
        accuracy_of(tmp_path / "t.jsonl", 0, 1)


@pytest.mark.parametrize(
    "noted",
    [{"text_columns": "text"}, {"text_columns": []}, {"text_columns": ["a", "b", "c"]}, {"label_column": 1},
     {"label_columns": [1]}, {"label_separator": None}, {"threshold": 1}, {"threshold": "x"}],
)  # fmt: skip
def test_a_wrong_note_of_a_classifier_is_named(tmp_path, noted):
    (tmp_path / "t.csv").write_text("text,label\na,good\n")
    (name,) = noted
    with pytest.raises(InputError, match=f"task_specific_params has {name}=.*; correct it"):
        read_samples(tmp_path / "t.csv", "sequence-classification", classifier_with(**noted), TOKENIZER, 16)


TAGS = MobileBertConfig(
    num_hidden_layers=1, id2label=dict(enumerate(["O", "B-PER", "I-PER"])), max_position_embeddings=64
)


@pytest.mark.parametrize(
    ("name", "content", "is_tagged"),
    [
        ("a.conll", "ada B-PER\nlovelace I-PER\n\nwrote O\n", True),
        ("a.txt", "ada B-PER\nlovelace I-PER\n\nwrote O\n", True),
        ("a.jsonl", '{"text": "ada lovelace", "label": [[0, 12, "PER"]]}\n{"text": "wrote", "label": []}\n', True),
        ("a.jsonl", '{"text": "ada lovelace"}\n{"text": "wrote"}\n', False),
        ("a.txt", "ada lovelace\nwrote\n", False),
        ("a.csv", "id,text\n1,ada lovelace\n2,wrote\n", False),
    ],
)
def test_entities_are_scored_where_they_are_marked(tmp_path, name, content, is_tagged):
    (tmp_path / name).write_text(content)
    samples = read_samples(tmp_path / name, "token-classification", TAGS, TOKENIZER, 32)
    assert len(samples.rows) == 2 and samples.shapes == [(4, 3)] and (samples.score is not None) == is_tagged
    assert len(read_samples(tmp_path / name, "token-classification", TAGS, TOKENIZER, 32, limit=1).rows) == 1
    if is_tagged:
        logits = np.zeros((2, 4, 3))
        logits[0, 1, 1] = logits[0, 2, 2] = 9
        assert samples.score([logits])["f1"] == samples.score([logits])["accuracy"] == 100
        logits[0, 2, 1] = 10
        assert samples.score([logits])["f1"] == 0
        with pytest.raises(InputError, match="no finite numbers"):
            samples.score([logits * np.nan])

    def tagger(favourite):
        def run(batch):
            logits = np.zeros((*batch["input_ids"].shape, 3), np.float32)
            logits[:, 1, favourite] = 1  # of the first word of each row; the others are O
            return [logits]

        return run

    (alone,) = samples.measure(tagger(1))
    one, same, other = samples.measure(tagger(1), tagger(1), tagger(2))
    assert "agreement" not in alone and one["agreement"] == same["agreement"] == 100
    assert other["agreement"] == pytest.approx(100 / 3) and ("f1" in other) == is_tagged
