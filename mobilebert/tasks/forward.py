"""A model's outputs for a whole data set: length-sorted batches, shared among processes, in order again at the end."""

from collections.abc import Callable, Sequence

import numpy as np
import paddle
from tqdm import tqdm

from mobilebert.data.collate import INPUT_NAMES, PackedDataset
from mobilebert.train.parallel import World, gather_in_order, rank_share

Forward = Callable[[dict[str, np.ndarray]], Sequence[np.ndarray]]


def model_forward(model: paddle.nn.Layer, outputs: Sequence[str]) -> Forward:
    """A model as a function from a padded batch to its named outputs, without gradients.

    Args:
        model: in evaluation mode.
        outputs: fields of its output, each with one row an example.
    """

    def forward(batch: dict[str, np.ndarray]) -> list[np.ndarray]:
        with paddle.no_grad():
            result = model(**{name: paddle.to_tensor(value) for name, value in batch.items()})
        return [result[name].astype("float32").numpy() for name in outputs]

    return forward


def forward_all(
    forward: Forward,
    data: PackedDataset,
    row_shapes: Sequence[tuple[int, ...]],
    batch_size: int,
    world: World,
    progress: str | None = None,
) -> list[np.ndarray]:
    """Run every row of ``data`` through ``forward``.

    Batches hold rows of similar length, so that little is padded; each process takes its share.

    Args:
        forward: see ``model_forward``; labels are not passed to it.
        data: R rows.
        row_shapes: of each output, the shape of one row; zeros fill what a batch of shorter rows does not reach.
        batch_size: rows in one forward pass.
        world: this process among all.
        progress: title of a progress bar; none for no bar.

    Returns:
        Each output ``[R, *row_shape]`` float32, rows in the order of ``data``, the same on every rank.
    """
    order = np.argsort(-data.lengths, kind="stable")  # longest first: memory peaks at once, the bar only speeds up
    own = rank_share(order, world)
    results = [np.zeros((len(own), *shape), np.float32) for shape in row_shapes]
    bar = tqdm(total=len(own), desc=progress, unit=" rows", disable=None if progress and world.is_main else True)
    with bar:
        for start in range(0, len(own), batch_size):
            rows = slice(start, min(start + batch_size, len(own)))
            batch = data.batch(own[rows])
            values = forward({name: batch[name] for name in INPUT_NAMES})
            for result, value in zip(results, values, strict=True):
                result[(rows, *map(slice, value.shape[1:]))] = value
            bar.update(rows.stop - rows.start)
    ordered = []
    for result in results:
        whole = np.empty((len(order), *result.shape[1:]), np.float32)
        whole[order] = gather_in_order(result, len(order), world)
        ordered.append(whole)
    return ordered
