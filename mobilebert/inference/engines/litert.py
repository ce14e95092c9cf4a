"""LiteRT (TensorFlow Lite) on the CPU; starts without Paddle. For scores of what runs on a phone, not for speed here.

B batch   S tokens
"""

import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mobilebert.base import digests, extras
from mobilebert.base.errors import InputError, first_line
from mobilebert.base.files import regular
from mobilebert.inference.engines.base import Engine, EngineOptions
from mobilebert.inference.manifest import LITERT_FILE, LITERT_INPUTS


class LiteRtEngine(Engine):
    """Runs ``model.tflite``, row by row: the file is for one text at a time, of any length."""

    name = "litert"
    library = "ai_edge_litert"
    errors = (RuntimeError, ValueError)
    weight_files = (LITERT_FILE,)
    made_with = "`format=litert`"

    def __init__(self, folder: Path, head: str, outputs: Sequence[str], options: EngineOptions):
        self.outputs = list(outputs)
        path = folder / LITERT_FILE
        digests.check(folder, LITERT_FILE)
        if not regular(path).is_file():
            raise InputError(f"{path}: no such file; export it again")
        extras.load(self.library)
        interpreter = extras.load(f"{self.library}.interpreter")
        try:  # left alone, it takes one thread
            self.interpreter = interpreter.Interpreter(str(path), num_threads=options.threads or os.cpu_count() or 1)
            self.interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise InputError(f"{path}: LiteRT cannot load it ({first_line(error)}); export it again") from None
        self.inputs = {one["name"]: one["index"] for one in self.interpreter.get_input_details()}
        self.places = {one["name"]: one["index"] for one in self.interpreter.get_output_details()}
        if self.inputs.keys() != set(LITERT_INPUTS.values()) or not self.places.keys() >= set(outputs):
            found = f"{', '.join(self.inputs)} -> {', '.join(self.places)}"
            raise InputError(f"{path}: its inputs and outputs are {found}; export it again")
        self.width = -1
        self.lock = threading.Lock()

    def run(self, batch: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """See ``Engine``."""
        with self.lock:
            self._resize(batch["input_ids"].shape[1])
            rows = [
                self._run({name: batch[name][row : row + 1] for name in LITERT_INPUTS})
                for row in range(len(batch["input_ids"]))
            ]
        return [np.concatenate(values) for values in zip(*rows, strict=True)]

    def _resize(self, width: int) -> None:
        """Take rows of another length from now on."""
        if width != self.width:
            self.width = -1  # should one of these fail
            for index in self.inputs.values():
                self.interpreter.resize_tensor_input(index, [1, width])
            self.interpreter.allocate_tensors()
            self.width = width

    def _run(self, row: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """One row [1, S]."""
        for name, value in row.items():
            self.interpreter.set_tensor(self.inputs[LITERT_INPUTS[name]], value.astype(np.int32))
        self.interpreter.invoke()
        return [self.interpreter.get_tensor(self.places[name]) for name in self.outputs]
