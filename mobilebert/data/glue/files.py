"""GLUE's files -> examples, predictions -> the GLUE server's files."""

import logging
import math
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mobilebert.base.errors import InputError
from mobilebert.base.files import atomic_path, read_text, write_text
from mobilebert.data.glue.tasks import TASKS, Task, label_indices
from mobilebert.data.tables import open_table

_log = logging.getLogger(__name__)

INDEX_COLUMNS = ("index", "id")  # QQP's is called id
NO_CONSENSUS = "-"  # MultiNLI's gold label where the annotators disagreed; GLUE's own files leave these rows out
COLA_COLUMNS = ("source", "label", "mark", "sentence")  # CoLA's train and dev files have no header line
MRPC_ID_COLUMNS = ("#1 ID", "#2 ID")
MRPC_DEV_IDS = ("dev_ids.tsv", "mrpc_dev_ids.tsv")
STSB_RANGE = (0.0, 5.0)
SUBMISSION_HEADER = "index\tprediction"


@dataclass(frozen=True)
class Examples:
    """Labelled or unlabelled texts, column by column.

    Attributes:
        source: the file.
        ids: the file's index column, or the row's number counted from 0.
        texts: first (or only) sentences.
        pairs: second sentences, or None.
        labels: [N], int64 class indices, or float32 scores, or None.
    """

    source: str
    ids: list[str]
    texts: list[str]
    pairs: list[str] | None
    labels: np.ndarray | None

    def __len__(self) -> int:
        return len(self.ids)


def read_split(task: Task, data_dir: str | Path, split: str, labels: Sequence[str] = ()) -> Examples:
    """Read one split of a GLUE task from its official files, plain or ``.gz``.

    Args:
        task: from ``TASKS``.
        data_dir: the task's folder, or the folder that holds all tasks' folders.
        split: one of ``task.splits``.
        labels: the class order that the model has, by default the task's.

    Raises:
        InputError: no such file, a missing column, an unknown label (file and line are named), no rows.
    """
    folder = _task_folder(task, data_dir)
    path = find_split(task, data_dir, split)
    if path is None:
        raise _missing(folder, task.splits[split], task.name, split)
    labelled = not split.startswith("test")
    options = {}
    if task.name == "mnli":
        options["no_label"] = NO_CONSENSUS
    if task.name == "cola" and labelled:
        options["header"] = COLA_COLUMNS
    if task.name == "mrpc" and labelled and path.name.startswith("msr_paraphrase_train"):
        dev_ids = _first_file(folder, MRPC_DEV_IDS)
        if dev_ids is None:
            raise _missing(folder, MRPC_DEV_IDS, task.name, "which rows are dev")
        options["keep"] = (MRPC_ID_COLUMNS, read_dev_ids(dev_ids), split == "dev")
    return read_examples(
        path,
        task.text_columns,
        task.label_column if labelled else None,
        None if task.is_regression else label_indices(task, labels or task.labels),
        score_range=STSB_RANGE,
        broken_rows=task.broken_rows,
        longer_rows=True,
        **options,
    )


