"""OpenVINO on the CPU."""

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mobilebert.base import extras
from mobilebert.data.collate import INPUT_NAMES
from mobilebert.inference.engines.base import Engine, EngineOptions
from mobilebert.inference.manifest import ONNX_FILE, Manifest


class OpenVinoEngine(Engine):
    """Runs a portable ``model.onnx``; the precision is always given, for its own choice differs from CPU to CPU."""

    name = "openvino"
    library = "openvino"
    weight_files = (ONNX_FILE,)
    made_with = "`portable`"

    def __init__(self, folder: Path, head: str, outputs: Sequence[str], options: EngineOptions):
        self.outputs = list(outputs)
        openvino = extras.load(self.library)
        settings = {"INFERENCE_PRECISION_HINT": options.precision, "PERFORMANCE_HINT": "LATENCY"}
        if options.threads is not None:
            settings["INFERENCE_NUM_THREADS"] = options.threads
        self.model = openvino.Core().compile_model(str(folder / ONNX_FILE), "CPU", settings)
        self.lock = threading.Lock()

    @classmethod
    def can_run(cls, manifest: Manifest) -> bool:
        """Whether the folder has an ONNX file without ONNX Runtime's own operators."""
        return manifest.portable

    def run(self, batch: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """See ``Engine``."""
        with self.lock:
            result = self.model({name: batch[name] for name in INPUT_NAMES})
            return [np.array(result[name]) for name in self.outputs]
