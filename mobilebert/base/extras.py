"""The optional libraries: which extra of the package brings which, and what to say where one is missing.

Some libraries report on who uses them, from their import on: ``silence`` turns that off, unless the user has chosen.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType

from mobilebert.base.errors import InputError, first_line
from mobilebert.base.files import cache_folder

# Extra -> the modules that it brings and that this package imports; pyproject.toml names the libraries.
EXTRAS = {
    "cpu": ("paddle",),
    "torch": ("torch", "transformers"),
    "train": ("visualdl", "matplotlib", "sklearn", "scipy"),
    "deploy": ("onnx", "onnxruntime"),
    "openvino": ("openvino",),
    "pretrain": ("sentencex", "backports.zstd", "pyarrow"),
    "litert": ("ai_edge_litert", "flatbuffers"),
    "tf": ("tensorflow",),
    "demo": ("starlette", "uvicorn"),
    "ray": ("ray", "pyarrow"),
}
# Library -> the environment variable, read at its import, that keeps it from reporting, and its value.
_SWITCHES = {
    "onnxruntime": ("ORT_DISABLE_TELEMETRY", "1"),
    "huggingface_hub": ("HF_HUB_DISABLE_TELEMETRY", "1"),
    "ray": ("RAY_USAGE_STATS_ENABLED", "0"),
}
# OpenVINO's reporter has no variable, only the user's answer to its command opt_in_out, in this file.
_OPENVINO_ANSWER = os.path.join("~", "intel", "openvino_telemetry")


def silence(library: str) -> None:
    """Keep a library from reporting on its user; to be called before its first import.

    ONNX Runtime (1.32) writes an id of the machine and a database of events below the home folder and sends them;
    OpenVINO (2026.4) writes an id and sends an event; huggingface_hub (2.4) asks the hub for a list of programs and
    tells it which one it runs under; Ray (2.60) reports on the machine and the libraries in use. What the user has set
    in the environment, or answered OpenVINO, is left as it is.
    Matplotlib keeps its list of fonts in our cache instead of the home folder.

    Args:
        library: a module's name, such as ``"onnxruntime"``; any other is let be.
    """
    if library == "matplotlib" and "MPLCONFIGDIR" not in os.environ:
        os.environ["MPLCONFIGDIR"] = str(cache_folder() / library)
    if library in _SWITCHES:
        os.environ.setdefault(*_SWITCHES[library])
    elif library == "openvino" and not os.path.exists(os.path.expanduser(_OPENVINO_ANSWER)):
        sys.modules.setdefault("openvino_telemetry", None)  # as if not installed, which OpenVINO is prepared for


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """Within, these environment variables are set; afterwards all are as they were before."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def own_home() -> Iterator[None]:
    """Within, ``~`` is a folder of our cache, for libraries that write there unasked: nothing of theirs is the user's.

    VisualDL (2.5) makes a configuration on its import and fails where it cannot; Paddle (3.3) makes a folder for data
    sets on its import, and leaves there the programs that it traces.
    """
    home = cache_folder() / "home"
    home.mkdir(exist_ok=True)
    with environment(HOME=str(home)):
        yield


def load(module: str) -> ModuleType:
    """Import a module of an extra, silenced.

    Args:
        module: ``"openvino"``, ``"onnxruntime.quantization"``.

    Raises:
        InputError: its library is not installed, or cannot be imported.
    """
    library = module.split(".")[0]
    silence(library)
    try:
        return import_module(module)
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name in (library, module):  # or a part of a shared name
            raise missing(library) from None
        reason = first_line(error)
        raise InputError(f"{library} is installed but cannot be imported ({reason}); install it again") from None


def extra_of(module: str | None) -> str | None:
    """The extra that brings a module, named as ``ModuleNotFoundError.name`` does (``"sklearn.metrics"``); else None."""
    library = (module or "").split(".")[0]
    return next(
        (extra for extra, modules in EXTRAS.items() if library in {name.split(".")[0] for name in modules}), None
    )


def missing(module: str) -> InputError:
    """What to tell a user who lacks a module of an extra."""
    extra = extra_of(module)
    if extra == "torch" and os.path.exists(os.path.join(sys.prefix, ".minimal")):  # a mark of scripts/setup.sh
        return InputError(f"{module.split('.')[0]} is not in a minimal environment; bash scripts/setup.sh adds it")
    gpu = "; for a GPU, paddlepaddle-gpu from Paddle's own package index" if extra == "cpu" else ""
    library = module.split(".")[0]
    # Not the package's name, which is a stranger's to take on the index.
    return InputError(f"{library} is not installed: pip install '.[{extra}]' in the repository's folder{gpu}")
