"""A task of one's own in one file: what ``run`` asks of it, trained, evaluated and used for prediction."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from mobilebert.base.errors import InputError
from mobilebert.base.files import write_json
from mobilebert.data.collate import PackedDataset
from mobilebert.data.packed import pack_rows
from mobilebert.model.config import MobileBertConfig
from mobilebert.model.heads import MobileBertForSequenceClassification
from mobilebert.tasks.plan import RunPlan
from mobilebert.tasks.run import run
from mobilebert.tasks.shared_rows import run_shared
from mobilebert.tasks.task import Split, Task
from mobilebert.text.tokenizer import MobileBertTokenizer
from mobilebert.train import Evaluation, Start, TrainSettings

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh"]
SHAPE = {
    "vocab_size": len(VOCABULARY), "hidden_size": 32, "embedding_size": 16, "intra_bottleneck_size": 16,
    "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "num_feedforward_networks": 1,
    "max_position_embeddings": 16, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
    "initializer_range": 0.2, "num_labels": 2,
}  # fmt: skip


@dataclass(frozen=True)
class FirstLetter(Task):
    """Does a text begin with a letter of the first half of the alphabet?"""

    max_seq_length: int = 8

    head = "sequence-classification"
    head_name = "classifier"
    purpose = "to be asked"
    outputs = ("logits",)
    answer_files = ("letters.json",)

    def check(self, plan):
        if plan.init_from:
            raise InputError("`init_from`: this task begins anew")

    def build_model(self, plan, seed):
        paddle.seed(seed)
        if plan.model_name_or_path:
            return MobileBertForSequenceClassification.from_pretrained(plan.model_name_or_path), True
        return MobileBertForSequenceClassification(MobileBertConfig.from_dict(SHAPE)), False

    def load(self, kind, plan, tokenizer, world):
        rng = np.random.default_rng(len(kind))
        texts = ["".join(rng.choice(list("abcdefgh"), 5)) for _ in range(64 if kind == "train" else 16)]
        rows = [[2, *(VOCABULARY.index(letter) for letter in text), 3] for text in texts]
        labels = {"labels": np.array([text[0] < "e" for text in texts], np.int64)}
        data = PackedDataset(pack_rows(rows, [len(row) for row in rows], texts, labels), tokenizer.pad_token_id)
        return [Split(kind, "made up", texts, data, "letters")]

    def note(self, config):
        return config.with_task_params(self.head, max_seq_length=self.max_seq_length)

    def best_metric(self, dev):
        return "accuracy"

    def score(self, run, dev, batch_size, world):
        (logits,) = run_shared(run, dev[0].data, [(2,)], batch_size, world)
        answers = logits.argmax(axis=1)
        accuracy = 100.0 * float((answers == dev[0].data.rows.labels["labels"]).mean())
        return Evaluation({"accuracy": accuracy}, dict(zip(dev[0].examples, answers.tolist(), strict=True)))

    def save_answers(self, answers: Any, folder: Path):
        write_json(folder / "letters.json", answers)

    def report(self, dev, scores, seconds):
        return {"texts": len(dev[0].examples), **scores}

    def predict(self, run, test, plan, world):
        write_json(plan.output_dir / "said.json", self.score(run, test, plan.eval_batch_size, world).outputs)

    def prediction_files(self, plan):
        return ("said.json",)


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("vocabulary") / "vocab.txt"
    path.write_text("\n".join(VOCABULARY) + "\n")
    return str(path)


SETTINGS = TrainSettings(
    max_steps=60, batch_size=16, learning_rate=5e-3, min_lr=1e-4, eval_steps=20, save_steps=0, log_steps=20
)


def read(path: Path):
    return json.loads(path.read_text())


def test_a_task_of_ones_own_is_trained_scored_and_asked(vocabulary, tmp_path):
    out = tmp_path / "out"
    plan = RunPlan(out, do_train=True, do_eval=True, do_predict=True, config_name="own", tokenizer_name=vocabulary)
    results = run(FirstLetter(), plan, SETTINGS, Start(), {})
    assert results == read(out / "eval_results.json") and results["texts"] == 16
    assert results["dev_selected"]["accuracy"] > 90 > 60  # it can be learnt, and chance is 50
    assert read(out / "letters.json") == read(out / "best" / "letters.json")
    assert len(read(out / "said.json")) == 16
    noted = read(out / "best" / "config.json")["task_specific_params"]["sequence-classification"]
    assert noted == {"max_seq_length": 8}

    again = RunPlan(tmp_path / "again", do_eval=True, model_name_or_path=str(out / "best"))
    evaluated = run(FirstLetter(), again, SETTINGS, Start(), {})["evaluated"]
    assert evaluated["accuracy"] == results["dev_selected"]["accuracy"]
    assert read(tmp_path / "again" / "letters.json") == read(out / "letters.json")
    assert isinstance(MobileBertTokenizer.from_pretrained(out / "best"), MobileBertTokenizer)


def test_what_it_refuses_is_refused_before_anything_is_written(vocabulary, tmp_path):
    out = tmp_path / "out"
    for plan, words in (
        (RunPlan(out, do_train=True, init_from="x", tokenizer_name=vocabulary), "this task begins anew"),
        (RunPlan(out), "nothing to do"),
        (RunPlan(out, do_eval=True), "which checkpoint is to be asked?"),
    ):
        with pytest.raises(InputError, match=words):
            run(FirstLetter(), plan, SETTINGS, Start(), {})
    assert not out.exists()
