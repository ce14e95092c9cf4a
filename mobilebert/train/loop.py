"""The training loop: knows batches, a loss function and the hooks of ``mobilebert.train.hooks``."""

import math
import os
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path

import numpy as np
import paddle

from mobilebert.base.errors import InputError
from mobilebert.train import folder, guard, parallel, randomness, runlog
from mobilebert.train.hooks import Evaluation, Hooks
from mobilebert.train.interrupt import EvaluationInterrupted, StopSignals
from mobilebert.train.optim import learning_rate_at
from mobilebert.train.run import Run, begin
from mobilebert.train.settings import RunHeader, Start, Terms, TrainResult, TrainSet, TrainSettings
from mobilebert.train.step import (
    LossFn,
    StepBatch,
    StepOutcome,
    autocast,
    forward_backward,
    step_batches,
    sum_over_ranks,
    update_weights,
)

# With on_nan=skip: so many skipped steps in a row are no accident but a run that has diverged.
MAX_SKIPS_IN_A_ROW = 10
ESTIMATE_AFTER = 3  # steps
LONG_SECONDS = 3600.0


def train(
    model: paddle.nn.Layer,
    train_set: TrainSet,
    loss_fn: LossFn,
    settings: TrainSettings,
    output_dir: str | os.PathLike,
    *,
    hooks: Hooks = Hooks(),  # noqa: B008 (frozen)
    start: Start = Start(),  # noqa: B008 (frozen)
    header: RunHeader = RunHeader(),  # noqa: B008 (frozen)
    weights: np.ndarray | None = None,
    terms: Terms | None = None,
) -> TrainResult:
    """Train ``model`` in place.

    In ``output_dir`` the loop writes ``run.log``, ``args.json``, ``train.jsonl``, ``eval.jsonl``, ``logs/``,
    ``curves.png``, ``checkpoints/``, ``best/``, ``nonfinite_step*.npz`` and ``hooks.copy_from_best``, notes them in the
    folder's record (``mobilebert.base.outputs``), and touches nothing else. What bears such a name but is not in the
    record is refused. No other process may write the folder meanwhile.

    Args:
        model: parameters are changed in place; at the end it holds the final weights (not the best) in eval mode.
            On many devices build it after ``parallel.start()``, which chooses the device; rank 0's weights win.
        train_set: see ``TrainSet``.
        loss_fn: scalar loss, the *mean over the examples* of the batch it is given (accumulation, short batches and
            ranks are weighted by their number of examples on that assumption). With ``weights`` the mean weighted by
            them, with ``terms`` [K] means. Keys and dtypes are those of ``train_set.batch``.
        settings: see ``TrainSettings``.
        output_dir: made where missing.
        hooks: see ``Hooks``.
        start: a fresh run or a resumed one; see ``Start``.
        header: see ``RunHeader``.
        weights: [N] how much each example counts in the loss of its step, above 0; None for all alike.
        terms: the loss is a sum of means of its own; see ``Terms``. Not together with ``weights``.

    Returns:
        TrainResult.

    Raises:
        InputError: an empty train set, a setting that the device cannot do, a missing or damaged checkpoint, other
            settings or data than the checkpoint's, a non-finite loss or gradient under ``on_nan=stop``; a folder that
            holds an earlier run or somebody else's files, or that another process writes.
        SystemExit: code 143 (SIGTERM), 129 (SIGHUP) or 130 (SIGINT), after the step was finished and a checkpoint
            written.
    """
    with parallel.lock_output(Path(output_dir), parallel.start()):
        run = begin(model, train_set, settings, Path(output_dir), hooks, start, header, weights, terms)
        with closing(run.log):
            with StopSignals() as signals:
                stop_signal = _loop(run, loss_fn, signals)
                if stop_signal:
                    name, step = signal.Signals(stop_signal).name, run.state.progress.step
                    total = run.length.total_steps
                    run.log.line(f"{name}: stopped after step {step} of {total}, checkpoint written; resume to go on")
                    raise SystemExit(128 + stop_signal)
            result = _finish(run)
    model.eval()
    return result


