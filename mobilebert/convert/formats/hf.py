"""Hugging Face's format: ``model.safetensors``, read without torch, else ``pytorch_model.bin``; each may be sharded."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mobilebert.base.errors import InputError
from mobilebert.model import tensor_files, weights
from mobilebert.model.tensor_files import SAFETENSORS, State

if TYPE_CHECKING:
    import torch

PICKLE = "pytorch_model.bin"
PICKLE_INDEX = "pytorch_model.bin.index.json"

NAME = "PyTorch"
LAYOUT = "pt"
RENAMES = weights.RENAMES
HINT = "leave `reverse` out"

# Head -> the keys that it alone has, the richest first. `classifier` is missing here: three heads share that name.
HEAD_KEYS = {
    "pretraining": ("cls.predictions.bias", "cls.seq_relationship.weight"),
    "masked-lm": ("cls.predictions.bias",),
    "next-sentence": ("cls.seq_relationship.weight",),
    "question-answering": ("qa_outputs.weight",),
}


def detect(folder: Path) -> bool:
    """See ``formats.Format``. A safetensors header without a format is taken for PyTorch's."""
    if tensor_files.has_safetensors(folder):
        return tensor_files.safetensors_layout(folder) != "pd"
    return (folder / PICKLE).exists() or (folder / PICKLE_INDEX).exists()


def read(folder: Path) -> State:
    """See ``formats.Format``. A pickle that holds more than tensors is refused, never executed (``weights_only``)."""
    if tensor_files.has_safetensors(folder):
        state, _ = tensor_files.read_safetensors(folder)
        return tensor_files.as_floats(state, LAYOUT, folder)
    if (folder / PICKLE).exists():
        return tensor_files.as_floats(_read_pickle(folder / PICKLE), LAYOUT, folder / PICKLE)
    if (folder / PICKLE_INDEX).exists():
        state = {}
        for name in tensor_files.shard_names(folder / PICKLE_INDEX):
            state.update(_read_pickle(folder / name))
        return tensor_files.as_floats(state, LAYOUT, folder)
    raise InputError(
        f"{folder}: found neither {SAFETENSORS} nor {PICKLE}; fetch a checkpoint with "
        "bash scripts/download_weights.sh, or name its folder with `src`"
    )


def write(state: State, folder: Path) -> None:
    """See ``formats.Format``."""
    tensor_files.save_state(state, folder, LAYOUT)


def _read_pickle(path: Path) -> dict[str, np.ndarray]:
    """A pickle's tensors as they are stored, bfloat16 as ``tensor_files.BFLOAT16``."""
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        return {key: _to_numpy(path, key, value.detach()) for key, value in state.items()}
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; is the checkpoint complete?") from None
    except Exception as error:  # a damaged or hostile pickle raises nearly anything
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"{path}: refused, it is damaged or holds more than tensors ({reason[:160]})") from None


def _to_numpy(path: Path, key: str, tensor: "torch.Tensor") -> np.ndarray:
    import torch

    type_name = str(tensor.dtype).removeprefix("torch.")
    if tensor.dtype is torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(tensor_files.BFLOAT16)
    if not hasattr(np, type_name):  # quantised types, float8
        raise tensor_files.wrong_type(path, key, type_name)
    return tensor.numpy()
