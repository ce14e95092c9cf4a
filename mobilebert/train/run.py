"""What a run is made of, and how it begins: checked, then new or exactly as a checkpoint left it."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import paddle

from mobilebert.base.errors import InputError
from mobilebert.train import checkpoint, folder, parallel, randomness, runlog
from mobilebert.train.hooks import Hooks
from mobilebert.train.optim import LossScaler, build_optimizer, check_amp
from mobilebert.train.sampler import RunLength
from mobilebert.train.settings import RunHeader, Start, Terms, TrainSet, TrainSettings
from mobilebert.train.stages import Stages
from mobilebert.train.state import RunState, identify


@dataclass
class Run:
    """The parts of a run.

    Attributes:
        state: what a checkpoint holds.
        train_set, settings, output_dir, hooks: as given to ``train``.
        weights, terms: as given to ``train``.
        length: of the run, in steps.
        stages: where the run has several.
        log, meter: what it writes down, and its speed.
        saved_step: step of the newest checkpoint; -1 where there is none.
    """

    state: RunState
    train_set: TrainSet
    settings: TrainSettings
    output_dir: Path
    hooks: Hooks
    weights: np.ndarray | None
    terms: Terms | None
    length: RunLength
    stages: Stages | None
    log: runlog.RunLog
    meter: runlog.Meter
    saved_step: int


def begin(
    model: paddle.nn.Layer,
    train_set: TrainSet,
    settings: TrainSettings,
    output_dir: Path,
    hooks: Hooks,
    start: Start,
    header: RunHeader,
    weights: np.ndarray | None,
    terms: Terms | None,
) -> Run:
    """Check everything, then build the run's parts: new, or exactly as a checkpoint left them."""
    if len(train_set) == 0:
        raise InputError("the train set is empty; check the train file")
    if weights is not None and not (len(weights) == len(train_set) and (weights > 0).all()):
        raise InputError(f"{len(weights)} weights for {len(train_set)} examples: expected as many, each above 0")
    if settings.early_stop_patience and hooks.evaluate is None:
        raise InputError(f"early_stop_patience={settings.early_stop_patience}: there is no evaluation (no dev set)")
    if settings.early_stop_patience and len(hooks.stages) > 1:
        raise InputError(
            f"`early_stop_patience={settings.early_stop_patience}`: all of {len(hooks.stages)} stages have to run, "
            "and not each is meant for the metric; leave it out"
        )
    check_amp(settings.amp)
    world, lengths = parallel.start(), np.asarray(train_set.lengths)
    length = RunLength.of(len(lengths), settings, world.size)

    randomness.seed_all(settings.seed + world.rank)
    optimizer = build_optimizer(model, settings, depth_of=hooks.depth_of)
    stages = Stages(hooks.stages, model) if hooks.stages else None
    if stages and stages.total_steps != length.total_steps:
        raise InputError(f"the stages have {stages.total_steps} steps, the run {length.total_steps}; set `max_steps`")
    scaler = LossScaler(enabled=settings.amp == "fp16")
    identity = identify(settings, world.size, lengths, header.data_checksum)
    state = RunState(model, optimizer, scaler, identity, world)
    if start.resume is None:
        notes, saved_step = [], -1
        parallel.on_main(lambda: folder.prepare(output_dir, start.overwrite, hooks.copy_from_best), world)
        parallel.broadcast_parameters(model, world)
    else:
        notes = _resume(state, output_dir, start, hooks, settings.keep_checkpoints)
        saved_step = state.progress.step

    progress = state.progress
    log = runlog.RunLog(output_dir, length.total_steps, progress.step, progress.history, world.is_main)
    for line in runlog.first_lines({**header.arguments, **settings.as_dict()}, world.size):
        log.line(line)
    passes = settings.gradient_accumulation_steps
    log.line(
        f"batch: {length.examples_per_step} examples a step = {world.size} device{'s' if world.size > 1 else ''} x "
        f"{settings.batch_size} examples x {passes} forward pass{'es' if passes > 1 else ''}"
    )
    log.line(f"data: {len(lengths)} examples, {lengths.sum()} tokens, checksum {header.data_checksum or 'not given'}")
    log.line(str(length))
    for note in notes:
        log.line(note)
    log.hyper_parameters(settings, header)
    log.graph(model, train_set.batch(np.arange(1)))
    meter = runlog.Meter(first_step=progress.step, seconds_before=progress.seconds)
    return Run(state, train_set, settings, output_dir, hooks, weights, terms, length, stages, log, meter, saved_step)


def _resume(state: RunState, output_dir: Path, start: Start, hooks: Hooks, keep: int) -> list[str]:
    """Bring ``state`` to where a checkpoint left it. Returns lines for the log."""
    notes: list[str] = []
    find = partial(checkpoint.find, output_dir, start.resume, start.resume_fallback, notes.append)
    found = parallel.on_main(find, state.world)
    extended = state.restore(found, start.extend)
    parallel.on_main(lambda: folder.prepare_to_resume(output_dir, found, hooks.copy_from_best), state.world)
    if extended:
        state.save(output_dir, keep)  # at once, so that from here on `resume` alone goes on
    return [*notes, f"resumed at step {state.progress.step}", *extended]
