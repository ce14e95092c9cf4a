"""Every random state of the process: Python's, NumPy's and Paddle's, as plain JSON values."""

import random
from typing import Annotated, Any, TypedDict

import numpy as np
import paddle
from msgspec import Meta


class RandomStates(TypedDict):
    """What ``capture`` gives, in the order of each library's own state."""

    python: tuple[int, list[int], float | None]
    # NumPy takes any position, and would read there.
    numpy: tuple[str, list[Annotated[int, Meta(ge=0, lt=2**32)]], Annotated[int, Meta(ge=0, le=624)], int, float]
    paddle: dict[str, list[tuple[int, int, int, str]]]


def seed_all(seed: int) -> None:
    """Seed Python, NumPy's global generator and Paddle's generators on all devices."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    paddle.seed(seed)


def generators(states: RandomStates) -> str:
    """Of which devices ``capture`` kept the generators, for messages: ``1 cpu, 2 gpu``."""
    return ", ".join(f"{len(kept)} {device}" for device, kept in sorted(states["paddle"].items()))


def capture() -> RandomStates:
    """All random states; ``restore`` takes the same value, also after a trip through JSON."""
    version, mersenne_state, gauss = random.getstate()
    name, keys, *rest = np.random.get_state(legacy=True)
    devices = dict.fromkeys(["cpu", paddle.device.get_device().split(":")[0]])
    return {
        "python": (version, list(mersenne_state), gauss),
        "numpy": (name, np.asarray(keys).tolist(), *rest),
        "paddle": {device: [_encode(state) for state in paddle.get_rng_state(device)] for device in devices},
    }


def restore(states: RandomStates) -> None:
    """Inverse of ``capture``, on a machine with the same kind and number of devices."""
    version, mersenne_state, gauss = states["python"]
    random.setstate((version, tuple(mersenne_state), gauss))
    name, keys, position, has_gauss, cached_gauss = states["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, cached_gauss))
    for device, encoded in states["paddle"].items():
        current = paddle.get_rng_state(device)
        paddle.set_rng_state([_decode(value, type(current[0])) for value in encoded], device)


def _encode(state: Any) -> tuple[int, int, int, str]:
    """A Paddle GeneratorState as (device, seed, offset, engine); the engine's text comes as a list of bytes."""
    device, seed, offset, engine = state.__getstate__()
    return device, seed, offset, bytes(engine).decode("latin-1")


def _decode(value: tuple[int, int, int, str], kind: Any) -> Any:
    device, seed, offset, engine = value
    state = kind.__new__(kind)
    state.__setstate__((device, seed, offset, list(engine.encode("latin-1"))))
    return state
