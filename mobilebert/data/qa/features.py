"""SQuAD v1.1 and v2.0: official JSON -> checked examples -> packed features.

Features are those of transformers' question-answering example (``run_qa.py``): ``[CLS] question [SEP] context [SEP]``,
a context that is too long cut into windows that overlap by ``doc_stride`` tokens. (In Google's and PaddleNLP's code
``doc_stride`` is the step from window to window instead.) Each context and question is tokenized once, however many
questions and windows it has.

    F features (windows), T tokens of all features
"""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mobilebert.base.errors import InputError, QuestionTooLongError
from mobilebert.base.files import file_digest
from mobilebert.data.cache import DEFAULT_FOLDER, cached_rows, tokenizer_digest
from mobilebert.data.packed import PackedRows
from mobilebert.data.qa.squad_json import SquadExample, read_squad
from mobilebert.text.tokenizer import MobileBertTokenizer

_log = logging.getLogger(__name__)

_ENCODE_CHUNK = 512  # texts tokenized at once: an encoding takes some 100 bytes a token until it is packed
_SPECIAL_TOKENS = 3  # [CLS], [SEP], [SEP]
# Which training files are refused; a new number lets no cached rows hide a new refusal.
_RULES = 2


def load_train_features(
    path: str | os.PathLike,
    tokenizer: MobileBertTokenizer,
    *,
    max_seq_length: int = 384,
    doc_stride: int = 128,
    version_2_with_negative: bool = False,
    on_bad_answer: str = "error",
    cache_folder: str | os.PathLike | None = DEFAULT_FOLDER,
) -> PackedRows:
    """Features of a training file, from the cache where they are there; the file is then only hashed, not read.

    Args:
        path: official JSON, plain or ``.gz``.
        tokenizer: the tokenizer.
        max_seq_length: tokens of a feature at most.
        doc_stride: tokens that neighbouring windows of a context share.
        version_2_with_negative, on_bad_answer: as in ``read_squad``.
        cache_folder: ``None`` for no cache.

    Returns:
        Rows with the labels ``start_positions`` and ``end_positions``; ``info`` has ``examples``, ``unanswerable`` and
        ``dropped``, and ``answers without a token`` where there are any.

    Raises:
        InputError: bad input; see ``read_squad`` and ``build_features``.
    """

    def build() -> PackedRows:
        examples, dropped = read_squad(
            path, version_2_with_negative=version_2_with_negative, on_bad_answer=on_bad_answer
        )
        return build_features(
            examples,
            tokenizer,
            max_seq_length=max_seq_length,
            doc_stride=doc_stride,
            is_training=True,
            dropped=dropped,
        )

    ingredients = {
        "kind": "squad-train",
        "file": _digest(path),
        "tokenizer": tokenizer_digest(tokenizer),
        "max_seq_length": max_seq_length,
        "doc_stride": doc_stride,
        "version_2_with_negative": version_2_with_negative,
        "on_bad_answer": on_bad_answer,
        "rules": _RULES,
    }
    return cached_rows(f"squad-train-{_stem(path)}", ingredients, build, cache_folder)


def load_dev_features(
    path: str | os.PathLike,
    tokenizer: MobileBertTokenizer,
    *,
    max_seq_length: int = 384,
    doc_stride: int = 128,
    version_2_with_negative: bool = False,
    require_answers: bool = True,
    cache_folder: str | os.PathLike | None = DEFAULT_FOLDER,
) -> tuple[list[SquadExample], PackedRows]:
    """Examples and features of a file to be answered; the features from the cache where they are there.

    Args:
        path, tokenizer, max_seq_length, doc_stride, version_2_with_negative, cache_folder: as in
            ``load_train_features``.
        require_answers: ``False``: to be answered but not scored; what the file says about answers is not read.

    Returns:
        The examples in file order, and rows with ``offsets`` and without labels, whose ``example_index`` counts them.

    Raises:
        InputError: bad input; see ``read_squad`` and ``build_features``.
    """
    examples, _ = read_squad(
        path,
        version_2_with_negative=version_2_with_negative,
        purpose="score" if require_answers else "answer",
    )

    def build() -> PackedRows:
        return build_features(
            examples, tokenizer, max_seq_length=max_seq_length, doc_stride=doc_stride, is_training=False
        )

    ingredients = {
        "kind": "squad-dev",
        "file": _digest(path),
        "tokenizer": tokenizer_digest(tokenizer),
        "max_seq_length": max_seq_length,
        "doc_stride": doc_stride,
    }
    return examples, cached_rows(f"squad-dev-{_stem(path)}", ingredients, build, cache_folder)


