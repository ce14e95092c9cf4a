"""The training loop: reads from top to bottom, knows batches, a loss function and an evaluation function."""

import math
import os
import signal
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial, wraps
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from mobilebert.base import outputs
from mobilebert.base.errors import InputError
from mobilebert.train import checkpoint, guard, parallel, randomness, runlog
from mobilebert.train.interrupt import EvaluationInterrupted, StopSignals
from mobilebert.train.optim import (
    LossScaler,
    build_adamw,
    check_amp,
    clip_factor,
    global_norm,
    gradients_of,
    is_bias_or_norm,
    learning_rate_at,
    scale_gradients,
)
from mobilebert.train.sampler import prefetch, step_examples, steps_per_epoch
from mobilebert.train.settings import TrainResult, TrainSet, TrainSettings
from mobilebert.train.state import Progress, RunState, identify

BEST = "best"

# All that the loop writes in its folder, and what of that the record of the folder names from the start.
NAMES = (*runlog.NAMES, checkpoint.FOLDER, BEST, guard.BATCHES)
ENTRIES = (*runlog.ENTRIES, *checkpoint.ENTRIES, guard.BATCHES)

# With on_nan=skip: so many skipped steps in a row are no accident but a run that has diverged.
MAX_SKIPS_IN_A_ROW = 10


def _locked(train: Callable[..., TrainResult]) -> Callable[..., TrainResult]:
    """Let no other process write the output folder while ``train`` runs."""

    @wraps(train)
    def locked(model, train_set, loss_fn, settings, output_dir, **options) -> TrainResult:
        with parallel.lock_output(Path(output_dir), parallel.start()):
            return train(model, train_set, loss_fn, settings, output_dir, **options)

    return locked


