"""A stand-in for what is used of TensorFlow: named arrays in an index file, and their bytes in a data file."""

import io
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import SimpleNamespace

import numpy as np


class OpError(Exception):
    """As ``tf.errors.OpError``."""


class _Reader:
    def __init__(self, prefix: str):
        try:
            with np.load(io.BytesIO(Path(f"{prefix}.index").read_bytes()), allow_pickle=False) as stored:
                self.values = {key.replace("|", "/"): stored[key] for key in stored}
        except Exception as error:
            raise OpError(f"{type(error).__name__}: {error}") from None

    def get_variable_to_shape_map(self) -> dict[str, list[int]]:
        return {name: list(value.shape) for name, value in self.values.items()}

    def get_tensor(self, name: str) -> np.ndarray:
        return self.values[name]


def _save(prefix: str, tensor_names: list[str], shape_and_slices: list[str], tensors: list[np.ndarray]) -> None:
    values = {name.replace("/", "|"): np.asarray(value) for name, value in zip(tensor_names, tensors, strict=True)}
    with open(f"{prefix}.index", "wb") as file:
        np.savez(file, **values)
    data = b"".join(np.ascontiguousarray(value).tobytes() for value in values.values())
    Path(f"{prefix}.data-00000-of-00001").write_bytes(data)


module = SimpleNamespace(
    __name__="tensorflow",
    __spec__=ModuleSpec("tensorflow", None),  # transformers looks whether there is one
    constant=np.asarray,
    errors=SimpleNamespace(OpError=OpError),
    raw_ops=SimpleNamespace(SaveV2=_save),
    train=SimpleNamespace(load_checkpoint=_Reader),
)


def save(folder: Path, variables: dict[str, np.ndarray], name: str = "bert_model.ckpt") -> None:
    """Write variables as a checkpoint of the stand-in's."""
    folder.mkdir(parents=True, exist_ok=True)
    _save(str(folder / name), list(variables), [""] * len(variables), list(variables.values()))


def load(prefix: Path) -> dict[str, np.ndarray]:
    """What a checkpoint of the stand-in's holds."""
    return _Reader(str(prefix)).values
