"""Classes or a number for texts and pairs of texts: GLUE, and files of one's own.

N examples, L labels (1 for regression)
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mobilebert.base import outputs
from mobilebert.base.errors import InputError
from mobilebert.data.classify import metrics as class_metrics
from mobilebert.data.classify.encode import cached_examples, examples_digest
from mobilebert.data.classify.examples import Examples
from mobilebert.data.classify.labels import check_class_names, read_label_words
from mobilebert.data.collate import PackedDataset
from mobilebert.data.glue.files import find_split, prediction_words, read_file, read_split, write_submission
from mobilebert.data.glue.tasks import Task as GlueTask
from mobilebert.inference.rows import Run
from mobilebert.inference.source import noted_settings
from mobilebert.model.config import MobileBertConfig
from mobilebert.model.heads import MobileBertForSequenceClassification
from mobilebert.tasks.classifier import build_model, labels_of
from mobilebert.tasks.model import RunModel, read_config
from mobilebert.tasks.plan import RunPlan
from mobilebert.tasks.shared_rows import run_shared
from mobilebert.tasks.task import Split, Task
from mobilebert.text.tokenizer import MobileBertTokenizer
from mobilebert.train import Evaluation
from mobilebert.train.parallel import World

_log = logging.getLogger(__name__)

_TITLES = {"dev_matched": "m_acc", "dev_mismatched": "mm_acc"}  # of an evaluation's lines
PREDICTIONS_NAME = "predictions.tsv"  # for a test set that GLUE's server does not know


@dataclass(frozen=True)
class Classification(Task):
    """Sentences and pairs with classes, or with a number.

    Attributes:
        glue: one of GLUE's tasks, or see ``own_task``.
        files: where the examples are.
        max_seq_length: tokens; what is longer is cut.
        label_order: see ``build_model``.
        given_length: whether the caller chose ``max_seq_length``; otherwise it may follow a checkpoint's note.
        labels: the classes in the order of the model's outputs; set by ``adopt``.
    """

    glue: GlueTask
    files: "Files"
    max_seq_length: int
    label_order: tuple[str, ...] = ()
    given_length: bool = True
    labels: tuple[str, ...] = ()

    head = "sequence-classification"
    head_name = "classifier"
    purpose = "to be evaluated"
    outputs = ("logits",)

    def check(self, plan: RunPlan) -> None:
        """See ``Task``."""
        for kind in plan.kinds:
            if self.files.splits(self.glue, kind):
                continue
            if self.glue.name == "ax":
                raise InputError(
                    f"`task_name=ax`: has no {kind} set, only a test set; use `do_predict` with an MNLI model"
                )
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
        what = "regression" if self.glue.is_regression else f"classes {', '.join(labels)}"
        _log.info("%s: %s", self.glue.name, what)
        return replace(self, labels=labels)

    def adopt_notes(self, model: RunModel, source: str) -> "Classification":
        """See ``Task``; says in the log what was taken from where."""
        noted = model.max_seq_length or noted_settings(model.config, self.head).get("max_seq_length")
        if self.given_length or noted is None:
            return self
        _log.info("reading: max_seq_length %d (noted by the checkpoint)", noted)
        return replace(self, max_seq_length=noted)

    def load(self, kind: str, plan: RunPlan, tokenizer: MobileBertTokenizer, world: World) -> list[Split]:
        """See ``Task``."""
        splits = []
        for name in self.files.splits(self.glue, kind):
            examples = self.files.read(self.glue, name, self.labels)
            data = encode(self.glue, examples, tokenizer, self.max_seq_length, plan.cache_dir)
            splits.append(Split(name, examples.source, examples, data, examples_digest(examples)))
        return splits

    def note(self, config: MobileBertConfig) -> MobileBertConfig:
        """See ``Task``."""
        takes_pairs = len(self.glue.text_columns) == 2
        return config.with_task_params(self.head, max_seq_length=self.max_seq_length, takes_pairs=takes_pairs)

    def best_metric(self, dev: Sequence[Split]) -> str:
        """See ``Task``."""
        return self.glue.metrics[0] + metric_suffix(dev[0].name)

    def score(self, run: Run, dev: Sequence[Split], batch_size: int, world: World) -> Evaluation:
        """See ``Task``."""
        sets = {split.name: split.data for split in dev}
        return Evaluation(evaluate(run, self.glue, self.labels, sets, batch_size, world))

    def save_answers(self, answers: None, folder: Path) -> None:
        """See ``Task``: the scores are all."""

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
            _require_finite(logits, split.source)
            if not world.is_main:
                continue
            path = plan.output_dir / self._prediction_file(split.name)
            words = prediction_words(self.glue, self.labels, predictions_of(self.glue, logits))
            outputs.record(path.parent, [path.name])
            write_submission(path, split.examples.ids, words)
            _log.info("%s: %d predictions", path, len(words))

    def prediction_files(self, plan: RunPlan) -> Sequence[str]:
        """See ``Task``."""
        splits = ("test",) if "test" in self.files.given else self.glue.test_splits
        return [self._prediction_file(split) for split in splits] if plan.do_predict else ()

    def _prediction_file(self, split: str) -> str:
        return self.glue.submissions[split][0] if split in self.glue.submissions else PREDICTIONS_NAME


@dataclass(frozen=True)
class Files:
    """Where the examples are.

    Attributes:
        data_dir: GLUE's folder, or the task's own.
        given: split -> a file of one's own, which wins over ``data_dir``.
        on_missing_label: what becomes of rows without a label: ``error`` or ``drop``.
    """

    data_dir: str | None
    given: Mapping[str, str]
    on_missing_label: str = "error"

    def splits(self, task: GlueTask, kind: str) -> tuple[str, ...]:
        """The splits of a kind (``train``, ``dev``, ``test``): a given file is the only one of its kind.

        Of MNLI's two dev or test sets one may be missing: it is left out with a warning.
        """
        if kind in self.given:
            return (kind,)
        if self.data_dir is None:
            return ()
        splits = tuple(split for split in task.splits if split.split("_")[0] == kind)
        there = tuple(split for split in splits if find_split(task, self.data_dir, split))
        for split in set(splits) - set(there) if there else ():
            _log.warning("%s: no %s; it is left out", self.data_dir, " or ".join(task.splits[split]))
        return there or splits

    def read(self, task: GlueTask, split: str, labels: Sequence[str]) -> Examples:
        """Read a split, its classes in the order of ``labels``."""
        if split not in self.given:
            return read_split(task, self.data_dir, split, labels, self.on_missing_label)
        return read_file(task, self.given[split], split, labels, self.on_missing_label)


def own_task(
    files: Files,
    text_columns: tuple[str, ...],
    label_column: str,
    label_order: tuple[str, ...],
    regression: bool,
    model_name_or_path: str | None,
) -> GlueTask:
    """A task that is not GLUE's. Its classes are ``label_order``, or the train file's, or the checkpoint's.

    What the checkpoint names as a class is one in the train file too, even where it looks like a missing label.

    Raises:
        InputError: none of the three is there; class names that are empty or stand twice; what ``read_label_words``
            refuses.
    """
    if regression:
        return GlueTask("own", "", text_columns, label_column, metrics=("spearmanr", "pearson"))
    if label_order:
        check_class_names(label_order, f"`label_order={','.join(label_order)}`")
        labels = label_order
    elif "train" in files.given:
        named = _named_classes(model_name_or_path) if model_name_or_path is not None else ()
        labels = tuple(read_label_words(files.given["train"], label_column, files.on_missing_label, named))
    elif model_name_or_path is not None:
        labels = _named_classes(model_name_or_path)
    else:
        raise InputError("which classes are there? give `train_file`, `label_order`, `regression` or `task_name`")
    if len(labels) < 2:
        raise InputError(f"`label_column={label_column}`: only {', '.join(labels)}; expected at least two classes")
    metrics = ("accuracy", "f1") if len(labels) == 2 else ("accuracy",)
    return GlueTask("own", "", text_columns, label_column, labels, metrics=metrics)


def _named_classes(model_name_or_path: str) -> tuple[str, ...]:
    return tuple(MobileBertConfig.from_pretrained(model_name_or_path).id2label.values())


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


def logits_of(run: Run, num_labels: int, data: PackedDataset, batch_size: int, world: World) -> np.ndarray:
    """Logits of all examples, in their order.

    Args:
        run: a padded batch -> logits [B, L].
        num_labels: L.
        data: its labels, if any, are not looked at.
        batch_size: examples in one forward pass.
        world: this process among all.

    Returns:
        [N, L] float32, the same on every rank.
    """
    return run_shared(run, data, [(num_labels,)], batch_size, world)[0]


def _require_finite(logits: np.ndarray, where: str) -> None:
    if not np.isfinite(logits).all():
        raise InputError(f"{where}: the model's logits are not finite; did the training diverge?")


def predictions_of(task: GlueTask, logits: np.ndarray) -> np.ndarray:
    """[N, L] logits -> [N] class indices, or scores."""
    return logits[:, 0] if task.is_regression else logits.argmax(axis=1)


def mean_loss(task: GlueTask, logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean over all examples of the cross-entropy, or of the squared error: [N, L], [N] -> nats, or score squared."""
    logits = logits.astype(np.float64)
    if task.is_regression:
        return float(np.mean((logits[:, 0] - labels) ** 2))
    highest = logits.max(axis=1, keepdims=True)
    log_total = np.log(np.exp(logits - highest).sum(axis=1)) + highest[:, 0]
    return float(np.mean(log_total - logits[np.arange(len(labels)), labels]))


