"""Training: knows batches, a loss function and an evaluation function; has not heard of any task or model."""

from mobilebert.train.loop import TrainSet, train
from mobilebert.train.settings import TrainResult, TrainSettings

__all__ = ["TrainResult", "TrainSet", "TrainSettings", "train"]
