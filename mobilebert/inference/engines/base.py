"""What every engine is and says of itself.

B batch   S tokens
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mobilebert.inference.manifest import Manifest


@dataclass(frozen=True)
class EngineOptions:
    """How an engine computes.

    Attributes:
        threads: of one run; None leaves the choice to the library.
        precision: ``"f32"`` or ``"bf16"``, of an engine that has the choice.
    """

    threads: int | None = None
    precision: str = "f32"


class Engine(ABC):
    """Runs one batch; safe to call from several threads.

    A subclass is made of ``(folder, head, outputs, options)`` and imports its library there, not before.

    Attributes:
        name: what ``--engine`` calls it.
        library: the module that has to be installed.
        weight_files: names under which a folder holds its weights.
        made_with: the argument of an export that makes files for it, for messages.
        outputs: names of the results.
    """

    name: ClassVar[str]
    library: ClassVar[str]
    weight_files: ClassVar[tuple[str, ...]]
    made_with: ClassVar[str] = "`format=all`"
    outputs: Sequence[str]

    @classmethod
    def can_run(cls, manifest: Manifest) -> bool:
        """Whether a folder with this manifest has files for the engine."""
        return cls.name in manifest.engines

    @abstractmethod
    def run(self, batch: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Int64 [B, S] arrays by the names of ``INPUT_NAMES`` -> the outputs, in the manifest's order."""


def first_line(error: BaseException) -> str:
    """Of a library's error, for a message of one line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
