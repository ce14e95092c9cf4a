"""The formats of checkpoints, one module each; a new one is one file and one line in ``FORMATS``.

The modules (of TensorFlow's two, objects) have the same names in them, which ``Format`` lists. Parameters here have
Hugging Face's names, so a format that has others brings a table ``RENAMES`` from its own keys, or renames as it reads.
"""

from pathlib import Path
from typing import Protocol

from mobilebert.convert.formats import hf, pdparams, tf
from mobilebert.model.config import MobileBertConfig
from mobilebert.model.tensor_files import State
from mobilebert.model.weights import Renames


class Format(Protocol):
    """What a module of a format has.

    Attributes:
        NAME: whose format it is, for messages.
        LAYOUT: of linear weights: ``"pt"`` [out, in], ``"pd"`` [in, out].
        RENAMES: patterns in its keys -> what Hugging Face's names have instead.
        HINT: what to do for a folder that holds this format where another was expected.
        WEIGHTS: the file that it writes weights to.
        TOKENIZER_FOLDERS: where in a folder the tokenizer's files may be.
    """

    NAME: str
    LAYOUT: str
    RENAMES: Renames
    HINT: str
    WEIGHTS: str
    TOKENIZER_FOLDERS: tuple[str, ...]

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

    def read_config(self, folder: Path) -> MobileBertConfig:
        """A folder's configuration.

        Raises:
            InputError: none, or a damaged one.
        """
        ...

    def write(self, state: State, folder: Path, config: MobileBertConfig) -> None:
        """Write tensors, by Hugging Face's names and in this layout, and their configuration into a folder.

        Raises:
            InputError: this format has no place for some of it.
        """
        ...

    def remark(self, config: MobileBertConfig) -> str | None:
        """What a user must know: in what the programs that read this format compute this model otherwise."""
        ...


# By the name that ``to`` has for it; a folder is in the first that finds itself in it.
FORMATS: dict[str, Format] = {"torch": hf, "paddle": pdparams, "tf1": tf.tf1, "tf2": tf.tf2}
