"""What the training loop asks of the model and the task: metrics, files to keep, the depth of a layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # a plan may be made before Paddle starts
    import paddle

    from mobilebert.train.stages import Stage


@dataclass(frozen=True)
class Evaluation:
    """What one evaluation of the model gave.

    Attributes:
        metrics: by name.
        outputs: whatever ``Hooks.save_best`` needs besides the model, such as the predictions behind the metrics.
    """

    metrics: Mapping[str, float]
    outputs: Any = None


@dataclass(frozen=True)
class Hooks:
    """Functions that the training loop calls. Each may be left out.

    Attributes:
        evaluate: evaluates the model, which is in eval mode and under ``no_grad`` meanwhile. Random states are put
            back afterwards, so evaluation never changes the course of training. On many devices every rank calls it
            (``World.share`` and ``parallel.gather_in_order`` split the work) and all must return the same metrics.
        save_best: writes a servable model into the empty folder it is given, which then becomes ``output_dir/best``,
            whole or not at all. Called on rank 0 at each new best of ``settings.best_metric`` with the folder and the
            ``outputs`` of the evaluation.
        copy_from_best: names of files that ``save_best`` writes and that shall also stand in ``output_dir`` itself.
            They are copied when ``best`` is in place.
        depth_of: layers between a parameter (by structured name) and the top; see ``build_optimizer``.
        stages: of a run that has several; their learning rates are in the place of the schedule's.
    """

    evaluate: Callable[[paddle.nn.Layer], Evaluation] | None = None
    save_best: Callable[[Path, Any], None] | None = None
    copy_from_best: tuple[str, ...] = ()
    depth_of: Callable[[str], int] | None = None
    stages: tuple[Stage, ...] = ()
