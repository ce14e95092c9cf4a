"""``pretraining.json``: what a folder of rows for pre-training is, written when the last of its files is there."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np

from mobilebert.base.digests import UNASKED_BYTES, Facts
from mobilebert.base.errors import InputError
from mobilebert.base.files import is_below, write_json
from mobilebert.base.records import read_record
from mobilebert.data.pretrain.settings import Settings, Vocabulary

NAME = "pretraining.json"
FORMAT = 1  # raise it whenever code changes what the same text gives
_MADE_AGAIN = "make the folder again with python -m mobilebert pretrain-data"

_Id = Annotated[int, msgspec.Meta(ge=0, lt=1 << 31)]


class _Vocabulary(msgspec.Struct):
    size: Annotated[int, msgspec.Meta(ge=1, le=1 << 24)]
    pad: _Id
    cls: _Id
    sep: _Id
    mask: _Id
    continues: str  # a bit a token, as hexadecimal digits


class Manifest(msgspec.Struct, forbid_unknown_fields=False):
    """The content of the file.

    Attributes:
        format: of the files.
        digest: of text, settings and vocabulary.
        vocab_digest: of the tokenizer, as ``data.cache.tokenizer_digest``.
        settings: how the rows were made.
        vocabulary: what the rules must know of the tokenizer.
        counts: documents, sentences, tokens and rows.
        files: size and digest of each file, in the rows' order.
    """

    format: int
    digest: str
    vocab_digest: str
    settings: Settings
    vocabulary: _Vocabulary
    counts: dict[str, int]
    files: dict[str, Facts]

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Read a folder's.

        Raises:
            InputError: there is none, it is damaged, or of another version.
        """
        path = folder / NAME
        if not path.is_file():
            what = "is not complete, or no" if folder.is_dir() else "no such"
            raise InputError(f"{folder}: {what} folder of pre-training data; {_MADE_AGAIN}")
        manifest = read_record(path, cls, _MADE_AGAIN)
        if manifest.format != FORMAT:
            raise InputError(f"{path}: of format {manifest.format}, and {FORMAT} is read; {_MADE_AGAIN}")
        special = [getattr(manifest.vocabulary, name) for name in ("pad", "cls", "sep", "mask")]
        if max(special) >= manifest.vocabulary.size or not all(map(is_below, manifest.files)) or not manifest.files:
            raise InputError(f"{path}: damaged; {_MADE_AGAIN}")
        return manifest

    def write(self, folder: Path) -> None:
        """Write it into a folder."""
        write_json(folder / NAME, msgspec.to_builtins(self))

    def check_files(self, folder: Path, everything: bool) -> None:
        """Compare the files' sizes, and their digests where they are few enough or ``everything`` is asked.

        Raises:
            InputError: one differs or is missing.
        """
        everything = everything or sum(facts.bytes for facts in self.files.values()) <= UNASKED_BYTES
        for name, facts in self.files.items():
            if difference := facts.difference(folder / name, everything):
                raise InputError(f"{folder / name}: {difference}, says {NAME}; {_MADE_AGAIN}")

    def known_vocabulary(self) -> Vocabulary:
        """The vocabulary as the rules take it.

        Raises:
            InputError: it is damaged.
        """
        noted = self.vocabulary
        try:
            bits = np.unpackbits(np.frombuffer(bytes.fromhex(noted.continues), np.uint8))
        except ValueError:
            bits = np.zeros(0, np.uint8)
        if not 0 <= len(bits) - noted.size < 8:
            raise InputError(f"{NAME}: vocabulary.continues is damaged; {_MADE_AGAIN}")
        return Vocabulary(noted.size, noted.pad, noted.cls, noted.sep, noted.mask, bits[: noted.size].astype(bool))


def note_vocabulary(vocabulary: Vocabulary) -> _Vocabulary:
    """A vocabulary as the manifest has it."""
    noted = asdict(vocabulary)
    return _Vocabulary(**{**noted, "continues": np.packbits(vocabulary.continues).tobytes().hex()})
