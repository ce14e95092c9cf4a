"""What a training run takes: settings, data, how it begins; and what it reports at the end."""

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Protocol, runtime_checkable

import numpy as np

from mobilebert.base.errors import InputError

OPTIMIZERS = ("adamw", "lamb")
LR_SCHEDULES = ("cosine", "cosine_annealing", "linear", "polynomial", "constant")
AMP_MODES = ("none", "bf16", "fp16")
ON_NAN = ("stop", "skip")


@dataclass(frozen=True)
class TrainSettings:
    """Every choice of a training run that is not the model, the data or the metric's code.

    The defaults are the SQuAD v1.1 recipe of the original reproduction. A step is one update of the weights; an
    epoch ends with a short last batch rather than dropping examples.

    Attributes:
        num_train_epochs: passes over the train set; may be a fraction. ``max_steps`` wins where it is not 0.
        max_steps: number of updates; 0 lets the epochs decide.
        batch_size: examples in one forward pass on one device.
        gradient_accumulation_steps: forward passes per update; the update sees
            ``batch_size * gradient_accumulation_steps * devices`` examples.
        optimizer: ``adamw`` or ``lamb``; see ``build_optimizer``.
        learning_rate: peak value, reached when warm-up ends.
        min_lr: where the cosines and polynomial end. Linear ends at 0 and constant does not move; both ignore it.
        lr_schedule: ``cosine``, ``cosine_annealing``, ``linear``, ``polynomial`` or ``constant``, each after a linear
            warm-up. The first is transformers', the second the original reproduction's: see ``learning_rate_at``.
        warmup_ratio: share of all steps for the warm-up, rounded up (``cosine_annealing``: down); used where
            ``warmup_steps`` is 0.
        warmup_steps: length of the warm-up in steps.
        decay_ratio: of the cosines: ``min_lr`` is reached at ``ceil(decay_ratio * steps)`` and kept.
        lr_power: polynomial only.
        weight_decay: decoupled, as in AdamW; not applied to biases and norms.
        adam_beta1, adam_beta2, adam_epsilon: of either optimizer.
        max_grad_norm: clip gradients to this global norm; 0 clips nothing.
        layerwise_lr_decay: learning rate is multiplied by this for each layer away from the top; 1 is off.
        eval_steps: evaluate every so many steps and at the end; 0 only at the end.
        save_steps: write a checkpoint every so many steps, and at the start and end; 0 only on SIGTERM/SIGINT.
        keep_checkpoints: how many of the newest checkpoints stay on disk.
        log_steps: one line in the logs every so many steps.
        seed: of the data order, dropout and everything else that is random while training.
        amp: ``none``, or autocast to ``bf16`` or ``fp16`` (the latter with dynamic loss scaling).
        on_nan: what a NaN or infinite loss or gradient does: ``stop`` the run or ``skip`` the update.
        early_stop_patience: stop after so many evaluations in a row without a new best; 0 never.
        group_by_length: batches of similar length (less padding) instead of a plain shuffle.
        best_metric: key of ``evaluate``'s result that decides which step is best; empty keeps no best.
        best_is_higher: whether a larger ``best_metric`` is better.

    Raises:
        InputError: a value out of range; the message starts with the field's name.
    """

    num_train_epochs: float = 6.0
    max_steps: int = 0
    batch_size: int = 64
    gradient_accumulation_steps: int = 1
    optimizer: str = "adamw"
    learning_rate: float = 8e-5
    min_lr: float = 1e-6
    lr_schedule: str = "cosine"
    warmup_ratio: float = 0.1
    warmup_steps: int = 0
    decay_ratio: float = 0.7
    lr_power: float = 1.0
    weight_decay: float = 0.1
    adam_beta1: float = 0.9
    adam_beta2: float = 0.98
    adam_epsilon: float = 1e-6
    max_grad_norm: float = 0.0
    layerwise_lr_decay: float = 1.0
    eval_steps: int = 240
    save_steps: int = 240
    keep_checkpoints: int = 2
    log_steps: int = 10
    seed: int = 42
    amp: str = "none"
    on_nan: str = "stop"
    early_stop_patience: int = 0
    group_by_length: bool = False
    best_metric: str = ""
    best_is_higher: bool = True

    def __post_init__(self):
        at_least_one = ("batch_size", "gradient_accumulation_steps", "keep_checkpoints", "log_steps")
        at_least_zero = ("max_steps", "warmup_steps", "eval_steps", "save_steps", "seed", "early_stop_patience")
        for name in at_least_one + at_least_zero:
            value, least = getattr(self, name), int(name in at_least_one)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise InputError(f"{name}={value!r}: expected a whole number of at least {least}")
        ranges = {
            "num_train_epochs": (0, math.inf),
            "learning_rate": (0, math.inf),
            "min_lr": (0, math.inf),
            "warmup_ratio": (0, 1),
            "decay_ratio": (0, 1),
            "lr_power": (0, math.inf),
            "weight_decay": (0, math.inf),
            "adam_beta1": (0, 1),
            "adam_beta2": (0, 1),
            "adam_epsilon": (0, math.inf),
            "max_grad_norm": (0, math.inf),
            "layerwise_lr_decay": (0, 1),
        }
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not math.isfinite(value) or not low <= value <= high:
                upper = f"to {high:g}" if high < math.inf else "or more"
                raise InputError(f"{name}={value!r}: expected a number, {low:g} {upper}")
        for name in ("adam_beta1", "adam_beta2"):
            if getattr(self, name) == 1:
                raise InputError(f"{name}=1: expected a number below 1")
        for name in ("learning_rate", "layerwise_lr_decay", "decay_ratio"):
            if getattr(self, name) == 0:
                raise InputError(f"{name}=0: expected a number above 0")
        if self.lr_schedule in ("cosine", "cosine_annealing", "polynomial") and self.min_lr > self.learning_rate:
            raise InputError(f"min_lr={self.min_lr:g}: above learning_rate={self.learning_rate:g}; lower min_lr")
        if self.max_steps == 0 and self.num_train_epochs == 0:
            raise InputError("num_train_epochs=0 and max_steps=0: there is nothing to train; set one of them")
        named = {"optimizer": OPTIMIZERS, "lr_schedule": LR_SCHEDULES, "amp": AMP_MODES, "on_nan": ON_NAN}
        for name, choices in named.items():
            if getattr(self, name) not in choices:
                raise InputError(f"{name}={getattr(self, name)!r}: expected one of {', '.join(choices)}")
        if self.early_stop_patience and not self.best_metric:
            raise InputError(
                f"early_stop_patience={self.early_stop_patience}: best_metric must name the metric to watch"
            )

    def as_dict(self) -> dict:
        """All fields, in order, as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_mapping(cls, values: Mapping) -> "TrainSettings":
        """Settings from a mapping that may hold more (``vars(args)``): known names are taken, others left."""
        return cls(**{item.name: values[item.name] for item in fields(cls) if item.name in values})


@dataclass(frozen=True)
class Start:
    """How a run begins in a folder that may hold an earlier one.

    Attributes:
        resume: ``"latest"`` or a checkpoint folder; ``None`` starts anew.
        resume_fallback: where the newest checkpoint is damaged, use the one before (``resume="latest"`` only).
        overwrite: a fresh run may delete what earlier runs left in the folder: all that its record names.
        extend: the checkpoint may be the end of a shorter run, which differs in ``num_train_epochs`` and ``max_steps``
            only. Weights, optimizer, random numbers and the order of the data go on exactly, and from there on the
            learning rate is that of the schedule over the new length.

    Raises:
        InputError: ``extend`` without ``resume``.
    """

    resume: str | os.PathLike | None = None
    resume_fallback: bool = False
    overwrite: bool = False
    extend: bool = False

    def __post_init__(self):
        if self.extend and self.resume is None:
            raise InputError("`extend`: there is nothing to extend without a checkpoint; add `resume`")


@dataclass(frozen=True)
class RunHeader:
    """What opens a run's logs.

    Attributes:
        arguments: resolved arguments and whatever else opens ``run.log`` and VisualDL's hyper-parameters.
        data_checksum: fingerprint of the train data; a resumed run must have the same.
    """

    arguments: Mapping[str, Any] = field(default_factory=dict)
    data_checksum: str = ""


class TrainSet(Protocol):
    """What ``train`` asks of its data."""

    lengths: np.ndarray
    """[N] int, tokens of each example without padding."""

    def __len__(self) -> int:
        """Number of examples N."""

    def batch(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Padded arrays of these examples, in this order; first axis is the example.

        Called from a background thread; must depend on ``indices`` alone (no random numbers)."""

    def example_ids(self, indices: np.ndarray) -> list[str]:
        """Names of these examples, for messages."""


