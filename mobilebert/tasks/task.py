"""What a task has to say so that ``run`` can train, evaluate and predict: one class a task."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from paddle import nn

from mobilebert.base.errors import InputError
from mobilebert.inference.rows import Run
from mobilebert.model.config import MobileBertConfig
from mobilebert.model.modeling import MobileBertPreTrainedModel
from mobilebert.tasks.model import RunModel
from mobilebert.tasks.plan import RunPlan
from mobilebert.tasks.teacher import digest_of, with_teacher
from mobilebert.text.tokenizer import MobileBertTokenizer
from mobilebert.train import Evaluation, Terms
from mobilebert.train.parallel import World
from mobilebert.train.stages import Stage
from mobilebert.train.step import LossFn


@dataclass(frozen=True)
class Split:
    """Data of one kind, as it was read and as the model takes it.

    Attributes:
        name: ``train``, ``dev``, ``test``, or ``dev_mismatched`` where there are several.
        source: the file.
        examples: the task's own.
        data: token rows of the examples, a ``PackedDataset``, or what else the task trains and scores on.
        digest: fingerprint of the data; a resumed training must have the same.
    """

    name: str
    source: str
    examples: Any
    data: Any
    digest: str = ""


@dataclass(frozen=True)
class Loss:
    """What a training makes small.

    Attributes:
        function: model and batch -> the mean over the batch's examples, each counted with its weight; or ``terms``.
        weights: [N] of the train set's examples; None where each counts 1.
        terms: see ``Terms``; None for one mean over the examples.
        stages: of a training that has several.
        identity: of what it depends on beside settings and data; a resumed training must have the same.
    """

    function: LossFn
    weights: np.ndarray | None = None
    terms: Terms | None = None
    stages: tuple[Stage, ...] = ()
    identity: str = ""


class Task(ABC):
    """A head and the data, metrics and files that belong to it.

    Attributes:
        head: a key of ``config.HEAD_CLASSES``.
        head_name: what it is called in messages.
        purpose: what a model is for, in messages.
        outputs: fields of the head's output that scores and predictions are made of.
        max_seq_length: tokens of a row.
        answer_files: what ``save_answers`` may write; stands in ``best/`` and in the output folder.
        pictures: what ``show_answers`` may write.
        best_is_higher: whether a larger ``best_metric`` is better.
    """

    head: str
    head_name: str
    purpose: str
    outputs: tuple[str, ...]
    max_seq_length: int
    answer_files: tuple[str, ...] = ()
    pictures: tuple[str, ...] = ()
    best_is_higher: bool = True

    @abstractmethod
    def check(self, plan: RunPlan) -> None:
        """Refuse a plan that does not fit the task, before anything is loaded; raises ``InputError``."""

    @abstractmethod
    def build_model(self, plan: RunPlan, seed: int) -> tuple[nn.Layer, bool]:
        """The model in evaluation mode, and whether its head came from the checkpoint."""

    def adopt(self, config: MobileBertConfig, source: str) -> "Task":
        """The task with what a model's configuration decides, such as the order of its classes; raises ``InputError``.

        Args:
            config: of the model.
            source: where it is, for messages.
        """
        return self

    def adopt_notes(self, model: RunModel, source: str) -> "Task":
        """The task reading as the checkpoint notes, where the caller did not say; never for training."""
        return self

    @abstractmethod
    def load(self, kind: str, plan: RunPlan, tokenizer: MobileBertTokenizer, world: World) -> list[Split]:
        """Read and encode ``train``, ``dev`` or ``test``; raises ``InputError``."""

    def loss(self, train: Split) -> Loss:
        """What is trained on; by default the head's own loss."""
        return Loss(lambda net, batch: net(**batch).loss)

    def taught(self, train: Split, teacher: MobileBertPreTrainedModel, student: nn.Layer, plan: RunPlan) -> Loss:
        """What is trained on where ``plan.teacher`` is learned from; see ``tasks.teacher``.

        Raises:
            InputError: the task weighs its examples.
        """
        if self.loss(train).weights is not None:
            raise InputError("`teacher`: does not know class weights; leave `class_weights` out")
        return Loss(with_teacher(teacher, self.outputs, plan), identity=digest_of(plan))

    @abstractmethod
    def note(self, config: MobileBertConfig) -> MobileBertConfig:
        """The configuration with how this task reads, for whoever uses the trained checkpoint."""

    def note_answers(self, config: MobileBertConfig, answers: Any, dev: Sequence[Split]) -> MobileBertConfig:
        """The configuration of a new best model, with what its ``answers`` have to add; ``answers`` as of ``score``."""
        return config

    @abstractmethod
    def best_metric(self, dev: Sequence[Split]) -> str:
        """The metric that chooses the best checkpoint."""

    @abstractmethod
    def score(self, run: Run, dev: Sequence[Split], batch_size: int, world: World) -> Evaluation:
        """Score a model on the dev sets; ``outputs`` is what ``save_answers`` takes. The same on every rank."""

    @abstractmethod
    def save_answers(self, answers: Any, folder: Path) -> None:
        """Write ``answer_files``."""

    def show_answers(self, folder: Path) -> None:
        """Say and draw what ``save_answers`` wrote into ``folder``; called once, at the end, on rank 0."""
        return

    @abstractmethod
    def report(self, dev: Sequence[Split], scores: dict[str, Any], seconds: float | None) -> dict[str, Any]:
        """The content of ``eval_results.json``.

        Args:
            dev: the dev sets.
            scores: ``evaluated``, or ``dev_selected`` and ``final``.
            seconds: of the training; None without one.
        """

    def summary(self, dev: Sequence[Split], metrics: Mapping[str, float]) -> str:
        """What an evaluation prints at its end, for a person to read: the metrics, a line each."""
        return "\n".join(f"{name}: {value:.6g}" for name, value in metrics.items())

    @abstractmethod
    def predict(self, run: Run, test: Sequence[Split], plan: RunPlan, world: World) -> None:
        """Write the predictions for the test sets into the output folder."""

    @abstractmethod
    def prediction_files(self, plan: RunPlan) -> Sequence[str]:
        """The names that ``predict`` writes in the output folder."""
