"""OpenVINO on the CPU."""

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mobilebert.base import digests, extras
from mobilebert.base.errors import InputError, first_line
from mobilebert.data.collate import INPUT_NAMES
from mobilebert.inference.engines.base import Engine, EngineOptions
from mobilebert.inference.engines.onnx_runtime import OnnxRuntimeEngine
from mobilebert.inference.manifest import ONNX_FILE, Manifest


class OpenVinoEngine(Engine):
    """Runs ``model.onnx``; the precision is always given, for its own choice differs from CPU to CPU."""

    name = "openvino"
    library = "openvino"
    weight_files = (ONNX_FILE,)
    made_with = "`format=onnx` and without `quantize=int8`"

    def __init__(self, folder: Path, head: str, outputs: Sequence[str], options: EngineOptions):
        self.outputs = list(outputs)
        digests.check(folder, f"{options.onnx_file}*")  # with its external data
        openvino = extras.load(self.library)
        settings = {"INFERENCE_PRECISION_HINT": options.precision, "PERFORMANCE_HINT": "LATENCY"}
        if options.threads is not None:
            settings["INFERENCE_NUM_THREADS"] = options.threads
        path = folder / options.onnx_file
        try:
            self.model = openvino.Core().compile_model(str(path), "CPU", settings)
        except RuntimeError as error:
            raise InputError(f"{path}: OpenVINO cannot load it ({first_line(error)}); export it again") from None
        self.lock = threading.Lock()

    @classmethod
    def can_run(cls, manifest: Manifest) -> bool:
        """Whether the folder has an ONNX file whose operators OpenVINO knows.

        OpenVINO 2026.4 translates those of ONNX Runtime's own that an export uses, but for ``QGemm``, the product of
        static int8.
        """
        return OnnxRuntimeEngine.can_run(manifest) and manifest.quantization != "int8"

    def run(self, batch: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """See ``Engine``."""
        with self.lock:
            result = self.model({name: batch[name] for name in INPUT_NAMES})
            return [np.array(result[name]) for name in self.outputs]
