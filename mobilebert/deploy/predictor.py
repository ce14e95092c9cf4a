"""Texts in, answers and classes out, from an exported folder.

predictor = Predictor("exported")
predictor.answer("Who wrote it?", "It was written by Ada Lovelace in 1843.")[0].text
predictor.classify("A joy to watch.").label
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mobilebert.config import MobileBertConfig
from mobilebert.data.glue_features import encode_examples
from mobilebert.data.glue_files import Examples
from mobilebert.data.squad import build_features
from mobilebert.data.squad_json import SquadExample
from mobilebert.deploy import engines
from mobilebert.deploy.batching import outputs_of
from mobilebert.deploy.manifest import Manifest
from mobilebert.errors import InputError
from mobilebert.postprocess.squad import extract_answers
from mobilebert.tokenizer import MobileBertTokenizer


@dataclass(frozen=True)
class Answer:
    """A piece of the context, or no answer.

    Attributes:
        text: ``context[start:end]``; ``""`` for no answer.
        start, end: characters of the original context; -1 for no answer.
        probability: among the candidates of this question.
        score: sum of the start and the end logit.
    """

    text: str
    start: int
    end: int
    probability: float
    score: float


@dataclass(frozen=True)
class Classification:
    """A decision about a text.

    Attributes:
        label: the likeliest class; for regression the config's one label.
        score: its probability; for regression the predicted number.
        scores: every class's probability (each for itself where a text may have several labels).
    """

    label: str
    score: float
    scores: dict[str, float]


class Predictor:
    """An exported model with its tokenizer. Safe to use from several threads.

    Args:
        folder: what export.py wrote.
        engine: ``"onnxruntime"``, ``"paddle"``, ``"dygraph"`` or ``"openvino"``.
        threads: of one run; None leaves the choice to the library.
        openvino_precision: ``"f32"`` or ``"bf16"``.

    Raises:
        InputError: not an exported folder, or not exported for this engine.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        engine: str = "onnxruntime",
        threads: int | None = None,
        openvino_precision: str = "f32",
    ):
        self.folder = Path(folder)
        self.manifest = Manifest.load(self.folder)
        self.config = MobileBertConfig.from_pretrained(self.folder)
        self.tokenizer = MobileBertTokenizer.from_pretrained(self.folder)
        self.engine = engines.load(self.folder, engine, threads, openvino_precision)

    def answer(self, question: str, context: str, **options) -> list[Answer]:
        """Answer one question; ``options`` and result as one row of ``answer_batch``."""
        return self.answer_batch([question], [context], **options)[0]

    def answer_batch(
        self,
        questions: Sequence[str],
        contexts: Sequence[str],
        *,
        top_k: int = 1,
        allow_no_answer: bool = False,
        null_score_diff_threshold: float = 0.0,
        max_answer_length: int = 30,
        max_seq_length: int | None = None,
        doc_stride: int = 128,
    ) -> list[list[Answer]]:
        """Answer questions, each about its own context.

        Args:
            questions, contexts: [N] texts; a context of any length, cut into overlapping windows where too long.
            top_k: answers a question, different texts or places.
            allow_no_answer: as in SQuAD v2.0: an answer may be "none".
            null_score_diff_threshold: none is the best answer where its odds exceed this.
            max_answer_length: in tokens.
            max_seq_length: tokens of question and window; None takes the exporter's.
            doc_stride: tokens that neighbouring windows share.

        Returns:
            [N] lists of up to ``top_k`` answers, best first.

        Raises:
            InputError: another head, an empty text, or a question that leaves no room for its context.
        """
        self._require("question-answering", "answers questions")
        if top_k < 1:
            raise InputError(f"top_k={top_k}: expected at least 1")
        _check_texts(questions, "question")
        _check_texts(contexts, "context")
        if len(questions) != len(contexts):
            raise InputError(f"{len(questions)} questions for {len(contexts)} contexts: expected as many")
        if not questions:
            return []
        length = self._length(max_seq_length)
        examples = [
            SquadExample(str(number), question, context, (), ())
            for number, (question, context) in enumerate(zip(questions, contexts, strict=True))
        ]
        rows = build_features(
            examples, self.tokenizer, max_seq_length=length, doc_stride=min(doc_stride, length // 3), is_training=False
        )
        start_logits, end_logits = outputs_of(self.engine, rows, self.tokenizer.pad_token_id, fill=-np.inf)
        found = extract_answers(
            [example.id for example in examples],
            [_Traced(example.context) for example in examples],
            rows.example_index,
            rows.row_starts,
            rows.offsets,
            start_logits,
            end_logits,
            version_2_with_negative=allow_no_answer,
            n_best_size=max(20, top_k),
            max_answer_length=max_answer_length,
            null_score_diff_threshold=null_score_diff_threshold,
        )
        return [_ranked(found.nbest[example.id], found.predictions[example.id], top_k) for example in examples]

    def classify(self, text: str, pair: str | None = None, **options) -> Classification:
        """Classify one text or pair; see ``classify_batch``."""
        return self.classify_batch([text], None if pair is None else [pair], **options)[0]

    def classify_batch(
        self, texts: Sequence[str], pairs: Sequence[str] | None = None, *, max_seq_length: int | None = None
    ) -> list[Classification]:
        """Classify texts, or pairs of texts.

        Args:
            texts: [N] first (or only) texts; what is too long is cut off, from the longer text of a pair.
            pairs: [N] second texts.
            max_seq_length: tokens; None takes the exporter's.

        Raises:
            InputError: another head, or something that is no text.
        """
        self._require("sequence-classification", "classifies texts")
        _check_texts(texts, "text", may_be_empty=True)
        if pairs is not None:
            _check_texts(pairs, "pair", may_be_empty=True)
            if len(texts) != len(pairs):
                raise InputError(f"{len(texts)} texts for {len(pairs)} second texts: expected as many")
        if not texts:
            return []
        ids = [str(number) for number in range(len(texts))]
        examples = Examples("texts", ids, list(texts), None if pairs is None else list(pairs), None)
        rows = encode_examples(examples, self.tokenizer, self._length(max_seq_length))
        (logits,) = outputs_of(self.engine, rows, self.tokenizer.pad_token_id)
        return [self._classification(row) for row in logits.astype(np.float64)]

    def _length(self, max_seq_length: int | None) -> int:
        length = self.manifest.max_seq_length if max_seq_length is None else max_seq_length
        if not 4 <= length <= self.config.max_position_embeddings:
            raise InputError(
                f"max_seq_length={length}: expected 4 to {self.config.max_position_embeddings} tokens, "
                "what the model has positions for"
            )
        return length

    def _require(self, head: str, does: str) -> None:
        if self.manifest.head != head:
            raise InputError(f"{self.folder}: its head is {self.manifest.head}; only {head} {does}")

    def _classification(self, logits: np.ndarray) -> Classification:
        labels = list(self.config.id2label.values())
        problem_type = self.config.problem_type
        if problem_type == "regression" or (problem_type is None and len(labels) == 1):
            scores = logits
        elif problem_type == "multi_label_classification":
            scores = 1 / (1 + np.exp(-logits))
        else:
            scores = np.exp(logits - logits.max())
            scores /= scores.sum()
        best = int(scores.argmax())
        return Classification(
            labels[best],
            float(scores[best]),
            {label: float(score) for label, score in zip(labels, scores, strict=True)},
        )


def logits_function(
    folder: str | os.PathLike, engine: str = "onnxruntime", threads: int | None = None
) -> Callable[[Mapping[str, np.ndarray]], list[np.ndarray]]:
    """An exported folder as a function from a padded batch to its outputs, for evaluation loops.

    Returns:
        ``{"input_ids", "attention_mask", "token_type_ids"}`` [B, S] int64 -> float32 arrays in the order of the
        manifest: start and end logits [B, S] each, or logits [B, N].
    """
    return engines.load(Path(folder), engine, threads).run


class _Traced(str):
    """A context whose slices know where they were cut: post-processing returns texts, a caller wants offsets too."""

    def __getitem__(self, key):
        piece = _Traced(super().__getitem__(key))
        piece.start, piece.end = int(key.start), int(key.stop)
        return piece


def _ranked(entries: list[dict], best: str, top_k: int) -> list[Answer]:
    """The n-best list as answers, the chosen one first."""
    answers = [
        Answer(
            str(entry["text"]),
            getattr(entry["text"], "start", -1),
            getattr(entry["text"], "end", -1),
            entry["probability"],
            entry["start_logit"] + entry["end_logit"],
        )
        for entry in entries
    ]
    # The threshold may prefer another than the likeliest: no answer, or the best that is one.
    first = next((number for number, answer in enumerate(answers) if answer.text == best), 0)
    return [answers[first], *answers[:first], *answers[first + 1 :]][:top_k]


def _check_texts(texts: Sequence[str], what: str, may_be_empty: bool = False) -> None:
    if isinstance(texts, str):
        raise InputError(f"{what}s: expected a list of texts, got one text; put it into a list")
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputError(f"{what} {number}: expected a text, got {type(text).__name__}")
        if not may_be_empty and not text.strip():
            raise InputError(f"{what} {number} is empty")
