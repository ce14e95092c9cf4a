"""A training of milliseconds for the tests of the loop: fifty rows, two layers."""

import json
from pathlib import Path

import numpy as np
import paddle

# Fifty rows make seven steps an epoch.
QUIET = {"learning_rate": 1e-2, "save_steps": 0, "eval_steps": 0, "log_steps": 1, "warmup_ratio": 0.0, "batch_size": 8}


class Rows:
    """N rows of F features with a label each."""

    def __init__(self, count=50, dtype="float64"):
        rng = np.random.default_rng(0)
        self.x = rng.normal(size=(count, 6)).astype(dtype)
        self.y = (self.x[:, 0] * self.x[:, 1] > 0).astype("int64")
        self.lengths = rng.integers(3, 9, count)

    def __len__(self):
        return len(self.x)

    def batch(self, indices):
        return {"x": self.x[indices], "y": self.y[indices]}

    def example_ids(self, indices):
        return [f"row{index}" for index in indices]


def network(dropout=0.0, dtype="float64"):
    paddle.seed(5)
    layers = [paddle.nn.Linear(6, 16), paddle.nn.Tanh(), paddle.nn.Dropout(dropout), paddle.nn.Linear(16, 2)]
    return paddle.nn.Sequential(*layers).to(dtype=dtype)


def loss_fn(model, batch):
    return paddle.nn.functional.cross_entropy(model(batch["x"]), batch["y"])


def records(folder, name="train.jsonl"):
    return [json.loads(line) for line in Path(folder, name).read_text().splitlines()]


def weights(model):
    return [p.numpy() for p in model.parameters()]


class Killed(BaseException):
    """Stands for kill -9: nothing in the loop catches it."""
