"""The losses of knowledge transfer (Sun et al. 2020, sections 3.5 and 3.6).

Each is the mean over the examples of a batch of what the paper defines for one sequence, of its T tokens without
padding: the training loop weighs micro-batches and ranks by their examples on that assumption. Google's code
(google-research/mobilebert, run_pretraining.py at commit 0c1bbe5) takes the mean over all places of the batch, padding
included.

    B batch   S tokens   H width of the feature maps   A attention heads   N outputs
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import paddle
import paddle.nn.functional as F
from paddle import Tensor

from mobilebert.base.errors import InputError

# Probabilities below this count as it. Its reciprocal, which the gradient is multiplied by, stays in float32's range.
_LEAST_PROBABILITY = 1e-30
_EPSILON = 1e-12  # of the layer normalization, as in Google's code


@dataclass(frozen=True)
class TransferWeights:
    """How much each part of the layers' loss counts; 0 leaves it out.

    Attributes:
        feature_map: of the difference between layer-normalised feature maps.
        mean, variance: of the differences between their statistics.
        attention: of the divergence between attention distributions.

    Source: the command in Google's README (hidden 100, beta 5000, gamma 5, attention 1). The paper says only that it
    splits feature map transfer into these parts.
    """

    feature_map: float = 100.0
    mean: float = 5000.0
    variance: float = 5.0
    attention: float = 1.0

    def __post_init__(self):
        for item in fields(self):
            value = getattr(self, item.name)
            if not 0 <= value < float("inf"):
                raise InputError(f"`{item.name}_weight={value:g}`: expected a number of at least 0")

    @property
    def reads_maps(self) -> bool:
        """Whether feature maps count at all."""
        return bool(self.feature_map or self.mean or self.variance)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is transferred between layers."""
        return not (self.reads_maps or self.attention)


def mean_of_tokens(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the examples of the mean over each one's tokens.

    Args:
        values: [B, S].
        mask: [B, S], 1 = token, 0 = padding; what stands at padding has no part, NaN neither.
    """
    mask = mask.astype(values.dtype)
    values = paddle.where(mask > 0, values, paddle.zeros_like(values))
    return (values.sum(axis=1) / mask.sum(axis=1).clip(min=1)).mean()


def feature_map_losses(teacher: Tensor, student: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """Feature map transfer of one layer, in three parts, none of them weighted yet.

    Args:
        teacher, student: [B, S, H] a layer's outputs; only the second one's gradient is taken.
        mask: [B, S], 1 = token.

    Returns:
        ``feature_map``: mean squared difference after layer normalization without gain and bias; ``mean``: squared
        difference of a token's means over its features; ``variance``: absolute difference of its variances.

    Source: section 3.5 (L_FMT, and its decomposition for stability). The form of the last two is that of Google's
    code, but for a slip there: run_pretraining.py passes the list of all layers, ``teacher_hiddens``, where it takes
    the teacher's mean and variance, so that each student layer is drawn to the average of all. Here to its own, as
    the paper says.
    """
    normalised, mean, variance = zip(_normalise(teacher.detach()), _normalise(student), strict=True)
    tokens = {
        "feature_map": F.mse_loss(normalised[1], normalised[0], reduction="none").mean(axis=-1),
        "mean": (mean[0] - mean[1]).square(),
        "variance": (variance[0] - variance[1]).abs(),
    }
    return {name: mean_of_tokens(values, mask) for name, values in tokens.items()}


def _normalise(hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """[B, S, H] -> layer-normalised [B, S, H], and each token's mean and variance [B, S]."""
    mean = hidden.mean(axis=-1, keepdim=True)
    centred = hidden - mean
    variance = centred.square().mean(axis=-1, keepdim=True)
    return centred * (variance + _EPSILON).rsqrt(), mean.squeeze(-1), variance.squeeze(-1)


def attention_loss(teacher: Tensor, student: Tensor, mask: Tensor) -> Tensor:
    """Attention transfer of one layer: KL(teacher | student), mean over heads and the rows of tokens.

    Args:
        teacher, student: [B, A, S, S] probabilities (without dropout); only the second one's gradient is taken.
        mask: [B, S], 1 = token; rows of padding do not count, and columns of padding have no probability.

    Source: section 3.5 (L_AT). Google's code leaves out the teacher's entropy, a constant, and gives padding -6 where
    the paper gives it nothing (modeling.py, ``attention_layer``), so that its maps end in columns of padding.
    """
    teacher = teacher.detach()
    log_ratio = teacher.clip(min=_LEAST_PROBABILITY).log() - student.clip(min=_LEAST_PROBABILITY).log()
    return mean_of_tokens((teacher * log_ratio).sum(axis=-1).mean(axis=1), mask)  # [B, A, S, S] -> [B, S]


def soft_target_loss(teacher: Tensor, student: Tensor, temperature: float = 1.0) -> Tensor:
    """KL(teacher | student) of each row, times ``temperature`` squared, which keeps the gradient's size.

    Args:
        teacher, student: [..., N] logits; only the second one's gradient is taken.
        temperature: both are divided by it.

    Returns:
        [...]

    Source: Hinton et al. 2015. Google's code multiplies the teacher's last hidden states by its "temperature", before
    the head (run_pretraining.py, ``distill_temperature``), which is 1 in the published command, where both agree.
    """
    teacher, student = _log_softmax(teacher.detach() / temperature), _log_softmax(student / temperature)
    return (teacher.exp() * (teacher - student)).sum(axis=-1) * temperature**2


def _log_softmax(logits: Tensor) -> Tensor:
    """Over the last axis. Not Paddle's (3.3.1), which on a CPU takes 16 times as long."""
    logits = logits - logits.max(axis=-1, keepdim=True).detach()
    return logits - paddle.logsumexp(logits, axis=-1, keepdim=True)


def layer_losses(
    teacher: Sequence[tuple[Tensor | None, Tensor | None]],
    student: Sequence[tuple[Tensor, Tensor | None]],
    mask: Tensor,
    weights: TransferWeights,
) -> dict[str, Tensor]:
    """The parts of the layers' loss, weighted, each the sum over the layers given.

    Args:
        teacher, student: a layer's output [B, S, H] and attention [B, A, S, S], where they count; layer by layer.
        mask: [B, S], 1 = token.
        weights: see ``TransferWeights``.

    Returns:
        By the names of the weights that are not 0.
    """
    total: dict[str, Tensor] = {}
    for (their_map, their_attention), (our_map, our_attention) in zip(teacher, student, strict=True):
        parts = feature_map_losses(their_map, our_map, mask) if weights.reads_maps else {}
        if weights.attention:
            parts["attention"] = attention_loss(their_attention, our_attention, mask)
        for name, value in parts.items():
            if weight := getattr(weights, name):
                total[name] = total.get(name, 0.0) + weight * value
    return total
