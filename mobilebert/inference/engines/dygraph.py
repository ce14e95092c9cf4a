"""The checkpoint itself, run in Paddle as it was trained."""

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mobilebert.base.errors import InputError
from mobilebert.data.collate import INPUT_NAMES
from mobilebert.inference.engines.base import Engine, EngineOptions
from mobilebert.model.config import HEAD_CLASSES


class DygraphEngine(Engine):
    """Runs the unfolded model."""

    name = "dygraph"
    library = "paddle"
    errors = ()  # the model is ours
    weight_files = ("model.safetensors", "model_state.pdparams", "pytorch_model.bin")

    def __init__(self, folder: Path, head: str, outputs: Sequence[str], options: EngineOptions):
        import paddle

        from mobilebert.model import heads

        self.outputs = list(outputs)
        if options.threads is not None:
            paddle.base.core.set_num_threads(options.threads)
        self.model = getattr(heads, HEAD_CLASSES[head]).from_pretrained(folder)
        if missing := self.model.load_report.initialised:
            raise InputError(f"{folder}: has no {missing[0]}, so it is no {head} model; fine-tune it first")
        self.lock = threading.Lock()

    def run(self, batch: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """See ``Engine``."""
        import paddle

        with self.lock, paddle.no_grad():
            result = self.model(**{name: paddle.to_tensor(batch[name]) for name in INPUT_NAMES})
            return [result[name].numpy() for name in self.outputs]
