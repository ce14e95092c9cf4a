"""Hugging Face's format: ``model.safetensors``, read without torch, else ``pytorch_model.bin``; each may be sharded."""

import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mobilebert.base.errors import InputError, first_line
from mobilebert.base.files import check_zip
from mobilebert.model import tensor_files, weights
from mobilebert.model.tensor_files import SAFETENSORS, State

if TYPE_CHECKING:
    import torch

PICKLE = "pytorch_model.bin"

NAME = "PyTorch"
LAYOUT = "pt"
RENAMES = weights.RENAMES
HINT = "leave `reverse` out"

_OTHERS = ("tf_model*.h5", "*.ckpt.index", "*.ckpt-*.index", "flax_model*.msgpack")  # TensorFlow's and Flax's weights

# What trainings leave beside or instead of a model -> how to get the model out of it.
_TRAININGS = {
    "pytorch_model_fsdp.bin": f"is accelerate's, from FSDP; where it is a whole state dict, name it {PICKLE}",
    "pytorch_model_fsdp_*/*.distcp": "is a shard from FSDP; merge the shards with accelerate merge-weights",
    "*.distcp": "is a shard from FSDP; merge the shards with accelerate merge-weights",
    "global_step*": "is DeepSpeed's; merge it with the zero_to_fp32.py that DeepSpeed put beside it",
}

_NAMED = re.compile(r"Unsupported (?:global: GLOBAL|class) ([\w.]+)")
_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")  # colours of a terminal

# Head -> the keys that it alone has, the richest first. `classifier` is missing here: three heads share that name.
HEAD_KEYS = {
    "pretraining": ("cls.predictions.bias", "cls.seq_relationship.weight"),
    "masked-lm": ("cls.predictions.bias",),
    "next-sentence": ("cls.seq_relationship.weight",),
    "question-answering": ("qa_outputs.weight",),
}


def detect(folder: Path) -> bool:
    """See ``formats.Format``."""
    if tensor_files.has_safetensors(folder):
        return tensor_files.safetensors_layout(folder) != "pd"
    return tensor_files.has_file(folder, PICKLE)


def read(folder: Path) -> State:
    """See ``formats.Format``. A pickle that holds more than tensors is refused, never executed (``weights_only``)."""
    if tensor_files.has_safetensors(folder):
        state, layout = tensor_files.read_safetensors(folder)
        if layout is None:
            raise tensor_files.unknown_layout(folder)
        source = folder
    elif tensor_files.has_file(folder, PICKLE):
        state = tensor_files.join_shards(folder, PICKLE, _read_pickle)
        source = folder / PICKLE if (folder / PICKLE).exists() else folder
    else:
        raise _nothing_found(folder)
    return tensor_files.plain_keys(tensor_files.as_floats(state, LAYOUT, source), source)


def _nothing_found(folder: Path) -> InputError:
    others = sorted(path.name for pattern in _OTHERS for path in folder.glob(pattern))
    if others:
        return InputError(
            f"{folder}: {others[0]} is not read here; load it with transformers before version 5 "
            f"(from_tf=True, from_flax=True) and save it with save_pretrained, which writes {SAFETENSORS}"
        )
    for pattern, remedy in _TRAININGS.items():
        for path in sorted(folder.glob(pattern)):
            return InputError(f"{folder}: {path.relative_to(folder)} {remedy}, and convert the result")
    return InputError(
        f"{folder}: found neither {SAFETENSORS} nor {PICKLE}; fetch a checkpoint with "
        "bash scripts/download_weights.sh, or name its folder with `src`"
    )


def write(state: State, folder: Path) -> None:
    """See ``formats.Format``."""
    tensor_files.save_state(state, folder, LAYOUT)


def _read_pickle(path: Path) -> State:
    """A pickle's tensors as they are stored, bfloat16 as ``tensor_files.BFLOAT16``."""
    import torch

    try:
        if zipfile.is_zipfile(path):  # else a pickle as torch wrote it before 1.6
            check_zip(path)
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
        content, taken_off = tensor_files.unwrap(content, torch.is_tensor, path)
        # Counters and notes of a training stand among the tensors of some; what is neither is an error below.
        tensors = {key: value for key, value in content.items() if not isinstance(value, tensor_files.NO_TENSORS)}
        state = {key: _to_numpy(path, key, value.detach()) for key, value in tensors.items()}
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; is the checkpoint complete?") from None
    except Exception as error:  # a damaged or hostile pickle raises nearly anything
        reason = first_line(error)
        advice = ""
        # torch's own message is a screenful of ways to run what the file holds.
        if named := _NAMED.search(str(error)):
            reason = f"it names {named.group(1)}"
            advice = "; if the whole model was saved, save its state_dict() instead"
        raise InputError(
            f"{path}: refused, it is damaged or holds more than tensors ({_ESCAPES.sub('', reason)[:160]}){advice}"
        ) from None
    return State(state, taken_off=taken_off)


def _to_numpy(path: Path, key: str, tensor: "torch.Tensor") -> np.ndarray:
    import torch

    type_name = str(tensor.dtype).removeprefix("torch.")
    if tensor.dtype is torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(tensor_files.BFLOAT16)
    if not hasattr(np, type_name):  # quantised types, float8
        raise tensor_files.wrong_type(path, key, type_name)
    return tensor.numpy()
