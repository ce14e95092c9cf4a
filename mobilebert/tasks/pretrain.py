"""Pre-training: masked language modelling and next sentence prediction, on rows that ``pretrain-data`` wrote.

N rows, B of a batch, S tokens, P masked tokens of a row, V tokens of the vocabulary
"""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import Tensor, nn
from tqdm import tqdm

from mobilebert.base.errors import InputError
from mobilebert.data.cache import tokenizer_digest
from mobilebert.data.collate import IGNORED, INPUT_NAMES
from mobilebert.data.pretrain.rows import PretrainingRows
from mobilebert.inference.rows import Run, batches_of, longest_first
from mobilebert.model.config import MobileBertConfig
from mobilebert.model.heads import MobileBertForPreTraining, cross_entropy
from mobilebert.tasks.model import read_config
from mobilebert.tasks.plan import RunPlan
from mobilebert.tasks.task import Loss, Split, Task
from mobilebert.text.tokenizer import MobileBertTokenizer
from mobilebert.train import Evaluation, Terms
from mobilebert.train.parallel import World, gather_in_order, rank_share

_log = logging.getLogger(__name__)

HEAD_WEIGHTS = ("cls.predictions.transform.dense.weight", "cls.seq_relationship.weight")
MODEL_INPUTS = (*INPUT_NAMES, "masked_positions")
_LARGEST_EXPONENT = 700.0  # perplexities end below float64's


@dataclass(frozen=True)
class EpochRows:
    """Rows as the training loop takes them: those of dynamic masking are masked anew in each epoch.

    Attributes:
        rows: the folder's.
        seed: of the training: other masks with another seed.
        number: of the epoch.
    """

    rows: PretrainingRows
    seed: int = 0
    number: int = 0

    @property
    def lengths(self) -> np.ndarray:
        """``[N]`` tokens of each row."""
        return self.rows.lengths

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """See ``PretrainingRows.batch``; behind a row that is not of full length there always is a ``[PAD]``.

        The trigram of a row's last token reads it, and its embedding is trained, by the product with the vocabulary:
        without it a row would mean another thing where it is the longest of its batch. Google pads all rows.
        """
        batch = self.rows.batch(indices, self.number, self.seed)
        if batch["input_ids"].shape[1] < self.rows.max_seq_length:
            for name, filler in zip(INPUT_NAMES, (self.rows.vocabulary.pad, 0, 0), strict=True):
                batch[name] = np.pad(batch[name], ((0, 0), (0, 1)), constant_values=filler)
        return batch

    def example_ids(self, indices: np.ndarray) -> list[str]:
        """Names for messages."""
        return [f"row {index}" for index in indices]

    def of_epoch(self, epoch: int) -> "EpochRows":
        """See ``train.settings.ChangingTrainSet``."""
        return EpochRows(self.rows, self.seed, epoch)


@dataclass(frozen=True)
class PretrainingFiles:
    """Where the rows are; each folder is opened once.

    Attributes:
        given: kind (``train``, ``dev``) -> folder that ``pretrain-data`` wrote.
        verify: compare the digests of all files.
    """

    given: Mapping[str, str]
    verify: bool = False
    _open: dict[str, PretrainingRows] = field(default_factory=dict, compare=False)

    def open(self, kind: str) -> PretrainingRows:
        """The rows of a kind."""
        if kind not in self._open:
            self._open[kind] = PretrainingRows.open(self.given[kind], self.verify)
        return self._open[kind]


def build_model(plan: RunPlan, seed: int) -> tuple[MobileBertForPreTraining, bool]:
    """The model to begin with, in evaluation mode, and whether both of its heads came from a checkpoint."""
    plan.check_one_source(("model_name_or_path", "init_from", "config_name"))
    paddle.seed(seed)
    if plan.config_name is not None:
        model = MobileBertForPreTraining(read_config(plan.config_name))
        model.eval()
        return model, False
    model = MobileBertForPreTraining.from_pretrained(plan.model_name_or_path or plan.init_from)
    fresh = model.load_report.initialised
    if fresh:
        _log.info("new weights: %s", ", ".join(fresh))
    return model, not set(HEAD_WEIGHTS) & set(fresh)


def masked_labels(batch: Mapping[str, Tensor]) -> Tensor:
    """``[B, P]`` the tokens to be predicted, ``IGNORED`` where a row has fewer than P."""
    ids = batch["masked_ids"]
    return paddle.where(batch["masked_weights"] > 0, ids, paddle.full_like(ids, IGNORED))


def pretraining_loss(net: nn.Layer, batch: Mapping[str, Tensor]) -> Tensor:
    """``[2]``: mean cross-entropy over the masked tokens, and over the pairs of texts."""
    output = net(**{name: batch[name] for name in MODEL_INPUTS})
    masked = cross_entropy(output.prediction_logits, masked_labels(batch))
    return paddle.stack([masked, cross_entropy(output.seq_relationship_logits, batch["next_sentence_label"])])


def loss_sizes(batch: Mapping[str, np.ndarray]) -> np.ndarray:
    """``[2]``: masked tokens and pairs of a batch."""
    return np.array([batch["masked_weights"].sum(dtype=np.float64), len(batch["input_ids"])])


# The mean over all masked tokens of a step, as transformers' loss of the same batch. Google's code adds 1e-5 to their
# number, and on many devices takes the mean of each device's mean.
PRETRAINING_TERMS = Terms(("masked", "next_sentence"), loss_sizes)


