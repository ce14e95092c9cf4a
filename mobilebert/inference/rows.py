"""Packed rows through a model or an engine: batches of rows of similar length, results in the order of the rows.

R rows   B rows of a batch   S tokens of the longest row
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from tqdm import tqdm

from mobilebert.base.errors import InputError
from mobilebert.data.collate import INPUT_NAMES, PackedDataset

# A padded batch, int64 [B, S] by the names of ``INPUT_NAMES`` -> outputs, each with one row an example.
Run = Callable[[Mapping[str, np.ndarray]], Sequence[np.ndarray]]

TOKENS_PER_RUN = 1024  # padding included; a larger batch leaves the cache and is slower


def batches_by_tokens(lengths: np.ndarray, tokens_per_run: int = TOKENS_PER_RUN) -> list[np.ndarray]:
    """Row numbers in batches, longest rows first, each at most ``tokens_per_run`` tokens (or one row)."""
    batches: list[list[int]] = []
    for row in longest_first(lengths):
        if not batches or (len(batches[-1]) + 1) * lengths[batches[-1][0]] > tokens_per_run:
            batches.append([])
        batches[-1].append(int(row))
    return [np.array(batch) for batch in batches]


def batches_of(rows: np.ndarray, size: int) -> list[np.ndarray]:
    """Row numbers in batches of ``size``, in the order given."""
    return [rows[low : low + size] for low in range(0, len(rows), size)]


def longest_first(lengths: np.ndarray) -> np.ndarray:
    """Row numbers by falling length: batches have little padding, and memory peaks at once."""
    return np.argsort(-lengths, kind="stable")


def run_rows(
    run: Run,
    data: PackedDataset,
    batches: Iterable[np.ndarray],
    shapes: Sequence[tuple[int, ...]],
    progress: tqdm | None = None,
) -> list[np.ndarray]:
    """Run rows batch by batch.

    Args:
        run: a model or an engine; labels are not passed to it.
        data: R rows.
        batches: row numbers, each row at most once.
        shapes: of each output, the shape of one row: ``(S,)`` where it has one value a token.
        progress: moved on by the rows of each batch.

    Returns:
        Each output ``[R, *shape]`` float32; zeros where nothing was computed.
    """
    results = [np.zeros((len(data.lengths), *shape), np.float32) for shape in shapes]
    for batch in batches:
        inputs = data.batch(batch)
        outputs = run({name: inputs[name] for name in INPUT_NAMES})
        width = inputs["input_ids"].shape[1]
        for result, shape, output in zip(results, shapes, outputs, strict=True):
            if output.shape[1] not in (shape[0], width) or output.shape[2:] != shape[1:]:
                raise InputError(
                    f"the model gives {list(output.shape[1:])} numbers for a row, expected {list(shape)}; "
                    "does its config.json belong to it?"
                )
            result[(batch, *map(slice, output.shape[1:]))] = output
        if progress is not None:
            progress.update(len(batch))
    return results


def span_shapes(lengths: np.ndarray) -> list[tuple[int, ...]]:
    """The shapes of start and end logits, for ``run_rows``; lengths in tokens, one a row."""
    return [(int(lengths.max()),)] * 2


def token_shapes(lengths: np.ndarray, num_labels: int) -> list[tuple[int, ...]]:
    """The shape of the logits of all tokens, for ``run_rows``; lengths in tokens, one a row."""
    return [(int(lengths.max()), num_labels)]
