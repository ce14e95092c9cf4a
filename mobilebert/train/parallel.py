"""Data parallel training over the processes that ``python -m paddle.distributed.launch`` starts.

Gradients are summed once per step, after the last micro-batch, by this module rather than by ``paddle.DataParallel``:
micro-batches need no ``no_sync``, a rank without examples takes part, and every rank is weighted by its number of
examples, so that N processes are exactly one process with the N-fold batch. The price is that the sum does not
overlap with the backward pass.

``launch`` chooses the backend: NCCL on GPUs (``--gpus 0,1``), gloo without (``--nproc_per_node 2``).
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import paddle.distributed as dist
from paddle.base import core

from mobilebert.base import outputs
from mobilebert.base.errors import InputError

# Elements in one all-reduce: large enough that latency does not count, small enough to need little extra memory.
BUCKET_ELEMENTS = 1 << 24

# When a rank dies, the others notice at once (gloo) or hang (NCCL). Those who notice wait this long before they fail
# too, so that the launcher, which looks every 2 s, still finds only the culprit dead and prints *its* error.
SECONDS_FOR_THE_LAUNCHER = 8.0

_barriers = 0  # how many this process has passed: the same on all ranks, so it can name the next one


@dataclass(frozen=True)
class World:
    """This process among all of the job: ``rank`` 0 to ``size`` - 1. Only rank 0 writes files."""

    rank: int
    size: int

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0

    def share(self, total: int) -> np.ndarray:
        """Indices, contiguous, of this rank's part of ``total`` items; ``gather_in_order`` is its inverse."""
        return rank_share(np.arange(total), self)


def world_size() -> int:
    """Processes of the job that the launcher started; 1 without a launcher."""
    return int(os.environ.get("PADDLE_TRAINERS_NUM", "1"))


def start() -> World:
    """Join the job that the launcher started, or be a world of one. May be called again at no cost."""
    size = world_size()
    if size == 1:
        return World(0, 1)
    if not dist.is_initialized():
        _run_collective(dist.init_parallel_env)
    return World(dist.get_rank(), size)


def rank_share(indices: np.ndarray, world: World) -> np.ndarray:
    """Contiguous part of ``indices`` for this rank; empty for some where there are fewer items than ranks."""
    return np.array_split(indices, world.size)[world.rank]


def broadcast_parameters(model: paddle.nn.Layer, world: World) -> None:
    """Give every rank rank 0's parameters and buffers."""
    if world.size > 1:
        barrier(world)
        for tensor in model.state_dict().values():
            _run_collective(dist.broadcast, tensor, src=0)


def sum_gradients(parameters: list[paddle.Tensor], extras: paddle.Tensor, world: World) -> paddle.Tensor:
    """Replace every parameter's gradient by its sum over ranks, and return the sum of ``extras``.

    Args:
        parameters: in the same order on every rank. One whose gradient is None on all ranks keeps None.
        extras: [K] float, whatever else should be summed in the same breath.
        world: this process.

    Returns:
        [K] sum of ``extras`` over ranks.
    """
    if world.size == 1:
        return extras
    present = paddle.to_tensor([float(p.grad is not None) for p in parameters], dtype=extras.dtype)
    head = paddle.concat([present, extras])
    _run_collective(dist.all_reduce, head)
    present = head[: len(parameters)].numpy()
    for bucket in _buckets([p for p, count in zip(parameters, present, strict=True) if count]):
        flat = paddle.concat([(paddle.zeros_like(p) if p.grad is None else p.grad).reshape([-1]) for p in bucket])
        _run_collective(dist.all_reduce, flat)
        for p, piece in zip(bucket, paddle.split(flat, [p.size for p in bucket]), strict=True):
            p.grad = piece.reshape(p.shape)
    return head[len(parameters) :]


def sum_array(values: np.ndarray, world: World) -> np.ndarray:
    """The sum over ranks, on all of them; for small float64 arrays."""
    if world.size == 1:
        return values
    tensor = paddle.to_tensor(values)
    _run_collective(dist.all_reduce, tensor)
    return tensor.numpy()