def read_examples(
    path: str | Path,
    text_columns: Sequence[str],
    label_column: str | None,
    label_ids: Mapping[str, int] | None,
    *,
    header: Sequence[str] | None = None,
    score_range: tuple[float, float] = (-math.inf, math.inf),
    broken_rows: int = 0,
    longer_rows: bool = False,
    no_label: str | None = None,
    keep: tuple[Sequence[str], set[tuple[str, ...]], bool] | None = None,
) -> Examples:
    """Read texts and labels from a TSV, CSV or JSON-lines file with named columns.

    Args:
        path: the file, plain or ``.gz``; the suffix names the format.
        text_columns: one column, or two for sentence pairs.
        label_column: None where the labels are withheld.
        label_ids: label word -> class index; None for regression.
        header: the columns' names where the file has no header line.
        score_range: what a regression's score may be.
        broken_rows: how many rows may have the wrong number of columns; they are left out and counted in a warning.
        longer_rows: whether a row may have more columns than the header. In a file of one's own that is most likely a
            tab within a text, which would cut it off unseen.
        no_label: the word that marks a row without a label; such rows are left out.
        keep: (columns, keys, wanted): keep the rows whose values of ``columns`` are (or are not) among ``keys``.

    Raises:
        InputError: a missing column, no rows, an unknown label, or a row with a wrong number of columns; file and line
            are named.
    """
    if len(text_columns) not in (1, 2):
        raise InputError(f"`text_column={' '.join(text_columns)}`: expected one column, or two for sentence pairs")
    table = open_table(path, header)
    text_at = table.positions(text_columns)
    label_at = table.positions([label_column])[0] if label_column else None
    index_at = next((table.header.index(name) for name in INDEX_COLUMNS if name in table.header), None)
    keep_at = table.positions(keep[0]) if keep else []
    needed = max(at for at in (*text_at, *keep_at, label_at, index_at) if at is not None)

    ids, columns, labels = [], [[] for _ in text_at], []
    broken, undecided = [], 0
    for number, (line, row) in enumerate(table.rows):
        if len(row) <= needed or (len(row) > len(table.header) and not longer_rows):
            broken.append(line)
            if len(broken) > broken_rows:
                raise InputError(
                    f"{path}:{line}: {len(row)} columns, expected {len(table.header)} ({', '.join(table.header)})"
                )
            continue
        if keep and (tuple(row[at] for at in keep_at) in keep[1]) != keep[2]:
            continue
        if label_at is not None:
            if row[label_at] == no_label:
                undecided += 1
                continue
            labels.append(_label(f"{path}:{line}", row[label_at], label_ids, score_range))
        ids.append(str(number) if index_at is None else row[index_at])
        for column, at in zip(columns, text_at, strict=True):
            column.append(row[at])
    if broken:
        _log.warning("%s: %d rows with a wrong number of columns left out (lines %s)", path, len(broken), broken)
    if undecided:
        _log.info("%s: %d rows without a consensus label left out", path, undecided)
    if not ids:
        raise InputError(f"{path}: no examples; expected rows below the header {', '.join(table.header)}")
    return Examples(
        source=str(path),
        ids=ids,
        texts=columns[0],
        pairs=columns[1] if len(columns) == 2 else None,
        labels=None if label_at is None else np.array(labels, np.float32 if label_ids is None else np.int64),
    )


def read_label_words(path: str | Path, label_column: str) -> list[str]:
    """The distinct words of a file's label column: numbers in their order, then words in theirs."""
    table = open_table(path)
    at = table.positions([label_column])[0]
    words = {row[at] for _, row in table.rows if len(row) > at}
    return sorted(words, key=lambda word: (not word.isdigit(), int(word) if word.isdigit() else 0, word))


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


def _label(where: str, word: str, label_ids: Mapping[str, int] | None, score_range: tuple[float, float]) -> int | float:
    if label_ids is not None:
        if word not in label_ids:
            raise InputError(f"{where}: unknown label {word!r}; expected one of {', '.join(label_ids)}")
        return label_ids[word]
    try:
        score = float(word)
    except ValueError:
        raise InputError(f"{where}: label {word!r} is not a number") from None
    low, high = score_range
    if not (low <= score <= high and math.isfinite(score)):
        raise InputError(f"{where}: score {word} is outside {low:g}..{high:g}")
    return score


def prediction_words(task: Task, labels: Sequence[str], predictions: np.ndarray) -> list[str]:
    """Predictions as the GLUE server's files write them.

    Args:
        task: whose words to use.
        labels: class names in the order of the class indices.
        predictions: [N], class indices, or scores; GLUE's scores are held to their range 0..5.
    """
    if task.is_regression:
        low, high = STSB_RANGE if task.name in TASKS else (-math.inf, math.inf)
        return [f"{score:.3f}" for score in np.clip(predictions, low, high)]
    return [task.word(labels[index]) for index in predictions]


def write_submission(path: str | Path, ids: Sequence[str], words: Sequence[str]) -> None:
    """Write one prediction a line under the header ``index<TAB>prediction``, atomically."""
    lines = [SUBMISSION_HEADER, *(f"{index}\t{word}" for index, word in zip(ids, words, strict=True))]
    write_text(path, "\n".join(lines) + "\n")


def zip_submissions(folder: str | Path, archive: str | Path) -> list[str]:
    """Put the submission files of ``folder`` into one flat archive, as the GLUE server wants it.

    Returns:
        The names of the files in the archive.

    Raises:
        InputError: a file is missing, has another header, an unknown label word, or another number of rows than
            GLUE's test set: the server would refuse the archive or score it 0; or ``archive`` is something else than an
            earlier archive.
    """
    if os.path.lexists(archive) and not zipfile.is_zipfile(archive):
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
