"""The formats of checkpoints, one module each; a new one is one file and one line in ``FORMATS``.

The modules have the same names in them, which ``Format`` lists. Parameters here have Hugging Face's names, so a format
that has others brings a table ``RENAMES`` from its own keys.
"""

from pathlib import Path
from typing import Protocol

from mobilebert.convert.formats import hf, pdparams
from mobilebert.model.tensor_files import State
from mobilebert.model.weights import Renames


class Format(Protocol):
    """What a module of a format has.

    Attributes:
        NAME: whose format it is, for messages.
        LAYOUT: of linear weights: ``"pt"`` [out, in], ``"pd"`` [in, out].
        RENAMES: patterns in its keys -> what Hugging Face's names have instead.
        HINT: what to do for a folder that holds this format where another was expected.
    """

    NAME: str
    LAYOUT: str
    RENAMES: Renames
    HINT: str

    def detect(self, folder: Path) -> bool:
        """Whether a folder's weights are, or may be, in this format; reads names and headers only.

        Safetensors that tell no layout may be in two: ``read`` then asks.
        """
        ...

    def read(self, folder: Path) -> State:
        """A folder's tensors by plain key, in this layout, as floats (see ``tensor_files``).

        Raises:
            InputError: no weights of this format, damaged ones, or tensors that are no floating-point numbers.
        """
        ...

    def write(self, state: State, folder: Path) -> None:
        """Write tensors, by Hugging Face's names and in this layout, into a folder."""
        ...


FORMATS: dict[str, Format] = {"huggingface": hf, "paddle": pdparams}
