"""How text becomes rows for pre-training: what all parts are told, and the folder notes."""

from dataclasses import dataclass

import numpy as np

from mobilebert.base.errors import InputError
from mobilebert.text.tokenizer import MobileBertTokenizer

_MOST_TOKENS = 1 << 15  # a row; positions and lengths are 16 bits


@dataclass(frozen=True)
class Settings:
    """BERT's settings, and what of ours changes the rows.

    Attributes:
        max_seq_length: tokens a row, special tokens included.
        max_predictions_per_seq: the most tokens of a row that are to be predicted.
        masked_lm_prob: the share of a row's tokens that is to be predicted.
        short_seq_prob: how many copies of a document are cut into shorter rows.
        dupe_factor: copies of each document, each cut and masked anew.
        whole_word_mask: all pieces of a word are predicted, or none.
        dynamic: masks are drawn when a batch is made, anew in each epoch, and not stored.
        seed: of everything random.
        block_bytes: documents are worked on in blocks of about so much text; a random next sentence is of the same one.
        language: of the sentence splitter; None where each line is a sentence.

    Raises:
        InputError: a value outside its range.
    """

    max_seq_length: int = 128
    max_predictions_per_seq: int = 20
    masked_lm_prob: float = 0.15
    short_seq_prob: float = 0.1
    dupe_factor: int = 10
    whole_word_mask: bool = False
    dynamic: bool = False
    seed: int = 12345
    block_bytes: int = 16_000_000
    language: str | None = None

    def __post_init__(self):
        for name, least, most in (
            ("max_seq_length", 5, _MOST_TOKENS),  # [CLS] [SEP] [SEP], and a token of each text
            ("max_predictions_per_seq", 1, _MOST_TOKENS),
            ("masked_lm_prob", 0, 1),
            ("short_seq_prob", 0, 1),
            ("dupe_factor", 1, 1 << 16),
            ("seed", 0, (1 << 63) - 1),
            ("block_bytes", 1, 1 << 28),
        ):
            if not least <= getattr(self, name) <= most:
                raise InputError(f"`{name}={getattr(self, name)}`: give a number from {least} to {most}")


@dataclass(frozen=True)
class Vocabulary:
    """What the rules must know of a tokenizer.

    Attributes:
        size: ids are 0 to size - 1.
        pad, cls, sep, mask: ids of the special tokens.
        continues: ``[V]`` bool, whether a token goes on with the word before it (``##ing``).
    """

    size: int
    pad: int
    cls: int
    sep: int
    mask: int
    continues: np.ndarray

    @classmethod
    def of(cls, tokenizer: MobileBertTokenizer) -> "Vocabulary":
        """That of a tokenizer, with the tokens that were added to it."""
        continues = np.zeros(len(tokenizer), bool)
        continues[[index for token, index in tokenizer.get_vocab().items() if token.startswith("##")]] = True
        return cls(
            size=len(tokenizer),
            pad=tokenizer.pad_token_id,
            cls=tokenizer.cls_token_id,
            sep=tokenizer.sep_token_id,
            mask=tokenizer.mask_token_id,
            continues=continues,
        )

    @property
    def dtype(self) -> type:
        """The smallest type for its ids."""
        return np.uint16 if self.size <= 1 << 16 else np.int32
