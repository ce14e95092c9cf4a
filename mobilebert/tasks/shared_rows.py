"""Rows of a data set shared among the processes of a job, each result on every one of them."""

from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from mobilebert.data.collate import PackedDataset
from mobilebert.inference.rows import Run, batches_of, longest_first, run_rows
from mobilebert.train.parallel import World, gather_in_order, rank_share


def run_shared(
    run: Run,
    data: PackedDataset,
    shapes: Sequence[tuple[int, ...]],
    batch_size: int,
    world: World,
    progress: str | None = None,
) -> list[np.ndarray]:
    """Run every row of a data set, each process its share.

    Args:
        run: a padded batch -> outputs.
        data: R rows.
        shapes: of each output, the shape of one row.
        batch_size: rows in one forward pass.
        world: this process among all.
        progress: title of a progress bar; none for no bar.

    Returns:
        Each output ``[R, *shape]`` float32, rows in the order of ``data``, the same on every rank.
    """
    order = longest_first(data.lengths)
    own = rank_share(order, world)
    bar = tqdm(total=len(own), desc=progress, unit=" rows", disable=None if progress and world.is_main else True)
    with bar:
        results = run_rows(run, data, batches_of(own, batch_size), shapes, bar)
    if world.size == 1:
        return results
    ordered = []
    for result in results:
        whole = np.empty_like(result)
        whole[order] = gather_in_order(result[own], len(order), world)
        ordered.append(whole)
    return ordered
