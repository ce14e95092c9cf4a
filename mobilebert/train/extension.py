"""A finished run that goes on: what may differ from it, and what its learning rate then does."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mobilebert.base.errors import InputError
from mobilebert.train.optim import learning_rate_at
from mobilebert.train.sampler import RunLength
from mobilebert.train.settings import TrainSettings

# What alone may differ between a run and its extension.
LENGTH = ("num_train_epochs", "max_steps")


def extend(
    saved: Mapping[str, Any], current: Mapping[str, Any], step: int, evaluations_since_best: int, folder: Path
) -> list[str]:
    """Check that a finished run can go on with these settings.

    The order of the data is a function of seed and step, so the steps behind the old end see what those of a run that
    was this long from the start see. Only its rates up to the old end were others.

    Args:
        saved, current: identities of the checkpoint's run and of this one, which differ in ``LENGTH`` at most.
        step, evaluations_since_best: of the checkpoint.
        folder: of the checkpoint, for messages.

    Returns:
        What the log says of it; nothing where the run was extended to this length before, and was cut off.

    Raises:
        InputError: the checkpoint is not the end of its run or was stopped early, or this run is not longer.
    """
    before, old_steps = _settings_and_steps(saved, folder)
    now, new_steps = _settings_and_steps(current, folder)
    if 0 < before.early_stop_patience <= evaluations_since_best:
        raise InputError(
            f"{folder}: `early_stop_patience={before.early_stop_patience}` ended its run, and would end its extension "
            "at once; train on from the model in best"
        )
    if old_steps == new_steps and step < old_steps:
        return []
    if step != old_steps:
        raise InputError(
            f"{folder}: step {step} of {old_steps} is not the end of its run, and only a finished one is extended; "
            "resume it with its own length first (without `extend`)"
        )
    if new_steps <= old_steps:
        raise InputError(
            f"{folder}: a run of {old_steps} steps is not extended to {new_steps}; raise `num_train_epochs` (it was "
            f"{before.num_train_epochs:g}) or `max_steps`"
        )
    last, following = learning_rate_at(before, step - 1, old_steps), learning_rate_at(now, step, new_steps)
    return [
        f"extended from {old_steps} to {new_steps} steps: the learning rate goes from {last:.3e}, its last, to "
        f"{following:.3e}, and follows the schedule over {new_steps} steps from here on"
    ]


def _settings_and_steps(identity: Mapping[str, Any], folder: Path) -> tuple[TrainSettings, int]:
    try:
        settings = TrainSettings.from_mapping(identity)
    except InputError as error:
        raise InputError(f"{folder / 'state.json'}: {error}; resume from another checkpoint") from None
    length = RunLength.of(identity["number of examples"], settings, identity["number of processes"])
    return settings, length.total_steps
