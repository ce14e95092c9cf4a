"""Blocks of documents, and what becomes of one: text -> sentences -> tokens -> rows -> masks -> a shard."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mobilebert.base.errors import InputError
from mobilebert.data.pretrain.masking import draw_masks, row_keys
from mobilebert.data.pretrain.pairs import draw_pairs
from mobilebert.data.pretrain.sentences import splitter
from mobilebert.data.pretrain.settings import Settings, Vocabulary
from mobilebert.data.pretrain.shards import Shard
from mobilebert.data.pretrain.sources import Document
from mobilebert.text.plain import encode_plain
from mobilebert.text.tokenizer import MobileBertTokenizer

_CHUNK = 1 << 18  # tokens that are masked at once


@dataclass(frozen=True)
class Block:
    """Documents that are worked on together.

    Attributes:
        index: its number.
        documents: at least two, in the order of the input.
    """

    index: int
    documents: Sequence[Document]

    @property
    def digest(self) -> str:
        """Of the documents' text."""
        digest = hashlib.sha256()
        for document in self.documents:
            digest.update(b"%d\n" % len(document.text) + document.text)
        return digest.hexdigest()


def cut_blocks(documents: Iterable[Document], block_bytes: int) -> Iterator[Block]:
    """Cut a stream of documents into blocks; where they are cut depends on the documents alone.

    A block ends with the document that brings it to ``block_bytes``, and has two documents at least. What is left at
    the end and is less than half a block belongs to the last one.

    Raises:
        InputError: less than two documents in all.
    """
    whole: list[Document] = []
    part: list[Document] = []
    size = index = 0
    for document in documents:
        part.append(document)
        size += len(document.text)
        if size >= block_bytes and len(part) > 1:
            if whole:
                yield Block(index, whole)
                index += 1
            whole, part, size = part, [], 0
    if whole and len(part) > 1 and 2 * size >= block_bytes:
        yield Block(index, whole)
        index, whole = index + 1, []
    whole = whole + part
    if not whole:
        raise InputError("pre-training data: there is no text in the input; give files with text in them")
    if len(whole) < 2:
        raise InputError(
            f"{whole[0].place}: the input is one document, and next sentence prediction takes sentences of others; "
            "put an empty line between documents"
        )
    yield Block(index, whole)


def make_shard(
    block: Block, tokenizer: MobileBertTokenizer, settings: Settings, vocabulary: Vocabulary
) -> tuple[Shard, dict[str, int]]:
    """All that becomes of a block.

    Returns:
        Its rows; and the numbers of its documents and sentences.

    Raises:
        InputError: text that is not UTF-8, or less than two documents with any.
    """
    sentences: list[str] = []
    counts: list[int] = []  # of each document
    split = splitter(settings.language)
    for document in block.documents:
        before = len(sentences)
        sentences.extend(split(_decoded(document)))
        counts.append(len(sentences) - before)
    ids, lengths = encode_plain(tokenizer, sentences)
    has_tokens = lengths > 0
    owners = np.repeat(np.arange(len(counts)), counts)[has_tokens]
    _, document_counts = np.unique(owners, return_counts=True)
    if len(document_counts) < 2:
        raise InputError(
            f"{block.documents[0].place}: from here to {block.documents[-1].place} there is only one document with "
            "words in it, and next sentence prediction takes sentences of others; raise `block_bytes`"
        )
    sentence_starts = np.cumsum([0, *lengths[has_tokens]]).tolist()
    document_starts = np.cumsum([0, *document_counts]).tolist()
    pairs = draw_pairs(sentence_starts, document_starts, settings, block.index)
    shard = Shard(
        tokens=ids.astype(vocabulary.dtype),
        first_starts=pairs[:, 0].astype(np.uint32),
        first_lengths=pairs[:, 1].astype(np.uint16),
        second_starts=pairs[:, 2].astype(np.uint32),
        second_lengths=pairs[:, 3].astype(np.uint16),
        is_random=pairs[:, 4].astype(np.uint8),
        mask_starts=np.zeros(len(pairs) + 1, np.uint32),
        mask_positions=np.zeros(0, np.uint16),
        mask_ids=np.zeros(0, vocabulary.dtype),
    )
    if not settings.dynamic:
        shard = _masked(shard, settings, vocabulary, block.index)
    return shard, {"documents": len(document_counts), "sentences": len(sentence_starts) - 1}


def _masked(shard: Shard, settings: Settings, vocabulary: Vocabulary, block: int) -> Shard:
    """A shard with masks, those of epoch 0."""
    counts: list[np.ndarray] = []
    positions: list[np.ndarray] = []
    ids: list[np.ndarray] = []
    step = max(1, _CHUNK // settings.max_seq_length)
    for begin in range(0, len(shard), step):
        rows = np.arange(begin, min(begin + step, len(shard)))
        lengths = shard.lengths[rows]
        input_ids = shard.rows(rows, lengths.max(), vocabulary)
        keys = row_keys(settings.seed, 0, block, rows)
        chosen, replaced = draw_masks(input_ids, lengths, keys, settings, vocabulary)
        counts.append(chosen.sum(axis=1))
        positions.append(np.nonzero(chosen)[1].astype(np.uint16))
        ids.append(replaced.astype(vocabulary.dtype))
    return replace(
        shard,
        mask_starts=np.cumsum([0, *np.concatenate(counts)]).astype(np.uint32),
        mask_positions=np.concatenate(positions),
        mask_ids=np.concatenate(ids),
    )


def _decoded(document: Document) -> list[str]:
    """The lines of a document."""
    try:
        return document.text.decode().split("\n")
    except UnicodeDecodeError as error:
        line = document.line + document.text.count(b"\n", 0, error.start)
        raise InputError(f"{document.path}:{line}: not UTF-8 text; save it as UTF-8") from None
