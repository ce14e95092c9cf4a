"""Paddle Inference on the CPU, with oneDNN."""

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mobilebert.base import digests
from mobilebert.base.errors import InputError, first_line
from mobilebert.base.files import regular
from mobilebert.data.collate import INPUT_NAMES
from mobilebert.inference.engines.base import Engine, EngineOptions
from mobilebert.inference.manifest import PADDLE_PREFIX


class PaddleEngine(Engine):
    """Runs ``model.json`` with the weights of ``model.pdiparams``."""

    name = "paddle"
    library = "paddle"
    weight_files = (f"{PADDLE_PREFIX}.pdiparams",)

    def __init__(self, folder: Path, head: str, outputs: Sequence[str], options: EngineOptions):
        from paddle import inference

        self.outputs = list(outputs)
        model, weights = folder / f"{PADDLE_PREFIX}.json", folder / self.weight_files[0]
        for path in (model, weights):
            if not regular(path).is_file():  # without weights it would compute with whatever is in memory
                raise InputError(f"{path}: no such file; export it again")
        digests.check(folder, model.name, weights.name)
        config = inference.Config(str(model), str(weights))
        config.disable_gpu()
        config.enable_mkldnn()
        config.disable_glog_info()
        if options.threads is not None:
            config.set_cpu_math_library_num_threads(options.threads)
        try:
            self.predictor = inference.create_predictor(config)
        except Exception as error:
            raise InputError(f"{model}: Paddle cannot load it ({first_line(error)}); export it again") from None
        self.lock = threading.Lock()

    def run(self, batch: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """See ``Engine``."""
        with self.lock:
            for name in INPUT_NAMES:
                self.predictor.get_input_handle(name).copy_from_cpu(np.ascontiguousarray(batch[name]))
            self.predictor.run()
            names = self.predictor.get_output_names()
            return [self.predictor.get_output_handle(name).copy_to_cpu() for name in names]