@_locked
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

    In ``output_dir`` the loop writes ``run.log``, ``args.json``, ``train.jsonl``, ``eval.jsonl``, ``logs/``,
    ``curves.png``, ``checkpoints/``, ``best/`` and ``nonfinite_step*.npz``, notes them in the folder's record
    (``mobilebert.base.outputs``), and touches nothing else. What bears such a name but is not in the record is refused.

    Args:
        model: parameters are changed in place; at the end it holds the final weights (not the best) in eval mode.
            On many devices build it after ``parallel.start()``, which chooses the device; rank 0's weights win.
        train_set: see ``TrainSet``.
        loss_fn: scalar loss, the *mean over the examples* of the batch it is given (accumulation, short batches and
            ranks are weighted by their number of examples on that assumption). Keys and dtypes are those of
            ``train_set.batch``.
        settings: see ``TrainSettings``.
        output_dir: made where missing.
        evaluate: metrics of the model, which is in eval mode and under ``no_grad`` meanwhile. Random states are put
            back afterwards, so evaluation never changes the course of training. On many devices every rank calls it
            (``World.share`` and ``parallel.gather_in_order`` split the work) and all must return the same.
        save_best: writes a servable model into the empty folder it is given, which then becomes ``output_dir/best``.
            Called on rank 0 at each new best of ``settings.best_metric``.
        resume: ``"latest"`` or a checkpoint folder; ``None`` starts anew.
        resume_fallback: where the newest checkpoint is damaged, use the one before (``resume="latest"`` only).
        overwrite: a fresh start may delete what earlier runs left in ``output_dir``: all that its record names.
        header: resolved arguments and whatever else opens ``run.log`` and VisualDL's hyper-parameters.
        data_checksum: fingerprint of the train data; a resumed run must have the same.
        no_decay: see ``build_adamw``.
        depth_of: see ``build_adamw``.

    Returns:
        TrainResult.

    Raises:
        InputError: an empty train set, a setting that the device cannot do, a missing or damaged checkpoint, other
            settings or data than the checkpoint's, a non-finite loss or gradient under ``on_nan=stop``; a folder that
            holds an earlier run or somebody else's files, or that another process writes.
        SystemExit: code 143 (SIGTERM) or 130 (SIGINT), after the step was finished and a checkpoint written.
    """
    if len(train_set) == 0:
        raise InputError("the train set is empty; check the train file")
    if settings.early_stop_patience and evaluate is None:
        raise InputError(f"early_stop_patience={settings.early_stop_patience}: there is no evaluation (no dev set)")
    check_amp(settings.amp)
    output_dir, world = Path(output_dir), parallel.start()
    lengths = np.asarray(train_set.lengths)
    per_step = settings.batch_size * settings.gradient_accumulation_steps * world.size
    per_epoch = steps_per_epoch(len(lengths), per_step)
    total_steps = settings.max_steps or math.ceil(settings.num_train_epochs * per_epoch)

    # Model, optimizer and random states: new, or exactly as a checkpoint left them.
    randomness.seed_all(settings.seed + world.rank)
    optimizer = build_adamw(model, settings, no_decay, depth_of)
    scaler = LossScaler(enabled=settings.amp == "fp16")
    identity = identify(settings, world.size, lengths, data_checksum)
    run = RunState(model, optimizer, scaler, identity, world)
    notes: list[str] = []
    if resume is None:
        parallel.on_main(lambda: _make_room(output_dir, overwrite), world)
        parallel.broadcast_parameters(model, world)
    else:
        find = partial(checkpoint.find, output_dir, resume, resume_fallback, notes.append)
        found = parallel.on_main(find, world)
        run.restore(found)
        parallel.on_main(lambda: _take_over(output_dir, found), world)
        notes.append(f"resumed at step {run.progress.step}")
    progress = run.progress
    parameters = [p for p in model.parameters() if not p.stop_gradient]
    dtype = parameters[0].dtype

    log = runlog.RunLog(output_dir, total_steps, progress.step, progress.history, world.is_main)
    for line in runlog.first_lines({**(header or {}), **settings.as_dict()}, world.size):
        log.line(line)
    log.line(f"data: {len(lengths)} examples, {lengths.sum()} tokens, checksum {data_checksum or 'not given'}")
    log.line(f"{per_step} examples a step, {per_epoch} steps an epoch, {total_steps} steps in all")
    for note in notes:
        log.line(note)
    log.arguments({**(header or {}), **settings.as_dict()})
    log.open_visualdl({**settings.as_dict(), **(header or {}), **settings.as_dict()}, settings.best_metric)
    log.graph(model, train_set.batch(np.arange(1)))

    def make_batches(examples: np.ndarray) -> tuple[np.ndarray, list[tuple[int, dict[str, np.ndarray]]]]:
        """One step: its examples over all ranks, and this rank's share of them cut into batches with their sizes."""
        share = parallel.rank_share(examples, world)
        parts = [share[start : start + settings.batch_size] for start in range(0, len(share), settings.batch_size)]
        return examples, [(len(part), train_set.batch(part)) for part in parts]

    order = step_examples(lengths, per_step, settings.seed, settings.group_by_length, progress.step, total_steps)
    batches = prefetch(make_batches, order)
    autocast = _autocast(settings.amp)
    meter = runlog.Meter(first_step=progress.step, seconds_before=progress.seconds)
    stop_signal, saved_step = 0, -1 if resume is None else progress.step
    model.train()

    with StopSignals() as signals:
        try:
            while True:
                # Evaluate where it is due and was not done before the run was cut off.
                finished = progress.step == total_steps
                due = finished or (settings.eval_steps and progress.step % settings.eval_steps == 0)
                if evaluate and due and progress.step > progress.evaluated_step and not stop_signal:
                    try:
                        # Many ranks must agree where to stop: they finish the evaluation.
                        metrics = _evaluate(model, evaluate, signals.interruptible if world.size == 1 else nullcontext)
                    except EvaluationInterrupted:
                        stop_signal = signals.received
                    else:
                        is_best = progress.note_evaluation(metrics, settings)
                        log.evaluation(progress.history[-1], is_best)
                        if is_best and save_best and world.is_main:
                            write_model(output_dir, BEST, save_best)
                        parallel.barrier(world)
                patience = settings.early_stop_patience
                stopped_early = 0 < patience <= progress.evaluations_since_best

                # Save: at the start too, so that there always is something to resume from.
                ending = finished or stopped_early
                wanted = settings.save_steps and (ending or progress.step % settings.save_steps == 0)
                progress.seconds = meter.seconds()
                if (wanted or stop_signal) and progress.step != saved_step:
                    run.save(output_dir, settings.keep_checkpoints)
                    saved_step = progress.step
                if ending or stop_signal:
                    break

                # Forward and backward, one micro-batch at a time; gradients add up to those of the whole step.
                meter.begin_step()
                examples, parts = next(batches)
                meter.have_batch()
                loss_sum = paddle.zeros([1], dtype)
                for count, arrays in parts:
                    batch = {key: paddle.to_tensor(array) for key, array in arrays.items()}
                    with autocast():
                        loss = loss_fn(model, batch).astype(dtype)
                    weight = count / len(examples)
                    (loss * (weight * scaler.scale)).backward()
                    loss_sum += loss.detach() * weight

                # One sum over ranks and one look at the numbers: whoever was told to stop, all stop here.
                received = signals.received
                extras = paddle.concat([loss_sum, paddle.to_tensor([float(received)], dtype)])
                extras = parallel.sum_gradients(parameters, extras, world)
                gradients = gradients_of(parameters)
                loss, told, grad_norm = paddle.concat([extras, global_norm(gradients)]).tolist()
                grad_norm /= scaler.scale
                stop_signal = (received or signal.SIGTERM) if told else 0

                # Update, unless a number is not finite.
                learning_rate = learning_rate_at(settings, progress.step, total_steps)
                if math.isfinite(loss) and math.isfinite(grad_norm):
                    scale_gradients(gradients, clip_factor(grad_norm, settings.max_grad_norm) / scaler.scale)
                    optimizer.set_lr(learning_rate)
                    optimizer.step()
                    scaler.update(overflow=False)
                    progress.note_loss(loss)
                elif math.isfinite(loss) and scaler.can_shrink:
                    scaler.update(overflow=True)
                    log.line(f"step {progress.step + 1}: fp16 overflow, loss scale lowered to {scaler.scale:g}")
                else:
                    progress.note_skip()
                    ids, named = train_set.example_ids(examples), list(model.named_parameters())
                    what = guard.describe(progress.step + 1, loss, grad_norm, learning_rate, ids, named)
                    if world.is_main:
                        path = guard.dump(output_dir, progress.step + 1, ids, train_set.batch(examples))
                        what += f" (batch in {path.name})"
                    if settings.on_nan == "stop":
                        raise InputError(f"{what}; lower learning_rate, or on_nan=skip")
                    if progress.skips_in_a_row == MAX_SKIPS_IN_A_ROW:
                        raise InputError(f"{what}; this was skip {MAX_SKIPS_IN_A_ROW} in a row, the run has diverged")
                    log.line(f"warning: {what}; update skipped ({progress.skipped_steps} so far)")
                optimizer.clear_grad(set_to_zero=False)
                progress.step += 1
                meter.end_step(len(examples), int(lengths[examples].sum()))
                log.advance()

                if progress.step % settings.log_steps == 0 or progress.step == total_steps:
                    mean_loss = progress.take_mean_loss()
                    log.step(
                        {
                            "step": progress.step,
                            "epoch": round(progress.step / per_epoch, 4),
                            "loss": mean_loss if math.isfinite(mean_loss) else None,
                            "lr": learning_rate,
                            "grad_norm": grad_norm if math.isfinite(grad_norm) else None,
                            **meter.rates(),
                            "peak_memory_mib": runlog.peak_memory_mib(),
                            "seconds_left": round(meter.seconds_left(progress.step, total_steps), 1),
                            "skipped_steps": progress.skipped_steps,
                        },
                        total_steps,
                    )
            if stop_signal:
                name = signal.Signals(stop_signal).name
                log.line(
                    f"{name}: stopped after step {progress.step} of {total_steps}, checkpoint written; --resume goes on"
                )
                raise SystemExit(128 + stop_signal)
            if world.is_main:
                runlog.draw_curves(output_dir)
            result = _result(progress, per_epoch, stopped_early, meter)
            for line in result.lines(settings.best_metric):
                log.line(line)
        finally:
            batches.close()
            log.close()
    model.eval()
    return result


