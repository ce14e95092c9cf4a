"""Do the CPU's fast paths train like modeling.py? Losses of some AdamW steps, each path against float64.

The full-size question answering model, random weights and batches with padding, no dropout (masks differ by path).
Float32 rounds differently on every path and training amplifies that, so the float32 losses of modeling.py itself stand
beside those of the fast paths: a path is right where it is as near to float64 as modeling.py is.

    python benchmarks/same_losses.py
    python benchmarks/same_losses.py --learning_rate 1e-6 --steps 20
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "benchmarks"))

from train_step import make_checkpoint, random_batch  # noqa: E402

from mobilebert.base import cli  # noqa: E402
from mobilebert.base.errors import InputError  # noqa: E402

# Path -> (float type, MOBILEBERT_FUSED, MOBILEBERT_NATIVE); the first is the measure of the others.
PATHS = {
    "modeling.py, float64": ("float64", "0", "0"),
    "modeling.py": ("float32", "0", "0"),
    "reference.py": ("float32", "1", "0"),
    "layer_train.c": ("float32", "1", "1"),
}


def parse_arguments(argv: list[str] | None = None):
    parser = cli.ArgumentParser("Losses of the CPU's fast paths against float64.", "  python benchmarks/same_losses.py")
    parser.add_argument("--steps", type=int, default=20, help="AdamW updates")
    parser.add_argument("--learning_rate", type=float, default=8e-5, help="of AdamW, without warm-up")
    parser.add_argument("--batch", type=int, default=4, help="examples")
    parser.add_argument("--length", type=int, default=47, help="tokens")
    parser.add_argument("--layers", type=int, default=24, help="num_hidden_layers")
    parser.add_argument("--seed", type=int, default=0, help="of weights and batches")
    arguments = parser.parse_args(argv)
    if min(arguments.steps, arguments.batch, arguments.length, arguments.layers) < 1:
        raise InputError("expected --steps, --batch, --length and --layers of at least 1")
    return arguments


def losses(
    folder: str, dtype: str, steps: int, learning_rate: float, batch: int, length: int, seed: int
) -> list[float]:
    """Train from a checkpoint; the loss before each update."""
    import paddle

    from mobilebert.model.heads import MobileBertForQuestionAnswering
    from mobilebert.train.optim import build_optimizer
    from mobilebert.train.settings import TrainSettings

    paddle.set_default_dtype(dtype)
    model = MobileBertForQuestionAnswering.from_pretrained(folder)
    model.train()
    for part in model.sublayers():
        if isinstance(part, paddle.nn.Dropout):
            part.p = 0.0
    optimizer = build_optimizer(model, TrainSettings(learning_rate=learning_rate, weight_decay=0.1))
    found = []
    for step in range(steps):
        arrays = random_batch(batch, length, 0.25, seed + step)
        loss = model(**{name: paddle.to_tensor(array) for name, array in arrays.items()}).loss
        loss.backward()
        optimizer.step()
        optimizer.clear_grad(set_to_zero=False)
        found.append(float(loss))
    return found


def main(argv: list[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    numbers = [arguments.steps, arguments.learning_rate, arguments.batch, arguments.length, arguments.seed]
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        make_checkpoint(folder, arguments.layers, arguments.seed)
        for name, (dtype, fast, native) in PATHS.items():
            done = subprocess.run(
                [sys.executable, __file__, "--worker", folder, dtype, *map(str, numbers)],
                env={**os.environ, "MOBILEBERT_FUSED": fast, "MOBILEBERT_NATIVE": native},
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            results[name] = json.loads(done.stdout.splitlines()[-1])
    exact = next(iter(results.values()))
    print("| path | first loss | last loss | largest relative difference |\n| --- | --- | --- | --- |")
    for name, found in results.items():
        worst = max(abs(value - true) / abs(true) for value, true in zip(found, exact, strict=True))
        print(f"| {name} | {found[0]:.6f} | {found[-1]:.6f} | {worst:.1e} |")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        folder, dtype, steps, rate, batch, length, seed = sys.argv[2:]
        print(json.dumps(losses(folder, dtype, int(steps), float(rate), int(batch), int(length), int(seed))))
    else:
        cli.run(main)
