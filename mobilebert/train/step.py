"""One step of training: its batches, forward and backward passes, the sum over ranks, the update of the weights."""

import math
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial

import numpy as np
import paddle

from mobilebert.train import parallel
from mobilebert.train.optim import clip_factor, global_norm, gradients_of, scale_gradients
from mobilebert.train.sampler import RunLength, prefetch, step_examples
from mobilebert.train.settings import TrainSet, TrainSettings
from mobilebert.train.state import RunState

LossFn = Callable[[paddle.nn.Layer, dict[str, paddle.Tensor]], paddle.Tensor]


@dataclass(frozen=True)
class StepBatch:
    """The data of one step.

    Attributes:
        examples: [N] indices of its examples, over all ranks.
        micro_batches: this rank's part, cut into batches: the share that each has in the step's loss, and its arrays.
    """

    examples: np.ndarray
    micro_batches: list[tuple[float, dict[str, np.ndarray]]]


@dataclass(frozen=True)
class StepOutcome:
    """What the forward and backward passes of one step gave, over all ranks.

    Attributes:
        loss: mean over the examples, or their weighted mean.
        grad_norm: global norm of the gradients, without the loss scale.
        any_signal: whether any rank received a signal to stop.
    """

    loss: float
    grad_norm: float
    any_signal: bool

    @property
    def is_finite(self) -> bool:
        """Whether the weights may be updated."""
        return math.isfinite(self.loss) and math.isfinite(self.grad_norm)


def step_batches(
    train_set: TrainSet,
    settings: TrainSettings,
    length: RunLength,
    first_step: int,
    world: parallel.World,
    weights: np.ndarray | None = None,
) -> Generator[StepBatch, None, None]:
    """The data of each step from ``first_step`` on, prepared by a background thread.

    Every rank knows all examples of a step, so that with ``weights`` too ([N], of the examples) the shares of all
    micro-batches on all ranks sum to 1.
    """

    def size(part: np.ndarray) -> float:
        return len(part) if weights is None else float(weights[part].sum(dtype=np.float64))

    def make(examples: np.ndarray) -> StepBatch:
        own = parallel.rank_share(examples, world)
        parts = [own[start : start + settings.batch_size] for start in range(0, len(own), settings.batch_size)]
        return StepBatch(examples, [(size(part) / size(examples), train_set.batch(part)) for part in parts])

    order = step_examples(
        np.asarray(train_set.lengths),
        length.examples_per_step,
        settings.seed,
        settings.group_by_length,
        first_step,
        length.total_steps,
    )
    return prefetch(make, order)


def autocast(amp: str) -> Callable[[], AbstractContextManager]:
    """Context manager for the forward pass."""
    if amp == "none":
        return nullcontext
    return partial(paddle.amp.auto_cast, level="O1", dtype={"bf16": "bfloat16", "fp16": "float16"}[amp])


def forward_backward(
    state: RunState, loss_fn: LossFn, batch: StepBatch, mixed_precision: Callable[[], AbstractContextManager]
) -> paddle.Tensor:
    """Add up the gradients of the micro-batches, weighted so that they are those of the whole step.

    Returns:
        [1] this rank's part of the step's loss.
    """
    dtype = state.parameters[0].dtype
    loss_sum = paddle.zeros([1], dtype)
    for weight, arrays in batch.micro_batches:
        tensors = {key: paddle.to_tensor(array) for key, array in arrays.items()}
        with mixed_precision():
            loss = loss_fn(state.model, tensors).astype(dtype)
        (loss * (weight * state.scaler.scale)).backward()
        loss_sum += loss.detach() * weight
    return loss_sum


def sum_over_ranks(state: RunState, loss_sum: paddle.Tensor, signal_number: int) -> StepOutcome:
    """Sum gradients and loss over ranks, and ask in the same message whether any rank is to stop.

    Args:
        state: the run; the gradients of its parameters are replaced by their sums.
        loss_sum: [1] this rank's part of the loss.
        signal_number: that this rank received; 0 for none.

    Returns:
        The same on all ranks.
    """
    extras = paddle.concat([loss_sum, paddle.to_tensor([float(signal_number)], loss_sum.dtype)])
    extras = parallel.sum_gradients(state.parameters, extras, state.world)
    # One transfer from the device for all three numbers.
    numbers = paddle.concat([extras, global_norm(gradients_of(state.parameters))])
    loss, signals, scaled_norm = numbers.tolist()
    return StepOutcome(loss, scaled_norm / state.scaler.scale, bool(signals))


def update_weights(state: RunState, grad_norm: float, learning_rate: float, max_grad_norm: float) -> None:
    """Clip the gradients, take the loss scale out of them, and let AdamW make its step."""
    gradients = gradients_of(state.parameters)
    scale_gradients(gradients, clip_factor(grad_norm, max_grad_norm) / state.scaler.scale)
    state.optimizer.set_lr(learning_rate)
    state.optimizer.step()
    state.scaler.update(overflow=False)
