"""GLUE's files -> examples, predictions -> the GLUE server's files."""

import math
import os
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from mobilebert.base.errors import InputError
from mobilebert.base.files import atomic_path, read_text, regular, write_text
from mobilebert.data.classify.examples import Examples, FileRules, read_examples
from mobilebert.data.glue.tasks import TASKS, Task, label_indices
from mobilebert.data.tables import open_table

NO_CONSENSUS = "-"  # MultiNLI's gold label where the annotators disagreed; GLUE's own files leave these rows out
COLA_COLUMNS = ("source", "label", "mark", "sentence")  # CoLA's train and dev files have no header line
MRPC_ID_COLUMNS = ("#1 ID", "#2 ID")
MRPC_DEV_IDS = ("dev_ids.tsv", "mrpc_dev_ids.tsv")
STSB_RANGE = (0.0, 5.0)
# Rows longer than the header are accepted from GLUE's folders. Of a file that is given by its name only where not all
# official files could be counted here; the others have none, so such a row is a tab in somebody's text. The same holds
# of empty texts, which the others have none of.
UNCOUNTED = ("qqp", "mnli", "qnli")
SUBMISSION_HEADER = "index\tprediction"
_CELL_ENDS = "\t\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"  # a tab, and what str.splitlines takes for the end of a line


def read_split(
    task: Task, data_dir: str | Path, split: str, labels: Sequence[str] = (), on_missing_label: str | None = None
) -> Examples:
    """Read one split of a GLUE task from its official files, plain or ``.gz``.

    Args:
        task: from ``TASKS``.
        data_dir: the task's folder, or the folder that holds all tasks' folders.
        split: one of ``task.splits``.
        labels: the class order that the model has, by default the task's.
        on_missing_label: see ``mobilebert.data.classify.labels.MissingLabels``. MNLI's rows without a consensus are
            left out in any case.

    Raises:
        InputError: no such file, a missing column, an unknown label (file and line are named), no rows.
    """
    folder = _task_folder(task, data_dir)
    path = find_split(task, data_dir, split)
    if path is None:
        raise _missing(folder, task.splits[split], task.name, split)
    return _read(task, path, split, labels, FileRules(longer_rows=True, on_missing_label=on_missing_label))


def read_file(
    task: Task, path: str | Path, kind: str, labels: Sequence[str] = (), on_missing_label: str | None = None
) -> Examples:
    """Read a file of one's own, or one of GLUE's that is given by its name: then as ``read_split`` reads it.

    Args:
        task: from ``TASKS``, or of the user's own.
        path: a table.
        kind: train, dev or test.
        labels, on_missing_label: as of ``read_split``.

    Raises:
        InputError: as ``read_split``.
    """
    rules = FileRules(longer_rows=task.name in UNCOUNTED, on_missing_label=on_missing_label)
    return _read(task, Path(path), kind, labels, rules)


def _read(task: Task, path: Path, split: str, labels: Sequence[str], rules: FileRules) -> Examples:
    """Read a file by the rules of its task; ``split`` begins with the kind."""
    labelled = not split.startswith("test")
    rules = replace(rules, label_sets=task.label_sets)
    if task.name in TASKS:
        may_be_empty = task.name in UNCOUNTED
        rules = replace(rules, score_range=STSB_RANGE, broken_rows=task.broken_rows, may_be_empty=may_be_empty)
    if task.name == "mnli":
        rules = replace(rules, no_label=NO_CONSENSUS)
    if task.name == "cola" and labelled and not _has_header(path, (*task.text_columns, task.label_column)):
        rules = replace(rules, header=COLA_COLUMNS)
    if task.name == "mrpc" and labelled and path.name.startswith("msr_paraphrase_train"):
        dev_ids = _first_file(path.parent, MRPC_DEV_IDS)
        if dev_ids is None:
            raise _missing(path.parent, MRPC_DEV_IDS, task.name, "which rows are dev")
        rules = replace(rules, keep=(MRPC_ID_COLUMNS, read_dev_ids(dev_ids), split.startswith("dev")))
    return read_examples(
        path,
        task.text_columns,
        task.label_column if labelled else None,
        None if task.is_regression else label_indices(task, labels or task.labels),
        rules,
    )


def _has_header(path: Path, columns: Sequence[str]) -> bool:
    """Whether the first line names one of ``columns``, or is no row of CoLA's own files."""
    first = open_table(path).header
    return bool(set(first) & set(columns)) or len(first) != len(COLA_COLUMNS)


