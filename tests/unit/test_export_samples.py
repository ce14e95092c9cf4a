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


def test_a_wrong_note_is_named(squad):
    with pytest.raises(InputError, match=r"config.json: task_specific_params has doc_stride='x'; correct it"):
        read_samples(squad, "question-answering", config_with(doc_stride="x"), TOKENIZER, 16)
