"""Training: knows batches, a loss function and an evaluation function; has not heard of any task or model.

``train`` is loaded on first use: scripts read ``TrainSettings`` before Paddle may start.
"""

from mobilebert.train.hooks import Evaluation, Hooks
from mobilebert.train.settings import RunHeader, Start, Terms, TrainResult, TrainSet, TrainSettings

__all__ = ["Evaluation", "Hooks", "RunHeader", "Start", "Terms", "TrainResult", "TrainSet", "TrainSettings", "train"]


def __getattr__(name: str):
    if name == "train":
        from mobilebert.train import loop

        return loop.train
    raise AttributeError(f"module 'mobilebert.train' has no attribute '{name}'")
