"""Everything that a run is made of at one step: saved in a checkpoint, restored by a resume, bit for bit."""

import hashlib
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import paddle
from msgspec import Meta

from mobilebert.base.errors import InputError, first_line
from mobilebert.base.records import as_record
from mobilebert.train import checkpoint, parallel, randomness
from mobilebert.train.extension import LENGTH, extend
from mobilebert.train.optim import LossScaler, ScalerState, load_optimizer_arrays, optimizer_arrays
from mobilebert.train.settings import TrainSettings

# What may differ between a run and its resumption: it changes what is kept and shown, not what is learned.
FREE_ON_RESUME = ("save_steps", "keep_checkpoints", "log_steps")


@dataclass
class Progress:
    """How far a run has come; all of it fits into JSON without loss."""

    step: Annotated[int, Meta(ge=0)] = 0
    evaluated_step: int = 0
    best_step: int = 0
    best_metrics: dict[str, int | float] = field(default_factory=dict)
    evaluations_since_best: int = 0
    history: list[dict] = field(default_factory=list)
    loss_sum: float = 0.0  # over the steps since the last log step
    term_sums: list[float] = field(default_factory=list)  # what it is the sum of
    loss_count: int = 0
    train_loss: float = math.nan
    skipped_steps: int = 0
    skips_in_a_row: int = 0
    seconds: float = 0.0

    def note_loss(self, loss: float, terms: Sequence[float]) -> None:
        """Account for a step that changed the weights; ``loss`` is the sum of ``terms``."""
        self.loss_sum += loss
        self.term_sums = [a + b for a, b in zip(self.term_sums or [0.0] * len(terms), terms, strict=True)]
        self.loss_count += 1
        self.skips_in_a_row = 0

    def note_skip(self) -> None:
        """Account for a step whose update was left out."""
        self.skipped_steps += 1
        self.skips_in_a_row += 1

    def take_mean_loss(self) -> tuple[float, list[float]]:
        """Mean loss and terms since the last call; NaN and none where every step was skipped."""
        self.train_loss = self.loss_sum / self.loss_count if self.loss_count else math.nan
        terms = [value / self.loss_count for value in self.term_sums]
        self.loss_sum, self.loss_count, self.term_sums = 0.0, 0, []
        return self.train_loss, terms

    def evaluation_is_due(self, settings: TrainSettings, finished: bool) -> bool:
        """Whether this step is to be evaluated, and was not before the run was cut off."""
        due = finished or (settings.eval_steps > 0 and self.step % settings.eval_steps == 0)
        return due and self.step > self.evaluated_step

    def has_stalled(self, settings: TrainSettings) -> bool:
        """Whether ``early_stop_patience`` ends the run."""
        return 0 < settings.early_stop_patience <= self.evaluations_since_best

    def note_evaluation(self, metrics: Mapping[str, float], settings: TrainSettings) -> bool:
        """Account for an evaluation of this step; returns whether it is the best so far.

        Raises:
            InputError: ``settings.best_metric`` is not among the metrics.
        """
        self.evaluated_step = self.step
        self.history.append({"step": self.step, **metrics})
        name = settings.best_metric
        if not name:
            return False
        if name not in metrics:
            raise InputError(f"best_metric={name}: the evaluation gives {', '.join(metrics)}")
        sign = 1 if settings.best_is_higher else -1
        # The first evaluation is the best so far whatever it is; NaN compares as worse than anything after that.
        if name not in self.best_metrics or sign * metrics[name] > sign * self.best_metrics[name]:
            self.best_step, self.best_metrics, self.evaluations_since_best = self.step, dict(metrics), 0
            return True
        self.evaluations_since_best += 1
        return False


@dataclass(frozen=True)
class _Saved:
    """The content of a checkpoint's ``state.json``; ``random`` has a state a process."""

    identity: dict[str, Any]
    progress: Progress
    scaler: ScalerState
    random: list[randomness.RandomStates]