def _loop(run: Run, loss_fn: LossFn, signals: StopSignals) -> int:
    """Train to the end, or until a signal. Returns the number of that signal, 0 for none."""
    state, settings, length, progress = run.state, run.settings, run.length, run.state.progress
    mixed_precision = autocast(settings.amp)
    stop_signal = 0
    state.model.train()
    data = step_batches(run.train_set, settings, length, progress.step, state.world, run.weights, run.terms)
    with closing(data) as batches:
        while True:
            finished = progress.step >= length.total_steps
            if run.hooks.evaluate and not stop_signal and progress.evaluation_is_due(settings, finished):
                stop_signal = _evaluate(run, signals)
            ending = finished or progress.has_stalled(settings)
            # At the start too, so that there always is something to resume from.
            save_is_due = settings.save_steps and (ending or progress.step % settings.save_steps == 0)
            if save_is_due or stop_signal:
                _save_checkpoint(run)
            if ending or stop_signal:
                return stop_signal

            if run.stages and (entered := run.stages.enter(progress.step)):
                run.log.line(entered)
            run.meter.begin_step()
            batch = next(batches)
            run.meter.have_batch()
            loss_sum = forward_backward(state, loss_fn, batch, mixed_precision)
            received = signals.received
            outcome = sum_over_ranks(state, loss_sum, received)
            if outcome.any_signal:  # on this rank or another: all ranks stop after this step
                stop_signal = received or signal.SIGTERM

            if run.stages:
                learning_rate = run.stages.learning_rate(progress.step)
            else:
                learning_rate = learning_rate_at(settings, progress.step, length.total_steps)
            if outcome.is_finite:
                update_weights(state, outcome.grad_norm, learning_rate, settings.max_grad_norm)
                progress.note_loss(outcome.loss, outcome.terms)
            elif math.isfinite(outcome.loss) and state.scaler.can_shrink:
                state.scaler.update(overflow=True)
                run.log.line(f"step {progress.step + 1}: fp16 overflow, loss scale lowered to {state.scaler.scale:g}")
            else:
                _skip_update(run, batch, outcome, learning_rate)
            state.optimizer.clear_grad(set_to_zero=False)
            progress.step += 1
            run.meter.end_step(len(batch.examples), int(run.train_set.lengths[batch.examples].sum()))
            run.log.advance()
            if progress.step - run.meter.first_step == ESTIMATE_AFTER:
                _say_if_long(run)
            if progress.step % settings.log_steps == 0 or progress.step == length.total_steps:
                _log_step(run, outcome, learning_rate)


def _evaluate(run: Run, signals: StopSignals) -> int:
    """Evaluate, and keep the model if it is the best so far. Returns the signal that interrupted it, or 0."""
    state = run.state
    # Many ranks finish the evaluation, because they must agree on the step where they stop.
    interruptible = signals.interruptible if state.world.size == 1 else nullcontext
    try:
        evaluation = _evaluate_model(state.model, run.hooks.evaluate, interruptible)
    except EvaluationInterrupted:
        return signals.received
    is_best = state.progress.note_evaluation(evaluation.metrics, run.settings)
    run.log.evaluation(state.progress.history[-1], is_best)
    if is_best and state.world.is_main:
        folder.write_best(run.output_dir, run.hooks, evaluation.outputs)
    parallel.barrier(state.world)
    return 0


def _evaluate_model(
    model: paddle.nn.Layer,
    evaluate: Callable[[paddle.nn.Layer], Evaluation],
    interruptible: Callable[[], AbstractContextManager],
) -> Evaluation:
    """Call ``evaluate`` in eval mode; leaves mode and random states as they were, also when interrupted."""
    states = randomness.capture()
    model.eval()
    try:
        with interruptible(), paddle.no_grad():
            evaluation = evaluate(model)
    finally:
        model.train()
        randomness.restore(states)
    # NumPy's scalars are not JSON; counts stay whole numbers.
    plain = {key: value.item() if isinstance(value, np.generic) else value for key, value in evaluation.metrics.items()}
    return Evaluation(plain, evaluation.outputs)


