"""Sentences as rows of token ids: a word's first piece carries its tag, long sentences are cut into windows.

A word that the tokenizer drops altogether (of control characters, say) has no piece: it is given "O" and no part in
the loss, but counts in evaluation.

T tokens of all rows, W words of all sentences, L labels
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mobilebert.base.errors import InputError
from mobilebert.data.collate import IGNORED
from mobilebert.data.ner.schemes import IOBES, entities, scheme_of, write
from mobilebert.data.ner.sentences import Sentences
from mobilebert.data.packed import PackedRows
from mobilebert.text.tokenizer import MobileBertTokenizer


@dataclass(frozen=True)
class WordRows:
    """Rows and where each word is read.

    Attributes:
        rows: windows of sentences.
        tokens: [W] int64, the token in ``rows.input_ids`` of each word's first piece, in the window where it has most
            context; -1 for a word without pieces.
        words: [T] int64, the word of each token; -1 for special tokens.
        counts: [N] int64, words of each sentence.
    """

    rows: PackedRows
    tokens: np.ndarray
    words: np.ndarray
    counts: np.ndarray

    def take(self, logits: np.ndarray) -> np.ndarray:
        """The logits of each word: [R, S, L] -> [W, L]; zeros of a word without pieces."""
        found = np.zeros((len(self.tokens), logits.shape[2]), logits.dtype)
        has_piece = self.tokens >= 0
        tokens = self.tokens[has_piece]
        row = np.searchsorted(self.rows.row_starts, tokens, side="right") - 1
        found[has_piece] = logits[row, tokens - self.rows.row_starts[row]]
        return found

    def tags(self, logits: np.ndarray, labels: Sequence[str]) -> list[list[str]]:
        """The tags of each sentence's words: of [W, L] logits the likeliest, "O" for a word without pieces."""
        names = np.array([*labels, "O"], object)
        found = names[np.where(self.tokens >= 0, logits.argmax(axis=1), len(labels))]
        return [part.tolist() for part in np.split(found, np.cumsum(self.counts)[:-1])]


def encode_sentences(
    words: Sequence[Sequence[str]], tokenizer: MobileBertTokenizer, max_seq_length: int, doc_stride: int
) -> WordRows:
    """``[CLS] pieces [SEP]``, in as many windows as it takes.

    Args:
        words: of each of N sentences; an empty one has a row of its own too.
        tokenizer: of the model.
        max_seq_length: tokens a row, special tokens included.
        doc_stride: tokens that neighbouring windows share.

    Raises:
        InputError: windows that would not move on.
    """
    if doc_stride >= max_seq_length - 2:  # told before a sentence is long enough to meet it
        raise InputError(
            f"`doc_stride={doc_stride}`: windows of `max_seq_length={max_seq_length}` would never advance; lower it"
        )
    rows: list[np.ndarray] = []
    sentences: list[int] = []  # of each row
    tokens: list[int] = []
    words_of: list[int] = []
    best: list[int] = []  # context of each of the current sentence's words
    length, first = 0, 0  # tokens so far; the current sentence's first word in ``tokens``
    piece_before = None  # the word of the last piece that is no overlap
    windows = tokenizer.encode_windows(
        words, max_length=max_seq_length, stride=doc_stride, truncation="only_first", is_split_into_words=True
    )
    for sentence, window in windows:
        is_first = not sentences or sentences[-1] != sentence
        if is_first:
            first = len(tokens)
            tokens += [-1] * len(words[sentence])
            best = [-1] * len(words[sentence])
            piece_before = None
        ids = window.word_ids
        # A window begins with pieces of the one before; a word that begins in an earlier window does not begin here.
        for place in range(1, len(ids) - 1):
            word = ids[place]
            begins = word != (ids[place - 1] if place > 1 or is_first else piece_before)
            context = min(place - 1, len(ids) - 2 - place)
            if begins and context > best[word]:
                best[word], tokens[first + word] = context, length + place
        words_of += [-1 if word is None else first + word for word in ids]
        rows.append(np.array(window.ids, np.int32))
        sentences.append(sentence)
        length += len(ids)
        step = len(ids) - 2 - doc_stride
        piece_before = ids[step] if 0 < step < len(ids) else None
    row_starts = np.zeros(len(rows) + 1, np.int64)
    np.cumsum([len(row) for row in rows], out=row_starts[1:])
    packed = PackedRows(
        input_ids=np.concatenate(rows) if rows else np.zeros(0, np.int32),
        row_starts=row_starts,
        second_starts=np.diff(row_starts).astype(np.int32),
        example_ids=[str(number) for number in range(len(words))],
        example_index=np.array(sentences, np.int32),
    )
    counts = np.array([len(one) for one in words], np.int64)
    return WordRows(packed, np.array(tokens, np.int64), np.array(words_of, np.int64), counts)


def gold_tags(sentences: Sentences, labels: Sequence[str]) -> list[list[str]]:
    """The tags of a file in the scheme of a model.

    Raises:
        InputError: one that the model does not have; the line is named.
    """
    tags, known = sentences.tags, set(labels)
    if scheme_of(labels) == IOBES:
        tags = [write(entities(one), len(one), IOBES) for one in tags]
    for lines, one in zip(sentences.lines, tags, strict=True):
        for line, tag in zip(lines, one, strict=True):
            if tag not in known:
                raise InputError(f"{sentences.source}:{line}: tag {tag!r}, but the model knows {', '.join(labels)}")
    return tags


def with_labels(encoded: WordRows, tags: Sequence[Sequence[str]], labels: Sequence[str], all_tokens: bool) -> WordRows:
    """The same rows with what is to be learned, as ``rows.token_labels``; each word once, where it is read.

    Args:
        encoded: of N sentences.
        tags: of each word, in the scheme of ``labels``.
        labels: the model's classes.
        all_tokens: give further pieces of a word its tag too, I- for B-; otherwise they are ignored.

    Source: ``tokenize_and_align_labels`` of transformers' ``run_ner.py``, with and without ``--label_all_tokens``.
    """
    index = {label: number for number, label in enumerate(labels)}
    inside = np.array([index.get(f"I-{label[2:]}", number) if label[:2] == "B-" else number
                       for number, label in enumerate(labels)])  # fmt: skip
    of_words = np.array([index[tag] for one in tags for tag in one], np.int64)
    found = np.full(len(encoded.words), IGNORED, np.int64)
    if all_tokens:
        rows = encoded.rows
        row_of = np.repeat(np.arange(len(rows)), rows.lengths)
        token = np.flatnonzero(encoded.words >= 0)
        first = encoded.tokens[encoded.words[token]]
        token = token[(row_of[token] == row_of[first]) & (token > first)]
        found[token] = inside[of_words[encoded.words[token]]]
    has_piece = encoded.tokens >= 0
    found[encoded.tokens[has_piece]] = of_words[has_piece]
    return replace(encoded, rows=replace(encoded.rows, token_labels=found.astype(np.int32)))


def sentences_digest(sentences: Sentences) -> str:
    """SHA-256 of words and tags."""
    return hashlib.sha256(json.dumps([sentences.words, sentences.tags]).encode()).hexdigest()
