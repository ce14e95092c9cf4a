"""Paddle's format, which this package writes: ``model.safetensors`` and ``model_state.pdparams`` with the same tensors.

Either is enough to read. The reader of the pickle is in ``mobilebert.model.tensor_files``: ``from_pretrained`` needs it
too.
"""

from pathlib import Path

import numpy as np
import paddle

from mobilebert.base import digests
from mobilebert.base.files import atomic_path
from mobilebert.model import tensor_files, weights
from mobilebert.model.config import MobileBertConfig
from mobilebert.model.tensor_files import PDPARAMS, State

NAME = "Paddle"
LAYOUT = "pd"
RENAMES = weights.RENAMES
HINT = "to go back to PyTorch add `reverse`"
WEIGHTS = tensor_files.SAFETENSORS
TOKENIZER_FOLDERS: tuple[str, ...] = ("",)


def detect(folder: Path) -> bool:
    """See ``formats.Format``."""
    if tensor_files.has_safetensors(folder):
        return tensor_files.safetensors_layout(folder) != "pt"
    return tensor_files.has_file(folder, PDPARAMS)


def read(folder: Path) -> State:
    """See ``formats.Format``."""
    state, _ = tensor_files.read_state(folder)
    return state


def read_config(folder: Path) -> MobileBertConfig:
    """See ``formats.Format``."""
    return MobileBertConfig.from_pretrained(folder)


def write(state: State, folder: Path, config: MobileBertConfig) -> None:
    """See ``formats.Format``. Paddle's users load ``model_state.pdparams`` with ``paddle.load``."""
    config.save_pretrained(folder)
    tensor_files.save_state(state, folder, LAYOUT)
    tensors = {name: paddle.to_tensor(np.asarray(value, order="C")) for name, value in state.items()}
    with digests.recorded(folder, PDPARAMS), atomic_path(folder / PDPARAMS) as temporary:
        paddle.save(tensors, str(temporary))


def remark(config: MobileBertConfig) -> str | None:
    """See ``formats.Format``; here everything is computed as the configuration says."""
    return None
