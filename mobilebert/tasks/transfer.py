"""Knowledge transfer in pre-training: which losses count when, and how fast what learns (paper, section 3.6).

B batch   S tokens   H hidden_size   P masked tokens of a row   V vocabulary   L layers
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import numpy as np
import paddle
from paddle import Tensor, nn

from mobilebert.base.errors import InputError
from mobilebert.distill.layers import run_layers
from mobilebert.distill.losses import TransferWeights, layer_losses, soft_target_loss
from mobilebert.distill.teacher import Teacher, Wanted
from mobilebert.model.heads import MobileBertForPreTraining, cross_entropy, take_tokens
from mobilebert.model.weights import LAYER
from mobilebert.tasks.pretrain import loss_sizes, masked_labels
from mobilebert.train import Terms, TrainSettings
from mobilebert.train.optim import learning_rate_at
from mobilebert.train.stages import Stage

STRATEGIES = ("progressive", "joint", "auxiliary")
# Of the loss, which is their sum.
_PREDICTION = ("masked", "next_sentence", "soft")


@dataclass(frozen=True)
class Transfer:
    """How knowledge is transferred. Steps are updates.

    Attributes:
        strategy: ``progressive``: layer by layer from the bottom, then pre-training distillation; ``joint``: all layers
            at once, then that; ``auxiliary``: the layers' losses are added to it.
        transfer_steps: of all transfer stages together; of ``auxiliary`` more steps of its one stage.
        weights: of the layers' losses, each of which is divided by L.
        alpha: share of the true tokens in what masked tokens are trained on; the teacher's distribution has the rest.
        temperature: of both distributions.
        transfer_rate: factor on the learning rate while layers are transferred.
        lower_rate: further factor for layers below the one that is learned; 0 freezes them.
        cache_teacher: folder for the teacher's outputs; none computes them anew.

    Raises:
        InputError: a value out of range.

    Source: Google's README and distill_util.py for the two rates (3, and 0.1 of it) and alpha; the paper, sections 4.1
    and 4.4, for the steps.
    """

    strategy: str = "progressive"
    transfer_steps: int = 240_000
    weights: TransferWeights = field(default_factory=TransferWeights)
    alpha: float = 0.5
    temperature: float = 1.0
    transfer_rate: float = 3.0
    lower_rate: float = 0.1
    cache_teacher: str | None = None

    def __post_init__(self):
        if self.strategy not in STRATEGIES:
            raise InputError(f"`strategy={self.strategy}`: expected one of {', '.join(STRATEGIES)}")
        if self.transfer_steps < 0:
            raise InputError(f"`transfer_steps={self.transfer_steps}`: expected 0 or more")
        for name, least, most in (("transfer_rate", 0, math.inf), ("lower_rate", 0, 1)):
            value = getattr(self, name)
            if not least <= value <= most or math.isinf(value) or (value == 0 and name == "transfer_rate"):
                raise InputError(f"`{name}={value:g}`: expected a number from 0 to {most:g}")
        if self.has_stages and self.transfer_steps and self.weights.is_empty:
            raise InputError("nothing is transferred: all weights are 0; set `transfer_steps=0`, or one of the weights")

    @property
    def has_stages(self) -> bool:
        """Whether layers are transferred before predictions are."""
        return self.strategy != "auxiliary"

    def identity(self) -> str:
        """All of it that a resumed run must have too."""
        return repr({**asdict(self), "cache_teacher": None})


class TransferLoss:
    """The loss of a student, which is another one in each stage.

    Args:
        teacher: see ``Teacher``.
        transfer: see ``Transfer``.
        num_layers: of both models, L.
    """

    def __init__(self, teacher: Teacher, transfer: Transfer, num_layers: int):
        self.teacher, self._transfer, self._num_layers = teacher, transfer, num_layers
        parts = asdict(transfer.weights).items()
        self.names = (*_PREDICTION, *(name for name, weight in parts if weight))
        self.terms = Terms(self.names, self._sizes)
        self.learn(0, num_layers - 1, True)

    def learn(self, first: int, last: int, predicts: bool, below_learns: bool = True) -> None:
        """Say what counts from here on.

        Args:
            first, last: the layers that are transferred, from 0, both included; none where ``last`` is below.
            predicts: whether masked tokens and pairs of texts count.
            below_learns: whether layers below ``first``, and the embeddings, have gradients.
        """
        if self._transfer.weights.is_empty:
            first, last = 0, -1
        attends = bool(self._transfer.weights.attention) and last >= first
        masked, maps = predicts and self._transfer.alpha < 1, self._transfer.weights.reads_maps
        self._wanted = Wanted(first, last, attends, masked, maps)
        self._predicts, self._below_learns = predicts, below_learns

    @property
    def wanted(self) -> Wanted:
        """What of the teacher is asked for in this stage."""
        return self._wanted

    def __call__(self, net: MobileBertForPreTraining, batch: Mapping[str, Tensor]) -> Tensor:
        """[K] the means over the batch of each term, weighted; those that do not count here are 0."""
        wanted, backbone = self._wanted, net.mobilebert
        theirs = self.teacher.look(batch, wanted) if wanted.masked or wanted.last >= wanted.first else None
        top = self._num_layers - 1
        first = wanted.first if wanted.last >= wanted.first else top
        last = top if self._predicts else wanted.last
        ours = run_layers(backbone, batch, first, last, wanted.attentions, self._below_learns)
        terms: dict[str, Tensor] = {}
        if theirs is not None and theirs.layers:
            mask, count = batch["attention_mask"], len(theirs.layers)
            found = layer_losses(theirs.layers, ours[:count], mask, self._transfer.weights)
            terms |= {name: value / self._num_layers for name, value in found.items()}
        if self._predicts:
            terms |= self._predictions(net, ours[-1][0], batch, None if theirs is None else theirs.masked)
        zero = paddle.zeros([], ours[-1][0].dtype)
        return paddle.stack([terms.get(name, zero).astype(zero.dtype) for name in self.names])

    def _predictions(
        self, net: MobileBertForPreTraining, hidden: Tensor, batch: Mapping[str, Tensor], their_masked: Tensor | None
    ) -> dict[str, Tensor]:
        """Pre-training distillation: L = alpha L_MLM + (1 - alpha) L_KD + L_NSP (section 3.5)."""
        alpha, labels = self._transfer.alpha, masked_labels(batch)
        logits = net.prediction_logits(take_tokens(hidden, batch["masked_positions"]))  # [B, P, V]
        pairs = net.next_sentence_logits(net.mobilebert.pooler(hidden))
        terms = {"next_sentence": cross_entropy(pairs, batch["next_sentence_label"])}
        if alpha:
            terms["masked"] = alpha * cross_entropy(logits, labels)
        if their_masked is not None:
            counted = batch["masked_weights"].astype(logits.dtype)
            divergence = soft_target_loss(self.teacher.logits(their_masked), logits, self._transfer.temperature)
            terms["soft"] = (1 - alpha) * (divergence * counted).sum() / counted.sum().clip(min=1)
        return terms

    def _sizes(self, batch: Mapping[str, np.ndarray]) -> np.ndarray:
        """[K] masked tokens, pairs, masked tokens; sequences for what layers learn."""
        masked, rows = loss_sizes(batch)
        return np.array([masked, rows, masked, *[rows] * (len(self.names) - len(_PREDICTION))])


def transfer_rate_at(step: int, steps: int) -> float:
    """Factor on the learning rate at update number ``step`` (from 0) of a transfer stage: up in its first tenth, then
    from 1 to 0.9.

    Source: ``get_background_lr`` of Google's distill_util.py. The paper says nothing of it.
    """
    done = step / steps
    return 1.0 if steps == 1 else min(0.9 + 0.1 * math.sqrt(1 - done), 10 * done)


def stages_of(loss: TransferLoss, transfer: Transfer, schedule: TrainSettings, num_layers: int) -> tuple[Stage, ...]:
    """The stages of a run.

    Args:
        loss: is told what counts where a stage begins.
        transfer: see ``Transfer``.
        schedule: of pre-training distillation; ``max_steps`` is its length.
        num_layers: of both models, L.

    Raises:
        InputError: fewer transfer steps than layers.
    """

    top, steps = num_layers - 1, transfer.transfer_steps
    if transfer.strategy == "progressive" and 0 < steps < num_layers:
        raise InputError(f"`transfer_steps={steps}`: fewer than the model's {num_layers} layers, one stage each")

    def transfer_stage(name: str, length: int, first: int, last: int, below_learns: bool) -> Stage:
        return Stage(
            name,
            length,
            lambda step: schedule.learning_rate * transfer.transfer_rate * transfer_rate_at(step, length),
            lambda parameter: _share(parameter, first, last, transfer.lower_rate),
            lambda: loss.learn(first, last, False, below_learns),
        )

    stages = []
    if transfer.strategy == "progressive" and steps:
        ends = [(index + 1) * steps // num_layers for index in range(num_layers)]
        for index, (begin, end) in enumerate(zip([0, *ends], ends, strict=False)):
            name = f"transfer to layer {index + 1}"
            stages.append(transfer_stage(name, end - begin, index, index, transfer.lower_rate > 0))
    if transfer.strategy == "joint" and steps:
        stages.append(transfer_stage("transfer to all layers", steps, 0, top, False))
    if transfer.has_stages:
        name, length, last = "pre-training distillation", schedule.max_steps, -1
    else:
        name, length, last = "pre-training distillation with transfer", schedule.max_steps + steps, top
    stages.append(
        Stage(
            name,
            length,
            lambda step: learning_rate_at(schedule, step, length),
            lambda parameter: 1.0,
            lambda: loss.learn(0, last, True),
        )
    )
    return tuple(stages)


def _share(parameter: str, first: int, last: int, lower_rate: float) -> float:
    """Of the learning rate, for a parameter by name, where the layers ``first`` to ``last`` are transferred."""
    match = LAYER.search(parameter)
    layer = int(match[1]) if match else last + 1  # embeddings and heads learn as little as the layers above
    if layer > last:
        return 0.0
    return 1.0 if layer >= first else lower_rate


def without_dropout(model: nn.Layer) -> None:
    """Switch a student's dropout off, as Google's code does where there is a teacher: maps are compared, not noise.

    Its configuration keeps the rates, for what it is fine-tuned on later.
    """
    for layer in model.sublayers():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