def _make_room(output_dir: Path, overwrite: bool) -> None:
    """Refuse to mix a fresh run with what an earlier one or somebody else left; delete an earlier one if told so."""
    outputs.check(output_dir, NAMES)
    came_to_something = checkpoint.steps_on_disk(output_dir) or runlog.read_records(output_dir / runlog.TRAIN_LOG)
    if not overwrite and (came_to_something or (output_dir / BEST).exists()):
        raise InputError(
            f"{output_dir}: holds an earlier run; resume it (--resume), overwrite it or choose another output folder"
        )
    outputs.remove(output_dir, None if overwrite else NAMES)
    outputs.record(output_dir, ENTRIES)


def _take_over(output_dir: Path, found: Path) -> None:
    """Go on in a folder: the run's own, also one of a time before there were records, or another one."""
    checkpoint.recover_folder(output_dir / BEST)
    if not outputs.recorded(output_dir) and found.resolve().parent == (output_dir / checkpoint.FOLDER).resolve():
        if (output_dir / BEST).is_dir():
            outputs.record_folder(output_dir, BEST, output_dir / BEST)
    else:
        outputs.check(output_dir, NAMES)
    outputs.record(output_dir, ENTRIES)


def write_model(output_dir: Path, name: str, save: Callable[[Path], None]) -> None:
    """Let ``save`` write the folder ``name`` of ``output_dir``, whole or not at all, and note what it wrote.

    What somebody else put into a folder of that name stays in it.
    """

    def fill(folder: Path) -> None:
        save(folder)
        outputs.record_folder(output_dir, name, folder)
        outputs.copy_others(output_dir, name, folder)

    checkpoint.write_folder(output_dir / name, fill)


