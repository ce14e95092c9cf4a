"""GLUE's tasks in one table: folders, columns, class orders, metrics, and what the server wants back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mobilebert.base.errors import InputError
from mobilebert.data.classify.label_sets import LabelSets


@dataclass(frozen=True)
class Task:
    """One GLUE task, or a task of the user's own.

    Attributes:
        name: as in ``--task_name``.
        folder: GLUE's folder name.
        text_columns: one sentence or a pair.
        label_column: the labels; absent from test files.
        labels: class names in the order of the class indices; empty for regression.
        words: how the files write them, in the same order; empty where they are the labels themselves.
        metrics: names from ``mobilebert.data.classify.metrics``; the first selects the best checkpoint.
        splits: split -> file names that may hold it, the first found is read.
        submissions: test split -> the GLUE server's file name and how many rows it must have.
        broken_rows: how many rows with missing columns the official file may have; they are left out.
        label_sets: how several labels of a text are written; None where each has one.
    """

    name: str
    folder: str
    text_columns: tuple[str, ...]
    label_column: str = "label"
    labels: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ("accuracy",)
    splits: Mapping[str, tuple[str, ...]] = field(
        default_factory=lambda: {"train": ("train.tsv",), "dev": ("dev.tsv",), "test": ("test.tsv",)}
    )
    submissions: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    broken_rows: int = 0
    label_sets: LabelSets | None = None

    @property
    def is_regression(self) -> bool:
        """Whether the target is a number (STS-B), not a class."""
        return not self.labels

    @property
    def is_own(self) -> bool:
        """Whether it is none of GLUE's."""
        return self.name not in TASKS

    @property
    def problem_type(self) -> str:
        """What a checkpoint's configuration calls such a task."""
        if self.is_regression:
            return "regression"
        return "single_label_classification" if self.label_sets is None else "multi_label_classification"

    @property
    def dev_splits(self) -> tuple[str, ...]:
        """The splits to evaluate on: two for MNLI, none for AX."""
        return tuple(split for split in self.splits if split.startswith("dev"))

    @property
    def test_splits(self) -> tuple[str, ...]:
        """The splits to predict: two for MNLI."""
        return tuple(split for split in self.splits if split.startswith("test"))

    def word(self, label: str) -> str:
        """How GLUE's files, the submission files among them, write ``label``."""
        return dict(zip(self.labels, self.words, strict=True)).get(label, label) if self.words else label


PAIR = ("sentence1", "sentence2")
BINARY = ("0", "1")
NLI = ("entailment", "neutral", "contradiction")
TWO_WAY_NLI = ("entailment", "not_entailment")

# Class orders are those of Hugging Face's `glue` data set. Google's MNLI order is contradiction, entailment, neutral:
# see `labels_of_checkpoint` for how a checkpoint with another order is read.
TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task(
            "cola", "CoLA", ("sentence",), "label", ("unacceptable", "acceptable"), BINARY,
            ("matthews_correlation", "accuracy"), submissions={"test": ("CoLA.tsv", 1063)},
        ),
        Task(
            "sst2", "SST-2", ("sentence",), "label", ("negative", "positive"), BINARY,
            ("accuracy",), submissions={"test": ("SST-2.tsv", 1821)},
        ),
        Task(
            "mrpc", "MRPC", ("#1 String", "#2 String"), "Quality", ("not_equivalent", "equivalent"), BINARY,
            ("f1", "accuracy"), submissions={"test": ("MRPC.tsv", 1725)},
            splits={
                "train": ("train.tsv", "msr_paraphrase_train.txt"),
                "dev": ("dev.tsv", "msr_paraphrase_train.txt"),
                "test": ("test.tsv", "msr_paraphrase_test.txt"),
            },
        ),
        Task(
            "stsb", "STS-B", PAIR, "score", (), (),
            ("spearmanr", "pearson"), submissions={"test": ("STS-B.tsv", 1379)},
        ),
        Task(
            "qqp", "QQP", ("question1", "question2"), "is_duplicate", ("not_duplicate", "duplicate"), BINARY,
            ("f1", "accuracy"), submissions={"test": ("QQP.tsv", 390965)}, broken_rows=10,
        ),
        Task(
            "mnli", "MNLI", PAIR, "gold_label", NLI, (),
            ("accuracy",), submissions={"test_matched": ("MNLI-m.tsv", 9796), "test_mismatched": ("MNLI-mm.tsv", 9847)},
            splits={
                "train": ("train.tsv", "multinli_1.0_train.txt", "multinli_1.0_train.jsonl"),
                "dev_matched": ("dev_matched.tsv", "multinli_1.0_dev_matched.txt", "multinli_1.0_dev_matched.jsonl"),
                "dev_mismatched": (
                    "dev_mismatched.tsv", "multinli_1.0_dev_mismatched.txt", "multinli_1.0_dev_mismatched.jsonl",
                ),
                "test_matched": ("test_matched.tsv",),
                "test_mismatched": ("test_mismatched.tsv",),
            },
        ),
        Task(
            "qnli", "QNLI", ("question", "sentence"), "label", TWO_WAY_NLI, (),
            ("accuracy",), submissions={"test": ("QNLI.tsv", 5463)},
        ),
        Task(
            "rte", "RTE", PAIR, "label", TWO_WAY_NLI, (),
            ("accuracy",), submissions={"test": ("RTE.tsv", 3000)},
        ),
        Task(
            "wnli", "WNLI", PAIR, "label", ("not_entailment", "entailment"), BINARY,
            ("accuracy",), submissions={"test": ("WNLI.tsv", 146)},
        ),
        Task(
            "ax", "AX", PAIR, "label", NLI, (),
            ("matthews_correlation",), submissions={"test": ("AX.tsv", 1104)},
            splits={"test": ("diagnostic.tsv", "AX.tsv")},
        ),
    )
}  # fmt: skip


def get_task(name: str) -> Task:
    """The task called ``name``; ``SST-2``, ``sst-2`` and ``sst2`` are the same."""
    key = name.lower().replace("-", "").replace("_", "")
    if key not in TASKS:
        raise InputError(f"`task_name={name}`: expected one of {', '.join(TASKS)}")
    return TASKS[key]


def ordered_labels(task: Task, names: Sequence[str], where: str) -> tuple[str, ...]:
    """The task's labels in the order of ``names``, matched by name and never by position.

    Args:
        task: a classification task.
        names: class names in the order of the class indices, as a checkpoint's ``id2label`` or ``--label_order``
            has them: the task's labels or the words of its files, in any case, with - or _.
        where: what the names were read from, for the message.

    Raises:
        InputError: the names are not the task's labels, such as ``LABEL_0``, ``LABEL_1``.
    """
    if sorted(names) == sorted(task.labels):
        return tuple(names)
    known = {_plain(label): label for label in task.labels}
    known.update({_plain(word): label for word, label in zip(task.words, task.labels, strict=False)})
    order = tuple(known.get(_plain(name)) for name in names)
    if set(order) != set(task.labels) or len(order) != len(task.labels):
        raise InputError(
            f"{where}: class names {', '.join(names)} cannot be matched with {', '.join(task.labels)} ({task.name}); "
            f"say in which order the classes are, for example `label_order={','.join(task.labels)}`"
        )
    return order


def label_indices(task: Task, labels: Sequence[str]) -> dict[str, int]:
    """What a file may have in the label column -> class index, with the classes in the order of ``labels``."""
    indices = {label: index for index, label in enumerate(labels)}
    return indices | {task.word(label): index for label, index in indices.items()}


def _plain(name: str) -> str:
    return name.strip().lower().replace("-", "_").replace(" ", "_")
