"""Question answering on SQuAD v1.1, v2.0 and files of the same form."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import paddle

from mobilebert.base.errors import InputError
from mobilebert.base.files import file_digest
from mobilebert.data.collate import PackedDataset
from mobilebert.data.download import SQUAD_FILES, fetch
from mobilebert.data.qa.answers import FILES, SquadAnswers, answers_of
from mobilebert.data.qa.features import load_dev_features, load_train_features
from mobilebert.data.qa.spans import AnswerRules, find_spans
from mobilebert.inference.rows import Run, span_shapes
from mobilebert.inference.source import ReadingSettings, noted_by_name, noted_settings
from mobilebert.model.config import MobileBertConfig
from mobilebert.model.heads import MobileBertForQuestionAnswering
from mobilebert.tasks.model import RunModel, read_config
from mobilebert.tasks.plan import RunPlan
from mobilebert.tasks.shared_rows import run_shared
from mobilebert.tasks.task import Split, Task
from mobilebert.text.tokenizer import MobileBertTokenizer
from mobilebert.train import Evaluation, parallel
from mobilebert.train.parallel import World

_log = logging.getLogger(__name__)

HEAD_WEIGHT = "qa_outputs.weight"


@dataclass(frozen=True)
class QaFiles:
    """Where the questions are: official JSON, plain or ``.gz``.

    Attributes:
        train, dev, test: None of the first two = the official file, downloaded to ``data_dir``.
        data_dir: where downloads go.
    """

    train: str | None = None
    dev: str | None = None
    test: str | None = None
    data_dir: str = ".cache/squad"


@dataclass(frozen=True)
class QuestionAnswering(Task):
    """SQuAD.

    Attributes:
        files: see ``QaFiles``.
        reading: tokens of rows, strides and answers, as resolved.
        given: the fields of ``ReadingSettings`` that the caller chose; the others may follow a checkpoint's notes.
        n_best_size: answers to keep for each question.
        on_bad_answer: ``"error"`` or ``"drop"``; see ``data.qa.squad_json.read_squad``.
        keep_examples: dev questions to note in the best model's configuration, for the demo's page.
        caution: to note in the model's configuration; see ``inference.source.Source.warn``.
    """

    files: QaFiles
    reading: ReadingSettings
    given: dict[str, Any] = field(default_factory=dict)
    n_best_size: int = 20
    on_bad_answer: str = "error"
    keep_examples: int = 0
    caution: str = ""

    head = "question-answering"
    head_name = "question answering head"
    purpose = "to answer"
    outputs = ("start_logits", "end_logits")
    answer_files = FILES

    def __post_init__(self):
        _ = self.rules  # refuses numbers out of range
        if self.keep_examples < 0:
            raise InputError(f"`keep_examples={self.keep_examples}`: expected 0 or more")

    @property
    def max_seq_length(self) -> int:
        """See ``Task``."""
        return self.reading.max_seq_length

    @property
    def rules(self) -> AnswerRules:
        """How logits become answers."""
        return AnswerRules(
            self.reading.allow_no_answer,
            self.n_best_size,
            self.reading.max_answer_length,
            self.reading.null_score_diff_threshold,
        )

    def check(self, plan: RunPlan) -> None:
        """See ``Task``."""
        if plan.do_predict and not self.files.test:
            raise InputError("`do_predict`: which questions? give `test_file`")
        if plan.do_predict and (plan.do_train or plan.do_eval):
            raise InputError(
                "`do_predict` writes predictions.json as `do_eval` does: run it by itself, with its own folder"
            )

    def build_model(self, plan: RunPlan, seed: int) -> tuple[MobileBertForQuestionAnswering, bool]:
        """See ``Task``."""
        plan.check_one_source(("model_name_or_path", "config_name"))
        paddle.seed(seed)
        if plan.config_name is not None:
            return MobileBertForQuestionAnswering(read_config(plan.config_name).for_head(self.head)), False
        model = MobileBertForQuestionAnswering.from_pretrained(plan.model_name_or_path)
        return model, HEAD_WEIGHT not in model.load_report.initialised

    def adopt_notes(self, model: RunModel, source: str) -> "QuestionAnswering":
        """See ``Task``; says in the log what was taken from where."""
        try:
            noted = noted_settings(noted_by_name(model.config, source), self.head)
        except InputError as error:
            raise InputError(f"{source}/{error}") from None
        if model.max_seq_length is not None:
            noted["max_seq_length"] = model.max_seq_length
        longest = min(self.reading.max_seq_length, model.config.max_position_embeddings)
        reading = replace(self.reading, **{"max_seq_length": longest, **noted}).override(**self.given)
        origin = {**dict.fromkeys(noted, "noted by the checkpoint"), **dict.fromkeys(self.given, "given")}
        names = ("max_seq_length", "doc_stride", "max_answer_length", "allow_no_answer", "null_score_diff_threshold")
        said = (f"{name} {getattr(reading, name)} ({origin.get(name, 'default')})" for name in names)
        _log.info("reading: %s", ", ".join(said))
        return replace(self, reading=reading)

    def load(self, kind: str, plan: RunPlan, tokenizer: MobileBertTokenizer, world: World) -> list[Split]:
        """See ``Task``."""
        path = parallel.on_main(lambda: self._file(kind), world)
        if kind == "train":
            return [self._load_train(path, plan, tokenizer, world)]
        examples, rows = load_dev_features(
            path,
            tokenizer,
            max_seq_length=self.reading.max_seq_length,
            doc_stride=self.reading.doc_stride,
            version_2_with_negative=self.reading.allow_no_answer,
            require_answers=kind == "dev",
            cache_folder=plan.cache_dir,
        )
        if world.is_main:
            _log.info("%s: %d questions, %d features", path, len(examples), len(rows))
        return [Split(kind, path, examples, PackedDataset(rows, tokenizer.pad_token_id))]

    def note(self, config: MobileBertConfig) -> MobileBertConfig:
        """See ``Task``."""
        return config.with_task_params(
            self.head,
            max_seq_length=self.reading.max_seq_length,
            doc_stride=self.reading.doc_stride,
            max_answer_length=self.reading.max_answer_length,
            version_2_with_negative=self.reading.allow_no_answer,
            null_score_diff_threshold=self.reading.null_score_diff_threshold,
            **({"caution": self.caution} if self.caution else {}),
        )

    def note_answers(self, config: MobileBertConfig, answers: SquadAnswers, dev: Sequence[Split]) -> MobileBertConfig:
        """See ``Task``: questions that the model answers right, which ``demo.models`` reads."""
        (split,) = dev
        examples = [
            {"passage": example.context, "question": example.question, "answer": answers.predictions[example.id]}
            for example in answers.surest(split.examples, self.keep_examples)
        ]
        noted = config.task_params(self.head)
        return config.with_task_params(self.head, **{**noted, "examples": examples}) if examples else config

    def best_metric(self, dev: Sequence[Split]) -> str:
        """See ``Task``."""
        return "f1"

    def score(self, run: Run, dev: Sequence[Split], batch_size: int, world: World) -> Evaluation:
        """See ``Task``."""
        (split,) = dev
        answers = self.answer(run, split, batch_size, world)
        return Evaluation(answers.score(split.examples, self.reading.allow_no_answer), answers)

    def answer(self, run: Run, split: Split, batch_size: int, world: World) -> SquadAnswers:
        """Answer every question.

        Args:
            run: a padded batch -> start and end logits [B, S].
            split: of kind ``dev`` or ``test``.
            batch_size: rows in one forward pass.
            world: this process among all.

        Raises:
            InputError: a logit is not a finite number.
        """
        rows = split.data.rows
        logits = run_shared(run, split.data, span_shapes(rows.lengths), batch_size, world, "answering")
        found = find_spans(rows, *logits, self.rules)
        return answers_of(
            found, [example.id for example in split.examples], [example.context for example in split.examples]
        )

    def save_answers(self, answers: SquadAnswers, folder: Path) -> None:
        """See ``Task``."""
        answers.write(folder)

    def report(self, dev: Sequence[Split], scores: dict[str, Any], seconds: float | None) -> dict[str, Any]:
        """See ``Task``."""
        (split,) = dev
        return {"dev_file": split.source, "examples": len(split.examples), "features": len(split.data), **scores}

    def summary(self, dev: Sequence[Split], metrics: Mapping[str, float]) -> str:
        """See ``Task``: JSON with the keys of the v2.0 script, for v1.1 too, as evaluations in Paddle print it."""
        if self.reading.allow_no_answer:
            return json.dumps(metrics, indent=2)
        (split,) = dev
        whole = {"exact": metrics["exact_match"], "f1": metrics["f1"], "total": len(split.examples)}
        return json.dumps({**whole, **{f"HasAns_{name}": value for name, value in whole.items()}}, indent=2)

    def predict(self, run: Run, test: Sequence[Split], plan: RunPlan, world: World) -> None:
        """See ``Task``."""
        (split,) = test
        answers = self.answer(run, split, plan.eval_batch_size, world)
        if world.is_main:
            answers.write(plan.output_dir)
            _log.info("%s: %d answers", plan.output_dir / FILES[0], len(answers.predictions))

    def prediction_files(self, plan: RunPlan) -> Sequence[str]:
        """See ``Task``."""
        return FILES if plan.do_predict else ()

    def _file(self, kind: str) -> str:
        """The file of a kind: the given one, or the official one, downloaded."""
        given = getattr(self.files, kind)
        if given is not None:
            return given
        version = "v2.0" if self.reading.allow_no_answer else "v1.1"
        return str(fetch(SQUAD_FILES[f"{kind}-{version}.json"], self.files.data_dir))

    def _load_train(self, path: str, plan: RunPlan, tokenizer: MobileBertTokenizer, world: World) -> Split:
        rows = load_train_features(
            path,
            tokenizer,
            max_seq_length=self.reading.max_seq_length,
            doc_stride=self.reading.doc_stride,
            version_2_with_negative=self.reading.allow_no_answer,
            on_bad_answer=self.on_bad_answer,
            cache_folder=plan.cache_dir,
        )
        if world.is_main:
            counts = ", ".join(f"{value} {key}" for key, value in rows.info.items())
            _log.info("%s: %d features, %s", path, len(rows), counts)
        return Split("train", path, None, PackedDataset(rows, tokenizer.pad_token_id), file_digest(path))
