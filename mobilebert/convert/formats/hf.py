"""Hugging Face's format: ``model.safetensors``, else ``pytorch_model.bin``; each may be sharded, both without torch."""

from pathlib import Path

from mobilebert.base.errors import InputError
from mobilebert.model import tensor_files, torch_pickle, weights
from mobilebert.model.tensor_files import SAFETENSORS, State
from mobilebert.model.torch_pickle import PICKLE

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


def detect(folder: Path) -> bool:
    """See ``formats.Format``."""
    if tensor_files.has_safetensors(folder):
        return tensor_files.safetensors_layout(folder) != "pd"
    return tensor_files.has_file(folder, PICKLE)


def read(folder: Path) -> State:
    """See ``formats.Format``. A pickle that holds more than tensors is refused, never executed."""
    if tensor_files.has_safetensors(folder):
        state, layout = tensor_files.read_safetensors(folder)
        if layout is None:
            raise tensor_files.unknown_layout(folder)
        return tensor_files.plain_keys(tensor_files.as_floats(state, layout, folder), folder)
    if tensor_files.has_file(folder, PICKLE):
        return torch_pickle.read_folder(folder)
    raise _nothing_found(folder)


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
