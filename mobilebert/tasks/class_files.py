"""Where the examples of a classification are: GLUE's folders, files of one's own, a dev set out of a train file."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mobilebert.base.errors import InputError
from mobilebert.data.classify.examples import Examples
from mobilebert.data.classify.split import record_of, split_dev
from mobilebert.data.glue.files import find_split, read_file, read_split
from mobilebert.data.glue.tasks import Task as GlueTask

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Files:
    """Where the examples are.

    Attributes:
        data_dir: GLUE's folder, or the task's own.
        given: split -> a file of one's own, which wins over ``data_dir``.
        on_missing_label: what becomes of rows without a label: ``error`` or ``drop``.
        dev_split: share of the given train file that is its dev set, where no dev file is given; 0 for none.
        dev_split_seed: of that choice.
    """

    data_dir: str | None
    given: Mapping[str, str]
    on_missing_label: str = "error"
    dev_split: float = 0.0
    dev_split_seed: int = 42
    _parts: dict[tuple, tuple[Examples, Examples]] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self):
        if self.dev_split and "train" not in self.given:
            raise InputError(f"`dev_split={self.dev_split:g}`: of which file? give `train_file`")
        if self.dev_split and "dev" in self.given:
            raise InputError(f"`dev_split={self.dev_split:g}`: there is a `dev_file`; leave one of the two out")

    @property
    def takes_dev(self) -> bool:
        """Whether the dev set is taken out of the train file."""
        return self.dev_split != 0

    def record(self, dev: Examples) -> dict[str, Any]:
        """See ``split.record_of``."""
        return record_of(dev, self.dev_split, self.dev_split_seed)

    def splits(self, task: GlueTask, kind: str) -> tuple[str, ...]:
        """The splits of a kind (``train``, ``dev``, ``test``): a given file is the only one of its kind.

        Of MNLI's two dev or test sets one may be missing: it is left out with a warning.
        """
        if kind in self.given or (kind == "dev" and self.takes_dev):
            return (kind,)
        if self.data_dir is None:
            return ()
        splits = tuple(split for split in task.splits if split.split("_")[0] == kind)
        there = tuple(split for split in splits if find_split(task, self.data_dir, split))
        for split in set(splits) - set(there) if there else ():
            _log.warning("%s: no %s; it is left out", self.data_dir, " or ".join(task.splits[split]))
        return there or splits

    def read(self, task: GlueTask, split: str, labels: Sequence[str]) -> Examples:
        """Read a split, its classes in the order of ``labels``."""
        if self.takes_dev and split in ("train", "dev"):
            return self._split_train(task, tuple(labels))[split == "dev"]
        if split not in self.given:
            return read_split(task, self.data_dir, split, labels, self.on_missing_label)
        return read_file(task, self.given[split], split, labels, self.on_missing_label)

    def _split_train(self, task: GlueTask, labels: tuple[str, ...]) -> tuple[Examples, Examples]:
        """Train and dev set out of the train file, which is read once."""
        if (task.name, labels) not in self._parts:
            whole = read_file(task, self.given["train"], "train", labels, self.on_missing_label)
            train, dev = split_dev(whole, self.dev_split, self.dev_split_seed)
            _log.info(
                "%s: %d rows to train on, %d as the dev set (dev_split %g, seed %d)",
                whole.source, len(train), len(dev), self.dev_split, self.dev_split_seed,
            )  # fmt: skip
            self._parts[task.name, labels] = train, dev
        return self._parts[task.name, labels]
