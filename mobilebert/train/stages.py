"""A run of several stages: each has learning rates of its own, and may leave parts of the model as they are."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import paddle


@dataclass(frozen=True)
class Stage:
    """Some updates of a run that belong together.

    Attributes:
        name: for the log.
        steps: how many updates.
        learning_rate: number of an update within the stage, from 0 -> its learning rate.
        share_of: name of a parameter -> factor on its learning rate; a parameter with 0 has no gradient and stays.
        begin: called when the stage begins, and when a run is resumed in it: what the loss is from here on.
    """

    name: str
    steps: int
    learning_rate: Callable[[int], float]
    share_of: Callable[[str], float]
    begin: Callable[[], None]


class Stages:
    """The stages of a run and where in them it is; follows from the step alone, so a resume needs nothing else.

    Args:
        stages: one after the other; their steps together are the run's.
        model: its parameters' factors and ``stop_gradient`` are set; what they are now holds for a share of 1.
    """

    def __init__(self, stages: Sequence[Stage], model: paddle.nn.Layer):
        self.stages = stages
        self.ends = np.cumsum([stage.steps for stage in stages])
        self._parameters = [
            (name, p, p.optimize_attr["learning_rate"]) for name, p in model.named_parameters() if not p.stop_gradient
        ]
        self._index = -1

    @property
    def total_steps(self) -> int:
        """Of all stages."""
        return int(self.ends[-1])

    def index(self, step: int) -> int:
        """Which stage update number ``step`` (from 0) belongs to, from 0."""
        return int(np.searchsorted(self.ends, step, side="right"))

    def learning_rate(self, step: int) -> float:
        """Of update number ``step`` of the run."""
        index = self.index(step)
        return self.stages[index].learning_rate(step - int(self.ends[index]) + self.stages[index].steps)

    def enter(self, step: int) -> str | None:
        """Make ready for update number ``step``. Returns a line for the log where another stage begins."""
        index = self.index(step)
        if index == self._index:
            return None
        self._index, stage = index, self.stages[index]
        learning = 0
        for name, parameter, factor in self._parameters:
            share = stage.share_of(name)
            parameter.stop_gradient = share == 0
            parameter.optimize_attr["learning_rate"] = factor * share
            learning += 0 if share == 0 else parameter.size
        stage.begin()
        first = int(self.ends[index]) - stage.steps
        return (
            f"stage {index + 1} of {len(self.stages)}, {stage.name}: steps {first + 1} to {self.ends[index]}, "
            f"{learning:,} parameters learn"
        )
