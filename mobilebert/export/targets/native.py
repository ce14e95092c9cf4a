"""Our own engine: one file with the weights and the program, and the library in C for those who have no Python."""

import platform
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mobilebert.inference.engines import ENGINES, Engine, EngineOptions
from mobilebert.inference.manifest import NATIVE_FILE

if TYPE_CHECKING:
    from mobilebert.export.variant import Variant

NAME = "native"
TITLE = "native"
ENGINE = "native"
QUANTIZATIONS = ("int8", "bf16")
LIBRARIES: dict[str, str] = {}
_FOR_C = ("mobilebert.h", "example.c")  # beside the library, for programs in C


def write(variant: "Variant", folder: Path) -> None:
    """Write ``native.safetensors``, and the library with its header and an example."""
    from mobilebert.export import native_file
    from mobilebert.native_engine import build

    native_file.write(variant, folder / NATIVE_FILE)
    build.save(folder / library_name())
    for name in _FOR_C:
        shutil.copyfile(build.FOLDER / name, folder / name)


def library_name() -> str:
    """Of the copy, which Python never loads: a model's folder may be a stranger's."""
    return f"libmobilebert-{platform.machine()}.so"


def files() -> Sequence[str]:
    """The model, and what a program in C needs."""
    return (NATIVE_FILE, library_name(), *_FOR_C)


def load(folder: Path, head: str, outputs: Sequence[str]) -> Engine:
    """The native engine."""
    return ENGINES[ENGINE](folder, head, outputs, EngineOptions())
