"""Named entities, and other tags of words: CoNLL-2003, WNUT-17 and files of one's own.

N sentences, W words of all of them, L labels
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from mobilebert.base import outputs
from mobilebert.base.errors import InputError
from mobilebert.base.files import write_text
from mobilebert.data.collate import PackedDataset
from mobilebert.data.ner import metrics as entity_metrics
from mobilebert.data.ner.encode import WordRows, encode_sentences, gold_tags, sentences_digest, with_labels
from mobilebert.data.ner.schemes import OUTSIDE, PLAIN, entities, scheme_of
from mobilebert.data.ner.sentences import Sentences, TagRules, read_sentences
from mobilebert.inference.rows import Run, token_shapes
from mobilebert.inference.source import ReadingSettings, noted_settings
from mobilebert.model.config import MobileBertConfig
from mobilebert.model.heads import MobileBertForTokenClassification
from mobilebert.model.modeling import MobileBertModel
from mobilebert.tasks.model import RunModel, read_config
from mobilebert.tasks.plan import RunPlan
from mobilebert.tasks.shared_rows import run_shared
from mobilebert.tasks.task import Split, Task
from mobilebert.text.tokenizer import MobileBertTokenizer
from mobilebert.train import Evaluation
from mobilebert.train.parallel import World

_log = logging.getLogger(__name__)

HEAD_WEIGHT = "classifier.weight"
PREDICTIONS, TABLE = "predictions.conll", "types.txt"


@dataclass(frozen=True)
class NerFiles:
    """Where the sentences are; each file is read once.

    Attributes:
        given: kind (``train``, ``dev``, ``test``) -> file.
        rules: see ``TagRules``.
    """

    given: Mapping[str, str]
    rules: TagRules
    _read: dict[str, Sentences] = field(default_factory=dict, compare=False)

    def read(self, kind: str) -> Sentences:
        """The sentences of a kind; those of ``test`` may be without tags."""
        if kind not in self._read:
            self._read[kind] = read_sentences(self.given[kind], self.rules, require_tags=kind != "test")
        return self._read[kind]


@dataclass(frozen=True)
class _Examples:
    """What ``Split.examples`` is: sentences, where their words are read, and their tags as the model has them."""

    sentences: Sentences
    encoded: WordRows
    tags: list[list[str]] | None


@dataclass(frozen=True)
class _Answers:
    """What ``save_answers`` writes."""

    words: list[list[str]]
    gold: list[list[str]] | None
    predicted: list[list[str]]


@dataclass(frozen=True)
class TokenClassification(Task):
    """A tag for each word.

    Attributes:
        files: see ``NerFiles``.
        reading: tokens of a row, and those that neighbouring windows share.
        given: the fields of ``reading`` that the caller chose; the others may follow a checkpoint's notes.
        label_all_tokens: train on all pieces of a word, not on its first alone.
        caution: to note in the model's configuration; see ``inference.source.Source.warn``.
        labels: the classes in the order of the model's outputs; set by ``adopt``.
    """

    files: NerFiles
    reading: ReadingSettings
    given: Mapping[str, Any] = field(default_factory=dict)
    label_all_tokens: bool = False
    caution: str = ""
    labels: tuple[str, ...] = ()

    head = "token-classification"
    head_name = "token classifier"
    purpose = "to be evaluated"
    outputs = ("logits",)
    answer_files = (PREDICTIONS, TABLE)

    @property
    def max_seq_length(self) -> int:
        """See ``Task``."""
        return self.reading.max_seq_length

    def check(self, plan: RunPlan) -> None:
        """See ``Task``."""
        for kind in plan.kinds:
            if kind not in self.files.given:
                raise InputError(f"which {kind} set? give `{kind}_file`")
        if plan.do_predict and (plan.do_train or plan.do_eval):
            raise InputError(
                f"`do_predict` writes {PREDICTIONS} as `do_eval` does: run it by itself, with its own folder"
            )

    def build_model(self, plan: RunPlan, seed: int) -> tuple[MobileBertForTokenClassification, bool]:
        """See ``Task``; a checkpoint's classifier is kept where it has one."""
        plan.check_one_source(("model_name_or_path", "init_from", "config_name"))
        paddle.seed(seed)
        backbone = None
        if plan.model_name_or_path is not None:
            model = MobileBertForTokenClassification.from_pretrained(plan.model_name_or_path)
            if HEAD_WEIGHT not in model.load_report.initialised or not plan.do_train:
                return model, HEAD_WEIGHT not in model.load_report.initialised
            backbone = model.mobilebert
        elif plan.init_from is not None:
            backbone = MobileBertModel.from_pretrained(plan.init_from)
            backbone.pooler = None  # a token's class is read off the token
        config = backbone.config if backbone else read_config(plan.config_name)
        model = MobileBertForTokenClassification(config.with_labels(list(self._new_labels())))
        if backbone is not None:
            model.mobilebert = backbone
        model.eval()
        return model, False

    def _new_labels(self) -> tuple[str, ...]:
        """The classes of a new head: O, then B- and I- of each type of the train file; plain tags by name."""
        train = self.files.read("train")
        if train.scheme == PLAIN:
            return tuple(sorted({tag for tags in train.tags for tag in tags}))
        types = sorted({tag[2:] for tags in train.tags for tag in tags if tag != OUTSIDE})
        if not types:
            raise InputError(f"{train.source}: marks no entity; is the tag in another column (`tag_column`)?")
        return (OUTSIDE, *(f"{prefix}-{kind}" for kind in types for prefix in "BI"))

    def adopt(self, config: MobileBertConfig, source: str) -> "TokenClassification":
        """See ``Task``; refuses a train file with tags that the model does not have."""
        labels = tuple(config.id2label.values())
        _log.info("tags %s", ", ".join(labels))
        if "train" in self.files.given:
            try:
                gold_tags(self.files.read("train"), labels)
            except InputError as error:
                raise InputError(f"{error}; to train a new head use `init_from={source}`") from None
        return replace(self, labels=labels)

    def adopt_notes(self, model: RunModel, source: str) -> "TokenClassification":
        """See ``Task``; says in the log what was taken from where."""
        noted = noted_settings(model.config, self.head)
        if model.max_seq_length is not None:
            noted["max_seq_length"] = model.max_seq_length
        longest = min(self.reading.max_seq_length, model.config.max_position_embeddings)
        reading = replace(self.reading, **{"max_seq_length": longest, **noted}).override(**self.given)
        _log.info("reading: max_seq_length %d, doc_stride %d", reading.max_seq_length, reading.doc_stride)
        return replace(self, reading=reading)

    def load(self, kind: str, plan: RunPlan, tokenizer: MobileBertTokenizer, world: World) -> list[Split]:
        """See ``Task``."""
        sentences = self.files.read(kind)
        tags = None if sentences.tags is None else gold_tags(sentences, self.labels)
        encoded = encode_sentences(sentences.words, tokenizer, self.reading.max_seq_length, self.reading.doc_stride)
        if kind == "train":
            encoded = with_labels(encoded, tags, self.labels, self.label_all_tokens)
        if world.is_main:
            found = sum(len(entities(one, sentences.scheme)) for one in tags or ())
            _log.info(
                "%s: %d sentences, %d words (%d of them without pieces), %d entities, %d windows",
                sentences.source, len(sentences), len(encoded.tokens), (encoded.tokens < 0).sum(), found,
                len(encoded.rows),
            )  # fmt: skip
        examples = _Examples(sentences, encoded, tags)
        data = PackedDataset(encoded.rows, tokenizer.pad_token_id)
        return [Split(kind, sentences.source, examples, data, sentences_digest(sentences))]

    def note(self, config: MobileBertConfig) -> MobileBertConfig:
        """See ``Task``."""
        return config.with_task_params(
            self.head,
            max_seq_length=self.reading.max_seq_length,
            doc_stride=self.reading.doc_stride,
            **({"caution": self.caution} if self.caution else {}),
        )

    def best_metric(self, dev: Sequence[Split]) -> str:
        """See ``Task``."""
        return "accuracy" if scheme_of(self.labels) == PLAIN else "f1"

    def score(self, run: Run, dev: Sequence[Split], batch_size: int, world: World) -> Evaluation:
        """See ``Task``."""
        (split,) = dev
        logits, answers = self._answer(run, split, batch_size, world)
        index = {label: number for number, label in enumerate(self.labels)}
        gold = np.array([index[tag] for tags in answers.gold for tag in tags])
        has_piece = split.examples.encoded.tokens >= 0
        loss = _mean_loss(logits[has_piece], gold[has_piece])
        scores = entity_metrics.compute(answers.gold, answers.predicted, scheme_of(self.labels))
        return Evaluation({"loss": loss, **scores}, answers)

    def _answer(self, run: Run, split: Split, batch_size: int, world: World) -> tuple[np.ndarray, _Answers]:
        """The logits of all words [W, L] and the tags that they choose."""
        examples = split.examples
        shapes = token_shapes(split.data.lengths, len(self.labels))
        logits = examples.encoded.take(run_shared(run, split.data, shapes, batch_size, world, "tagging")[0])
        if not np.isfinite(logits).all():
            raise InputError(f"{split.source}: the model's logits are not finite; did the training diverge?")
        predicted = examples.encoded.tags(logits, self.labels)
        return logits, _Answers(examples.sentences.words, examples.tags, predicted)

    def save_answers(self, answers: _Answers, folder: Path) -> None:
        """See ``Task``: word, tag and predicted tag a line, as conlleval reads them; and the scores of each type."""
        columns = [answers.words, *([] if answers.gold is None else [answers.gold]), answers.predicted]
        lines = []
        for sentence in zip(*columns, strict=True):
            lines += ["\t".join(row) for row in zip(*sentence, strict=True)] + [""]
        write_text(folder / PREDICTIONS, "\n".join(lines))
        if answers.gold is not None:
            table = entity_metrics.table(answers.gold, answers.predicted, scheme_of(self.labels))
            write_text(folder / TABLE, table)
            for line in table.splitlines():
                _log.info("%s", line)

    def report(self, dev: Sequence[Split], scores: dict[str, Any], seconds: float | None) -> dict[str, Any]:
        """See ``Task``."""
        (split,) = dev
        timed = {} if seconds is None else {"seconds": round(seconds, 1)}
        return {"dev_file": split.source, "sentences": len(split.examples.sentences), **scores, **timed}

    def predict(self, run: Run, test: Sequence[Split], plan: RunPlan, world: World) -> None:
        """See ``Task``; where the test file has tags its scores are in the log and in ``types.txt``."""
        (split,) = test
        _, answers = self._answer(run, split, plan.eval_batch_size, world)
        if world.is_main:
            outputs.record(plan.output_dir, self.prediction_files(plan))
            self.save_answers(answers, plan.output_dir)
            _log.info("%s: tags of %d sentences", plan.output_dir / PREDICTIONS, len(answers.words))
            if answers.gold is not None:
                scores = entity_metrics.compute(answers.gold, answers.predicted, scheme_of(self.labels))
                _log.info("%s", self.summary(test, scores))

    def prediction_files(self, plan: RunPlan) -> Sequence[str]:
        """See ``Task``."""
        return self.answer_files if plan.do_predict else ()


def _mean_loss(logits: np.ndarray, gold: np.ndarray) -> float:
    """Mean cross-entropy over words: [W, L], [W] -> nats."""
    logits = logits.astype(np.float64)
    highest = logits.max(axis=1, keepdims=True)
    log_total = np.log(np.exp(logits - highest).sum(axis=1)) + highest[:, 0]
    return float(np.mean(log_total - logits[np.arange(len(gold)), gold]))
