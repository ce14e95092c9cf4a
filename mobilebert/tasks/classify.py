"""Classes or a number for texts and pairs of texts: GLUE, and files of one's own.

N examples, L labels (1 for regression)
"""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import paddle

from mobilebert.base import cli, outputs
from mobilebert.base.errors import InputError
from mobilebert.data.classify import metrics as class_metrics
from mobilebert.data.classify.balance import check_spec, class_weights, count_line, warning_of
from mobilebert.data.classify.encode import cached_examples, examples_digest
from mobilebert.data.classify.examples import Examples
from mobilebert.data.classify.split import class_counts
from mobilebert.data.collate import PackedDataset
from mobilebert.data.glue.files import prediction_words, write_submission
from mobilebert.data.glue.tasks import Task as GlueTask
from mobilebert.inference.rows import Run
from mobilebert.inference.source import noted_settings
from mobilebert.model.config import MobileBertConfig
from mobilebert.model.heads import MobileBertForSequenceClassification, cross_entropy
from mobilebert.tasks.class_answers import FILES, PICTURE, ClassAnswers, show
from mobilebert.tasks.class_files import Files
from mobilebert.tasks.class_scores import evaluate, logits_of, metric_suffix, predictions_of, require_finite
from mobilebert.tasks.classifier import build_model, labels_of
from mobilebert.tasks.model import RunModel, read_config
from mobilebert.tasks.plan import RunPlan
from mobilebert.tasks.task import Loss, Split, Task
from mobilebert.text.tokenizer import MobileBertTokenizer
from mobilebert.train import Evaluation
from mobilebert.train.parallel import World

_log = logging.getLogger(__name__)

_TITLES = {"dev_matched": "m_acc", "dev_mismatched": "mm_acc"}  # of an evaluation's lines
PREDICTIONS_NAME = "predictions.tsv"  # for a test set that GLUE's server does not know
THRESHOLD = 0.5


