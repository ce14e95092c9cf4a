"""What a comparison of two models found: a row a tensor, a table, a verdict.

Each tensor's difference is given relative to the tensor's own scale (its largest magnitude), [CLS] and the other tokens
apart, because [CLS] reaches 2.5e7 in the released weights and would hide the rest.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from mobilebert.base.files import write_json


@dataclass
class Row:
    """One tensor's comparison, the worst over all batches.

    Attributes:
        name: which tensor.
        magnitude: largest absolute value, PyTorch in float64.
        max_absolute: largest absolute difference between the frameworks.
        cls_relative, tokens_relative: largest difference of the [CLS] rows and of the other tokens, each relative to
            its own largest magnitude; equal where the tensor has no token axis.
        torch_error, paddle_error: each framework (the peer, Paddle) against float64, relative to ``magnitude``.
        index: where the largest relative difference is.
    """

    name: str
    magnitude: float = 0.0
    max_absolute: float = 0.0
    cls_relative: float = 0.0
    tokens_relative: float = 0.0
    torch_error: float = 0.0
    paddle_error: float = 0.0
    index: tuple[int, ...] = ()

    @property
    def relative(self) -> float:
        """The larger of the two relative differences: what is held against the tolerance."""
        return max(self.cls_relative, self.tokens_relative)

    def update(self, torch_value: np.ndarray, paddle_value: np.ndarray, exact: np.ndarray, has_tokens: bool) -> None:
        """Take one batch's result into the row, keeping the worst.

        Args:
            torch_value, paddle_value: what the frameworks give, of one shape.
            exact: the same in float64.
            has_tokens: of 3 dimensions the second is tokens, the first of which is [CLS].
        """
        difference = np.abs(torch_value.astype("float64") - paddle_value)
        has_tokens = has_tokens and exact.ndim == 3
        scale = np.empty_like(exact)
        if has_tokens:
            scale[:, :1] = _scale(exact[:, :1])
            scale[:, 1:] = _scale(exact[:, 1:])
        else:
            scale[...] = _scale(exact)
        relative = difference / scale
        index = np.unravel_index(np.argmax(relative), relative.shape)
        if not relative[index] <= self.relative or not self.index:
            self.index = tuple(int(i) for i in index)
        self.magnitude = max(self.magnitude, float(np.abs(exact).max()))
        self.max_absolute = _max(self.max_absolute, difference)
        self.cls_relative = _max(self.cls_relative, relative[:, :1] if has_tokens else relative)
        self.tokens_relative = _max(self.tokens_relative, relative[:, 1:] if has_tokens else relative)
        self.torch_error = _max(self.torch_error, np.abs(torch_value - exact) / _scale(exact))
        self.paddle_error = _max(self.paddle_error, np.abs(paddle_value - exact) / _scale(exact))


@dataclass
class Comparison:
    """All rows, and what they were held against."""

    rows: list[Row]
    dtype: str
    tolerance: float
    peer: str = "torch"  # what Paddle is held against

    @property
    def worst(self) -> Row:
        """The row with the largest relative difference; not-a-number counts as infinite."""
        return max(self.rows, key=lambda row: np.inf if np.isnan(row.relative) else row.relative)

    @property
    def passed(self) -> bool:
        """Whether every row is within the tolerance."""
        return bool(self.worst.relative <= self.tolerance)

    def table(self) -> str:
        """The rows as text."""
        head = ["tensor", "magnitude", "max abs", "rel CLS", "rel tokens", f"{self.peer}-f64", "paddle-f64"]
        lines = [f"{head[0]:<42}" + "".join(f"{title:>14}" for title in head[1:])]
        for row in self.rows:
            numbers = (
                row.magnitude,
                row.max_absolute,
                row.cls_relative,
                row.tokens_relative,
                row.torch_error,
                row.paddle_error,
            )
            lines.append(f"{row.name:<42}" + "".join(f"{number:>14.2e}" for number in numbers))
        return "\n".join(lines)

    def verdict(self) -> str:
        """One line: equal, or which tensor is worst, where, by how much, and where on the way up it begins."""
        worst = self.worst
        where = f"{worst.name}{list(worst.index)}"
        limit = f"tolerance {self.tolerance:.0e} ({self.dtype})"
        if self.passed:
            return f"equal: worst relative difference {worst.relative:.2e} at {where}, {limit}"
        first = next(row.name for row in self.rows if not row.relative <= self.tolerance)
        return f"DIFFERENT: {where} differs by {worst.relative:.2e} relative, {limit}; the first to differ is {first}"

    def save(self, path: str | Path) -> None:
        """Write rows, type, tolerance and verdict as JSON."""
        rows = [{**asdict(row), "relative": row.relative} for row in self.rows]
        write_json(
            path,
            {"passed": self.passed, "peer": self.peer, "dtype": self.dtype, "tolerance": self.tolerance, "rows": rows},
        )


def _scale(values: np.ndarray) -> float:
    return float(np.abs(values).max(initial=0.0)) or 1.0


def _max(so_far: float, values: np.ndarray) -> float:
    """The larger; not-a-number stays (``max`` would lose it)."""
    return float(np.maximum(so_far, values.max(initial=0.0)))
