"""What a folder holds for a predictor: an export, or a fine-tuned checkpoint; and how it wants to be used."""

import functools
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mobilebert.base import cli, hub
from mobilebert.base.errors import InputError, one_line
from mobilebert.data.classify.columns import Columns
from mobilebert.inference.manifest import MANIFEST, Manifest
from mobilebert.model.config import CONFIG_NAME, HEAD_CLASSES, MobileBertConfig
from mobilebert.model.head_of import detect_head, with_head
from mobilebert.model.tensor_files import read_keys

DEFAULT_MAX_SEQ_LENGTH = 384

_PATTERNS = (*hub.CONFIG_FILES, *hub.TOKENIZER_FILES, *hub.WEIGHT_FILES, "model_state.pdparams")
_PURPOSES = {
    "question-answering": "answers questions",
    "sequence-classification": "classifies texts",
    "token-classification": "finds entities",
}
_LONGEST_CAUTION = 300  # characters
# How the hub's models of SQuAD v2.0 are called, which do not note that an answer may be none.
_V2_NAME = re.compile(r"squad[-_]?(v[-_]?)?2([-_.]0)?(?![0-9])", re.IGNORECASE)
# The outputs of the heads that a predictor reads.
_OUTPUTS = {
    "question-answering": ["start_logits", "end_logits"],
    "sequence-classification": ["logits"],
    "token-classification": ["logits"],
}


class _NoteError(InputError):
    """A note in the configuration that cannot be; the message begins with the file's name."""


