"""An exported model in the place of a checkpoint, for evaluation."""

from dataclasses import dataclass
from pathlib import Path

from mobilebert.base.errors import InputError
from mobilebert.inference.manifest import MANIFEST, Manifest
from mobilebert.inference.predictor import logits_function
from mobilebert.model.config import MobileBertConfig
from mobilebert.tasks.forward import Forward


@dataclass(frozen=True)
class ExportedModel:
    """What evaluation needs of a model.

    Attributes:
        config: of the checkpoint that was exported.
        forward: a padded batch -> the head's outputs.
    """

    config: MobileBertConfig
    forward: Forward


def load_exported(folder: str | None, head: str, engine: str, threads: int | None) -> ExportedModel:
    """Load what export.py wrote into an engine.

    Args:
        folder: of ``--model_name_or_path``.
        head: the head that the task needs, a key of ``config.HEAD_CLASSES``.
        engine: one of ``deploy.engines.ENGINES``.
        threads: of one run; None leaves the choice to the engine.

    Raises:
        InputError: not an exported folder, one of another head, or not exported for this engine.
    """
    if folder is None:
        raise InputError(f"--engine {engine}: give the folder that export.py wrote with --model_name_or_path")
    if not Path(folder).is_dir():
        raise InputError(f"{folder}: no such folder; --engine {engine} wants one that export.py wrote")
    manifest = Manifest.load(Path(folder))
    if manifest.head != head:
        raise InputError(f"{folder}: its head is {manifest.head}, but {head} is needed; export another checkpoint")
    return ExportedModel(MobileBertConfig.from_pretrained(folder), logits_function(folder, engine, threads))


def check_engine(engine: str | None, folder: str | None, do_train: bool) -> None:
    """Refuse to train an exported model, and to read one as a checkpoint.

    Args:
        engine: of ``--engine``; None for the checkpoint itself.
        folder: of ``--model_name_or_path``.
        do_train: of ``--do_train``.

    Raises:
        InputError: either.
    """
    if engine is not None and do_train:
        raise InputError(
            f"--engine {engine}: an exported model cannot be trained; train its checkpoint and export that again"
        )
    if engine is None and folder is not None and (Path(folder) / MANIFEST).is_file() and not _has_weights(Path(folder)):
        engines = " or ".join(Manifest.load(Path(folder)).engines)
        raise InputError(f"{folder}: an exported model without its checkpoint; evaluate it with --engine {engines}")


def _has_weights(folder: Path) -> bool:
    """``export.py --format all`` leaves the checkpoint in the folder too."""
    return any(folder.glob("*.safetensors"))
