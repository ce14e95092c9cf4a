"""AdamW or LAMB with parameter groups, learning-rate schedules, gradient norm and loss scaling."""

import math
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypedDict

import numpy as np
import paddle
from msgspec import Meta

from mobilebert.base.errors import InputError
from mobilebert.train.lamb import Lamb
from mobilebert.train.settings import TrainSettings

# Names that paddle.optimizer.AdamW, and so LAMB, gives to its state, after the parameter's own name.
_STATE_SUFFIXES = {
    "moment1": "_moment1_0",
    "moment2": "_moment2_0",
    "beta1_pow": "_beta1_pow_acc_0",
    "beta2_pow": "_beta2_pow_acc_0",
}


def warmup_length(settings: TrainSettings, total_steps: int) -> int:
    """Steps of the linear warm-up: ``warmup_steps``, or ``warmup_ratio`` of all steps, rounded as the schedule does."""
    rounded = math.floor if settings.lr_schedule == "cosine_annealing" else math.ceil
    return settings.warmup_steps or rounded(total_steps * settings.warmup_ratio)


def learning_rate_at(settings: TrainSettings, step: int, total_steps: int) -> float:
    """Learning rate of update number ``step`` (counted from 0) out of ``total_steps``.

    Source: torch's ``LambdaLR`` with transformers' ``get_linear_schedule_with_warmup`` and its sisters. Cosine with
    ``decay_ratio=1`` and ``min_lr=0`` is theirs; else it reaches ``min_lr`` at ``ceil(decay_ratio * total_steps)``.
    ``cosine_annealing`` is the original reproduction's, to the 10 digits of its logs: the same curve one step earlier,
    so that the first update already moves, after a warm-up that is rounded down. What such a log shows after n updates
    is the rate of update number n.
    """
    peak, floor = settings.learning_rate, settings.min_lr
    is_cosine = settings.lr_schedule in ("cosine", "cosine_annealing")
    step += settings.lr_schedule == "cosine_annealing"
    warmup = warmup_length(settings, total_steps)
    if step < warmup:
        return peak * (step / warmup)
    if settings.lr_schedule == "constant":
        return peak
    end = math.ceil(settings.decay_ratio * total_steps) if is_cosine else total_steps
    progress = min(1.0, (step - warmup) / max(1, end - warmup))
    if is_cosine:
        return floor + (peak - floor) * 0.5 * (1.0 + math.cos(math.pi * progress))
    if settings.lr_schedule == "linear":
        return peak * (1.0 - progress)
    return floor + (peak - floor) * (1.0 - progress) ** settings.lr_power


def is_bias_or_norm(name: str, parameter: paddle.Tensor) -> bool:
    """Default for "no weight decay": every parameter with fewer than two axes (biases, LayerNorm, NoNorm)."""
    return parameter.ndim < 2


def build_optimizer(
    model: paddle.nn.Layer,
    settings: TrainSettings,
    no_decay: Callable[[str, paddle.Tensor], bool] = is_bias_or_norm,
    depth_of: Callable[[str], int] | None = None,
) -> paddle.optimizer.AdamW:
    """AdamW over the trainable parameters of ``model``, or LAMB.

    Args:
        model: its ``named_parameters()`` give each parameter once, tied ones too.
        settings: which, weight decay, betas, epsilon, layer-wise decay.
        no_decay: whether a parameter (by structured name and tensor) is kept out of weight decay, and of LAMB's ratio.
        depth_of: layers between a parameter (by structured name) and the top; the head is 0. Needed where
            ``layerwise_lr_decay`` is not 1.

    Raises:
        InputError: nothing is trainable, or ``layerwise_lr_decay`` without ``depth_of``.

    Source: ``torch.optim.AdamW``; equal to 1e-9 in float64 (the kernel keeps ``weight_decay`` in float32). ``Lamb``.
    """
    trainable = [(name, p) for name, p in model.named_parameters() if not p.stop_gradient]
    if not trainable:
        raise InputError("the model has no trainable parameter; unfreeze at least one")
    decayed = {p.name for name, p in trainable if not no_decay(name, p)}
    if settings.layerwise_lr_decay != 1.0 and depth_of is None:
        raise InputError(f"layerwise_lr_decay={settings.layerwise_lr_decay}: this model gives no layer depths")
    for name, p in trainable:
        # Not AdamW's own lr_ratio: its CPU kernel ignores that.
        p.optimize_attr["learning_rate"] = settings.layerwise_lr_decay ** (depth_of(name) if depth_of else 0)
    options: dict[str, Any] = {
        "learning_rate": settings.learning_rate,
        "beta1": settings.adam_beta1,
        "beta2": settings.adam_beta2,
        "epsilon": settings.adam_epsilon,
        "parameters": [p for _, p in trainable],
        "weight_decay": settings.weight_decay,
    }
    if settings.optimizer == "lamb":
        return Lamb(adapted=decayed, **options)
    return paddle.optimizer.AdamW(apply_decay_param_fun=lambda name: name in decayed, **options)


