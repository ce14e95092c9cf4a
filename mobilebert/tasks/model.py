"""The model of a run: a checkpoint, random weights, or an exported model in the place of a checkpoint."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import paddle
from paddle import nn

from mobilebert.base.errors import InputError
from mobilebert.inference import engines
from mobilebert.inference.manifest import MANIFEST, Manifest
from mobilebert.inference.rows import Run
from mobilebert.model.config import MobileBertConfig
from mobilebert.text.tokenizer import MobileBertTokenizer


@dataclass(frozen=True)
class RunModel:
    """What a run does its work with.

    Attributes:
        config: of the model.
        run: a padded batch -> the task's outputs.
        layer: what can be trained; None for an exported model.
        max_seq_length: tokens that an exporter chose; None for a checkpoint.
    """

    config: MobileBertConfig
    run: Run
    layer: nn.Layer | None = None
    max_seq_length: int | None = None


def run_of(layer: nn.Layer, outputs: Sequence[str]) -> Run:
    """A model as a function from a padded batch to its named outputs, without gradients.

    Args:
        layer: in evaluation mode.
        outputs: fields of its output, each with one row an example.
    """

    def run(batch: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        with paddle.no_grad():
            result = layer(**{name: paddle.to_tensor(value) for name, value in batch.items()})
        return [result[name].astype("float32").numpy() for name in outputs]

    return run


def load_exported(folder: str | None, head: str, engine: str, threads: int | None) -> RunModel:
    """Load what export.py wrote into an engine.

    Args:
        folder: what export.py wrote.
        head: the head that the task needs, a key of ``config.HEAD_CLASSES``.
        engine: one of ``inference.engines.ENGINES``.
        threads: of one run; None leaves the choice to the engine.

    Raises:
        InputError: not an exported folder, one of another head, or not exported for this engine.
    """
    if folder is None:
        raise InputError(f"`engine={engine}`: give the folder that export.py wrote with `model_name_or_path`")
    if not Path(folder).is_dir():
        raise InputError(f"{folder}: no such folder; `engine={engine}` wants one that export.py wrote")
    manifest = Manifest.load(Path(folder))
    if manifest.head != head:
        raise InputError(f"{folder}: its head is {manifest.head}, but {head} is needed; export another checkpoint")
    config, run = MobileBertConfig.from_pretrained(folder), engines.load(Path(folder), engine, threads).run
    return RunModel(config, run, max_seq_length=manifest.max_seq_length)


def check_no_export(folder: str | None) -> None:
    """Refuse to read an exported model as a checkpoint.

    Raises:
        InputError: the folder is an export without its checkpoint.
    """
    # export.py leaves the checkpoint in the folder too where it is told to write all formats.
    if folder is None or not (Path(folder) / MANIFEST).is_file() or any(Path(folder).glob("*.safetensors")):
        return
    named = " or ".join(Manifest.load(Path(folder)).engines)
    raise InputError(f"{folder}: an exported model without its checkpoint; evaluate it with `engine={named}`")


def read_config(name: str) -> MobileBertConfig:
    """A shape without weights: a JSON file of any name, or the ``config.json`` of a folder or hub name.

    Raises:
        InputError: no such file, broken JSON or a bad value.
    """
    if Path(name).is_file():
        return MobileBertConfig.from_file(name)
    return MobileBertConfig.from_pretrained(name)


def check_fit(config: MobileBertConfig, tokenizer: MobileBertTokenizer, max_seq_length: int) -> None:
    """Refuse a vocabulary of another size than the model's, and rows longer than the model has positions.

    Raises:
        InputError: either.
    """
    if len(tokenizer) != config.vocab_size:
        raise InputError(
            f"the tokenizer has {len(tokenizer)} tokens, the model {config.vocab_size}; "
            "give the model's own vocabulary with `tokenizer_name`"
        )
    if not 3 < max_seq_length <= config.max_position_embeddings:
        raise InputError(
            f"`max_seq_length={max_seq_length}`: expected 4 to {config.max_position_embeddings} tokens, "
            "what the model has positions for"
        )