@dataclass
class RunState:
    """The moving parts of a run and what identifies it.

    Attributes:
        model, optimizer, scaler: as built for this run.
        identity: settings, number of processes and fingerprint of the data; equal for a run and its resumption.
        world: this process among all.
        progress: how far the run has come.
        parameters: the model's trainable ones, in its order.
    """

    model: paddle.nn.Layer
    optimizer: paddle.optimizer.AdamW
    scaler: LossScaler
    identity: dict[str, Any]
    world: parallel.World
    progress: Progress = field(default_factory=Progress)
    parameters: list[paddle.Tensor] = field(init=False)

    def __post_init__(self):
        self.parameters = [p for p in self.model.parameters() if not p.stop_gradient]

    def save(self, output_dir: Path, keep: int) -> None:
        """Write a checkpoint of this step; all ranks call it, rank 0 writes."""
        random_states = parallel.gather_objects(randomness.capture(), self.world)
        if self.world.is_main:
            content = checkpoint.Checkpoint(
                model={name: tensor.numpy() for name, tensor in self.model.state_dict().items()},
                optimizer=optimizer_arrays(self.model, self.optimizer),
                state={
                    "identity": self.identity,
                    "progress": asdict(self.progress),
                    "scaler": self.scaler.state(),
                    "random": random_states,
                },
            )
            checkpoint.save(output_dir, self.progress.step, content, keep)
        parallel.barrier(self.world)

    def restore(self, folder: Path, longer: bool = False) -> list[str]:
        """Take over a verified checkpoint; on many nodes ``folder`` is on a file system that all see.

        Args:
            folder: of the checkpoint.
            longer: the run may be an extension of the checkpoint's, see ``mobilebert.train.extension``.

        Returns:
            Lines for the log where this run begins to extend that one.

        Raises:
            InputError: the checkpoint is of another model, other data, other settings or other devices; or of a run
                that cannot be extended.
        """
        found = checkpoint.load(folder)
        saved = as_record(found.state, _Saved, folder / "state.json", "resume from another checkpoint")
        _check_same_run(saved.identity, self.identity, folder, LENGTH if longer else ())
        progress, notes = saved.progress, []
        if longer:
            notes = extend(saved.identity, self.identity, progress.step, progress.evaluations_since_best, folder)
        _check_same_devices(saved.random, folder)
        _load_model(self.model, found.model, folder)
        try:
            load_optimizer_arrays(self.model, self.optimizer, found.optimizer)
        except InputError as error:
            raise InputError(f"{folder}: {error}") from None
        self.scaler.load(saved.scaler)
        self.progress = progress
        try:
            randomness.restore(saved.random[self.world.rank])
        except (IndexError, ValueError, TypeError, OverflowError, RuntimeError) as error:
            where = folder / "state.json"
            raise InputError(
                f"{where}: its random states cannot be restored ({first_line(error)}); resume from another checkpoint"
            ) from None
        return notes


def identify(settings: TrainSettings, world_size: int, lengths: np.ndarray, data_checksum: str) -> dict[str, Any]:
    """What must be the same in a run and its resumption, as plain JSON values."""
    return {
        **{key: value for key, value in settings.as_dict().items() if key not in FREE_ON_RESUME},
        "number of processes": world_size,
        "number of examples": len(lengths),
        "lengths of the examples": hashlib.sha256(np.asarray(lengths, dtype=np.int64).tobytes()).hexdigest()[:16],
        "data checksum": data_checksum,
    }


def _check_same_run(saved: dict[str, Any], current: dict[str, Any], folder: Path, free: Collection[str]) -> None:
    saved = {"optimizer": "adamw", **saved}  # there was no other once
    different = [key for key in current if saved.get(key) != current[key] and key not in free]
    if different:
        what = "; ".join(f"{key} was {saved.get(key)}, is {current[key]}" for key in different)
        hint = ", or `extend` a finished run" if set(different) <= set(LENGTH) else ""
        raise InputError(f"{folder}: checkpoint of another run ({what}); resume with the same values{hint}")


def _check_same_devices(saved: Sequence[randomness.RandomStates], folder: Path) -> None:
    here = randomness.generators(randomness.capture())
    for there in map(randomness.generators, saved):
        if there != here:
            raise InputError(
                f"{folder}: checkpoint of a run on other devices (random generators: {there}; here: {here}), where it "
                "would go on with other random numbers; resume there, or train on from the model in best"
            )


def _load_model(model: paddle.nn.Layer, arrays: dict[str, np.ndarray], folder: Path) -> None:
    shapes = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    types = {name: str(tensor.dtype).removeprefix("paddle.") for name, tensor in model.state_dict().items()}
    saved_shapes = {name: list(array.shape) for name, array in arrays.items()}
    saved_types = {name: checkpoint.type_name(array) for name, array in arrays.items()}
    for saved, here in ((saved_shapes, shapes), (saved_types, types)):
        for name in [*shapes, *arrays]:
            there, ours = saved.get(name, "absent"), here.get(name, "absent")
            if there != ours:
                raise InputError(f"{folder}: checkpoint of another model ({name} is {there} there, {ours} here)")
    model.set_state_dict({name: paddle.to_tensor(array) for name, array in arrays.items()})