def optimizer_arrays(model: paddle.nn.Layer, optimizer: paddle.optimizer.AdamW) -> dict[str, np.ndarray]:
    """The optimizer's state keyed by the model's own names, e.g. ``embeddings.word.weight/moment1``.

    Paddle names state after a counter that depends on what else the process has built; these names do not.
    A parameter that never had a gradient has no entry.
    """
    state = optimizer.state_dict()
    return {
        f"{name}/{kind}": state[p.name + suffix].numpy()
        for name, p in model.named_parameters()
        for kind, suffix in _STATE_SUFFIXES.items()
        if p.name + suffix in state
    }


def load_optimizer_arrays(
    model: paddle.nn.Layer, optimizer: paddle.optimizer.AdamW, arrays: dict[str, np.ndarray]
) -> None:
    """Inverse of ``optimizer_arrays``; the optimizer must not have made a step yet.

    Raises:
        InputError: an array of another shape or type than this model's, or a parameter with a part of its state only;
            Paddle would end at the first step.
    """
    state = {}
    for name, p in model.named_parameters():
        found = {kind: arrays[f"{name}/{kind}"] for kind in _STATE_SUFFIXES if f"{name}/{kind}" in arrays}
        for kind, array in found.items():
            shape = list(p.shape) if kind.startswith("moment") else [1]
            dtype = "float64" if p.dtype is paddle.float64 else "float32"  # also of halves
            if list(array.shape) != shape or array.dtype.name != dtype:
                raise InputError(
                    f"optimizer's state of another model ({name}/{kind} is {array.dtype} {list(array.shape)} there, "
                    f"{dtype} {shape} here); resume from another checkpoint"
                )
            state[p.name + _STATE_SUFFIXES[kind]] = paddle.to_tensor(array)
        if found and len(found) < len(_STATE_SUFFIXES):
            raise InputError(f"optimizer's state of {name} is incomplete; resume from another checkpoint")
    optimizer.set_state_dict(state)


def gradients_of(parameters: Sequence[paddle.Tensor]) -> list[paddle.Tensor]:
    """Gradients of those parameters that have one."""
    return [p.grad for p in parameters if p.grad is not None]


def global_norm(gradients: Sequence[paddle.Tensor]) -> paddle.Tensor:
    """Euclidean norm of all gradients together, [1] on their device; NaN or Inf where any of them is."""
    squares = [paddle._C_ops.squared_l2_norm(gradient).reshape([1]) for gradient in gradients]
    return paddle.concat(squares).sum(keepdim=True).sqrt()


@paddle.no_grad()  # a gradient counts as a leaf that needs one itself, and those refuse changes in place
def scale_gradients(gradients: Sequence[paddle.Tensor], factor: float) -> None:
    """Multiply in place; costs nothing where ``factor`` is 1."""
    if factor != 1.0:
        for gradient in gradients:
            gradient.scale_(factor)


def clip_factor(norm: float, max_norm: float) -> float:
    """What gradients of this norm are multiplied by; ``max_norm`` 0 clips nothing.

    Source: ``torch.nn.utils.clip_grad_norm_``, its 1e-6 included.
    """
    return min(1.0, max_norm / (norm + 1e-6)) if max_norm else 1.0


def check_amp(amp: str) -> None:
    """Raise InputError where this device cannot autocast to ``amp``."""
    if amp == "none":
        return
    device = paddle.device.get_device()
    # Paddle calls bfloat16 "supported" on a CPU (oneDNN has it) but its autocast does nothing there, and a float16
    # matmul has no kernel.
    is_supported = {"bf16": paddle.amp.is_bfloat16_supported, "fp16": paddle.amp.is_float16_supported}[amp]
    if device.startswith("cpu") or not is_supported():
        raise InputError(f"amp={amp}: Paddle cannot autocast to {amp} on this device ({device}); use amp=none")


class ScalerState(TypedDict):
    """What a checkpoint keeps of a ``LossScaler``."""

    scale: Annotated[float, Meta(gt=0)]
    good_steps: int


class LossScaler:
    """Dynamic loss scale for fp16: halved where a gradient overflows, doubled after ``growth_interval`` good steps.

    Written here rather than taken from ``paddle.amp.GradScaler``, which refuses to exist on CPU (so nothing could be
    tested there) and unscales before gradients of other ranks are added.

    Source: the rule and the constants of ``torch.amp.GradScaler``.
    """

    def __init__(self, enabled: bool, scale: float = 65536.0, growth_interval: int = 2000):
        self.enabled = enabled
        self.scale = scale if enabled else 1.0
        self.growth_interval = growth_interval
        self.good_steps = 0

    def update(self, overflow: bool) -> None:
        """Account for one step."""
        if not self.enabled:
            return
        if overflow:
            self.scale, self.good_steps = self.scale / 2, 0
            return
        self.good_steps += 1
        if self.good_steps == self.growth_interval:
            self.scale, self.good_steps = self.scale * 2, 0

    @property
    def can_shrink(self) -> bool:
        """Whether an overflow may be the scale's fault: at 1 it is the gradient's own."""
        return self.enabled and self.scale > 1.0

    def state(self) -> ScalerState:
        """What a checkpoint keeps."""
        return {"scale": self.scale, "good_steps": self.good_steps}

    def load(self, state: ScalerState) -> None:
        """Inverse of ``state``."""
        self.scale, self.good_steps = state["scale"], state["good_steps"]
