"""Training: knows batches, a loss function and an evaluation function; has not heard of any task or model.

``train`` and ``TrainSet`` are loaded on first use: scripts read ``TrainSettings`` before Paddle may start.
"""

from mobilebert.train.settings import TrainResult, TrainSettings

__all__ = ["TrainResult", "TrainSet", "TrainSettings", "train"]


def __getattr__(name: str):
    if name in ("TrainSet", "train"):
        from mobilebert.train import loop

        return getattr(loop, name)
    raise AttributeError(f"module 'mobilebert.train' has no attribute '{name}'")
