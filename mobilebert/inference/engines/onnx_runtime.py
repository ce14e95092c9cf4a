"""ONNX Runtime on the CPU; starts without Paddle."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mobilebert.base import digests, extras
from mobilebert.base.errors import InputError, first_line
from mobilebert.data.collate import INPUT_NAMES
from mobilebert.inference.engines.base import Engine, EngineOptions
from mobilebert.inference.manifest import ONNX_FILE


class OnnxRuntimeEngine(Engine):
    """Runs ``model.onnx``, or where the folder has it."""

    name = "onnxruntime"
    library = "onnxruntime"
    errors = (Exception,)  # its own share no other base class
    weight_files = (ONNX_FILE,)

    def __init__(self, folder: Path, head: str, outputs: Sequence[str], options: EngineOptions):
        self.outputs = list(outputs)
        digests.check(folder, f"{options.onnx_file}*")  # with its external data
        onnxruntime = extras.load(self.library)
        settings = onnxruntime.SessionOptions()
        settings.log_severity_level = 3
        if options.threads is not None:
            settings.intra_op_num_threads = options.threads
        path = folder / options.onnx_file
        try:
            self.session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
        except Exception as error:  # the runtime's own exceptions share no base class but this
            raise InputError(f"{path}: ONNX Runtime cannot load it ({first_line(error)}); export it again") from None

    def run(self, batch: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """See ``Engine``."""
        return self.session.run(self.outputs, {name: batch[name] for name in INPUT_NAMES})