@dataclass(frozen=True)
class Pretraining(Task):
    """Both of BERT's tasks.

    Attributes:
        files: see ``PretrainingFiles``.
        seed: of dynamic masks.
    """

    files: PretrainingFiles
    seed: int = 0

    head = "pretraining"
    head_name = "heads for pre-training"
    purpose = "to be evaluated"
    outputs = ("prediction_logits", "seq_relationship_logits")
    best_is_higher = False

    @property
    def max_seq_length(self) -> int:
        """See ``Task``: of the longest rows."""
        return max(self.files.open(kind).max_seq_length for kind in self.files.given)

    def check(self, plan: RunPlan) -> None:
        """See ``Task``."""
        for kind in plan.kinds:
            if kind not in self.files.given:
                raise InputError(f"which {kind} rows? give `{kind}_data`, a folder that pretrain-data wrote")

    def build_model(self, plan: RunPlan, seed: int) -> tuple[MobileBertForPreTraining, bool]:
        """See ``Task``; heads that the checkpoint has are kept."""
        return build_model(plan, seed)

    def load(self, kind: str, plan: RunPlan, tokenizer: MobileBertTokenizer, world: World) -> list[Split]:
        """See ``Task``."""
        folder, rows = self.files.given[kind], self.files.open(kind)
        if rows.vocab_digest != tokenizer_digest(tokenizer):
            raise InputError(
                f"{folder}: made with another vocabulary than the model's; make it again with "
                "pretrain-data and the model's own"
            )
        if world.is_main:
            masks = "drawn anew in each epoch" if rows.settings.dynamic and kind == "train" else "fixed"
            _log.info("%s: %d rows, %d tokens, masks %s", folder, len(rows), rows.lengths.sum(), masks)
        return [Split(kind, str(folder), None, EpochRows(rows, self.seed if kind == "train" else 0), rows.digest)]

    def loss(self, train: Split) -> Loss:
        """See ``Task``."""
        return Loss(pretraining_loss, terms=PRETRAINING_TERMS)

    def note(self, config: MobileBertConfig) -> MobileBertConfig:
        """See ``Task``; there is nothing to note."""
        return config

    def best_metric(self, dev: Sequence[Split]) -> str:
        """See ``Task``."""
        return "loss"

    def score(self, run: Run, dev: Sequence[Split], batch_size: int, world: World) -> Evaluation:
        """See ``Task``."""
        (split,) = dev
        return Evaluation(metrics_of(count(run, split.data, batch_size, world)))

    def save_answers(self, answers: Any, folder: Path) -> None:
        """See ``Task``; there are none."""

    def report(self, dev: Sequence[Split], scores: dict[str, Any], seconds: float | None) -> dict[str, Any]:
        """See ``Task``."""
        (split,) = dev
        timed = {} if seconds is None else {"seconds": round(seconds, 1)}
        return {"dev_data": split.source, "rows": len(split.data), **scores, **timed}

    def predict(self, run: Run, test: Sequence[Split], plan: RunPlan, world: World) -> None:
        """See ``Task``; nothing is predicted."""

    def prediction_files(self, plan: RunPlan) -> Sequence[str]:
        """See ``Task``."""
        return ()


def count(run: Run, rows: EpochRows, batch_size: int, world: World) -> np.ndarray:
    """Run all rows, each process its share.

    Args:
        run: a batch of ``MODEL_INPUTS`` -> logits ``[B, P, V]`` and ``[B, 2]``.
        rows: N of them.
        batch_size: rows in one forward pass.
        world: this process among all.

    Returns:
        ``[N, 5]``: of each row the masked tokens' summed loss (nats), how many there are, how many are right; the loss
        of its pair, and whether that is right. The same on every rank.

    Raises:
        InputError: a logit is not a finite number.
    """
    order = longest_first(rows.lengths)
    own = rank_share(order, world)
    results = []
    with tqdm(total=len(own), desc="evaluating", unit=" rows", disable=None if world.is_main else True) as bar:
        for indices in batches_of(own, batch_size):
            batch = rows.batch(indices)
            words, pairs = run({name: batch[name] for name in MODEL_INPUTS})
            if not (np.isfinite(words).all() and np.isfinite(pairs).all()):
                raise InputError("the model's logits are not finite; did the training diverge?")
            is_masked = batch["masked_weights"] > 0
            losses, right = np.zeros(is_masked.shape), np.zeros(is_masked.shape)
            losses[is_masked], right[is_masked] = _judge(words[is_masked], batch["masked_ids"][is_masked])
            pair = _judge(pairs, batch["next_sentence_label"])
            results.append(np.stack([losses.sum(1), is_masked.sum(1), right.sum(1), *pair], axis=1))
            bar.update(len(indices))
    whole = np.empty((len(order), 5))
    whole[order] = gather_in_order(np.concatenate([np.zeros((0, 5)), *results]), len(order), world)
    return whole


def _judge(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``[M, C]`` float32, ``[M]`` -> ``[M]`` cross-entropy, ``[M]`` whether the highest is the label's."""
    chosen = logits[np.arange(len(labels)), labels]
    highest = logits.max(axis=1)
    total = np.exp(logits - highest[:, None]).sum(axis=1, dtype=np.float64)
    losses = np.log(total) + highest.astype(np.float64) - chosen
    return losses, (logits.argmax(axis=1) == labels).astype(np.float64)


def metrics_of(counts: np.ndarray) -> dict[str, float]:
    """``[N, 5]`` of ``count`` -> loss (nats; the sum of both), perplexity, accuracies (shares)."""
    loss, masked, right, pair_loss, pair_right = counts.sum(axis=0)
    masked_loss, next_sentence_loss = loss / max(masked, 1.0), pair_loss / len(counts)
    return {
        "loss": masked_loss + next_sentence_loss,
        "perplexity": math.exp(min(masked_loss, _LARGEST_EXPONENT)),
        "masked_accuracy": right / max(masked, 1.0),
        "next_sentence_accuracy": pair_right / len(counts),
        "masked_loss": masked_loss,
        "next_sentence_loss": next_sentence_loss,
    }
