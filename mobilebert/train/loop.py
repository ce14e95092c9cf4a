"""The training loop: reads from top to bottom, knows batches, a loss function and an evaluation function."""

import math
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import paddle

from mobilebert.errors import InputError
from mobilebert.train.optim import build_adamw, is_bias_or_norm, learning_rate_at
from mobilebert.train.sampler import epoch_order, steps_per_epoch
from mobilebert.train.settings import TrainResult, TrainSettings


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


def train(
    model: paddle.nn.Layer,
    train_set: TrainSet,
    loss_fn: Callable[[paddle.nn.Layer, dict[str, paddle.Tensor]], paddle.Tensor],
    settings: TrainSettings,
    output_dir: str | os.PathLike,
    *,
    evaluate: Callable[[paddle.nn.Layer], dict[str, float]] | None = None,
    save_best: Callable[[Path], None] | None = None,
    resume: str | os.PathLike | None = None,
    resume_fallback: bool = False,
    overwrite: bool = False,
    header: Mapping[str, Any] | None = None,
    data_checksum: str = "",
    no_decay: Callable[[str, paddle.Tensor], bool] = is_bias_or_norm,
    depth_of: Callable[[str], int] | None = None,
) -> TrainResult:
    """Train ``model`` in place.

    The loop owns ``output_dir/{run.log,train.jsonl,logs/,curves.png,checkpoints/,best/}`` and nothing else there.

    Args:
        model: parameters are changed in place; at the end it holds the final weights (not the best) in eval mode.
        train_set: see ``TrainSet``.
        loss_fn: scalar loss, the *mean over the examples* of the batch it is given (accumulation, short batches and
            ranks are weighted by their number of examples on that assumption). Keys and dtypes are those of
            ``train_set.batch``.
        settings: see ``TrainSettings``.
        output_dir: made where missing.
        evaluate: metrics of the model, which is in eval mode and under ``no_grad`` meanwhile. Random states are put
            back afterwards, so evaluation never changes the course of training. On many devices every rank calls it
            (``parallel.rank_share`` and ``parallel.gather_in_order`` split the work) and all must return the same.
        save_best: writes a servable model into the empty folder it is given; it then becomes ``output_dir/best``.
            Called on rank 0 at each new best of ``settings.best_metric``.
        resume: ``"latest"`` or a checkpoint folder; ``None`` starts anew.
        resume_fallback: where the newest checkpoint is damaged, use the one before (``resume="latest"`` only).
        overwrite: a fresh start may delete what an earlier run left in ``output_dir`` (of the names above).
        header: resolved arguments and whatever else opens ``run.log`` and VisualDL's hyper-parameters.
        data_checksum: fingerprint of the train data; a resumed run must have the same.
        no_decay: see ``build_adamw``.
        depth_of: see ``build_adamw``.

    Returns:
        TrainResult.

    Raises:
        InputError: an empty train set, a setting that the device cannot do, a missing or damaged checkpoint, other
            settings or data than the checkpoint's, a non-finite loss or gradient under ``on_nan=stop``.
        SystemExit: code 143 (SIGTERM) or 130 (SIGINT), after the step was finished and a checkpoint written.
    """
    if len(train_set) == 0:
        raise InputError("the train set is empty; check the train file")
    per_step = settings.batch_size * settings.gradient_accumulation_steps
    epoch_steps = steps_per_epoch(len(train_set), per_step)
    total_steps = settings.max_steps or math.ceil(settings.num_train_epochs * epoch_steps)
    optimizer = build_adamw(model, settings, no_decay, depth_of)
    paddle.seed(settings.seed)
    lengths = np.asarray(train_set.lengths)
    best_step, best_metrics, history, loss_value, started = 0, {}, [], math.nan, time.perf_counter()
    for step in range(total_steps):
        epoch, position = divmod(step, epoch_steps)
        if position == 0 or step == 0:
            order = epoch_order(lengths, per_step, settings.seed, epoch, settings.group_by_length)
        indices = order[position * per_step : (position + 1) * per_step]
        model.train()
        loss_value = 0.0
        for start in range(0, len(indices), settings.batch_size):
            part = indices[start : start + settings.batch_size]
            batch = {key: paddle.to_tensor(value) for key, value in train_set.batch(part).items()}
            loss = loss_fn(model, batch) * (len(part) / len(indices))
            loss.backward()
            loss_value += float(loss)
        optimizer.set_lr(learning_rate_at(settings, step, total_steps))
        optimizer.step()
        optimizer.clear_grad(set_to_zero=False)
        done = step + 1
        if done % settings.log_steps == 0 or done == total_steps:
            print(f"step {done}/{total_steps} loss {loss_value:.4f}", flush=True)
        if evaluate and (done == total_steps or (settings.eval_steps and done % settings.eval_steps == 0)):
            model.eval()
            with paddle.no_grad():
                metrics = evaluate(model)
            history.append({"step": done, **metrics})
            if settings.best_metric:
                sign = 1 if settings.best_is_higher else -1
                if not best_step or sign * metrics[settings.best_metric] > sign * best_metrics[settings.best_metric]:
                    best_step, best_metrics = done, metrics
                    if save_best:
                        folder = Path(output_dir) / "best"
                        folder.mkdir(parents=True, exist_ok=True)
                        save_best(folder)
    model.eval()
    return TrainResult(
        steps=total_steps,
        epochs=total_steps / epoch_steps,
        train_loss=loss_value,
        best_step=best_step,
        best_metrics=best_metrics,
        final_metrics={key: value for key, value in history[-1].items() if key != "step"} if history else {},
        seconds=time.perf_counter() - started,
        history=history,
    )