def read_dev_ids(path: str | Path) -> set[tuple[str, ...]]:
    """The pairs of sentence ids that make MRPC's dev set within ``msr_paraphrase_train.txt``."""
    pairs = {tuple(line.split("\t")) for line in read_text(path).replace("\r", "").split("\n") if line}
    if not pairs or any(len(pair) != 2 for pair in pairs):
        raise InputError(f"{path}: expected two sentence ids a line, separated by a tab")
    return pairs


def find_split(task: Task, data_dir: str | Path, split: str) -> Path | None:
    """The file that ``read_split`` would read; None where there is none."""
    return _first_file(_task_folder(task, data_dir), task.splits[split])


def _task_folder(task: Task, data_dir: str | Path) -> Path:
    folder = Path(data_dir)
    return folder / task.folder if (folder / task.folder).is_dir() else folder


def _first_file(folder: Path, names: Sequence[str]) -> Path | None:
    paths = (folder / f"{name}{suffix}" for name in names for suffix in ("", ".gz"))
    return next((path for path in paths if path.is_file()), None)


def _missing(folder: Path, names: Sequence[str], task_name: str, what: str) -> InputError:
    return InputError(
        f"{folder}: no {' or '.join(names)} ({what} of {task_name}); check `data_dir`, or leave it out to download"
    )


def prediction_words(task: Task, labels: Sequence[str], predictions: np.ndarray) -> list[str]:
    """Predictions as the GLUE server's files write them.

    Args:
        task: whose words to use.
        labels: class names in the order of the class indices.
        predictions: [N], class indices, or scores; GLUE's scores are held to their range 0..5. Of several labels
            [N, L], 1 for each that is given; a row's words are joined by the task's separator, or a semicolon.
    """
    if task.is_regression:
        low, high = STSB_RANGE if task.name in TASKS else (-math.inf, math.inf)
        return [f"{score:.3f}" for score in np.clip(predictions, low, high)]
    if task.label_sets is not None:
        separator = task.label_sets.separator or ";"
        return [separator.join(labels[index] for index in np.flatnonzero(row).tolist()) for row in predictions]
    return [task.word(labels[index]) for index in predictions]


def write_submission(path: str | Path, ids: Sequence[str], words: Sequence[str]) -> None:
    """Write one prediction a line under the header ``index<TAB>prediction``, atomically.

    Tabs and line ends within an id or a label are written as ``\\t`` and ``\\n``, and a backslash beside them doubled.
    """
    rows = (f"{_one_cell(index)}\t{_one_cell(word)}" for index, word in zip(ids, words, strict=True))
    write_text(path, "\n".join([SUBMISSION_HEADER, *rows]) + "\n")


def _one_cell(text: str) -> str:
    """``text`` with what would end a cell or a line written as Python's escapes; without such, as it is."""
    if not any(char in text for char in _CELL_ENDS):
        return text
    return "".join(char.encode("unicode_escape").decode() if char in ("\\", *_CELL_ENDS) else char for char in text)


def zip_submissions(folder: str | Path, archive: str | Path) -> list[str]:
    """Put the submission files of ``folder`` into one flat archive, as the GLUE server wants it.

    Returns:
        The names of the files in the archive.

    Raises:
        InputError: a file is missing, has another header, an unknown label word, or another number of rows than
            GLUE's test set: the server would refuse the archive or score it 0; or ``archive`` is something else than an
            earlier archive.
    """
    if os.path.lexists(archive) and not zipfile.is_zipfile(regular(archive)):
        raise InputError(f"{archive}: is there already and no zip archive; name another, ending in .zip")
    names = []
    for task in TASKS.values():
        for name, rows in task.submissions.values():
            _check_submission(Path(folder) / name, task, rows)
            names.append(name)
    with atomic_path(archive) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name in names:
            bundle.write(Path(folder) / name, name)
    return names


def _check_submission(path: Path, task: Task, rows: int) -> None:
    lines = read_text(path).removesuffix("\n").split("\n")
    if lines[0] != SUBMISSION_HEADER:
        raise InputError(f"{path}:1: expected the header {SUBMISSION_HEADER!r}, got {lines[0]!r}")
    if len(lines) - 1 != rows:
        raise InputError(f"{path}: {len(lines) - 1} predictions, but GLUE's {task.name} test set has {rows}")
    allowed = {task.word(label) for label in task.labels}
    for number, line in enumerate(lines[1:]):
        index, _, word = line.partition("\t")
        if index != str(number) or (allowed and word not in allowed):
            raise InputError(f"{path}:{number + 2}: expected index {number} and a {task.name} prediction, got {line!r}")
