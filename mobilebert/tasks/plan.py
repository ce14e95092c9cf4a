"""What a run is told: where its model comes from, what to do with it, where to write."""

from dataclasses import dataclass
from pathlib import Path

from mobilebert.base.errors import InputError


@dataclass(frozen=True)
class RunPlan:
    """Everything that runs of all tasks are told, but the training settings.

    Attributes:
        output_dir: all that the run writes is below it.
        do_train, do_eval, do_predict: what to do; ``do_predict`` answers without scoring.
        model_name_or_path, init_from, config_name: the model's source, one of them: a checkpoint; a checkpoint of
            another task, whose head is replaced; the configuration of a model with random weights.
        tokenizer_name: a folder, a file or a hub name; by default the model's source.
        eval_batch_size: rows in one forward pass.
        cache_dir: of token rows; None for no cache.
        engine, threads: evaluate an exported model; see ``model.load_exported``.
        recompute: train with less memory and more time; see ``MobileBertEncoder``.
        verify: compare the digests of all files that the model's folder has noted; see ``base.digests``.
        teacher: a fine-tuned checkpoint whose answers the model learns too; see ``tasks.teacher``.
        temperature: teacher's and student's logits are divided by it.
        alpha: share of the task's own loss; the rest is the teacher's.
        hidden_weight: of the distance between layers' outputs; 0 compares none.
        student_layers: a source of the model: so many layers of the teacher, and all else of it.
    """

    output_dir: Path
    do_train: bool = False
    do_eval: bool = False
    do_predict: bool = False
    model_name_or_path: str | None = None
    init_from: str | None = None
    config_name: str | None = None
    tokenizer_name: str | None = None
    eval_batch_size: int = 32
    cache_dir: str | None = None
    engine: str | None = None
    threads: int | None = None
    recompute: bool = False
    verify: bool = False
    teacher: str | None = None
    temperature: float = 2.0
    alpha: float = 0.5
    hidden_weight: float = 0.0
    student_layers: int | None = None

    def __post_init__(self):
        if self.eval_batch_size < 1:
            raise InputError(f"`eval_batch_size={self.eval_batch_size}`: expected at least 1")
        if not 0 < self.temperature < float("inf"):
            raise InputError(f"`temperature={self.temperature:g}`: expected a number above 0")
        if not 0 <= self.alpha <= 1:
            raise InputError(f"`alpha={self.alpha:g}`: expected a share, 0 to 1")
        if not 0 <= self.hidden_weight < float("inf"):
            raise InputError(f"`hidden_weight={self.hidden_weight:g}`: expected a number of at least 0")

    @property
    def source(self) -> str | None:
        """Where the model comes from."""
        shortened = self.teacher if self.student_layers is not None else None
        return self.model_name_or_path or self.init_from or self.config_name or shortened

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of data that the run reads: ``train``, ``dev``, ``test``."""
        wanted = {"train": self.do_train, "dev": self.do_eval, "test": self.do_predict}
        return tuple(kind for kind, is_wanted in wanted.items() if is_wanted)

    def check(self, purpose: str) -> None:
        """Refuse what goes together for no task.

        Args:
            purpose: what the model is for, for the message: ``"to answer"``.

        Raises:
            InputError: nothing to do, or no model to do it with.
        """
        if not self.kinds:
            raise InputError("nothing to do: give `do_train`, `do_eval` or `do_predict`")
        if self.engine is not None and self.do_train:
            raise InputError(
                f"`engine={self.engine}`: an exported model cannot be trained; "
                "train its checkpoint and export that again"
            )
        if self.teacher is not None and not self.do_train:
            raise InputError("`teacher`: only a training (`do_train`) learns from one")
        if self.student_layers is not None:
            if self.teacher is None:
                raise InputError(f"`student_layers={self.student_layers}`: of which `teacher`?")
            if self.model_name_or_path or self.init_from or self.config_name:
                raise InputError(
                    f"`student_layers={self.student_layers}`: the model begins as the teacher's; give no other source"
                )
        if not self.do_train and self.model_name_or_path is None:
            raise InputError(f"`model_name_or_path` is missing: which checkpoint is {purpose}?")
        if self.config_name and not self.tokenizer_name:
            raise InputError("`config_name` starts from random weights: give `tokenizer_name` (a vocab.txt) too")

    def check_one_source(self, names: tuple[str, ...]) -> None:
        """Refuse more or less than one source of the model.

        Args:
            names: fields that the task knows as sources.

        Raises:
            InputError: none or several of them are given.
        """
        if sum(getattr(self, name) is not None for name in names) != 1:
            *first, last = (f"`{name}`" for name in names)
            raise InputError(f"give exactly one of {', '.join(first)} and {last}")