def _autocast(amp: str) -> Callable:
    """Context manager for the forward pass."""
    if amp == "none":
        return nullcontext
    return partial(paddle.amp.auto_cast, level="O1", dtype={"bf16": "bfloat16", "fp16": "float16"}[amp])


def _evaluate(model: paddle.nn.Layer, evaluate: Callable, interruptible: Callable) -> dict[str, float]:
    """Metrics in eval mode; leaves mode and random states as they were, also when interrupted."""
    states = randomness.capture()
    model.eval()
    try:
        with interruptible(), paddle.no_grad():
            metrics = evaluate(model)
    finally:
        model.train()
        randomness.restore(states)
    # NumPy's scalars are not JSON; counts stay whole numbers.
    return {key: value.item() if isinstance(value, np.generic) else value for key, value in metrics.items()}


def _result(progress: Progress, per_epoch: int, stopped_early: bool, meter: runlog.Meter) -> TrainResult:
    final = progress.history[-1] if progress.history else {}
    return TrainResult(
        steps=progress.step,
        epochs=progress.step / per_epoch,
        train_loss=progress.train_loss,
        best_step=progress.best_step,
        best_metrics=progress.best_metrics,
        final_metrics={key: value for key, value in final.items() if key != "step"},
        stopped_early=stopped_early,
        skipped_steps=progress.skipped_steps,
        seconds=meter.seconds(),
        data_wait_share=meter.wait_share,
        history=progress.history,
    )
