"""Hugging Face checkpoints in and out, tensor by tensor; torch only where a pickle must be read."""

import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import paddle

from mobilebert.base import hub, outputs
from mobilebert.base.errors import InputError
from mobilebert.base.files import atomic_folder, atomic_path, file_digest, read_json
from mobilebert.model import weights
from mobilebert.model.config import CONFIG_NAME, MobileBertConfig
from mobilebert.model.heads import HEADS
from mobilebert.model.weights import LoadReport, State

if TYPE_CHECKING:
    import torch

PICKLE = "pytorch_model.bin"
PICKLE_INDEX = "pytorch_model.bin.index.json"

# What only one head has. `classifier` is missing here: three heads share that name.
_TELLING_KEYS = {
    "pretraining": ("cls.predictions.bias", "cls.seq_relationship.weight"),
    "masked-lm": ("cls.predictions.bias",),
    "next-sentence": ("cls.seq_relationship.weight",),
    "question-answering": ("qa_outputs.weight",),
}


@dataclass
class Conversion:
    """What a conversion did."""

    source: Path
    destination: Path
    head: str
    state: State
    report: LoadReport
    seconds: float
    sha256: str

    @property
    def num_parameters(self) -> int:
        """Numbers in all tensors written."""
        return sum(value.size for value in self.state.values())

    def summary(self) -> str:
        """The lines that ``convert.py`` prints at the end."""
        report = self.report
        widened = [("widened", f"{len(report.widened)} from bfloat16 to float32")] if report.widened else []
        rows = [
            ("tensors", len(self.state)),
            ("transposed", len(report.transposed)),
            ("renamed", len(report.renamed)),
            *widened,
            ("unused", _count_and_names(report.unused)),
            ("newly initialised", _count_and_names(report.initialised)),
            ("parameters", f"{self.num_parameters:,}"),
            ("seconds", f"{self.seconds:.1f}"),
            ("sha256", f"{self.sha256}  {self.destination / weights.SAFETENSORS}"),
        ]
        head = HEADS[self.head].__name__
        return "\n".join([f"{self.source} -> {self.destination} ({head})", *(f"  {k:<18} {v}" for k, v in rows)])


def _count_and_names(names: list[str]) -> str:
    return f"{len(names)} ({', '.join(names[:4])}{', ...' if len(names) > 4 else ''})" if names else "0"


def read_torch_state(folder: Path) -> State:
    """Read a PyTorch checkpoint's tensors: ``model.safetensors`` without torch, else ``pytorch_model.bin``.

    A pickle is opened with ``weights_only=True``: one that holds more than tensors is refused, never executed.

    Returns:
        Tensors by key, all float16, float32 or float64; what was bfloat16 is float32 (see ``weights.as_floats``).

    Raises:
        InputError: no weights, unreadable weights, tensors of another type, weights in Paddle's layout, or an unsafe
            pickle.
    """
    if (folder / weights.SAFETENSORS).exists() or (folder / weights.SAFETENSORS_INDEX).exists():
        state, layout = weights.read_safetensors(folder)
        if layout == "pd":
            raise InputError(f"{folder}: holds a Paddle checkpoint already; to go back to PyTorch add --reverse")
        return weights.as_floats(state, "pt", folder)
    if (folder / PICKLE).exists():
        return weights.as_floats(_read_pickle(folder / PICKLE), "pt", folder / PICKLE)
    if (folder / PICKLE_INDEX).exists():
        state = {}
        for name in weights.shard_names(folder / PICKLE_INDEX):
            state.update(_read_pickle(folder / name))
        return weights.as_floats(state, "pt", folder)
    raise InputError(
        f"{folder}: found neither {weights.SAFETENSORS} nor {PICKLE}; fetch a checkpoint with "
        "bash scripts/download_weights.sh, or name its folder with --src"
    )


