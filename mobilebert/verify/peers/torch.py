"""The reference: transformers' MobileBERT in PyTorch."""

from pathlib import Path
from typing import TYPE_CHECKING

from mobilebert.base import digests
from mobilebert.base.errors import InputError, first_line
from mobilebert.model.config import CONFIG_NAME, HEAD_CLASSES
from mobilebert.verify.batches import Batch, Outputs, named_outputs, shaped

if TYPE_CHECKING:
    import torch


def load(folder: Path, head: str, dtype: str, seed: int = 0) -> "torch.nn.Module":
    """A transformers model from a checkpoint's folder; a head that the checkpoint lacks is drawn from ``seed``."""
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(seed)
    digests.check(folder, "*.safetensors*", CONFIG_NAME)
    try:
        model = getattr(transformers, HEAD_CLASSES[head]).from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager"
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"{folder}: transformers cannot load it ({first_line(error)})") from None
    return model.eval().to(getattr(torch, dtype))


def run(model: "torch.nn.Module", head: str, batch: Batch) -> Outputs:
    """A transformers model's outputs for one batch, by name, as NumPy arrays."""
    import torch

    inputs = {key: torch.from_numpy(value) for key, value in shaped(head, batch).items()}
    with torch.no_grad():
        output = model(**inputs, output_hidden_states=head == "model")
    return named_outputs(output, head, lambda tensor: tensor.numpy())