@runtime_checkable
class ChangingTrainSet(TrainSet, Protocol):
    """A train set whose examples are drawn anew in each pass over them, as those of dynamic masking."""

    def of_epoch(self, epoch: int) -> TrainSet:
        """The set as pass number ``epoch`` (from 0) sees it; its ``batch`` depends on epoch and ``indices`` alone."""


@dataclass(frozen=True)
class Terms:
    """A loss that is a sum of K means, each over things of its own: masked tokens, pairs of texts.

    The loss function then returns [K] means over the batch it is given. They are put together so that each term of a
    step is the mean over all that the step has of it, on however many micro-batches and processes it came.

    Attributes:
        names: of the terms, for the logs.
        sizes: arrays of a batch -> [K] how much each of its means counts; 0 where a batch has nothing of a term.
    """

    names: tuple[str, ...]
    sizes: Callable[[Mapping[str, np.ndarray]], np.ndarray]


@dataclass
class TrainResult:
    """What a finished run reports. The dev-selected and the final numbers are apart on purpose: the first is chosen
    by looking at the dev set and is therefore optimistic, the second is not.

    Attributes:
        steps: updates made, including those of the run that was resumed.
        epochs: passes over the data.
        train_loss: mean loss of the last log interval.
        best_step: step of the best evaluation; 0 where none was made or ``best_metric`` is empty.
        best_metrics: metrics at ``best_step``, dev-selected.
        final_metrics: metrics of the last step's weights; empty without ``evaluate``.
        stopped_early: whether ``early_stop_patience`` ended the run.
        skipped_steps: updates left out because of NaN or Inf (``on_nan=skip``).
        seconds: time in the loop, summed over resumed runs.
        data_wait_share: share of the time in steps spent waiting for the next batch, of this process alone.
        history: one ``{"step": ..., **metrics}`` an evaluation.
    """

    steps: int
    epochs: float
    train_loss: float
    best_step: int = 0
    best_metrics: dict[str, float] = field(default_factory=dict)
    final_metrics: dict[str, float] = field(default_factory=dict)
    stopped_early: bool = False
    skipped_steps: int = 0
    seconds: float = 0.0
    data_wait_share: float = 0.0
    history: list[dict] = field(default_factory=list)

    def as_dict(self) -> dict:
        """All fields as plain JSON values."""
        return asdict(self)

    def lines(self, best_metric: str) -> list[str]:
        """The end of ``run.log``: what was reached, the dev-selected and the final numbers labelled."""
        stopped = ", stopped early" if self.stopped_early else ""
        skipped = f", {self.skipped_steps} updates skipped" if self.skipped_steps else ""
        lines = [f"done: {self.steps} steps, {self.epochs:.2f} epochs in {self.seconds:.0f} s{stopped}{skipped}"]
        for label, metrics in (
            (f"dev-selected (step {self.best_step}, best {best_metric})", self.best_metrics),
            (f"final checkpoint (step {self.steps})", self.final_metrics),
        ):
            if metrics:
                lines.append(f"{label}: " + " ".join(f"{key} {value:.6g}" for key, value in metrics.items()))
        return lines
