"""Text for calibration and evaluation: SQuAD's JSON for question answering, a table or plain lines for other heads."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mobilebert.base.errors import InputError
from mobilebert.base.files import read_text
from mobilebert.data.classify import metrics as glue_metrics
from mobilebert.data.classify.encode import encode_examples
from mobilebert.data.collate import collate
from mobilebert.data.glue.files import Examples, read_examples
from mobilebert.data.packed import PackedRows
from mobilebert.data.qa.features import build_features
from mobilebert.data.qa.metrics import evaluate_v1, evaluate_v2
from mobilebert.data.qa.spans import extract_answers, mask_padding
from mobilebert.data.qa.squad_json import read_squad
from mobilebert.data.tables import open_table
from mobilebert.inference.source import Rules, rules_of
from mobilebert.model.config import MobileBertConfig
from mobilebert.text.tokenizer import MobileBertTokenizer

TABLES = (".tsv", ".csv", ".json", ".jsonl")
# Names that GLUE's and other files give to their texts, tried in this order.
TEXT_COLUMNS = (
    ("sentence1", "sentence2"),
    ("question", "sentence"),
    ("question1", "question2"),
    ("premise", "hypothesis"),
    ("text", "pair"),
    ("#1 String", "#2 String"),
    ("sentence",),
    ("text",),
)
LABEL_COLUMNS = ("label", "gold_label", "Quality", "is_duplicate", "score")
_TOKENS_PER_BATCH = 2048


@dataclass(frozen=True)
class Samples:
    """Encoded texts, and how outputs for all of them are scored.

    Attributes:
        rows: the texts.
        pad_token_id: of the tokenizer.
        score: the model's outputs for all rows -> metrics in percent; None where there are no labels.
        has_choices: the model wants [B, C, S].
    """

    rows: PackedRows
    pad_token_id: int
    score: Callable[[list[np.ndarray]], dict[str, float]] | None = None
    has_choices: bool = False

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
        path: SQuAD JSON for question answering; otherwise ``.tsv``, ``.csv`` or ``.jsonl`` with named columns (texts
            called as in GLUE, labels optional), or ``.txt`` with one text a line. Each may end in ``.gz``.
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
        return _squad(path, tokenizer, rules_of(config, head, max_seq_length), limit)
    suffix = Path(path.name.removesuffix(".gz")).suffix.lower()
    if suffix in TABLES:
        examples, metrics = _table(path, head, config)
    elif suffix == ".txt":
        texts = [line for line in read_text(path).splitlines() if line.strip()]
        examples = Examples(str(path), [str(number) for number in range(len(texts))], texts, None, None)
        metrics = ()
    else:
        raise InputError(
            f"{path}: a {head} model wants {', '.join(TABLES)} with named columns, or .txt, one text a line"
        )
    if limit is not None and len(examples) > limit:
        examples = Examples(
            examples.source,
            examples.ids[:limit],
            examples.texts[:limit],
            None if examples.pairs is None else examples.pairs[:limit],
            None if examples.labels is None else examples.labels[:limit],
        )
    if not len(examples):
        raise InputError(f"{path}: has no text")
    rows = encode_examples(examples, tokenizer, max_seq_length)

    def score(outputs: list[np.ndarray]) -> dict[str, float]:
        if not np.isfinite(outputs[0]).all():
            raise InputError(f"{path}: the model's outputs are no finite numbers; did the training diverge?")
        predictions = outputs[0][:, 0] if metrics[0] == "pearson" else outputs[0].argmax(axis=1)
        return glue_metrics.compute(metrics, predictions, examples.labels)

    scored = score if metrics and examples.labels is not None else None
    return Samples(rows, tokenizer.pad_token_id, scored, head == "multiple-choice")


def _squad(path: Path, tokenizer: MobileBertTokenizer, rules: Rules, limit: int | None) -> Samples:
    examples, _ = read_squad(path, version_2_with_negative=True, on_bad_answer="drop", require_answers=False)
    examples = examples[:limit]
    is_v2 = any(not example.answers for example in examples)
    is_labelled = any(example.answers for example in examples)
    rows = build_features(
        examples,
        tokenizer,
        max_seq_length=rules.max_seq_length,
        doc_stride=min(rules.doc_stride, rules.max_seq_length // 3),
        is_training=False,
    )

    def score(outputs: list[np.ndarray]) -> dict[str, float]:
        names = [example.id for example in examples]
        try:
            start_logits, end_logits = mask_padding(*outputs, rows.lengths, names, rows.example_index)
        except ValueError as error:
            raise InputError(f"{path}: {error}; did the training diverge?") from None
        answers = extract_answers(
            names,
            [example.context for example in examples],
            rows.example_index,
            rows.row_starts,
            rows.offsets,
            start_logits,
            end_logits,
            version_2_with_negative=is_v2,
            max_answer_length=rules.max_answer_length,
            null_score_diff_threshold=rules.null_score_diff_threshold,
        )
        gold = {example.id: example.answers for example in examples}
        if not is_v2:
            return evaluate_v1(gold, answers.predictions)
        scores = evaluate_v2(gold, answers.predictions, answers.null_odds, null_threshold=np.inf)
        return {name: scores[name] for name in ("exact", "f1")}

    return Samples(rows, tokenizer.pad_token_id, score if is_labelled else None)


def _table(path: Path, head: str, config: MobileBertConfig) -> tuple[Examples, Sequence[str]]:
    header = open_table(path).header
    texts = next((names for names in TEXT_COLUMNS if set(names) <= set(header)), None)
    if texts is None:
        known = " / ".join(" + ".join(names) for names in TEXT_COLUMNS)
        raise InputError(f"{path}: its columns are {', '.join(header)}; expected one of {known}")
    label = next((name for name in LABEL_COLUMNS if name in header), None)
    if label is None or head != "sequence-classification":
        return read_examples(path, texts, None, None), ()
    if config.problem_type == "regression" or config.num_labels == 1:
        return read_examples(path, texts, label, None), ("pearson", "spearmanr")
    label_ids = {name: index for index, name in config.id2label.items()}
    if all(str(index) not in label_ids for index in config.id2label):
        label_ids |= {str(index): index for index in config.id2label}  # GLUE's files write class numbers
    return read_examples(path, texts, label, label_ids), ("accuracy",)
