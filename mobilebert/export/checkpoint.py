"""The checkpoint to export, with everything that is known about it."""

from dataclasses import dataclass, replace
from pathlib import Path

from mobilebert.base import digests
from mobilebert.base.errors import InputError
from mobilebert.inference.source import with_facts
from mobilebert.model import heads, weights
from mobilebert.model.config import HEAD_CLASSES, MobileBertConfig
from mobilebert.text.tokenizer import MobileBertTokenizer


@dataclass(frozen=True)
class Checkpoint:
    """A loaded model.

    Attributes:
        folder: where its files are.
        head: a key of ``HEAD_CLASSES``.
        config, model, tokenizer: what they hold.
        sha256: of the weights' file.
    """

    folder: Path
    head: str
    config: MobileBertConfig
    model: heads.MobileBertPreTrainedModel
    tokenizer: MobileBertTokenizer
    sha256: str


def load_checkpoint(name_or_path: str, head: str | None = None) -> Checkpoint:
    """Load a checkpoint with all of its head.

    Args:
        name_or_path: a folder or hub name.
        head: a key of ``HEAD_CLASSES``; None takes what the checkpoint says it is.

    Raises:
        InputError: no such checkpoint, an unknown or missing head, damaged weights, or no tokenizer.
    """
    if head is not None and head not in HEAD_CLASSES:
        raise InputError(f"`head={head}`: expected one of {', '.join(HEAD_CLASSES)}")
    folder = weights.resolve_folder(name_or_path)
    config = with_facts(MobileBertConfig.from_pretrained(folder), folder, name_or_path, head)
    head = head or config.head
    if head is None:
        raise InputError(
            f"{folder}/config.json: architectures {config.extra.get('architectures') or []} names no head known here; "
            f"say which with `head` ({', '.join(HEAD_CLASSES)})"
        )
    model = getattr(heads, HEAD_CLASSES[head]).from_pretrained(folder)
    model.config = replace(model.config, num_labels=None, extra=config.extra)
    if model.load_report.initialised:
        raise InputError(
            f"{folder}: has no {model.load_report.initialised[0]}, so it is no {head} model; "
            "fine-tune it first, or name its head with `head`"
        )
    tokenizer = MobileBertTokenizer.from_pretrained(folder)
    if len(tokenizer) > config.vocab_size:
        raise InputError(
            f"{folder}: its tokenizer has {len(tokenizer)} tokens, its model {config.vocab_size}; "
            "do they belong together?"
        )
    suffixes = (".safetensors", ".pdparams", ".bin")
    files = sorted(
        (path for path in folder.iterdir() if path.suffix in suffixes),
        key=lambda path: (suffixes.index(path.suffix), path),
    )
    return Checkpoint(folder, head, config, model, tokenizer, digests.digest(files[0]))
