"""The classifier of a task: a checkpoint's own, or a new one; and the order of its classes."""

from collections.abc import Sequence

import paddle

from mobilebert.base.errors import InputError
from mobilebert.data.glue.tasks import Task as GlueTask
from mobilebert.data.glue.tasks import ordered_labels
from mobilebert.model.config import MobileBertConfig
from mobilebert.model.heads import MobileBertForSequenceClassification
from mobilebert.model.modeling import MobileBertModel

CLASSIFIER_WEIGHT = "classifier.weight"
REGRESSION_LABELS = ("score",)  # the one output of a regression, as id2label names it


def build_model(
    task: GlueTask,
    *,
    model_name_or_path: str | None = None,
    init_from: str | None = None,
    config: MobileBertConfig | None = None,
    label_order: Sequence[str] = (),
    seed: int = 42,
) -> tuple[MobileBertForSequenceClassification, tuple[str, ...], bool]:
    """Build the classifier from exactly one of three sources.

    Args:
        task: decides the head.
        model_name_or_path: a checkpoint; its classifier is kept where it has one, and so is its class order.
        init_from: a checkpoint fine-tuned on another task: its encoder is kept, the head is new.
        config: random weights of this shape.
        label_order: the class order, where the checkpoint does not name it or a new head should have another.
        seed: of new weights.

    Returns:
        The model in evaluation mode; the class names in its order (one name for regression); whether the classifier
        came from the checkpoint.

    Raises:
        InputError: not one source, or a checkpoint with a classifier of another task or of unnamed classes.
    """
    if sum(source is not None for source in (model_name_or_path, init_from, config)) != 1:
        raise InputError("give exactly one of `model_name_or_path`, `init_from` and `config_name`")
    paddle.seed(seed)
    backbone = None
    if model_name_or_path is not None:
        model = MobileBertForSequenceClassification.from_pretrained(model_name_or_path)
        if CLASSIFIER_WEIGHT not in model.load_report.initialised:
            labels = labels_of(task, model.config, model_name_or_path, label_order)
            model.config = model.mobilebert.config = _with_labels(model.config, task, labels)
            return model, labels, True
        backbone = model.mobilebert
    elif init_from is not None:
        backbone = MobileBertModel.from_pretrained(init_from)
    labels = _new_labels(task, label_order)
    model = MobileBertForSequenceClassification(_with_labels(backbone.config if backbone else config, task, labels))
    if backbone is not None:
        model.mobilebert = backbone
    model.eval()
    return model, labels, False


def labels_of(task: GlueTask, config: MobileBertConfig, source: str, label_order: Sequence[str]) -> tuple[str, ...]:
    """The class names of a trained model in the order of its outputs; one name for regression.

    Args:
        task: what it is to be evaluated on.
        config: of the model.
        source: where the model is, for messages.
        label_order: the order, where the config does not name it.

    Raises:
        InputError: classes of another task, or unnamed ones.
    """
    where = f"{source}/config.json"
    several = "multi_label_classification"
    try:
        if (config.problem_type == several) != (task.problem_type == several) and config.problem_type is not None:
            raise InputError(f"{where}: {config.problem_type}, but {task.name} is {task.problem_type}")
        if task.is_regression:
            if config.num_labels != 1:
                raise InputError(f"{where}: {config.num_labels} classes, but {task.name} is a regression with 1 output")
            return REGRESSION_LABELS
        names = tuple(label_order) or tuple(config.id2label.values())
        if len(names) != config.num_labels:
            raise InputError(f"{where}: {config.num_labels} classes, but {task.name} has {', '.join(names)}")
        return ordered_labels(task, names, "`label_order`" if label_order else where)
    except InputError as error:
        raise InputError(f"{error}; to train a new head on this encoder use `init_from={source}`") from None


def _new_labels(task: GlueTask, label_order: Sequence[str]) -> tuple[str, ...]:
    if task.is_regression:
        return REGRESSION_LABELS
    return ordered_labels(task, label_order, "`label_order`") if label_order else task.labels


def _with_labels(config: MobileBertConfig, task: GlueTask, labels: Sequence[str]) -> MobileBertConfig:
    return config.with_labels(list(labels), task.problem_type)
