"""Encoded texts through an engine: rows of similar length together, a thousand tokens at a time."""

import numpy as np

from mobilebert.data.collate import collate
from mobilebert.data.packed import PackedRows
from mobilebert.inference.engines import Engine

TOKENS_PER_RUN = 1024  # padding included; a larger batch leaves the cache and is slower


def group_by_length(lengths: np.ndarray, tokens_per_run: int = TOKENS_PER_RUN) -> list[np.ndarray]:
    """Row numbers in groups, longest rows first, each group at most ``tokens_per_run`` tokens (or one row)."""
    groups: list[list[int]] = []
    for row in np.argsort(-lengths, kind="stable"):
        if not groups or (len(groups[-1]) + 1) * lengths[groups[-1][0]] > tokens_per_run:
            groups.append([])
        groups[-1].append(int(row))
    return [np.array(group) for group in groups]


def outputs_of(engine: Engine, rows: PackedRows, pad_token_id: int) -> list[np.ndarray]:
    """An engine's outputs for all rows.

    Args:
        engine: any.
        rows: R rows.
        pad_token_id: of the tokenizer.

    Returns:
        Each output in the order of ``rows``: float32 [R, ...], or [R, S, ...] with S the longest row where the output
        has one entry a token; zeros stand where a row has none.
    """
    lengths = rows.lengths
    longest = int(lengths.max())
    results: list[np.ndarray] = []
    for group in group_by_length(lengths):
        outputs = engine.run(collate(rows, group, pad_token_id))
        if not results:
            for output, by_token in zip(outputs, engine.per_token, strict=True):
                shape = (longest, *output.shape[2:]) if by_token else output.shape[1:]
                results.append(np.zeros((len(rows), *shape), np.float32))
        for result, output, by_token in zip(results, outputs, engine.per_token, strict=True):
            if not by_token:
                result[group] = output
                continue
            for row, values in zip(group, output, strict=True):
                result[row, : lengths[row]] = values[: lengths[row]]
    return results
