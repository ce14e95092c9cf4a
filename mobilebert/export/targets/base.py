"""What a target is: a module with these names."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mobilebert.inference.engines import Engine

if TYPE_CHECKING:
    from mobilebert.export.variant import Variant


class Target(Protocol):
    """A format of files.

    A target's module imports its library in functions only, so that a command line can name all targets at once.

    Attributes:
        NAME: what ``--format`` calls it.
        TITLE: what messages call it.
        ENGINE: the engine that runs its files, a key of ``engines.ENGINES``.
        QUANTIZATIONS: the values of ``--quantize`` that it can write.
        LIBRARIES: module -> the distribution that brings it, of all that writing and checking need.
    """

    NAME: str
    TITLE: str
    ENGINE: str
    QUANTIZATIONS: Sequence[str]
    LIBRARIES: Mapping[str, str]

    def write(self, variant: "Variant", folder: Path) -> None:
        """Write a model's files into ``folder``; batch and length stay open."""

    def files(self) -> Sequence[str]:
        """The names of all files that ``write`` may make."""

    def load(self, folder: Path, head: str, outputs: Sequence[str]) -> Engine:
        """An engine that runs the files in ``folder``, to check them."""
