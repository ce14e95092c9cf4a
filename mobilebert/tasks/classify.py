"""GLUE from files to scores: the wiring of data, model, training loop and metrics.

N examples, L labels (1 for regression)
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from mobilebert.base import outputs
from mobilebert.base.errors import InputError
from mobilebert.data.classify import metrics as glue_metrics
from mobilebert.data.classify.encode import cached_examples, examples_digest
from mobilebert.data.collate import PackedDataset
from mobilebert.data.glue.files import (
    Examples,
    find_split,
    prediction_words,
    read_examples,
    read_split,
    write_submission,
)
from mobilebert.data.glue.tasks import Task, label_indices, ordered_labels
from mobilebert.model.config import MobileBertConfig
from mobilebert.model.heads import MobileBertForSequenceClassification
from mobilebert.model.modeling import MobileBertModel
from mobilebert.tasks.forward import Forward, forward_all, model_forward
from mobilebert.tasks.layer_depth import depth_of
from mobilebert.text.tokenizer import MobileBertTokenizer
from mobilebert.train.loop import train
from mobilebert.train.parallel import World
from mobilebert.train.settings import TrainResult, TrainSettings

_log = logging.getLogger(__name__)

CLASSIFIER_WEIGHT = "classifier.weight"
REGRESSION_LABELS = ("score",)  # the one output of a regression, as id2label names it


@dataclass(frozen=True)
class Files:
    """Where the examples are.

    Attributes:
        data_dir: GLUE's folder, or the task's own.
        given: split -> a file of one's own, which wins over ``data_dir``.
    """

    data_dir: str | None
    given: Mapping[str, str]

    def splits(self, task: Task, kind: str) -> tuple[str, ...]:
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

    def read(self, task: Task, split: str, labels: Sequence[str]) -> Examples:
        """Read a split, its classes in the order of ``labels``."""
        if split not in self.given:
            return read_split(task, self.data_dir, split, labels)
        return read_examples(
            self.given[split],
            task.text_columns,
            None if split == "test" else task.label_column,
            None if task.is_regression else label_indices(task, labels),
        )


def build_model(
    task: Task,
    *,
    model_name_or_path: str | None = None,
    init_from: str | None = None,
    config: MobileBertConfig | None = None,
    label_order: Sequence[str] = (),
    seed: int = 42,
) -> tuple[MobileBertForSequenceClassification, tuple[str, ...], bool]:
    """Build the classifier from exactly one of three sources.

    Args:
        task: decides the head.
        model_name_or_path: a checkpoint; its classifier is kept where it has one, and so is its class order.
        init_from: a checkpoint fine-tuned on another task: its encoder is kept, the head is new.
        config: random weights of this shape.
        label_order: the class order, where the checkpoint does not name it or a new head should have another.
        seed: of new weights.

    Returns:
        The model in evaluation mode; the class names in its order (one name for regression); whether the classifier
        came from the checkpoint.

    Raises:
        InputError: not one source, or a checkpoint with a classifier of another task or of unnamed classes.
    """
    if sum(source is not None for source in (model_name_or_path, init_from, config)) != 1:
        raise InputError("give exactly one of --model_name_or_path, --init_from and --config_name")
    paddle.seed(seed)
    backbone = None
    if model_name_or_path is not None:
        model = MobileBertForSequenceClassification.from_pretrained(model_name_or_path)
        if CLASSIFIER_WEIGHT not in model.load_report.initialised:
            labels = labels_of(task, model.config, model_name_or_path, label_order)
            model.config = model.mobilebert.config = _with_labels(model.config, task, labels)
            return model, labels, True
        backbone = model.mobilebert
    elif init_from is not None:
        backbone = MobileBertModel.from_pretrained(init_from)
    labels = _new_labels(task, label_order)
    model = MobileBertForSequenceClassification(_with_labels(backbone.config if backbone else config, task, labels))
    if backbone is not None:
        model.mobilebert = backbone
    model.eval()
    return model, labels, False


def labels_of(task: Task, config: MobileBertConfig, source: str, label_order: Sequence[str]) -> tuple[str, ...]:
    """The class names of a trained model in the order of its outputs; one name for regression.

    Args:
        task: what it is to be evaluated on.
        config: of the model.
        source: where the model is, for messages.
        label_order: the order, where the config does not name it.

    Raises:
        InputError: classes of another task, or unnamed ones.
    """
    where = f"{source}/config.json"
    try:
        if task.is_regression:
            if config.num_labels != 1:
                raise InputError(f"{where}: {config.num_labels} classes, but {task.name} is a regression with 1 output")
            return REGRESSION_LABELS
        names = tuple(label_order) or tuple(config.id2label.values())
        if len(names) != config.num_labels:
            raise InputError(f"{where}: {config.num_labels} classes, but {task.name} has {', '.join(names)}")
        return ordered_labels(task, names, "--label_order" if label_order else where)
    except InputError as error:
        raise InputError(f"{error}; to train a new head on this encoder use --init_from {source}") from None


def _new_labels(task: Task, label_order: Sequence[str]) -> tuple[str, ...]:
    if task.is_regression:
        return REGRESSION_LABELS
    return ordered_labels(task, label_order, "--label_order") if label_order else task.labels


def _with_labels(config: MobileBertConfig, task: Task, labels: Sequence[str]) -> MobileBertConfig:
    return config.with_labels(list(labels), "regression" if task.is_regression else "single_label_classification")


def encode(
    task: Task, examples: Examples, tokenizer: MobileBertTokenizer, max_seq_length: int, cache_dir: str | None
) -> PackedDataset:
    """Examples -> data set; logs what was read and how many texts were cut."""
    rows = cached_examples(f"glue-{task.name}", examples, tokenizer, max_seq_length, cache_dir)
    _log.info(
        "%s: %d examples, %.1f tokens on average, %d cut to %d tokens",
        examples.source, len(rows), rows.lengths.mean(), rows.info["truncated"], max_seq_length,
    )  # fmt: skip
    return PackedDataset(rows, tokenizer.pad_token_id)


def forward_of(model: MobileBertForSequenceClassification) -> Forward:
    """A model, in evaluation mode, as a function from a padded batch to its logits."""
    return model_forward(model, ("logits",))


def logits_of(forward: Forward, num_labels: int, data: PackedDataset, batch_size: int, world: World) -> np.ndarray:
    """Logits of all examples, in their order.

    Args:
        forward: a padded batch -> logits [B, L].
        num_labels: L.
        data: its labels, if any, are not looked at.
        batch_size: examples in one forward pass.
        world: this process among all.

    Returns:
        [N, L] float32, the same on every rank.
    """
    return forward_all(forward, data, [(num_labels,)], batch_size, world)[0]


def _require_finite(logits: np.ndarray, where: str) -> None:
    if not np.isfinite(logits).all():
        raise InputError(f"{where}: the model's logits are not finite; did the training diverge?")


def predictions_of(task: Task, logits: np.ndarray) -> np.ndarray:
    """[N, L] logits -> [N] class indices, or scores."""
    return logits[:, 0] if task.is_regression else logits.argmax(axis=1)


def mean_loss(task: Task, logits: np.ndarray, labels: np.ndarray) -> float:
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
    forward: Forward,
    task: Task,
    labels: Sequence[str],
    sets: Mapping[str, PackedDataset],
    batch_size: int,
    world: World,
) -> dict[str, float]:
    """Score a model on every dev set.

    Args:
        forward: see ``logits_of``.
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
        logits, gold = logits_of(forward, len(labels), data, batch_size, world), data.rows.labels["labels"]
        _require_finite(logits, split)
        scores = glue_metrics.compute(task.metrics, predictions_of(task, logits), gold, positive)
        for name, value in {"loss": mean_loss(task, logits, gold), **scores}.items():
            results[name + metric_suffix(split)] = value
    return results


