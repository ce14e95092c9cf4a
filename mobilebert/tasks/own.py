"""Tasks of one's own: which columns of a file are what, and which classes there are."""

import logging
from pathlib import Path

from mobilebert.base.errors import InputError
from mobilebert.data.classify.columns import MOST_CLASSES, Columns, find_columns, find_text_columns, header_of
from mobilebert.data.classify.label_sets import LabelSets, holds_lists, read_set_words
from mobilebert.data.classify.labels import check_class_names, read_label_words
from mobilebert.data.glue.tasks import Task as GlueTask
from mobilebert.data.tables import open_table
from mobilebert.inference.source import noted_settings
from mobilebert.model.config import MobileBertConfig
from mobilebert.tasks.class_files import Files

_log = logging.getLogger(__name__)
_HEAD = "sequence-classification"


def own_columns(files: Files, given: Columns, model_name_or_path: str | None, regression: bool = False) -> Columns:
    """Where a file of one's own has its texts and labels; what was not given is said in the log.

    Args:
        files: the first of its train, dev and test file is looked at.
        given: what the user named; empty texts and no label are to be found: in what the checkpoint notes, where the
            file has it, then by name or shape, see ``find_columns``.
        model_name_or_path: a checkpoint.
        regression: the labels are numbers.

    Raises:
        InputError: they cannot be told.
    """
    kind = next(kind for kind in ("train", "dev", "test") if kind in files.given)
    path = files.given[kind]
    noted = None if model_name_or_path is None else _noted(model_name_or_path)
    if noted is not None and not (given.texts and given.labels):
        header = header_of(path)
        texts = given.texts or (noted.texts if set(noted.texts) <= set(header) else ())
        if given.labels or kind == "test" or set(noted.labels) <= set(header):
            source = given if given.labels else noted
            given = Columns(texts, source.label, source.indicators, given.separator or source.separator)
    if given.texts and (given.labels or kind == "test"):
        found = given
    elif given.indicators or kind == "test":
        header = header_of(path)
        texts = given.texts or find_text_columns([name for name in header if name not in given.indicators])
        if texts is None:
            raise InputError(f"{path}: which of its columns is the text? it has {', '.join(header)}; say so with "
                             "`text_column` (two for pairs)")  # fmt: skip
        found = Columns(texts, given.label, given.indicators, given.separator)
    else:
        found = find_columns(path, given.texts, given.label, regression)
        found = Columns(found.texts, found.label, (), given.separator)
    labels = f", label from {' '.join(found.labels)}" if found.labels else ""
    _log.info("%s: text from %s%s", path, " and ".join(found.texts), labels)
    return found


def row_count(path: str | Path) -> int:
    """Rows of a table, those without a label included."""
    return sum(1 for _ in open_table(path, wanted=()).rows)


def label_sets_of(files: Files, columns: Columns, model_name_or_path: str | None) -> LabelSets | None:
    """How several labels of a text are written; None where each text has one label.

    Several there are with a separator or with indicators, where the label column holds lists, and, without a train
    file, where the checkpoint says so.
    """
    labelled = next((files.given[kind] for kind in ("train", "dev") if kind in files.given), None)
    sets = LabelSets(columns.separator, columns.indicators)
    if columns.separator or columns.indicators:
        return sets
    if labelled is not None and columns.label is not None and holds_lists(labelled, columns.label):
        return sets
    return sets if _trained_for("multi_label_classification", files, model_name_or_path) else None


def is_regression(files: Files, model_name_or_path: str | None) -> bool:
    """Whether, without a train file, the checkpoint says that its labels are numbers."""
    return _trained_for("regression", files, model_name_or_path)


def _trained_for(problem_type: str, files: Files, model_name_or_path: str | None) -> bool:
    if "train" in files.given or model_name_or_path is None:
        return False
    return MobileBertConfig.from_pretrained(model_name_or_path).problem_type == problem_type


def own_task(
    files: Files,
    text_columns: tuple[str, ...],
    label_column: str,
    label_order: tuple[str, ...],
    regression: bool,
    model_name_or_path: str | None,
    label_sets: LabelSets | None = None,
) -> GlueTask:
    """A task that is not GLUE's. Its classes are ``label_order``, or the train file's, or the checkpoint's.

    What the checkpoint names as a class is one in the train file too, even where it looks like a missing label.

    Args:
        files: where the examples are.
        text_columns: one, or two for pairs.
        label_column: of classes, numbers or lists.
        label_order: the classes in the order of the model's outputs; empty for one of the other two.
        regression: the labels are numbers.
        model_name_or_path: a checkpoint.
        label_sets: how several labels of a text are written; None where each has one.

    Raises:
        InputError: none of the three is there; class names that are empty or stand twice; what ``read_label_words``
            refuses.
    """
    if regression:
        return GlueTask("own", "", text_columns, label_column, metrics=("spearmanr", "pearson"))
    if label_order:
        check_class_names(label_order, f"`label_order={','.join(label_order)}`")
        labels = label_order
    elif "train" in files.given:
        named = _named_classes(model_name_or_path) if model_name_or_path is not None else ()
        if label_sets is None:
            labels = tuple(read_label_words(files.given["train"], label_column, files.on_missing_label, named))
            _refuse_texts(files.given["train"], label_column, labels)
        else:
            columns = Columns(text_columns, label_column, label_sets.indicators, label_sets.separator)
            labels = read_set_words(files.given["train"], columns, files.on_missing_label, named)
    elif model_name_or_path is not None:
        labels = _named_classes(model_name_or_path)
    else:
        raise InputError("which classes are there? give `train_file`, `label_order`, `regression` or `task_name`")
    if len(labels) < 2:
        raise InputError(f"`label_column={label_column}`: only {', '.join(labels)}; expected at least two classes")
    metrics: tuple[str, ...] = ("accuracy", "f1", "macro_f1") if len(labels) == 2 else ("accuracy", "macro_f1")
    if label_sets is not None:
        metrics = ("micro_f1", "macro_f1", "exact_match")
    return GlueTask("own", "", text_columns, label_column, labels, metrics=metrics, label_sets=label_sets)


def _named_classes(model_name_or_path: str) -> tuple[str, ...]:
    return tuple(MobileBertConfig.from_pretrained(model_name_or_path).id2label.values())


def _refuse_texts(path: str, column: str, labels: tuple[str, ...]) -> None:
    """Refuse a column whose words hardly repeat: nothing can be learned from one example a class."""
    rows = row_count(path)
    if len(labels) > MOST_CLASSES and 2 * len(labels) > rows:
        raise InputError(
            f"{path}: {column!r} holds {len(labels)} different words in {rows} rows: is it the label? name another "
            "with `label_column`, or list the classes in `label_order`"
        )


def _noted(model_name_or_path: str) -> Columns | None:
    return noted_settings(MobileBertConfig.from_pretrained(model_name_or_path), _HEAD).get("columns")