@dataclass(frozen=True)
class ReadingSettings:
    """How a model reads texts and answers; what a caller does not say is as the model was trained.

    Attributes:
        max_seq_length: tokens of a row: question and window, or text (and pair).
        doc_stride: tokens that neighbouring windows share.
        max_answer_length: tokens.
        allow_no_answer: an answer may be "none" (SQuAD v2.0).
        null_score_diff_threshold: none is the best answer where its odds exceed this.
        takes_pairs: whether a classifier reads two texts; None where the checkpoint does not say.
        threshold: probability above which a text has a label, where it may have several.
        columns: of the table that a classifier was trained on; None where the checkpoint does not say.
    """

    max_seq_length: int
    doc_stride: int = 128
    max_answer_length: int = 30
    allow_no_answer: bool = False
    null_score_diff_threshold: float = 0.0
    takes_pairs: bool | None = None
    threshold: float = 0.5
    columns: Columns | None = None

    def override(self, **given: int | float | bool | None) -> "ReadingSettings":
        """Take what a caller says, where it is not None, and the rest from here.

        A stride that nobody asked for is at most a third of the row, so that short rows move on.
        """
        said = {name: value for name, value in given.items() if value is not None}
        settings = replace(self, **said)
        if "doc_stride" in said:
            return settings
        return replace(settings, doc_stride=min(settings.doc_stride, settings.max_seq_length // 3))


@dataclass(frozen=True)
class Source:
    """A model's folder, read but not loaded.

    Attributes:
        folder: where its files are.
        config: of the model.
        manifest: of the export; for a checkpoint, what an export of it would say.
        is_exported: whether export.py wrote the folder.
        rules: how it wants to be used.
    """

    folder: Path
    config: MobileBertConfig
    manifest: Manifest
    is_exported: bool
    rules: ReadingSettings

    def require(self, head: str) -> None:
        """Refuse another head than the one that is asked for, a key of ``config.HEAD_CLASSES`` that a predictor reads.

        Raises:
            InputError: the model has another.
        """
        if self.manifest.head != head:
            raise InputError(f"{self.folder}: its head is {self.manifest.head}; only {head} {_PURPOSES[head]}")

    def warn(self) -> None:
        """Say on standard error, once a process, what the model's training noted as a ``caution``."""
        if caution := caution_of(self.config, self.manifest.head):
            _warn(str(self.folder), caution)


def caution_of(config: MobileBertConfig, head: str) -> str | None:
    """What a training noted to be said whenever its model is used."""
    caution = config.task_params(head).get("caution")
    return one_line(caution.strip()[:_LONGEST_CAUTION]) if isinstance(caution, str) and caution.strip() else None


@functools.lru_cache(maxsize=256)
def _warn(folder: str, caution: str) -> None:
    cli.remark(f"{folder}: {caution}")


def read_source(name_or_path: "str | os.PathLike | Source", wanted: str | None = None) -> Source:
    """Find out what a folder (or a hub's model) is; what has been read is given back as it is.

    Args:
        name_or_path: a folder, or a model's name on the hub.
        wanted: a key of ``config.HEAD_CLASSES`` that decides where an old checkpoint does not say what its
            ``classifier`` is for.

    Raises:
        InputError: neither an export nor a checkpoint, or a checkpoint with a head that no predictor reads.
    """
    if isinstance(name_or_path, Source):
        return name_or_path
    folder = hub.resolve(name_or_path, _PATTERNS)
    if not (folder / MANIFEST).exists() and not (folder / CONFIG_NAME).exists():
        raise InputError(
            f"{folder}: has neither {MANIFEST} nor {CONFIG_NAME}; give a fine-tuned checkpoint or what export.py wrote"
        )
    is_exported = (folder / MANIFEST).exists()
    manifest = Manifest.load(folder) if is_exported else None
    config = with_facts(MobileBertConfig.from_pretrained(folder), folder, name_or_path, wanted, is_exported)
    if manifest is not None:
        _check_outputs(folder, manifest)
    try:
        if manifest is not None:
            rules = reading_settings(config, manifest.head, manifest.max_seq_length)
        else:
            rules = reading_settings(config, config.head or "")
            manifest = _of_checkpoint(folder, config, rules.max_seq_length)
    except _NoteError as error:
        raise InputError(f"{folder}/{error}") from None
    return Source(folder, config, manifest, is_exported, rules)


def with_facts(
    config: MobileBertConfig,
    folder: Path,
    name_or_path: str | os.PathLike,
    wanted: str | None = None,
    is_exported: bool = False,
) -> MobileBertConfig:
    """Add to a checkpoint's configuration what it does not say itself, as many on the hub do not.

    Args:
        config: of the checkpoint.
        folder: where it is.
        name_or_path: how it was called.
        wanted: as of ``read_source``.
        is_exported: whether a manifest names the head.

    Returns:
        With ``architectures``, as the tensors show; and with a note that an answer may be none where the name on the
        hub ends like SQuAD v2.0's do, which is said on standard error.

    Raises:
        InputError: a ``classifier`` without a word of which head.
    """
    if config.head is None and not is_exported:
        head = detect_head(folder, config, read_keys(folder), wanted)
        config = config if head == "model" else with_head(config.for_head(head), head)
    return noted_by_name(config, name_or_path)


def noted_by_name(config: MobileBertConfig, name_or_path: str | os.PathLike) -> MobileBertConfig:
    """See ``with_facts``; of a folder the name says nothing."""
    head, name = "question-answering", os.fspath(name_or_path)
    noted = config.task_params(head)
    is_silent = config.head == head and "version_2_with_negative" not in noted
    if not is_silent or not _V2_NAME.search(name) or Path(name).expanduser().exists():
        return config
    _warn(name, "of SQuAD v2.0 by its name, so an answer may be none (--always_answer, allow_no_answer=False: never)")
    return config.with_task_params(head, **noted, version_2_with_negative=True)


def _check_outputs(folder: Path, manifest: Manifest) -> None:
    expected = _OUTPUTS.get(manifest.head, manifest.outputs)
    if manifest.outputs != expected:
        raise InputError(
            f"{folder / MANIFEST}: outputs={manifest.outputs}, {manifest.head} has {expected}; export the model again"
        )


def _of_checkpoint(folder: Path, config: MobileBertConfig, max_seq_length: int) -> Manifest:
    if config.head not in _OUTPUTS:
        declared = config.extra.get("architectures") or "nothing"
        known = " or ".join(HEAD_CLASSES[head] for head in _OUTPUTS)
        raise InputError(
            f"{folder / CONFIG_NAME}: architectures says {declared}, expected {known}; "
            "fine-tune the checkpoint first (run_squad.py, run_glue.py, run_ner.py)"
        )
    return Manifest(
        head=config.head,
        outputs=_OUTPUTS[config.head],
        engines=["dygraph"],
        quantization=None,
        portable=False,
        opset=0,
        max_seq_length=max_seq_length,
    )


def reading_settings(config: MobileBertConfig, head: str, max_seq_length: int | None = None) -> ReadingSettings:
    """What a checkpoint's configuration notes of its training, and defaults for what it does not.

    Args:
        config: of the checkpoint.
        head: a key of ``config.HEAD_CLASSES``.
        max_seq_length: tokens, where an exporter chose; None is the note, or 384, or all positions that the model has.

    Raises:
        InputError: a note that cannot be.
    """
    noted = noted_settings(config, head)
    length = min(noted.get("max_seq_length", DEFAULT_MAX_SEQ_LENGTH), config.max_position_embeddings)
    return ReadingSettings(**{**noted, "max_seq_length": max_seq_length or length})


def noted_settings(config: MobileBertConfig, head: str) -> dict[str, Any]:
    """The fields of ``ReadingSettings`` that a configuration notes.

    Raises:
        InputError: a note that cannot be.
    """
    noted = config.task_params(head)
    kinds = {
        "max_seq_length": _is_count,
        "doc_stride": lambda value: _is_count(value) or value == 0,
        "max_answer_length": _is_count,
        "version_2_with_negative": lambda value: isinstance(value, bool),
        "takes_pairs": lambda value: isinstance(value, bool),
        "null_score_diff_threshold": _is_number,
        "threshold": lambda value: _is_number(value) and 0 < value < 1,
        "text_columns": lambda value: _are_names(value) and len(value) in (1, 2),
        "label_column": lambda value: isinstance(value, str),
        "label_columns": _are_names,
        "label_separator": lambda value: isinstance(value, str),
    }
    for name, is_right in kinds.items():
        if name in noted and not is_right(noted[name]):
            raise _NoteError(f"{CONFIG_NAME}: task_specific_params has {name}={noted[name]!r}; correct it")
    known = {name: noted[name] for name in kinds if name in noted}
    if "version_2_with_negative" in known:
        known["allow_no_answer"] = known.pop("version_2_with_negative")
    names = ("text_columns", "label_column", "label_columns", "label_separator")
    texts, label, indicators, separator = (known.pop(name, None) for name in names)
    if texts:
        known["columns"] = Columns(tuple(texts), label, tuple(indicators or ()), separator or "")
    return known


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _are_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)