def finetune(
    model: MobileBertForSequenceClassification,
    tokenizer: MobileBertTokenizer,
    train_examples: Examples,
    train_data: PackedDataset,
    settings: TrainSettings,
    output_dir: str,
    score: Callable[[MobileBertForSequenceClassification], dict[str, float]] | None,
    **options: Any,
) -> TrainResult:
    """Train in place; the best model by ``settings.best_metric`` goes to ``output_dir/best``.

    Args:
        model: from ``build_model``.
        tokenizer: saved beside the model.
        train_examples: what ``train_data`` was made from; resuming with other data is refused.
        train_data: from ``encode``.
        settings: see ``TrainSettings``.
        output_dir: as in ``train``.
        score: the metrics of a model on the dev sets; None for no evaluation.
        options: ``resume``, ``resume_fallback``, ``overwrite`` and ``header`` of ``train``.
    """

    return train(
        model,
        train_data,
        lambda net, batch: net(**batch).loss,
        settings,
        output_dir,
        evaluate=score,
        save_best=lambda folder: save(model, tokenizer, folder),
        data_checksum=examples_digest(train_examples),
        depth_of=depth_of(model.config.num_hidden_layers),
        **options,
    )


def save(model: MobileBertForSequenceClassification, tokenizer: MobileBertTokenizer, folder: Path) -> None:
    """Write a model and its tokenizer, ready to be used."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def predict(
    forward: Forward,
    task: Task,
    labels: Sequence[str],
    examples: Examples,
    data: PackedDataset,
    path: Path,
    batch_size: int,
    world: World,
) -> None:
    """Write the predictions for a test set in the GLUE server's format."""
    logits = logits_of(forward, len(labels), data, batch_size, world)
    _require_finite(logits, examples.source)
    predictions = predictions_of(task, logits)
    if world.is_main:
        outputs.record(path.parent, [path.name])
        write_submission(path, examples.ids, prediction_words(task, labels, predictions))
        _log.info("%s: %d predictions", path, len(predictions))
