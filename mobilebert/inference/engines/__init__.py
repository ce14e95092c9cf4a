"""What runs an exported folder or a checkpoint: one module an engine.

A new engine is a module here and its line in ``ENGINES``: ``--engine``, the choice of the best engine and the demo read
from there what they need. No engine imports its library before it is made, and none reports on its user, see
``extras.load``.
"""

import logging
import os

from mobilebert.base.errors import InputError
from mobilebert.base.files import regular
from mobilebert.inference.engines.base import Engine, EngineOptions
from mobilebert.inference.engines.dygraph import DygraphEngine
from mobilebert.inference.engines.litert import LiteRtEngine
from mobilebert.inference.engines.native import NativeEngine
from mobilebert.inference.engines.onnx_runtime import OnnxRuntimeEngine
from mobilebert.inference.engines.open_vino import OpenVinoEngine
from mobilebert.inference.engines.paddle_inference import PaddleEngine
from mobilebert.inference.source import Source, read_source

__all__ = ["ENGINES", "Engine", "EngineOptions", "best_engine", "load"]

_log = logging.getLogger(__name__)

# Name -> engine, in the order in which they are preferred.
ENGINES: dict[str, type[Engine]] = {
    engine.name: engine
    for engine in (
        NativeEngine,
        OnnxRuntimeEngine,
        PaddleEngine,
        DygraphEngine,
        OpenVinoEngine,
        LiteRtEngine,
    )
}


def load(
    source: str | os.PathLike | Source,
    engine: str | None = None,
    threads: int | None = None,
    precision: str = "f32",
) -> Engine:
    """Load an exported folder or a checkpoint into an engine.

    Args:
        source: what export.py wrote, or a fine-tuned checkpoint.
        engine: a key of ``ENGINES``; None takes ``best_engine``.
        threads, precision: see ``EngineOptions``; more threads than the machine has processors are never used.

    Raises:
        InputError: an unknown engine, one that the folder has no files for, or a library that is not installed.
    """
    source = read_source(source)
    name = best_engine(source) if engine is None else engine
    if name not in ENGINES:
        raise InputError(f"engine {name!r}: expected one of {', '.join(ENGINES)}")
    if threads is not None and threads < 1:
        raise InputError(f"`threads={threads}`: expected at least 1")
    if threads is not None and threads > (processors := os.cpu_count() or 1):  # a million of them would be started
        _log.warning("threads: %d are more than this machine's processors; %d are used", threads, processors)
        threads = processors
    chosen, manifest = ENGINES[name], source.manifest
    if not chosen.can_run(manifest):
        available = ", ".join(manifest.engines)
        if not source.is_exported:
            raise InputError(
                f"{source.folder}: a checkpoint runs in {available} only; for {name} make an export with export.py"
            )
        raise InputError(
            f"{source.folder}: was not exported for {name} (only for {available}); export again with {chosen.made_with}"
        )
    for file in chosen.weights_in(manifest):
        regular(source.folder / file)
    options = EngineOptions(threads, precision, manifest.onnx_file)
    loaded = chosen(source.folder, manifest.head, manifest.outputs, options)
    loaded.config = source.config
    return loaded


def best_engine(source: Source) -> str:
    """The first of ``ENGINES`` that can run the folder and whose library is installed, or the first that can run it.

    Raises:
        InputError: none can.
    """
    available = [name for name, engine in ENGINES.items() if engine.can_run(source.manifest)]
    if not available:
        raise InputError(
            f"{source.folder}: was exported for {', '.join(source.manifest.engines)}, which this version does not know"
        )
    return next((name for name in available if ENGINES[name].is_available()), available[0])
