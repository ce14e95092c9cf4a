"""Hugging Face's format: ``model.safetensors``, else ``pytorch_model.bin``; each may be sharded, both without torch."""

from pathlib import Path

from mobilebert.base.errors import InputError
from mobilebert.model import tensor_files, torch_pickle, weights
from mobilebert.model.config import TORCH_LAYER_NORM_EPS, MobileBertConfig
from mobilebert.model.tensor_files import SAFETENSORS, State
from mobilebert.model.torch_pickle import PICKLE

NAME = "PyTorch"
LAYOUT = "pt"
RENAMES = weights.RENAMES
HINT = "leave `reverse` out"
WEIGHTS = SAFETENSORS
TOKENIZER_FOLDERS: tuple[str, ...] = ("",)

_OTHERS = ("tf_model*.h5", "flax_model*.msgpack")  # transformers' own, of TensorFlow and Flax

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


def read_config(folder: Path) -> MobileBertConfig:
    """See ``formats.Format``."""
    return MobileBertConfig.from_pretrained(folder)


def write(state: State, folder: Path, config: MobileBertConfig) -> None:
    """See ``formats.Format``."""
    config.save_pretrained(folder)
    tensor_files.save_state(state, folder, LAYOUT)


def remark(config: MobileBertConfig) -> str | None:
    """See ``formats.Format``."""
    eps = config.torch_layer_norm_eps
    if config.normalization_type == "no_norm" or eps == TORCH_LAYER_NORM_EPS:
        return None
    return (
        f"transformers has eps={TORCH_LAYER_NORM_EPS:g} in the embeddings' LayerNorm and in each layer's `output`, "
        f"whatever config.json says; this model has {eps:g}"
    )