def build_features(
    examples: Sequence[SquadExample],
    tokenizer: MobileBertTokenizer,
    *,
    max_seq_length: int = 384,
    doc_stride: int = 128,
    is_training: bool,
    dropped: int = 0,
) -> PackedRows:
    """Tokenize examples and cut them into windows.

    Args:
        examples: what to pack. White space at the beginning of a question is removed; contexts stay as they are.
        tokenizer: the tokenizer.
        max_seq_length: tokens of a feature at most.
        doc_stride: tokens that neighbouring windows of a context share.
        is_training: label the rows; otherwise give them the offsets that post-processing needs.
        dropped: examples left out before, for ``info``.

    Returns:
        One row a window, in the order of the examples.

    Raises:
        QuestionTooLongError: questions leave their contexts no more tokens than ``doc_stride``.
        InputError: there is no example, or ``doc_stride`` is negative or so large that no question would fit.
    """
    if not examples:
        raise InputError("no questions to build features from")
    if doc_stride < 0:
        raise InputError(f"doc_stride={doc_stride}: expected at least 0")
    contexts: dict[str, int] = {}  # text -> place in context_ids
    context_of = np.array([contexts.setdefault(example.context, len(contexts)) for example in examples])
    context_ids, context_starts, context_offsets = _encode(list(contexts), tokenizer, with_offsets=True)
    questions = [example.question.lstrip() for example in examples]
    question_ids, question_starts, _ = _encode(questions, tokenizer, with_offsets=False)

    question_lengths = np.diff(question_starts)
    context_lengths = np.diff(context_starts)[context_of]
    space = _context_space(examples, question_lengths, context_lengths, max_seq_length, doc_stride)
    example_index, window_starts, window_lengths = _windows(context_lengths, space, doc_stride)

    second_starts = question_lengths[example_index] + 2
    row_starts = np.zeros(len(example_index) + 1, np.int64)
    np.cumsum(second_starts + window_lengths + 1, out=row_starts[1:])
    input_ids = np.empty(row_starts[-1], np.int32)
    input_ids[row_starts[:-1]] = tokenizer.cls_token_id
    input_ids[row_starts[:-1] + second_starts - 1] = tokenizer.sep_token_id
    input_ids[row_starts[1:] - 1] = tokenizer.sep_token_id
    offsets = None if is_training else np.full((len(input_ids), 2), -1, np.int32)
    windows = context_starts[context_of][example_index] + window_starts  # [F] places in context_ids
    for row, (example, window) in enumerate(zip(example_index, windows, strict=True)):
        low, high = row_starts[row] + second_starts[row], row_starts[row + 1] - 1
        input_ids[row_starts[row] + 1 : low - 1] = question_ids[question_starts[example] : question_starts[example + 1]]
        input_ids[low:high] = context_ids[window : window + high - low]
        if offsets is not None:
            offsets[low:high] = context_offsets[window : window + high - low]

    labels, without_token = {}, {}
    if is_training:
        offsets_of = (context_offsets[context_starts[at] : context_starts[at + 1]] for at in context_of)
        spans = np.array([_answer_tokens(*pair) for pair in zip(examples, offsets_of, strict=True)])  # [N, 2]
        labels = _labels(spans[example_index] - window_starts[:, None], window_lengths, second_starts)
        without_token = _count_without_token(examples, spans)
    return PackedRows(
        input_ids=input_ids,
        row_starts=row_starts,
        second_starts=second_starts.astype(np.int32),
        example_ids=[example.id for example in examples],
        example_index=example_index.astype(np.int32),
        labels=labels,
        offsets=offsets,
        info={
            "examples": len(examples),
            "unanswerable": sum(not example.answers for example in examples),
            "dropped": dropped,
            **without_token,
        },
    )


def _context_space(
    examples: Sequence[SquadExample],
    question_lengths: np.ndarray,
    context_lengths: np.ndarray,
    max_seq_length: int,
    doc_stride: int,
) -> np.ndarray:
    """[N] tokens of a row that are left for the context; lengths [N] in tokens."""
    space = max_seq_length - _SPECIAL_TOKENS - question_lengths
    too_long = np.flatnonzero((context_lengths > space) & (space <= doc_stride))
    messages = {
        number: f"question {examples[number].id}: its {question_lengths[number]} tokens leave the context "
        f"{space[number]} of max_seq_length={max_seq_length}, not more than doc_stride={doc_stride}; raise the one or "
        "lower the other"
        for number in too_long.tolist()
    }
    if messages and max_seq_length - _SPECIAL_TOKENS <= doc_stride:  # no question is short enough
        raise InputError(messages[too_long[0]])
    if messages:
        raise QuestionTooLongError(messages)
    return space


