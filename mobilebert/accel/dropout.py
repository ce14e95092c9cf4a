"""The fast path's dropout: random bits from NumPy, seeded from Paddle's generator, the same for Python and C."""

from collections.abc import Sequence

import numpy as np
import paddle
from paddle import Tensor

_RANGE = 1 << 16  # an element has 16 random bits: a probability is a multiple of 1 / 65536


def random_bits(shape: Sequence[int]) -> np.ndarray:
    """Draw an evenly distributed uint16 for each element; what is below ``threshold`` is dropped.

    One number from Paddle's generator seeds the draw: whoever restores Paddle's random state restores the bits.
    """
    seed = paddle.randint(0, 2**31 - 1, [1], dtype="int64").item()
    size = int(np.prod(shape))
    blocks = np.random.Generator(np.random.SFC64(seed)).integers(0, 2**64, -(-size // 4), dtype=np.uint64)
    return blocks.view(np.uint16)[:size].reshape(shape)


def threshold(probability: float) -> int:
    """The number below which a share of ``probability`` of all uint16 lies."""
    return round(probability * _RANGE)


def mask(shape: Sequence[int], probability: float, dtype: paddle.dtype) -> Tensor:
    """1 where an element survives, 0 where it is dropped; survivors are *not* scaled up."""
    survives = random_bits(shape) >= threshold(probability)
    return paddle.from_dlpack(survives.astype("float64" if dtype == paddle.float64 else "float32"))