def metric_suffix(split: str) -> str:
    """What a split adds to its metrics' names: ``_mm`` for MNLI's mismatched sets, as in Hugging Face's run_glue."""
    return "_mm" if split.endswith("_mismatched") else ""


def evaluate(
    run: Run,
    task: GlueTask,
    labels: Sequence[str],
    sets: Mapping[str, PackedDataset],
    batch_size: int,
    world: World,
) -> dict[str, float]:
    """Score a model on every dev set.

    Args:
        run: see ``logits_of``.
        task: its metrics.
        labels: the classes in the order of the logits; one name for regression.
        sets: split -> examples.
        batch_size: examples in one forward pass.
        world: this process among all.

    Returns:
        ``loss`` (mean over all examples) and the task's metrics in percent, each with its set's ``metric_suffix``.
    """
    positive = labels.index(task.labels[1]) if len(task.labels) == 2 else 1
    results = {}
    for split, data in sets.items():
        logits, gold = logits_of(run, len(labels), data, batch_size, world), data.rows.labels["labels"]
        _require_finite(logits, split)
        scores = class_metrics.compute(task.metrics, predictions_of(task, logits), gold, positive)
        for name, value in {"loss": mean_loss(task, logits, gold), **scores}.items():
            results[name + metric_suffix(split)] = value
    return results