def gather_in_order(part: np.ndarray, total: int, world: World) -> np.ndarray:
    """Put together what every rank made of its ``world.share(total)``.

    Args:
        part: [len(world.share(total)), ...]; dtype and trailing shape are the same on all ranks.
        total: items over all ranks.
        world: this process.

    Returns:
        [total, ...], the same on all ranks.
    """
    if world.size == 1:
        return part
    lengths = [len(share) for share in np.array_split(np.arange(total), world.size)]
    padded = np.zeros((max(lengths), *part.shape[1:]), part.dtype)
    padded[: len(part)] = part
    barrier(world)
    pieces: list[paddle.Tensor] = []
    _run_collective(dist.all_gather, pieces, paddle.to_tensor(padded))
    return np.concatenate([piece.numpy()[:length] for piece, length in zip(pieces, lengths, strict=True)])


def gather_objects(value: Any, world: World) -> list[Any]:
    """[value of rank 0, of rank 1, ...] on all ranks; for small things that pickle."""
    if world.size == 1:
        return [value]
    barrier(world)
    values: list[Any] = []
    _run_collective(dist.all_gather_object, values, value)
    return values


def on_main(action: Callable[[], Any], world: World) -> Any:
    """Run ``action`` on rank 0 alone. All ranks return its value, or raise its InputError."""
    outcome = None
    if world.is_main:
        try:
            outcome = ("value", action())
        except InputError as error:
            outcome = ("error", str(error))
    kind, value = gather_objects(outcome, world)[0]
    if kind == "error":
        raise InputError(value)
    return value


@contextmanager
def lock_output(folder: Path, world: World) -> Iterator[None]:
    """``outputs.lock_folder`` for a whole job, whose rank 0 writes.

    Raises:
        InputError: another run writes the folder.
    """
    with ExitStack() as locks:
        on_main(lambda: locks.enter_context(outputs.lock_folder(folder)), world)
        yield


def barrier(world: World) -> None:
    """Wait for all ranks, however long the slowest takes (a checkpoint, an evaluation, a cache being built).

    gloo gives up after 30 s and Paddle has no setting for it, so on gloo ranks meet at the key-value store instead.
    That takes some 0.1 s, which is why ``sum_gradients`` does not wait like this.
    """
    global _barriers
    if world.size == 1:
        return
    if dist.get_backend() != "GLOO":
        _run_collective(dist.barrier)
        return
    _barriers += 1
    store, key = core.create_or_get_global_tcp_store(), f"mobilebert/barrier/{_barriers}"
    _run_collective(store.add, key, 1)
    while _run_collective(store.add, key, 0) < world.size:
        time.sleep(0.01)


def _buckets(parameters: list[paddle.Tensor]) -> list[list[paddle.Tensor]]:
    """Consecutive parameters of one dtype, up to ``BUCKET_ELEMENTS`` numbers together; a larger one is alone."""
    buckets: list[list[paddle.Tensor]] = []
    elements_left = 0
    for p in parameters:
        if not buckets or elements_left < p.size or buckets[-1][0].dtype != p.dtype:
            buckets.append([])
            elements_left = BUCKET_ELEMENTS
        buckets[-1].append(p)
        elements_left -= p.size
    return buckets


def _run_collective(collective: Callable, *args, **kwargs) -> Any:
    """Run a collective; where it fails because another rank is gone, let that rank's error be seen first."""
    try:
        return collective(*args, **kwargs)
    except (RuntimeError, OSError) as error:
        time.sleep(SECONDS_FOR_THE_LAUNCHER)
        raise RuntimeError(
            f"rank {os.environ.get('PADDLE_TRAINER_ID', '0')} lost contact with another rank, whose own log "
            f"(workerlog.N in the launcher's --log_dir) has the reason; here: {str(error).strip().splitlines()[-1]}"
        ) from error
