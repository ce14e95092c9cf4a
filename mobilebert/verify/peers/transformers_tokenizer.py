"""The references: two tokenizers of transformers, the fast ``BertTokenizer`` and the older ``BertTokenizerLegacy``."""

import contextlib
import os
import tempfile
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from mobilebert.text.tokenizer import MobileBertTokenizer

_CACHED_TEXTS = 1024


class References:
    """transformers' fast and slow tokenizer of one folder or vocabulary file.

    Args:
        source: what ``from_pretrained`` of both takes. The slow one reads ``vocab.txt`` only.
    """

    def __init__(self, source: str | os.PathLike):
        from transformers import BertTokenizer, __version__
        from transformers.models.bert.tokenization_bert_legacy import BertTokenizerLegacy
        from transformers.utils import logging

        logging.set_verbosity_error()
        self.version = __version__
        self.fast = BertTokenizer.from_pretrained(source)
        vocab_file = Path(source) / "vocab.txt" if Path(source).is_dir() else Path(source)
        if vocab_file.is_file():
            self.slow = BertTokenizerLegacy.from_pretrained(source)
        else:
            self.slow = None  # a folder with tokenizer.json alone
        self._slow_ids: dict[str, list[int]] = {}

    def slow_ids(self, text: str) -> list[int]:
        """Ids of a text by the slow tokenizer, without special tokens; each text is done once."""
        if text not in self._slow_ids:
            if len(self._slow_ids) > _CACHED_TEXTS:
                self._slow_ids.clear()
            self._slow_ids[text] = self.slow.convert_tokens_to_ids(self.slow.tokenize(text))
        return self._slow_ids[text]

    def slow_rows(self, texts: Sequence[str], pairs: Sequence[str] | None) -> list[dict[str, list[int]]]:
        """Untruncated rows by the slow tokenizer."""
        rows = []
        for index, text in enumerate(texts):
            first = self.slow_ids(text)
            rows.append(self.slow_row(first, None if pairs is None else self.slow_ids(pairs[index])))
        return rows

    def slow_row(self, first: list[int], second: list[int] | None) -> dict[str, list[int]]:
        """One row of ids by the slow tokenizer's own rules."""
        ids = self.slow.build_inputs_with_special_tokens(first, second)
        types = self.slow.create_token_type_ids_from_sequences(first, second)
        return {"input_ids": ids, "token_type_ids": types, "attention_mask": [1] * len(ids)}

    def agree(self, text: str) -> bool:
        """Whether both references give a text the same ids."""
        return self.fast(text, add_special_tokens=False)["input_ids"] == self.slow_ids(text)

    def reason(self, text: str) -> str | None:
        """Why the references differ on a text: the repairs that make them agree; None if they do not help."""
        for name, repair in REPAIRS.items():
            if self.agree(repair(text, self)):
                return name
        repaired, reasons = text, []
        for name, repair in REPAIRS.items():
            better = repair(repaired, self)
            if better != repaired:
                repaired = better
                reasons.append(name)
                if self.agree(repaired):
                    return " + ".join(reasons)
        return None


def _drop_characters(text: str, references: References) -> str:
    """Without the characters that the references treat differently on their own, between two letters."""
    return "".join(c for c in text if c.isascii() or references.agree(f"a{c}b"))


REPAIRS: dict[str, Callable[[str, References], str]] = {
    # Python lower-cases a capital sigma at the end of a word to the final form; Rust's tokenizer goes by characters.
    "final sigma": lambda text, _: text.replace("Σ", "σ"),
    # The slow tokenizer composes characters first; the fast one does not.
    "composition (NFC)": lambda text, _: unicodedata.normalize("NFC", text),
    # Python's and Rust's tables are of different versions of Unicode.
    "a character's class": _drop_characters,
}


@contextlib.contextmanager
def folder_of(tokenizer: MobileBertTokenizer) -> Iterator[Path]:
    """A temporary folder with a tokenizer's files, for references that only read files."""
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        yield Path(folder)