def _read_pickle(path: Path) -> dict[str, np.ndarray]:
    """A pickle's tensors as they are stored, bfloat16 as ``weights.BFLOAT16``."""
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
        return tensor.view(torch.int16).numpy().view(weights.BFLOAT16)
    if not hasattr(np, type_name):  # quantised types, float8
        raise weights.wrong_type(path, key, type_name)
    return tensor.numpy()


def detect_head(folder: Path, state: State) -> str:
    """The head that a checkpoint was made with: a name of ``HEADS``, from its config or its keys.

    Raises:
        InputError: ``classifier`` weights without an architecture in ``config.json``: three heads have such.
    """
    architectures = read_json(folder / CONFIG_NAME).get("architectures") or []
    for name, head in HEADS.items():
        if head.__name__ in architectures:
            return name
    for name, keys in _TELLING_KEYS.items():
        if all(key in state for key in keys):
            return name
    if "classifier.weight" in state:
        raise InputError(
            f"{folder}: classifier weights, but {CONFIG_NAME} does not say of which head; name it with --head "
            "sequence-classification, multiple-choice or token-classification"
        )
    return "model"


def convert(source: str | Path, destination: str | Path, head: str | None = None, reverse: bool = False) -> Conversion:
    """Convert a folder PyTorch -> Paddle, or back.

    Writes ``config.json``, ``model.safetensors``, the tokenizer's files and, for Paddle, ``model_state.pdparams``.
    Tensors keep their values and types bit for bit, but bfloat16 is written as float32, which holds the same values;
    what the checkpoint lacks of the head is drawn from Paddle's seed.

    Args:
        source: folder of the checkpoint.
        destination: folder to write; files of other names in it stay.
        head: a name of ``HEADS``; none = the checkpoint's own.
        reverse: read Paddle's layout and write PyTorch's.

    Raises:
        InputError: the checkpoint cannot be read or does not fit; nothing is written.
    """
    start = time.perf_counter()
    source, destination = Path(source), Path(destination)
    if not source.is_dir():
        raise InputError(f"{source}: no such folder; name the checkpoint's folder with --src")
    if destination.exists() and destination.resolve() == source.resolve():
        raise InputError(f"{destination}: source and destination are one folder; name another with --dst")
    config = MobileBertConfig.from_pretrained(source)
    if reverse:
        state, layout = weights.read_state(source)
        if layout != "pd":
            raise InputError(f"{source}: holds a PyTorch checkpoint already; leave --reverse out")
    else:
        state, layout = read_torch_state(source), "pt"
    head = head or detect_head(source, state)
    model = HEADS[head](config)
    fitted, report = weights.fit_state(model, state, layout, str(source))
    weights.check_backbone(report, str(source))
    initial = weights.model_state(model)
    output = State((name, fitted.get(name, initial[name])) for name in initial)
    linear = weights.linear_weights(model)
    if reverse:
        report.transposed = [name for name in output if name in linear]
        output = State((name, value.T if name in linear else value) for name, value in output.items())
    config = replace(config, num_labels=None, extra={**config.extra, "architectures": [HEADS[head].__name__]})
    with outputs.lock_beside(destination), atomic_folder(destination) as folder:
        config.save_pretrained(folder)
        weights.save_state(output, folder, "pt" if reverse else "pd")
        if not reverse:
            save_pdparams(output, folder)
        for name in hub.TOKENIZER_FILES:
            if (source / name).exists():
                shutil.copyfile(source / name, folder / name)
        sha256 = file_digest(folder / weights.SAFETENSORS)
    return Conversion(source, destination, head, output, report, time.perf_counter() - start, sha256)


def save_pdparams(state: State, folder: Path) -> None:
    """Write ``model_state.pdparams``, which Paddle users load with ``paddle.load``."""
    tensors = {name: paddle.to_tensor(np.ascontiguousarray(value)) for name, value in state.items()}
    with atomic_path(folder / weights.PDPARAMS) as temporary:
        paddle.save(tensors, str(temporary))
