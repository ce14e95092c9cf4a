"""The models on the page: where they are found, what is told about them, loaded when first asked."""

import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mobilebert.base.errors import InputError
from mobilebert.base.records import as_record
from mobilebert.demo.pool import Pool, TurnTakingEngine
from mobilebert.inference.engines import ENGINES
from mobilebert.inference.manifest import MANIFEST
from mobilebert.inference.predictor import Predictor
from mobilebert.inference.source import Source, read_source
from mobilebert.model.config import CONFIG_NAME

TASKS = ("question-answering", "sequence-classification", "token-classification")
# Random weights, made to be timed; and a training's intermediate states.
_LEFT_OUT = {"benchmark", "checkpoints"}


@dataclass(frozen=True)
class Example:
    """A question that a model answers right, as its training noted it (``run_squad.py --keep_examples``)."""

    passage: str
    question: str
    answer: str


@dataclass(frozen=True)
class _Noted:
    examples: list[Example] = field(default_factory=list)


class Model:
    """A model's folder, loaded when it is first asked.

    Args:
        source: of the folder.
        name: what the page calls it.
        pool: whose turns it takes.
        threads: of one run.

    Raises:
        InputError: a head that the page has no form for, or noted examples that are none.
    """

    def __init__(self, source: Source, name: str, pool: Pool, threads: int):
        if source.manifest.head not in TASKS:
            raise InputError(
                f"{source.folder}: its head is {source.manifest.head}; the page needs {' or '.join(TASKS)}"
            )
        source.warn()
        self.source, self.name = source, name
        noted, where = source.config.task_params(source.manifest.head), source.folder / CONFIG_NAME
        self.examples = as_record(noted, _Noted, where, "correct it, or take the examples out").examples
        self._pool, self._threads = pool, threads
        self._lock = threading.Lock()
        self._predictor: Predictor | None = None

    @property
    def predictor(self) -> Predictor:
        """The loaded model; loading it may raise InputError."""
        with self._lock:
            if self._predictor is None:
                predictor = Predictor(self.source, threads=self._threads)
                predictor.engine = TurnTakingEngine(predictor.engine, self._pool)
                self._predictor = predictor
            return self._predictor

    @property
    def is_loaded(self) -> bool:
        """Whether it has been asked."""
        return self._predictor is not None

    def describe(self) -> dict[str, Any]:
        """For the page: name, task, precision, bytes, tokens of a row, labels, whether it takes pairs, examples."""
        manifest, rules = self.source.manifest, self.source.rules
        engines = [ENGINES[name] for name in manifest.engines if name in ENGINES]
        weights = [self.source.folder / name for engine in engines for name in engine.weights_in(manifest)]
        return {
            "name": self.name,
            "task": manifest.head,
            "precision": manifest.quantization or "fp32",
            "kind": "exported" if self.source.is_exported else "checkpoint",
            "bytes": next((path.stat().st_size for path in weights if path.exists()), None),
            "max_seq_length": rules.max_seq_length,
            "allow_no_answer": rules.allow_no_answer,
            "takes_pairs": rules.takes_pairs,
            "labels": list(self.source.config.id2label.values()),
            "examples": [vars(example) for example in self.examples],
        }


def load(folders: Sequence[str | os.PathLike], pool: Pool, threads: int) -> list[Model]:
    """Models of folders or hub names, in their order.

    Raises:
        InputError: one is not a model, or not one for the page.
    """
    sources = list({source.folder.resolve(): source for source in map(read_source, folders)}.values())
    names = _names([source.folder for source in sources])
    return [Model(source, name, pool, threads) for source, name in zip(sources, names, strict=True)]


def find(root: Path) -> list[Path]:
    """Models that were fine-tuned or exported under ``root``, by name.

    Every model in ``task/``; in ``outputs/``, what export.py wrote and the ``best`` of a training, without
    ``outputs/benchmark/``, whose weights are random.
    """
    tasks = _model_folders(root / "task")
    outputs = [path for path in _model_folders(root / "outputs") if (path / MANIFEST).exists() or path.name == "best"]
    return [path for path in (*tasks, *outputs) if _is_for_the_page(path)]


def _model_folders(folder: Path) -> Iterator[Path]:
    """Folders with a model's files, not looking into them any further."""
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if not path.is_dir() or path.name.startswith(".") or path.name in _LEFT_OUT:
            continue
        if (path / MANIFEST).exists() or (path / CONFIG_NAME).exists():
            yield path
        else:
            yield from _model_folders(path)


def _is_for_the_page(folder: Path) -> bool:
    try:
        return read_source(folder).manifest.head in TASKS
    except InputError:
        return False


def _names(folders: Sequence[Path]) -> list[str]:
    """Short names: the last parts of the paths, as many as it takes to tell them apart."""
    parts = [[part for part in folder.resolve().parts if part not in ("/", "best")] for folder in folders]
    longest = max(map(len, parts), default=0)
    for count in range(2, longest + 1):
        names = ["/".join(path[-count:]) for path in parts]
        if len(set(names)) == len(names):
            return [name.removeprefix("outputs/").removeprefix("task/") for name in names]
    return [str(folder) for folder in folders]
