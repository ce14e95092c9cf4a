"""A real but tiny training run of the engine: what the kill campaign and the engine's end-to-end tests train.

The task: does a sequence hold more even than odd tokens? The model has dropout, a layer norm, a layer that never gets
a gradient and sequences of many lengths, so that whatever a checkpoint forgets shows.
"""

import argparse
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mobilebert.base import cli  # isort: skip (before the rest: refuses other Pythons)

import numpy as np
import paddle

from mobilebert.train import Evaluation, Hooks, RunHeader, Start, TrainSettings, parallel, train

VOCABULARY, WIDTH, MAX_LENGTH = 100, 48, 24
SETTINGS = {
    "max_steps": 60,
    "batch_size": 16,
    "learning_rate": 5e-3,
    "eval_steps": 20,
    "save_steps": 5,
    "log_steps": 1,
    "best_metric": "accuracy",
}


class SmallModel(paddle.nn.Layer):
    """Embedding, mean over tokens, one hidden layer."""

    def __init__(self, dropout: float):
        super().__init__()
        self.embedding = paddle.nn.Embedding(VOCABULARY, WIDTH)
        self.hidden = paddle.nn.Linear(WIDTH, WIDTH)
        self.norm = paddle.nn.LayerNorm(WIDTH)
        self.dropout = paddle.nn.Dropout(dropout)
        self.output = paddle.nn.Linear(WIDTH, 2)
        self.unused = paddle.nn.Linear(3, 3)

    def forward(self, tokens):
        """[B, S] -> [B, 2]; token 0 is padding."""
        mask = (tokens > 0).astype(self.output.weight.dtype).unsqueeze(-1)
        pooled = (self.embedding(tokens) * mask).sum(1) / mask.sum(1)
        return self.output(self.dropout(self.norm(paddle.nn.functional.relu(self.hidden(pooled)))))


class SmallData:
    """``TrainSet`` of random sequences."""

    def __init__(self, count: int, seed: int):
        rng = np.random.default_rng(seed)
        self.lengths = rng.integers(3, MAX_LENGTH + 1, count)
        self.rows = [rng.integers(1, VOCABULARY, length) for length in self.lengths]
        self.labels = np.array([int(2 * (row % 2 == 0).sum() > len(row)) for row in self.rows])

    def __len__(self):
        return len(self.rows)

    def batch(self, indices):
        tokens = np.zeros((len(indices), max(self.lengths[indices])), np.int64)
        for row, index in enumerate(indices):
            tokens[row, : self.lengths[index]] = self.rows[index]
        return {"tokens": tokens, "label": self.labels[indices]}

    def example_ids(self, indices):
        return [f"example-{index}" for index in indices]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output_dir", type=Path)
    parser.add_argument("--settings", type=json.loads, default={}, help="JSON object of TrainSettings")
    parser.add_argument("--resume", nargs="?", const="latest")
    parser.add_argument("--resume_fallback", action="store_true")
    parser.add_argument("--examples", type=int, default=203)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--evaluation_seconds", type=float, default=0.0, help="make evaluation slow")
    parser.add_argument("--fail_rank", type=int, default=-1, help="this process raises an error ...")
    parser.add_argument("--fail_batch", type=int, default=3, help="... in this batch")
    args = parser.parse_args()

    world = parallel.start()
    paddle.seed(7)
    model, data, dev = SmallModel(args.dropout), SmallData(args.examples, seed=1), SmallData(101, seed=2)
    batches = 0

    def loss_fn(model, batch):
        nonlocal batches
        batches += 1
        if world.rank == args.fail_rank and batches == args.fail_batch:
            raise ValueError(f"process {world.rank} fails on purpose")
        return paddle.nn.functional.cross_entropy(model(batch["tokens"]), batch["label"])

    def evaluate(model):
        time.sleep(args.evaluation_seconds)
        share = world.share(len(dev))
        logits = model(paddle.to_tensor(dev.batch(share)["tokens"])).numpy()
        logits = parallel.gather_in_order(logits, len(dev), world)
        accuracy = float((logits.argmax(-1) == dev.labels).mean())
        return Evaluation({"accuracy": accuracy, "logit_sum": float(logits.sum())})

    def save_best(folder, _):
        weights = {name: tensor.numpy().tolist() for name, tensor in model.state_dict().items()}
        (folder / "weights.json").write_text(json.dumps(weights), encoding="utf-8")

    train(
        model,
        data,
        loss_fn,
        TrainSettings(**{**SETTINGS, **args.settings}),
        args.output_dir,
        hooks=Hooks(evaluate=evaluate, save_best=save_best),
        start=Start(resume=args.resume, resume_fallback=args.resume_fallback),
        header=RunHeader(data_checksum=f"small-{args.examples}"),
    )
    return 0


if __name__ == "__main__":
    cli.run(main)
