"""Texts in, answers, classes and entities out, from an exported folder or a fine-tuned checkpoint.

predictor = Predictor("exported")
predictor.answer("Who wrote it?", "It was written by Ada Lovelace in 1843.")[0].text
predictor.classify("A joy to watch.").label
predictor.entities("Ada Lovelace lived in London.")[0].type
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mobilebert.base import digests
from mobilebert.base.errors import InputError
from mobilebert.data.classify.encode import encode_examples
from mobilebert.data.classify.examples import Examples
from mobilebert.data.collate import PackedDataset
from mobilebert.data.ner.encode import encode_sentences
from mobilebert.data.packed import PackedRows
from mobilebert.data.qa.features import build_features
from mobilebert.data.qa.spans import AnswerRules, RankedSpans, Span, end_with_marks, extract_spans, mask_padding
from mobilebert.data.qa.squad_json import SquadExample
from mobilebert.data.qa.words import widen
from mobilebert.data.tables import bare
from mobilebert.data.texts import check_text
from mobilebert.inference import engines
from mobilebert.inference.entities import Entity, SplitTexts
from mobilebert.inference.rows import batches_by_tokens, run_rows, span_shapes, token_shapes
from mobilebert.inference.source import Source, read_source
from mobilebert.text.tokenizer import MobileBertTokenizer

N_BEST = 20  # candidates of a question, among which the probabilities sum to 1


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
class Reading:
    """What was found for one question.

    Attributes:
        answers: best first, each at another place.
        null_odds: score of "no answer" minus the best answer's score; None where an answer is always given.
        windows: first and last character (exclusive) of each piece of the context that was read at once.
    """

    answers: list[Answer]
    null_odds: float | None
    windows: list[tuple[int, int]]


@dataclass(frozen=True)
class Classification:
    """A decision about a text.

    Attributes:
        label: the likeliest class; for regression the config's one label.
        score: its probability; for regression the predicted number.
        scores: every class's probability (each for itself where a text may have several labels).
        chosen: where a text may have several labels, those above the threshold, likeliest first; else None.
    """

    label: str
    score: float
    scores: dict[str, float]
    chosen: tuple[str, ...] | None = None


class Predictor:
    """A model with its tokenizer. Safe to use from several threads.

    Args:
        folder: what export.py wrote, a fine-tuned checkpoint's folder, or its hub name; or what ``read_source`` read.
        engine: ``"onnxruntime"``, ``"paddle"``, ``"dygraph"``, ``"openvino"`` or ``"litert"``; None takes the
            fastest that the folder has files for. A checkpoint runs in dygraph.
        threads: of one run; None leaves the choice to the library.
        openvino_precision: ``"f32"`` or ``"bf16"``.
        verify: compare the digests of all files that the folder has noted, not only up to 128 MiB.

    Attributes:
        source: what is known about the folder; the next four are its.
        folder: where the files are.
        config: of the model.
        manifest: of the export; for a checkpoint, what an export of it would say.
        rules: what holds where a call does not say (``ReadingSettings``).
        tokenizer: of the model.
        engine: what runs it.

    Raises:
        InputError: no such model, a checkpoint with another head, a folder not exported for this engine, or a file
            that is not what the folder has noted (``base.digests``).
    """

    def __init__(
        self,
        folder: str | os.PathLike | Source,
        engine: str | None = None,
        threads: int | None = None,
        openvino_precision: str = "f32",
        verify: bool = False,
    ):
        self.source = source = read_source(folder)
        source.warn()
        if verify:
            digests.check_all(source.folder)
        self.folder, self.config = source.folder, source.config
        self.manifest, self.rules = source.manifest, source.rules
        self.tokenizer = MobileBertTokenizer.from_pretrained(self.folder)
        if len(self.tokenizer) > self.config.vocab_size:
            raise InputError(
                f"{self.folder}: its tokenizer has {len(self.tokenizer)} tokens, its model {self.config.vocab_size}; "
                "do they belong together?"
            )
        self.engine = engines.load(self.source, engine, threads, openvino_precision)

    @property
    def is_regression(self) -> bool:
        """Whether a classification is a number, not a class."""
        return self.config.is_regression

    def answer(self, question: str, context: str, **options) -> list[Answer]:
        """Answer one question; ``options`` and result as one row of ``answer_batch``."""
        return self.answer_batch([question], [context], **options)[0]

    def answer_batch(self, questions: Sequence[str], contexts: Sequence[str], **options) -> list[list[Answer]]:
        """The answers alone of ``read_batch``, which has the options."""
        return [reading.answers for reading in self.read_batch(questions, contexts, **options)]

    def read(self, question: str, context: str, **options) -> Reading:
        """Answer one question; ``options`` and result as one row of ``read_batch``."""
        return self.read_batch([question], [context], **options)[0]

    def read_batch(
        self,
        questions: Sequence[str],
        contexts: Sequence[str],
        *,
        top_k: int = 1,
        allow_no_answer: bool | None = None,
        null_score_diff_threshold: float | None = None,
        max_answer_length: int | None = None,
        max_seq_length: int | None = None,
        doc_stride: int | None = None,
        whole_words: bool = False,
        ids: Sequence[str] | None = None,
    ) -> list[Reading]:
        """Answer questions, each about its own context. None takes what the model was trained with (``self.rules``).

        Args:
            questions, contexts: [N] texts of up to ``texts.LONGEST_TEXT`` characters; a context is cut into overlapping
                windows where it is too long for one.
            top_k: answers a question, at different places.
            allow_no_answer: as in SQuAD v2.0: an answer may be "none".
            null_score_diff_threshold: none is the best answer where its odds exceed this.
            max_answer_length: in tokens.
            max_seq_length: tokens of question and window.
            doc_stride: tokens that neighbouring windows share.
            whole_words: for people: what begins or ends inside a word is widened to it (``data.qa.words``), and of
                answers that are then the same the best stays. Evaluations do without, as transformers' do.
            ids: [N] names of the questions, for messages; by default their numbers.

        Returns:
            [N] readings with up to ``top_k`` answers, best first. Where the context has nothing to read but characters
            that the tokenizer drops, the answer is "none" whatever was allowed.

        Raises:
            InputError: another head, an empty text, or a question that leaves no room for its context.
        """
        settings = self.rules.override(
            allow_no_answer=allow_no_answer,
            null_score_diff_threshold=null_score_diff_threshold,
            max_answer_length=max_answer_length,
            max_seq_length=max_seq_length,
            doc_stride=doc_stride,
        )
        for name, value in (("top_k", top_k), ("max_answer_length", settings.max_answer_length)):
            if value < 1:
                raise InputError(f"{name}={value}: expected at least 1")
        examples = self._examples(questions, contexts, ids)
        if not examples:
            return []
        rows = build_features(
            examples,
            self.tokenizer,
            max_seq_length=self._length(settings.max_seq_length),
            doc_stride=settings.doc_stride,
            is_training=False,
        )
        n_best_size = max(N_BEST, top_k)
        rules = AnswerRules(
            settings.allow_no_answer, n_best_size, settings.max_answer_length, settings.null_score_diff_threshold
        )
        found = self._find_spans(rows, rules)
        bounds = np.searchsorted(rows.example_index, np.arange(len(examples) + 1))
        return [
            Reading(
                _ranked(ranked, context, n_best_size, whole_words)[:top_k],
                ranked.null_odds,
                [_window(rows.row_offsets(row), context) for row in range(first, last)],
            )
            for ranked, context, first, last in zip(found, contexts, bounds, bounds[1:], strict=False)
        ]

    def classify(self, text: str, pair: str | None = None, **options) -> Classification:
        """Classify one text or pair; see ``classify_batch``."""
        return self.classify_batch([text], None if pair is None else [pair], **options)[0]

    def classify_batch(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None = None,
        *,
        max_seq_length: int | None = None,
        threshold: float | None = None,
    ) -> list[Classification]:
        """Classify texts, or pairs of texts.

        Args:
            texts: [N] first (or only) texts; what is too long is cut off, from the longer text of a pair.
            pairs: [N] second texts.
            max_seq_length: tokens; None takes what the model was trained with.
            threshold: probability above which a text has a label, where it may have several; None alike.

        Raises:
            InputError: another head, something that is no text, or a threshold that is no probability.
        """
        self.source.require("sequence-classification")
        threshold = self.rules.override(threshold=threshold).threshold
        if not 0 < threshold < 1:
            raise InputError(f"`threshold={threshold:g}`: expected a probability between 0 and 1")
        _check_texts(texts, "text")
        if pairs is not None:
            _check_texts(pairs, "pair")
            if len(texts) != len(pairs):
                raise InputError(f"{len(texts)} texts for {len(pairs)} second texts: expected as many")
        if not texts:
            return []
        ids = [str(number) for number in range(len(texts))]
        examples = Examples("texts", ids, list(texts), None if pairs is None else list(pairs), None)
        rows = encode_examples(examples, self.tokenizer, self._length(max_seq_length))
        (logits,) = self._run(rows, [(self.config.num_labels,)])
        if not np.isfinite(logits).all():
            raise self._not_finite()
        return [self._classification(row, threshold) for row in logits.astype(np.float64)]

    def entities(self, text: str, **options) -> list[Entity]:
        """The entities of one text, in its order; see ``entities_batch``."""
        return self.entities_batch([text], **options)[0]

    def entities_batch(
        self, texts: Sequence[str], *, max_seq_length: int | None = None, doc_stride: int | None = None
    ) -> list[list[Entity]]:
        """Find entities in texts. None takes what the model was trained with (``self.rules``).

        Args:
            texts: [N], of up to ``texts.LONGEST_TEXT`` characters; split into words at white space and around each
                punctuation mark (``data.ner.words``), and into overlapping windows where they are too long for one.
            max_seq_length: tokens of a window.
            doc_stride: tokens that neighbouring windows share; a word is read in the one where it has most context.

        Raises:
            InputError: another head, or something that is no text.
        """
        self.source.require("token-classification")
        _check_texts(texts, "text")
        if not texts:
            return []
        settings = self.rules.override(max_seq_length=max_seq_length, doc_stride=doc_stride)
        split = SplitTexts.of(texts)
        encoded = encode_sentences(
            split.words, self.tokenizer, self._length(settings.max_seq_length), settings.doc_stride
        )
        labels = list(self.config.id2label.values())
        logits = encoded.take(self._run(encoded.rows, token_shapes(encoded.rows.lengths, len(labels)))[0])
        if not np.isfinite(logits).all():
            raise self._not_finite()
        return split.entities(encoded, logits, labels)

    def _examples(
        self, questions: Sequence[str], contexts: Sequence[str], ids: Sequence[str] | None
    ) -> list[SquadExample]:
        """Check the texts and name the questions."""
        self.source.require("question-answering")
        names = [str(number) for number in range(len(questions))] if ids is None else list(ids)
        _check_texts(questions, "question", names, bare)
        _check_texts(contexts, "context", names, str.strip)
        for values, what in ((contexts, "contexts"), (names, "ids")):
            if len(questions) != len(values):
                raise InputError(f"{len(questions)} questions for {len(values)} {what}: expected as many")
        return [
            SquadExample(name, question, context, (), ())
            for name, question, context in zip(names, questions, contexts, strict=True)
        ]

    def _find_spans(self, rows: PackedRows, rules: AnswerRules) -> list[RankedSpans]:
        logits = self._run(rows, span_shapes(rows.lengths))
        try:
            start_logits, end_logits = mask_padding(rows, *logits)
        except InputError:
            raise self._not_finite() from None
        found = extract_spans(rows, start_logits, end_logits, rules)
        without = [number for number, ranked in enumerate(found) if not any(span.has_text for span in ranked.spans)]
        # All of the best tokens were the question's: look at every token.
        every_token = replace(rules, n_best_size=start_logits.shape[1])
        for number, ranked in zip(
            without, extract_spans(rows, start_logits, end_logits, every_token, without), strict=True
        ):
            found[number] = ranked
        return found

    def _run(self, rows: PackedRows, shapes: list[tuple[int, ...]]) -> list[np.ndarray]:
        data = PackedDataset(rows, self.tokenizer.pad_token_id)
        return run_rows(self.engine.run, data, batches_by_tokens(rows.lengths), shapes)

    def _not_finite(self) -> InputError:
        return InputError(f"{self.folder}: its outputs are not numbers; did the training diverge, is the file damaged?")

    def _length(self, max_seq_length: int | None) -> int:
        length = self.rules.max_seq_length if max_seq_length is None else max_seq_length
        if not 4 <= length <= self.config.max_position_embeddings:
            raise InputError(
                f"max_seq_length={length}: expected 4 to {self.config.max_position_embeddings} tokens, "
                "what the model has positions for"
            )
        return length

    def _classification(self, logits: np.ndarray, threshold: float) -> Classification:
        labels = list(self.config.id2label.values())
        chosen = None
        if self.is_regression:
            scores = logits
        elif self.config.problem_type == "multi_label_classification":
            scores = 1 / (1 + np.exp(-logits))
            chosen = tuple(labels[index] for index in np.argsort(-scores, kind="stable") if scores[index] > threshold)
        else:
            scores = np.exp(logits - logits.max())
            scores /= scores.sum()
        best = int(scores.argmax())
        return Classification(
            labels[best],
            float(scores[best]),
            {label: float(score) for label, score in zip(labels, scores, strict=True)},
            chosen,
        )


def logits_function(
    folder: str | os.PathLike, engine: str | None = None, threads: int | None = None
) -> Callable[[Mapping[str, np.ndarray]], list[np.ndarray]]:
    """A model's folder as a function from a padded batch to its outputs, for evaluation loops.

    Returns:
        ``{"input_ids", "attention_mask", "token_type_ids"}`` [B, S] int64 -> float32 arrays in the order of the
        manifest: start and end logits [B, S] each, or logits [B, N].
    """
    return engines.load(Path(folder), engine, threads).run


def _ranked(ranked: RankedSpans, context: str, n_best_size: int, whole_words: bool) -> list[Answer]:
    """Spans as answers at different places, the chosen one first.

    Neighbouring windows, or parts of the same words, offer a place twice: the better one stays. A span without text is
    "no answer".
    """
    none = (-1, -1)

    def place(span: Span) -> tuple[int, int]:
        if not span.has_text:
            return none
        return widen(context, *span.bounds(context)) if whole_words else span.bounds(context)

    score_at: dict[tuple[int, int], float] = {}
    for span in ranked.spans:
        score_at.setdefault(place(span), float(span.start_logit) + float(span.end_logit))
    places = [item for rank, item in enumerate(score_at.items()) if rank < n_best_size or item[0] == none]
    weights = np.exp(np.array([score for _, score in places]) - max(score for _, score in places))
    answers = [
        Answer("" if where == none else context[slice(*where)], *where, float(probability), score)
        for (where, score), probability in zip(places, weights / weights.sum(), strict=True)
    ]
    # The threshold may prefer another than the likeliest: no answer, or the best that is one.
    chosen = place(ranked.best)
    first = next((number for number, answer in enumerate(answers) if (answer.start, answer.end) == chosen), 0)
    return [answers[first], *answers[:first], *answers[first + 1 :]]


def _window(offsets: np.ndarray, context: str) -> tuple[int, int]:
    """First and last character of a row's context tokens [tokens, 2]; (0, 0) where it has none."""
    inside = offsets[offsets[:, 0] >= 0]
    return (int(inside[0, 0]), end_with_marks(context, int(inside[-1, 1]))) if len(inside) else (0, 0)


def _check_texts(
    texts: Sequence[str],
    what: str,
    names: Sequence[str] | None = None,
    content: Callable[[str], str] | None = None,
) -> None:
    """Refuse what is no text or none that is read; with ``content`` also a text of which that leaves nothing."""
    if isinstance(texts, str):
        raise InputError(f"{what}s: expected a list of texts, got one text; put it into a list")
    for number, text in enumerate(texts):
        name = names[number] if names is not None and number < len(names) else number
        if not isinstance(text, str):
            raise InputError(f"{what} {name}: expected a text, got {type(text).__name__}")
        if content is not None and not content(text):
            raise InputError(f"{what} {name} is empty")
        check_text(f"{what} {name}:", text)
