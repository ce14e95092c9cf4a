"""Which head a checkpoint has: what its configuration says, or what its tensors show."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from mobilebert.base.errors import InputError
from mobilebert.model.config import CONFIG_NAME, HEAD_CLASSES, MobileBertConfig

# The heads whose last layer is called ``classifier``.
CLASSIFIERS = ("sequence-classification", "multiple-choice", "token-classification")
# Head -> the keys that it alone has, the richest first; without the three above.
HEAD_KEYS = {
    "pretraining": ("cls.predictions.bias", "cls.seq_relationship.weight"),
    "masked-lm": ("cls.predictions.bias",),
    "next-sentence": ("cls.seq_relationship.weight",),
    "question-answering": ("qa_outputs.weight",),
}
_TAGGING = ("ner", "pos", "chunk")  # values of finetuning_task that are no GLUE task


def detect_head(folder: Path, config: MobileBertConfig, keys: Collection[str], wanted: str | None = None) -> str:
    """The head that a checkpoint was made with, a key of ``HEAD_CLASSES``; ``"model"`` where it has none.

    Args:
        folder: how the error names the checkpoint.
        config: of the checkpoint; old ones have no ``architectures``.
        keys: of its tensors, plain.
        wanted: which of ``CLASSIFIERS`` a ``classifier`` is, where the configuration does not tell.

    Raises:
        InputError: it has a ``classifier``, and nothing tells of which head.
    """
    if config.head is not None:
        return config.head
    for name, needed in HEAD_KEYS.items():
        if all(key in keys for key in needed):
            return name
    if "classifier.weight" not in keys:
        return "model"
    task = config.extra.get("finetuning_task")  # what transformers' examples noted until version 4
    if isinstance(task, str):
        return "token-classification" if task in _TAGGING else "sequence-classification"
    if wanted in CLASSIFIERS:
        return wanted
    raise InputError(
        f"{folder}: classifier weights, but {CONFIG_NAME} does not say of which head; name it with `head` "
        "sequence-classification, multiple-choice or token-classification, or write architectures into it"
    )


def with_head(config: MobileBertConfig, head: str) -> MobileBertConfig:
    """A copy whose ``architectures`` says which head the checkpoint has."""
    return replace(config, num_labels=None, extra={**config.extra, "architectures": [HEAD_CLASSES[head]]})
