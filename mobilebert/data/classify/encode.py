"""Examples -> packed rows of token ids, one row an example."""

import hashlib
import json

import numpy as np

from mobilebert.data.cache import cached_rows, tokenizer_digest
from mobilebert.data.classify.examples import Examples
from mobilebert.data.packed import PackedRows, pack_rows
from mobilebert.text.tokenizer import MobileBertTokenizer


def encode_examples(examples: Examples, tokenizer: MobileBertTokenizer, max_seq_length: int) -> PackedRows:
    """``[CLS] text [SEP]`` or ``[CLS] text [SEP] pair [SEP]``; what is too long loses tokens from the longer text.

    Args:
        examples: texts and, where known, labels.
        tokenizer: of the model.
        max_seq_length: tokens a row, special tokens included.

    Returns:
        Rows with ``labels`` where the examples have them; ``info["truncated"]`` counts the shortened ones.
    """
    rows, second_starts, truncated = [], [], 0
    windows = tokenizer.encode_windows(
        examples.texts, examples.pairs, max_length=max_seq_length, truncation="longest_first"
    )
    for index, window in windows:
        if index < len(rows):  # a later window of the same example: what was cut off
            continue
        rows.append(np.array(window.ids, np.int32))
        second_starts.append(window.type_ids.index(1) if examples.pairs is not None else len(window.ids))
        truncated += bool(window.overflowing)
    labels = {} if examples.labels is None else {"labels": examples.labels}
    return pack_rows(rows, second_starts, examples.ids, labels, {"truncated": truncated})


def examples_digest(examples: Examples) -> str:
    """SHA-256 of everything in the examples but the name of their file."""
    digest = hashlib.sha256()
    for column in (examples.ids, examples.texts, examples.pairs):
        digest.update(json.dumps(column).encode())
    if examples.labels is not None:
        digest.update(examples.labels.tobytes())
    return digest.hexdigest()


def cached_examples(
    name: str, examples: Examples, tokenizer: MobileBertTokenizer, max_seq_length: int, folder: str | None
) -> PackedRows:
    """``encode_examples``, kept in ``folder`` (None: not kept) under a file name that begins with ``name``."""
    ingredients = {
        "examples": examples_digest(examples),
        "tokenizer": tokenizer_digest(tokenizer),
        "max_seq_length": max_seq_length,
    }
    return cached_rows(name, ingredients, lambda: encode_examples(examples, tokenizer, max_seq_length), folder)
