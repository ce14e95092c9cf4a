"""LAMB: Adam's direction, in each matrix made as long as the matrix itself, times the learning rate."""

from collections.abc import Collection
from typing import Any

import paddle


class Lamb(paddle.optimizer.AdamW):
    """LAMB of You et al. 2020 (algorithm 2 with phi(z) = z), its bias correction included.

        r = m^ / (sqrt(v^) + epsilon) + weight_decay * w        w -= learning_rate * ||w|| / ||r|| * r

    A norm of 0 makes the ratio 1. What is not ``adapted`` (biases, norms) takes Adam's step without decay.

    Source: the paper; what is adapted and the ratio of a norm of 0 are Google's (``lamb_optimizer.py`` of MobileBERT),
    whose moments lack the correction: the paper calls it another warm-up of the learning rate.

    Not ``paddle.optimizer.Lamb``, which drops the ratio where there is no decay. Moments and their kernel are AdamW's,
    and checkpoints look the same: the step that AdamW makes from zeros is the direction.

    Args:
        adapted: names of the parameters with decay and ratio.
        weight_decay: see above.
        options: the other arguments of AdamW.
    """

    def __init__(self, adapted: Collection[str], weight_decay: float, **options: Any):
        super().__init__(weight_decay=0.0, **options)
        self._adapted = frozenset(adapted)
        self._decay = weight_decay

    def _append_optimize_op(self, block: Any, param_and_grad: tuple[paddle.Tensor, paddle.Tensor]) -> None:
        """What AdamW does for each parameter. One at a time: most fit into the cache."""
        weight = param_and_grad[0]
        if weight.name not in self._adapted:
            super()._append_optimize_op(block, param_and_grad)
            return
        rate = self.get_lr() * weight.optimize_attr["learning_rate"]
        before = weight.clone()
        weight.zero_()
        super()._append_optimize_op(block, param_and_grad)
        update = weight.subtract_(before.scale(rate * self._decay))  # -rate * r
        # A tensor as factor would broadcast, which is slow on a CPU.
        weight_norm, update_norm = (paddle._C_ops.squared_l2_norm(each).item() ** 0.5 for each in (before, update))
        ratio = rate * weight_norm / update_norm if weight_norm > 0 and update_norm > 0 else 1.0
        update.scale_(ratio).add_(before)