@dataclass(frozen=True)
class Classification(Task):
    """Sentences and pairs with classes, or with a number.

    Attributes:
        glue: one of GLUE's tasks, or see ``own_task``.
        files: where the examples are.
        max_seq_length: tokens; what is longer is cut.
        label_order: see ``build_model``.
        given_length: whether the caller chose ``max_seq_length``; otherwise it may follow a checkpoint's note.
        class_weights: see ``balance.class_weights``.
        threshold: probability from which a text has a label, where it may have several; None is what the checkpoint
            notes, or ``THRESHOLD``.
        labels: the classes in the order of the model's outputs; set by ``adopt``.
    """

    glue: GlueTask
    files: Files
    max_seq_length: int
    label_order: tuple[str, ...] = ()
    given_length: bool = True
    class_weights: str = "none"
    threshold: float | None = None
    labels: tuple[str, ...] = ()

    head = "sequence-classification"
    head_name = "classifier"
    purpose = "to be evaluated"
    outputs = ("logits",)
    answer_files = FILES
    pictures = (PICTURE,)

    def check(self, plan: RunPlan) -> None:
        """See ``Task``."""
        check_spec(self.class_weights)
        if self.class_weights != "none" and self.glue.problem_type != "single_label_classification":
            raise InputError(
                f"`class_weights={self.class_weights}`: for one class a text, not {self.glue.problem_type}"
            )
        if self.threshold is not None and self.glue.label_sets is None:
            raise InputError(f"`threshold={self.threshold:g}`: for several labels a text, not {self.glue.problem_type}")
        if self.threshold is not None and not 0 < self.threshold < 1:
            raise InputError(f"`threshold={self.threshold:g}`: expected a probability between 0 and 1")
        for kind in plan.kinds:
            if self.files.splits(self.glue, kind):
                continue
            if self.glue.name == "ax":
                raise InputError(
                    f"`task_name=ax`: has no {kind} set, only a test set; use `do_predict` with an MNLI model"
                )
            if self.glue.is_own:
                share = " or `dev_split`" if kind == "dev" else ""
                raise InputError(f"which {kind} set? give `{kind}_file`{share}")
            raise InputError(f"which {kind} set? give `{kind}_file`, or `task_name` and `data_dir`")
        if plan.do_eval:
            class_metrics.require_libraries()

    def build_model(self, plan: RunPlan, seed: int) -> tuple[MobileBertForSequenceClassification, bool]:
        """See ``Task``."""
        model, _, is_trained = build_model(
            self.glue,
            model_name_or_path=plan.model_name_or_path,
            init_from=plan.init_from,
            config=read_config(plan.config_name) if plan.config_name else None,
            label_order=self.label_order,
            seed=seed,
        )
        return model, is_trained

    def adopt(self, config: MobileBertConfig, source: str) -> "Classification":
        """See ``Task``."""
        labels = labels_of(self.glue, config, source, self.label_order)
        kind = "classes" if self.glue.label_sets is None else "any of the labels"
        what = "regression" if self.glue.is_regression else f"{kind} {', '.join(labels)}"
        _log.info("%s: %s", self.glue.name, what)
        return replace(self, labels=labels)

    def adopt_notes(self, model: RunModel, source: str) -> "Classification":
        """See ``Task``; says in the log what was taken from where."""
        settings = noted_settings(model.config, self.head)
        task = self
        if self.threshold is None and self.glue.label_sets is not None and "threshold" in settings:
            task = replace(task, threshold=settings["threshold"])
        noted = model.max_seq_length or settings.get("max_seq_length")
        if self.given_length or noted is None:
            return task
        _log.info("reading: max_seq_length %d (noted by the checkpoint)", noted)
        return replace(task, max_seq_length=noted)

    def load(self, kind: str, plan: RunPlan, tokenizer: MobileBertTokenizer, world: World) -> list[Split]:
        """See ``Task``."""
        splits = []
        for name in self.files.splits(self.glue, kind):
            examples = self.files.read(self.glue, name, self.labels)
            data = encode(self.glue, examples, tokenizer, self.max_seq_length, plan.cache_dir)
            if examples.labels is not None:
                self._say_sizes(name, examples)
            splits.append(Split(name, examples.source, examples, data, self._digest(examples)))
        return splits

    def _say_sizes(self, name: str, examples: Examples) -> None:
        """The classes of a set in the log, and what is to be said of the train set's."""
        labels = examples.labels
        if self.glue.is_regression:
            _log.info("%s: scores from %g to %g, %g on average", name, labels.min(), labels.max(), labels.mean())
            return
        counts = class_counts(labels, self.labels)
        none = labels.ndim == 2 and int((labels.sum(axis=1) == 0).sum())
        _log.info("%s: %s%s", name, count_line(counts), f"; {none} texts without any" if none else "")
        if name == "train" and (warning := warning_of(counts, labels.ndim == 2)):
            _log.warning("warning: %s: %s", examples.source, cli.as_flags(warning))

    def _digest(self, examples: Examples) -> str:
        """Of the data and how much each example counts: a run with other weights is another run."""
        digest = examples_digest(examples)
        if self.class_weights == "none":
            return digest
        return hashlib.sha256(f"{digest} {self.class_weights}".encode()).hexdigest()

    def loss(self, train: Split) -> Loss:
        """See ``Task``: with class weights the weighted mean, as ``torch.nn.CrossEntropyLoss(weight=...)`` has it."""
        counts = {} if self.glue.is_regression else class_counts(train.examples.labels, self.labels)
        weights = class_weights(self.class_weights, counts)
        if weights is None:
            return super().loss(train)
        named = ", ".join(f"{name} {weight:.4g}" for name, weight in zip(self.labels, weights, strict=True))
        _log.info("weights in the training loss: %s; losses of the dev set are without", named)
        tensor = paddle.to_tensor(weights)

        def weighted(net: paddle.nn.Layer, batch: dict[str, paddle.Tensor]) -> paddle.Tensor:
            inputs = {name: value for name, value in batch.items() if name != "labels"}
            return cross_entropy(net(**inputs).logits, batch["labels"], weight=tensor)

        return Loss(weighted, weights[train.examples.labels])

    def note(self, config: MobileBertConfig) -> MobileBertConfig:
        """See ``Task``."""
        noted: dict[str, Any] = {"max_seq_length": self.max_seq_length, "takes_pairs": len(self.glue.text_columns) == 2}
        if self.glue.is_own:
            noted |= {"text_columns": list(self.glue.text_columns), "label_column": self.glue.label_column}
        if self.glue.label_sets is not None:
            noted |= {"threshold": self._threshold}
            noted |= {"label_separator": self.glue.label_sets.separator}
            noted |= {"label_columns": list(self.glue.label_sets.indicators)}
        return config.with_task_params(self.head, **noted)

    @property
    def _threshold(self) -> float:
        return THRESHOLD if self.threshold is None else self.threshold

    def best_metric(self, dev: Sequence[Split]) -> str:
        """See ``Task``: the task's first, but with class weights, where there is one that counts all classes alike."""
        counts_alike = self.class_weights != "none" and "macro_f1" in self.glue.metrics
        return ("macro_f1" if counts_alike else self.glue.metrics[0]) + metric_suffix(dev[0].name)

    def score(self, run: Run, dev: Sequence[Split], batch_size: int, world: World) -> Evaluation:
        """See ``Task``."""
        sets = {split.name: split.data for split in dev}
        metrics, reports = evaluate(run, self.glue, self.labels, sets, batch_size, world, self._threshold)
        rows = self.files.record(dev[0].examples) if self.files.takes_dev else None
        return Evaluation(metrics, ClassAnswers(reports, rows))

    def save_answers(self, answers: ClassAnswers, folder: Path) -> None:
        """See ``Task``: which classes are confused, and which rows were the dev set."""
        answers.write(folder)

    def show_answers(self, folder: Path) -> None:
        """See ``Task``: the report in the log, for a task of one's own, and the confusion matrix as a picture."""
        if not self.glue.is_regression:
            show(folder, self.glue.is_own)

    def report(self, dev: Sequence[Split], scores: dict[str, Any], seconds: float | None) -> dict[str, Any]:
        """See ``Task``."""
        examples = {split.name: len(split.data) for split in dev}
        timed = {} if seconds is None else {"seconds": round(seconds, 1)}
        return {"task": self.glue.name, "examples": examples, **scores, **timed}

    def summary(self, dev: Sequence[Split], metrics: Mapping[str, float]) -> str:
        """See ``Task``: a title and a line for each dev set, with shares of 1, as evaluations in Paddle print them."""
        lines = []
        for split in dev:
            suffix = metric_suffix(split.name)
            loss = metrics[f"loss{suffix}"]
            scores = {"acc" if name == "accuracy" else name: metrics[name + suffix] / 100 for name in self.glue.metrics}
            lines += [f"{_TITLES.get(split.name, self.glue.name)}:"]
            lines += [f"  eval loss: {loss:.6f}, " + ", ".join(f"{name}: {value}" for name, value in scores.items())]
        return "\n".join(lines)

    def predict(self, run: Run, test: Sequence[Split], plan: RunPlan, world: World) -> None:
        """See ``Task``: in the GLUE server's format."""
        for split in test:
            logits = logits_of(run, len(self.labels), split.data, plan.eval_batch_size, world)
            require_finite(logits, split.source)
            if not world.is_main:
                continue
            path = plan.output_dir / self._prediction_file(split.name)
            words = prediction_words(self.glue, self.labels, predictions_of(self.glue, logits, self._threshold))
            outputs.record(path.parent, [path.name])
            write_submission(path, split.examples.ids, words)
            _log.info("%s: %d predictions", path, len(words))

    def prediction_files(self, plan: RunPlan) -> Sequence[str]:
        """See ``Task``."""
        splits = ("test",) if "test" in self.files.given else self.glue.test_splits
        return [self._prediction_file(split) for split in splits] if plan.do_predict else ()

    def _prediction_file(self, split: str) -> str:
        return self.glue.submissions[split][0] if split in self.glue.submissions else PREDICTIONS_NAME


def encode(
    task: GlueTask, examples: Examples, tokenizer: MobileBertTokenizer, max_seq_length: int, cache_dir: str | None
) -> PackedDataset:
    """Examples -> data set; logs what was read and how many texts were cut."""
    rows = cached_examples(f"glue-{task.name}", examples, tokenizer, max_seq_length, cache_dir)
    _log.info(
        "%s: %d examples, %.1f tokens on average, %d cut to %d tokens",
        examples.source, len(rows), rows.lengths.mean(), rows.info["truncated"], max_seq_length,
    )  # fmt: skip
    return PackedDataset(rows, tokenizer.pad_token_id)
