"""What happens to a step whose loss or gradient is not finite: it is named, and its batch is kept for inspection."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from mobilebert.base.files import atomic_path

BATCHES = "nonfinite_step[0-9]*.npz"
# Longer lists stand in the dumped file only.
IDS_IN_MESSAGE = 8
NAMES_IN_MESSAGE = 3


def describe(
    step: int,
    loss: float,
    grad_norm: float,
    learning_rate: float,
    example_ids: Sequence[str],
    named_parameters: Sequence[tuple[str, paddle.Tensor]],
) -> str:
    """One line that says at which step what was not finite, at what learning rate, on which examples.

    Args:
        step: counted from 1.
        loss: mean over the step's examples.
        grad_norm: global norm.
        learning_rate: that the update would have used.
        example_ids: of the whole step.
        named_parameters: the model's; those with a non-finite gradient are named.
    """
    ids = ", ".join(example_ids[:IDS_IN_MESSAGE]) + (", ..." if len(example_ids) > IDS_IN_MESSAGE else "")
    bad = [name for name, p in named_parameters if p.grad is not None and not bool(paddle.isfinite(p.grad).all())]
    names = f" (in {', '.join(bad[:NAMES_IN_MESSAGE])}; {len(bad)} parameters)" if bad else ""
    return (
        f"step {step}: loss {loss:g}, gradient norm {grad_norm:g}{names} at learning rate {learning_rate:g}; "
        f"the {len(example_ids)} examples are {ids}"
    )


def dump(output_dir: Path, step: int, example_ids: Sequence[str], batch: dict[str, np.ndarray]) -> Path:
    """Write the step's batch and example ids into ``nonfinite_step<N>.npz``; returns its path."""
    path = output_dir / f"nonfinite_step{step}.npz"
    with atomic_path(path) as temporary, open(temporary, "wb") as handle:
        arrays: dict[str, Any] = {"example_ids": np.array(example_ids), **batch}
        np.savez_compressed(handle, **arrays)
    return path
