"""Text for calibration and evaluation: SQuAD's JSON for question answering, tagged sentences for entities, a table or
plain lines for other heads.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mobilebert.base.errors import InputError
from mobilebert.base.files import read_text
from mobilebert.data.classify import metrics as glue_metrics
from mobilebert.data.classify.columns import TEXT_COLUMNS, Columns, find_text_columns, header_of
from mobilebert.data.classify.encode import encode_examples
from mobilebert.data.classify.examples import Examples, FileRules, read_examples, read_lines
from mobilebert.data.classify.label_sets import LabelSets
from mobilebert.data.collate import PackedDataset, collate
from mobilebert.data.glue.files import NO_CONSENSUS
from mobilebert.data.glue.tasks import TASKS
from mobilebert.data.ner import metrics as entity_metrics
from mobilebert.data.ner.encode import encode_sentences, gold_tags
from mobilebert.data.ner.schemes import PLAIN, scheme_of
from mobilebert.data.ner.sentences import TagRules, read_sentences
from mobilebert.data.packed import PackedRows
from mobilebert.data.qa.answers import answers_of
from mobilebert.data.qa.features import build_features
from mobilebert.data.qa.spans import AnswerRules, find_spans
from mobilebert.data.qa.squad_json import is_labelled, read_squad
from mobilebert.inference.entities import SplitTexts
from mobilebert.inference.rows import Run, batches_by_tokens, run_rows, span_shapes, token_shapes
from mobilebert.inference.source import ReadingSettings, reading_settings
from mobilebert.model.config import MobileBertConfig
from mobilebert.text.tokenizer import MobileBertTokenizer

TABLES = (".tsv", ".csv", ".json", ".jsonl")
LABEL_COLUMNS = ("label", "gold_label", "Quality", "is_duplicate", "score")
_TOKENS_PER_BATCH = 2048


@dataclass(frozen=True)
class Samples:
    """Encoded texts, and how a model is scored on them.

    Attributes:
        rows: the texts.
        pad_token_id: of the tokenizer.
        shapes: of each output, the shape of one row.
        score: the model's outputs for all rows -> metrics in percent; None where there are no labels.
        choose: the model's outputs for all rows -> what it decides for each word; None where there are no words.
        has_choices: the model wants [B, C, S].
    """

    rows: PackedRows
    pad_token_id: int
    shapes: list[tuple[int, ...]]
    score: Callable[[list[np.ndarray]], dict[str, float]] | None = None
    choose: Callable[[list[np.ndarray]], np.ndarray] | None = None
    has_choices: bool = False

    def measure(self, *runs: Run) -> list[dict[str, float]]:
        """The metrics of models, in percent; ``agreement`` is of decisions, with the first model's."""
        data, batches = PackedDataset(self.rows, self.pad_token_id), batches_by_tokens(self.rows.lengths)
        outputs = [run_rows(run, data, batches, self.shapes) for run in runs]
        scores = [{} if self.score is None else self.score(one) for one in outputs]
        if self.choose is None or len(runs) == 1:
            return scores
        first, *_ = chosen = [self.choose(one) for one in outputs]
        return [
            {**one, "agreement": 100 * float((each == first).mean())} for one, each in zip(scores, chosen, strict=True)
        ]

    @property
    def can_measure(self) -> bool:
        """Whether ``measure`` has anything to say of a model beside another."""
        return self.score is not None or self.choose is not None

    def batches(self, limit: int | None = None) -> Iterator[dict[str, np.ndarray]]:
        """Padded batches of ``limit`` rows spread evenly over the file (None: all), similar lengths together."""
        chosen = np.arange(len(self.rows))
        if limit is not None and limit < len(chosen):
            chosen = np.linspace(0, len(chosen) - 1, limit).astype(np.int64)
        chosen = chosen[np.argsort(-self.rows.lengths[chosen], kind="stable")]
        while len(chosen):
            count = max(1, _TOKENS_PER_BATCH // int(self.rows.lengths[chosen[0]]))
            batch = collate(self.rows, chosen[:count], self.pad_token_id)
            chosen = chosen[count:]
            yield {name: value[:, None] for name, value in batch.items()} if self.has_choices else batch


def read_samples(
    path: str | Path,
    head: str,
    config: MobileBertConfig,
    tokenizer: MobileBertTokenizer,
    max_seq_length: int,
    limit: int | None = None,
) -> Samples:
    """Read a file for a head.

    Args:
        path: SQuAD JSON for question answering; for entities what run_ner.py reads, ``.csv`` or lines of text;
            otherwise ``.tsv``, ``.csv``, ``.jsonl`` or ``.json`` with named columns (texts called as in GLUE, labels
            optional), or ``.txt`` with one text a line. Each may end in ``.gz``.
        head: a key of ``config.HEAD_CLASSES``.
        config: names the classes.
        tokenizer: of the model.
        max_seq_length: tokens.
        limit: at most so many questions or texts, the first ones.

    Raises:
        InputError: a wrong note in the configuration; a file of another format, without texts, or with labels that the
            model does not know.
    """
    path = Path(path)
    if head == "question-answering":
        return _squad(path, tokenizer, reading_settings(config, head, max_seq_length).override(), limit)
    suffix = Path(path.name.removesuffix(".gz")).suffix.lower()
    if head == "token-classification":
        return _sentences(path, suffix, config, tokenizer, reading_settings(config, head, max_seq_length), limit)
    if suffix in TABLES:
        rules = reading_settings(config, head)
        examples, metrics = _table(path, head, config, rules.columns)
    elif suffix == ".txt":
        examples = read_lines(path)
        metrics = ()
    else:
        raise InputError(
            f"{path}: a {head} model wants {', '.join(TABLES)} with named columns, or .txt, one text a line"
        )
    examples = examples.first(limit)
    rows = encode_examples(examples, tokenizer, max_seq_length)

    def score(outputs: list[np.ndarray]) -> dict[str, float]:
        if not np.isfinite(outputs[0]).all():
            raise InputError(f"{path}: the model's outputs are no finite numbers; did the training diverge?")
        if examples.labels.ndim == 2:
            predictions = (outputs[0] > np.log(rules.threshold / (1 - rules.threshold))).astype(np.int64)
        else:
            predictions = outputs[0][:, 0] if metrics[0] == "pearson" else outputs[0].argmax(axis=1)
        return glue_metrics.compute(metrics, predictions, examples.labels)

    scored = score if metrics and examples.labels is not None else None
    return Samples(rows, tokenizer.pad_token_id, [(config.num_labels,)], scored, has_choices=head == "multiple-choice")


def _squad(path: Path, tokenizer: MobileBertTokenizer, settings: ReadingSettings, limit: int | None) -> Samples:
    purpose = "score" if is_labelled(path) else "answer"
    examples, _ = read_squad(path, version_2_with_negative=True, purpose=purpose)
    examples = examples[:limit]
    is_v2 = any(not example.answers for example in examples)
    rows = build_features(
        examples,
        tokenizer,
        max_seq_length=settings.max_seq_length,
        doc_stride=settings.doc_stride,
        is_training=False,
    )
    rules = AnswerRules(
        is_v2,
        max_answer_length=settings.max_answer_length,
        null_score_diff_threshold=settings.null_score_diff_threshold,
    )

    def score(outputs: list[np.ndarray]) -> dict[str, float]:
        found = find_spans(rows, *outputs, rules)
        ids, contexts = [example.id for example in examples], [example.context for example in examples]
        scores = answers_of(found, ids, contexts).score(examples, is_v2)
        return {name: scores[name] for name in ("exact", "f1")} if is_v2 else scores

    return Samples(
        rows,
        tokenizer.pad_token_id,
        span_shapes(rows.lengths),
        score if any(example.answers for example in examples) else None,
    )


def _sentences(
    path: Path,
    suffix: str,
    config: MobileBertConfig,
    tokenizer: MobileBertTokenizer,
    settings: ReadingSettings,
    limit: int | None,
) -> Samples:
    labels, gold = list(config.id2label.values()), None
    if suffix == ".csv" or (suffix == ".txt" and not _has_columns(path)):
        words = SplitTexts.of((read_lines(path) if suffix == ".txt" else _texts(path)).first(limit).texts).words
    else:
        rules = TagRules(scheme=PLAIN if scheme_of(labels) == PLAIN else None)
        sentences = read_sentences(path, rules, require_tags=False).first(limit)
        words = sentences.words
        gold = None if sentences.tags is None else gold_tags(sentences, labels)
    encoded = encode_sentences(words, tokenizer, settings.max_seq_length, settings.override().doc_stride)

    def finite(outputs: list[np.ndarray]) -> np.ndarray:
        logits = encoded.take(outputs[0])
        if not np.isfinite(logits).all():
            raise InputError(f"{path}: the model's outputs are no finite numbers; did the training diverge?")
        return logits

    def score(outputs: list[np.ndarray]) -> dict[str, float]:
        logits = finite(outputs)
        return entity_metrics.compute(gold, encoded.tags(logits, labels), scheme_of(labels))

    shapes = token_shapes(encoded.rows.lengths, len(labels))
    return Samples(
        encoded.rows,
        tokenizer.pad_token_id,
        shapes,
        None if gold is None else score,
        lambda outputs: finite(outputs).argmax(axis=1),
    )


def _has_columns(path: Path) -> bool:
    """Whether a text file is words and tags in columns (as many on each line), not a text a line."""
    counts = {len(line.split()) for line in read_text(path).split("\n") if line.strip()}
    return len(counts) == 1 and counts != {1}


def _texts(path: Path) -> Examples:
    return read_examples(path, _text_columns(path, header_of(path), pairs=False), None, None)


def _text_columns(path: Path, header: Sequence[str], pairs: bool = True) -> tuple[str, ...]:
    texts = find_text_columns(header, pairs)
    if texts is None:
        known = " / ".join(" + ".join(names) for names in TEXT_COLUMNS)
        raise InputError(f"{path}: its columns are {', '.join(header)}; expected one of {known}")
    return texts


def _table(path: Path, head: str, config: MobileBertConfig, noted: Columns | None) -> tuple[Examples, Sequence[str]]:
    """Texts, and where there are some labels, of a table; ``noted``: the columns that the model was trained on."""
    header = header_of(path)
    if noted is not None and set(noted.texts) <= set(header):
        texts = noted.texts
        label = noted.label if noted.labels and set(noted.labels) <= set(header) else None
    else:
        texts = _text_columns(path, header)
        label = next((name for name in LABEL_COLUMNS if name in header), None)
    if label is None or head != "sequence-classification":
        return read_examples(path, texts, None, None), ()
    label_ids = {name: index for index, name in config.id2label.items()}
    if config.problem_type == "multi_label_classification":
        sets = LabelSets(noted.separator, noted.indicators) if noted is not None else LabelSets()
        rules = FileRules(label_sets=sets)
        return read_examples(path, texts, label, label_ids, rules), ("micro_f1", "macro_f1", "exact_match")
    if config.problem_type == "regression" or config.num_labels == 1:
        return read_examples(path, texts, label, None), ("pearson", "spearmanr")
    if all(str(index) not in label_ids for index in config.id2label):
        label_ids |= {str(index): index for index in config.id2label}  # GLUE's files write class numbers
    rules = FileRules(no_label=NO_CONSENSUS if label == TASKS["mnli"].label_column else None)
    return read_examples(path, texts, label, label_ids, rules), ("accuracy",)
