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
from mobilebert.train.settings import ChangingTrainSet, Terms, TrainSet, TrainSettings
from mobilebert.train.state import RunState

LossFn = Callable[[paddle.nn.Layer, dict[str, paddle.Tensor]], paddle.Tensor]


@dataclass(frozen=True)
class StepBatch:
    """The data of one step.

    Attributes:
        train_set: that they are of, as this epoch sees it.
        examples: [N] indices of its examples, over all ranks.
        micro_batches: this rank's part, cut into M batches.
        sizes: [M, K] how much each of them counts in each of the loss's K terms.
        whole: [K] the same of the whole step; None where the other ranks have to be asked.
    """

    train_set: TrainSet
    examples: np.ndarray
    micro_batches: list[dict[str, np.ndarray]]
    sizes: np.ndarray
    whole: np.ndarray | None


@dataclass(frozen=True)
class StepOutcome:
    """What the forward and backward passes of one step gave, over all ranks.

    Attributes:
        loss: mean over the examples, or their weighted mean; of ``Terms`` the sum.
        terms: what it is the sum of.
        grad_norm: global norm of the gradients, without the loss scale.
        any_signal: whether any rank received a signal to stop.
    """

    loss: float
    terms: list[float]
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
    terms: Terms | None = None,
) -> Generator[StepBatch, None, None]:
    """The data of each step from ``first_step`` on, prepared by a background thread.

    Every rank knows all examples of a step, and with ``weights`` ([N], of the examples) how much they count: what each
    micro-batch is divided by needs no message. The sizes of ``terms`` are seen in the batches alone.
    """

    def size(part: np.ndarray) -> list[float]:
        return [len(part) if weights is None else weights[part].sum(dtype=np.float64)]

    def make(job: tuple[int, np.ndarray]) -> StepBatch:
        step, examples = job
        data = train_set
        if isinstance(train_set, ChangingTrainSet):
            data = train_set.of_epoch(step // length.steps_per_epoch)
        own = parallel.rank_share(examples, world)
        parts = [own[start : start + settings.batch_size] for start in range(0, len(own), settings.batch_size)]
        batches = [data.batch(part) for part in parts]
        if terms is None:
            sizes = np.array([size(part) for part in parts], np.float64).reshape([-1, 1])
            return StepBatch(data, examples, batches, sizes, np.array(size(examples), np.float64))
        sizes = np.array([terms.sizes(batch) for batch in batches], np.float64).reshape([-1, len(terms.names)])
        return StepBatch(data, examples, batches, sizes, None)

    order = step_examples(
        np.asarray(train_set.lengths),
        length.examples_per_step,
        settings.seed,
        settings.group_by_length,
        first_step,
        length.total_steps,
    )
    return prefetch(make, enumerate(order, first_step))


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
        [K] this rank's part of the step's loss, which is the sum of K terms.
    """
    dtype = state.parameters[0].dtype
    whole = parallel.sum_array(batch.sizes.sum(0), state.world) if batch.whole is None else batch.whole
    shares = np.divide(batch.sizes, whole, out=np.zeros_like(batch.sizes), where=whole > 0)  # of nothing: 0
    loss_sum = paddle.zeros(whole.shape, dtype)
    for share, arrays in zip(shares, batch.micro_batches, strict=True):
        tensors = {key: paddle.to_tensor(array) for key, array in arrays.items()}
        with mixed_precision():
            loss = loss_fn(state.model, tensors).astype(dtype)
        parts = loss.reshape(whole.shape) * paddle.to_tensor(share, dtype)
        (parts.sum() * state.scaler.scale).backward()
        loss_sum += parts.detach()
    return loss_sum


def sum_over_ranks(state: RunState, loss_sum: paddle.Tensor, signal_number: int) -> StepOutcome:
    """Sum gradients and loss over ranks, and ask in the same message whether any rank is to stop.

    Args:
        state: the run; the gradients of its parameters are replaced by their sums.
        loss_sum: [K] this rank's part of the loss.
        signal_number: that this rank received; 0 for none.

    Returns:
        The same on all ranks.
    """
    extras = paddle.concat([loss_sum, paddle.to_tensor([float(signal_number)], loss_sum.dtype)])
    extras = parallel.sum_gradients(state.parameters, extras, state.world)
    # One transfer from the device for all numbers.
    numbers = paddle.concat([extras, global_norm(gradients_of(state.parameters))])
    *terms, signals, scaled_norm = numbers.tolist()
    return StepOutcome(sum(terms), terms, scaled_norm / state.scaler.scale, bool(signals))


def update_weights(state: RunState, grad_norm: float, learning_rate: float, max_grad_norm: float) -> None:
    """Clip the gradients, take the loss scale out of them, and let the optimizer make its step."""
    gradients = gradients_of(state.parameters)
    scale_gradients(gradients, clip_factor(grad_norm, max_grad_norm) / state.scaler.scale)
    state.optimizer.set_lr(learning_rate)
    state.optimizer.step()
    state.scaler.update(overflow=False)