def _encode(
    texts: list[str], tokenizer: MobileBertTokenizer, with_offsets: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Tokenize texts without special tokens into flat ids ``[t]``, starts ``[texts + 1]``, offsets ``[t, 2]``."""
    ids, lengths, offsets = [], [], []
    backend = tokenizer.backend_tokenizer
    for low in range(0, len(texts), _ENCODE_CHUNK):
        for encoding in backend.encode_batch(texts[low : low + _ENCODE_CHUNK], add_special_tokens=False):
            ids.append(np.array(encoding.ids, np.int32))
            lengths.append(len(encoding))
            if with_offsets:
                offsets.append(np.array(encoding.offsets, np.int32).reshape(-1, 2))
    starts = np.zeros(len(texts) + 1, np.int64)
    np.cumsum(lengths, out=starts[1:])
    return np.concatenate(ids), starts, np.concatenate(offsets) if with_offsets else None


def _windows(
    context_lengths: np.ndarray, space: np.ndarray, doc_stride: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut contexts into windows of at most ``space`` tokens, until one reaches the end.

    Returns:
        For each window, ``[F]`` int64: its example, its first token in the context, its number of tokens.
    """
    step = np.maximum(space - doc_stride, 1)
    counts = 1 + np.maximum(-(-(context_lengths - space) // step), 0)
    example_index = np.repeat(np.arange(len(counts)), counts)
    number = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)  # 0, 1, ... in each example
    starts = number * step[example_index]
    return example_index, starts, np.minimum(space[example_index], context_lengths[example_index] - starts)


def _answer_tokens(example: SquadExample, offsets: np.ndarray) -> tuple[int, int]:
    """First and last token of an example's first answer in its context; (-1, -1) where there is none.

    They are the tokens that share a character with the answer. What stands at its ends without a token of its own
    (white space, line breaks, soft hyphens, combining marks) moves neither. Where an answer begins or ends in a
    character of several tokens (a Hangul syllable), it begins at the last of them and ends at the first, as in
    ``run_qa``, unless they would cross: the characters are the same.

    Args:
        example: the question.
        offsets: [tokens, 2] characters of its context's tokens.
    """
    if not example.answers:
        return -1, -1
    start_char = example.answer_starts[0]
    first = int(np.searchsorted(offsets[:, 1], start_char, side="right"))
    last = int(np.searchsorted(offsets[:, 0], start_char + len(example.answers[0]), side="left")) - 1
    if first > last:
        return -1, -1
    inner_first = int(np.searchsorted(offsets[:, 0], offsets[first, 0], side="right")) - 1
    inner_last = int(np.searchsorted(offsets[:, 1], offsets[last, 1], side="left"))
    return (inner_first, inner_last) if inner_first <= inner_last else (first, last)


def _labels(spans: np.ndarray, window_lengths: np.ndarray, second_starts: np.ndarray) -> dict[str, np.ndarray]:
    """First and last token of each row's answer; ``[CLS]`` (0) where a window does not hold all of it.

    Source: ``run_qa``, but where that does not label the answer's own tokens:

    - An answer begins in the last context token of a window (3 of the 88,524 features of SQuAD v1.1): ``run_qa`` steps
      over the end there, because ``[SEP]`` and padding have the offsets (0, 0), and takes the last padding token as the
      start.
    - An answer begins or ends in characters that have no token (none of the 88,524): ``run_qa`` takes the word before
      it, the word after it, or at the end of a context ``[CLS]``.
    - An answer is one character of several tokens (none of the 88,524): ``run_qa`` begins behind where it ends.

    Args:
        spans: [F, 2] tokens of the answers, counted from each window's first.
        window_lengths: [F] context tokens of each window.
        second_starts: [F] where they begin in their rows.
    """
    is_inside = (spans[:, 0] >= 0) & (spans[:, 1] < window_lengths)
    labels = np.where(is_inside[:, None], second_starts[:, None] + spans, 0).astype(np.int32)
    return {"start_positions": labels[:, 0].copy(), "end_positions": labels[:, 1].copy()}


def _count_without_token(examples: Sequence[SquadExample], spans: np.ndarray) -> dict[str, int]:
    """Count, for ``info``, and name in the log the answers that the tokenizer leaves nothing of; {} for none.

    Args:
        examples: [N].
        spans: [N, 2] as of ``_answer_tokens``.
    """
    ids = [example.id for example, (first, _) in zip(examples, spans, strict=True) if example.answers and first < 0]
    if not ids:
        return {}
    _log.warning(
        "%d of %d questions have an answer of which the tokenizer leaves nothing (first: %s); they are trained as rows "
        "without an answer",
        len(ids), len(examples), ", ".join(ids[:3]),
    )  # fmt: skip
    return {"answers without a token": len(ids)}


def _digest(path: str | os.PathLike) -> str:
    """Digest of a file's bytes, for the key of the cache."""
    try:
        return file_digest(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def _stem(path: str | os.PathLike) -> str:
    """A file's name without its endings: ``train-v1.1.json.gz`` -> ``train-v1.1``."""
    return Path(path).name.removesuffix(".gz").removesuffix(".json")