def _save_checkpoint(run: Run) -> None:
    """Write a checkpoint of this step, unless there is one."""
    progress = run.state.progress
    if progress.step != run.saved_step:
        progress.seconds = run.meter.seconds()
        run.state.save(run.output_dir, run.settings.keep_checkpoints)
        run.saved_step = progress.step


def _skip_update(run: Run, batch: StepBatch, outcome: StepOutcome, learning_rate: float) -> None:
    """Account for a step with a NaN or infinite number, whose batch is kept for inspection.

    Raises:
        InputError: under ``on_nan=stop``, or where the run has diverged.
    """
    state, progress, step = run.state, run.state.progress, run.state.progress.step + 1
    progress.note_skip()
    ids, named = run.train_set.example_ids(batch.examples), list(state.model.named_parameters())
    what = guard.describe(step, outcome.loss, outcome.grad_norm, learning_rate, ids, named)
    if state.world.is_main:
        path = guard.dump(run.output_dir, step, ids, batch.train_set.batch(batch.examples))
        what += f" (batch in {path.name})"
    if run.settings.on_nan == "stop":
        raise InputError(f"{what}; lower learning_rate, or on_nan=skip")
    if progress.skips_in_a_row == MAX_SKIPS_IN_A_ROW:
        raise InputError(f"{what}; this was skip {MAX_SKIPS_IN_A_ROW} in a row, the run has diverged")
    run.log.line(f"warning: {what}; update skipped ({progress.skipped_steps} so far)")


def _log_step(run: Run, outcome: StepOutcome, learning_rate: float) -> None:
    """Write the record of a log step."""
    progress, length = run.state.progress, run.length
    mean_loss, mean_terms = progress.take_mean_loss()
    named = zip(run.terms.names, mean_terms, strict=False) if run.terms else ()
    record = {
        "step": progress.step,
        "epoch": round(progress.step / length.steps_per_epoch, 4),
        "loss": mean_loss if math.isfinite(mean_loss) else None,
        **{f"{name}_loss": value for name, value in named},
        "lr": learning_rate,
        "grad_norm": outcome.grad_norm if math.isfinite(outcome.grad_norm) else None,
        **run.meter.rates(),
        "peak_memory_mib": runlog.peak_memory_mib(),
        "seconds_left": round(run.meter.seconds_left(progress.step, length.total_steps), 1),
        "skipped_steps": progress.skipped_steps,
        **({"stage": run.stages.index(progress.step - 1) + 1} if run.stages else {}),
    }
    run.log.step(record, length.total_steps)


def _say_if_long(run: Run) -> None:
    """How long it will take, where that is hours, as soon as it can be told: on a CPU a large set takes days."""
    step = run.state.progress.step
    seconds_left = run.meter.seconds_left(step, run.length.total_steps)
    if seconds_left > LONG_SECONDS:
        rate = run.meter.stepped / ESTIMATE_AFTER
        left = runlog.duration(seconds_left)
        run.log.line(f"{rate:.1f} s a step on this machine: some {left} to go, evaluations not counted")


def _finish(run: Run) -> TrainResult:
    """Draw the curves, sum the run up, and write the sum into the log."""
    progress = run.state.progress
    if run.state.world.is_main:
        runlog.draw_curves(run.output_dir)
    final = progress.history[-1] if progress.history else {}
    result = TrainResult(
        steps=progress.step,
        epochs=progress.step / run.length.steps_per_epoch,
        train_loss=progress.train_loss,
        best_step=progress.best_step,
        best_metrics=progress.best_metrics,
        final_metrics={key: value for key, value in final.items() if key != "step"},
        stopped_early=progress.has_stalled(run.settings),
        skipped_steps=progress.skipped_steps,
        seconds=run.meter.seconds(),
        data_wait_share=run.meter.wait_share,
        history=progress.history,
    )
    for line in result.lines(run.settings.best_metric):
        run.log.line(line)
    return result
