"""What runs an exported folder or a checkpoint: ONNX Runtime, Paddle Inference, dygraph or OpenVINO behind one method.

Each library is imported when its engine is asked for: ONNX Runtime's starts without Paddle. None reports on its user,
see ``extras.silence``.

    B batch   S tokens
"""

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from mobilebert import extras
from mobilebert.config import HEAD_CLASSES
from mobilebert.deploy.manifest import ONNX_FILE, PADDLE_PREFIX
from mobilebert.deploy.program import INPUT_NAMES
from mobilebert.deploy.source import Source, read_source
from mobilebert.errors import InputError

ENGINES = ("onnxruntime", "paddle", "dygraph", "openvino")
OPENVINO_PRECISIONS = ("f32", "bf16")


# Outputs with one row a token, by head.
PER_TOKEN: dict[str, tuple[str, ...]] = {
    "model": ("last_hidden_state",),
    "pretraining": ("prediction_logits",),
    "masked-lm": ("logits",),
    "question-answering": ("start_logits", "end_logits"),
    "token-classification": ("logits",),
}


class Engine(ABC):
    """Runs one batch; safe to call from several threads.

    Args:
        head: a key of ``HEAD_CLASSES``.
        outputs: names of the results.
    """

    def __init__(self, head: str, outputs: Sequence[str]):
        self.outputs = list(outputs)
        self.per_token = [name in PER_TOKEN.get(head, ()) for name in outputs]

    @abstractmethod
    def run(self, batch: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Int64 [B, S] arrays by the names of ``INPUT_NAMES`` -> the outputs, in the manifest's order."""


class OnnxRuntimeEngine(Engine):
    """ONNX Runtime on the CPU."""

    def __init__(self, path: Path, head: str, outputs: Sequence[str], threads: int | None = None):
        super().__init__(head, outputs)
        onnxruntime = extras.load("onnxruntime")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the runtime's own exceptions share no base class but this
            raise InputError(f"{path}: ONNX Runtime cannot load it ({_first_line(error)}); export it again") from None

    def run(self, batch: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """See ``Engine``."""
        return self.session.run(self.outputs, {name: batch[name] for name in INPUT_NAMES})


class PaddleEngine(Engine):
    """Paddle Inference on the CPU, with oneDNN."""

    def __init__(self, folder: Path, head: str, outputs: Sequence[str], threads: int | None = None):
        super().__init__(head, outputs)
        from paddle import inference

        files = [folder / f"{PADDLE_PREFIX}{suffix}" for suffix in (".json", ".pdiparams")]
        config = inference.Config(*map(str, files))
        config.disable_gpu()
        config.enable_mkldnn()
        config.disable_glog_info()
        if threads is not None:
            config.set_cpu_math_library_num_threads(threads)
        try:
            self.predictor = inference.create_predictor(config)
        except Exception as error:
            raise InputError(f"{files[0]}: Paddle cannot load it ({_first_line(error)}); export it again") from None
        self.lock = threading.Lock()

    def run(self, batch: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """See ``Engine``."""
        with self.lock:
            for name in INPUT_NAMES:
                self.predictor.get_input_handle(name).copy_from_cpu(np.ascontiguousarray(batch[name]))
            self.predictor.run()
            names = self.predictor.get_output_names()
            return [self.predictor.get_output_handle(name).copy_to_cpu() for name in names]


class DygraphEngine(Engine):
    """The unfolded model, run as it was trained."""

    def __init__(self, folder: Path, head: str, outputs: Sequence[str], threads: int | None = None):
        super().__init__(head, outputs)
        import paddle

        from mobilebert import heads

        if threads is not None:
            paddle.base.core.set_num_threads(threads)
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


class OpenVinoEngine(Engine):
    """OpenVINO on the CPU; the precision is always said, for its own choice differs from CPU to CPU."""

    def __init__(self, path: Path, head: str, outputs: Sequence[str], threads: int | None, precision: str):
        super().__init__(head, outputs)
        openvino = extras.load("openvino")
        settings = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
        if threads is not None:
            settings["INFERENCE_NUM_THREADS"] = threads
        self.model = openvino.Core().compile_model(str(path), "CPU", settings)
        self.lock = threading.Lock()

    def run(self, batch: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """See ``Engine``."""
        with self.lock:
            result = self.model({name: batch[name] for name in INPUT_NAMES})
            return [np.array(result[name]) for name in self.outputs]


def load(folder: Path, engine: str | None, threads: int | None = None, openvino_precision: str = "f32") -> Engine:
    """Load an exported folder or a checkpoint into an engine.

    Args:
        folder: what export.py wrote, or a fine-tuned checkpoint.
        engine: one of ``ENGINES``; None takes ``best_engine``.
        threads: of one run; None leaves the choice to the library.
        openvino_precision: ``"f32"`` or ``"bf16"``.

    Raises:
        InputError: an unknown engine, one that the folder has no files for, or a library that is not installed.
    """
    source = read_source(folder)
    engine = best_engine(source) if engine is None else engine
    if engine not in ENGINES:
        raise InputError(f"engine {engine!r}: expected one of {', '.join(ENGINES)}")
    if threads is not None and threads < 1:
        raise InputError(f"threads={threads}: expected at least 1")
    manifest = source.manifest
    if engine not in manifest.engines and not (engine == "openvino" and manifest.portable):
        available = ", ".join(manifest.engines)
        if not source.is_exported:
            raise InputError(
                f"{folder}: a checkpoint runs in {available} only; for {engine} make an export with export.py"
            )
        what = "--portable" if engine == "openvino" else "--format all"
        raise InputError(f"{folder}: was not exported for {engine} (only for {available}); export again with {what}")
    if engine in ("paddle", "dygraph"):
        import_module("mobilebert.runtime")  # sets the machine up, before Paddle starts
    if engine == "onnxruntime":
        return OnnxRuntimeEngine(source.folder / ONNX_FILE, manifest.head, manifest.outputs, threads)
    if engine == "paddle":
        return PaddleEngine(source.folder, manifest.head, manifest.outputs, threads)
    if engine == "dygraph":
        return DygraphEngine(source.folder, manifest.head, manifest.outputs, threads)
    path = source.folder / ONNX_FILE
    return OpenVinoEngine(path, manifest.head, manifest.outputs, threads, openvino_precision)


def best_engine(source: Source) -> str:
    """The first of ``ENGINES`` that the folder has files for and whose library is installed."""
    available = [engine for engine in ENGINES if engine in source.manifest.engines]
    ready = [engine for engine in available if engine != "onnxruntime" or find_spec("onnxruntime")]
    return (ready or available)[0]


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
