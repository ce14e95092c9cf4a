"""How time and memory of a training step grow with tokens: length 64..512 at one batch, batch 1..32 at one length.

Each point runs in a process of its own (memory freed by one shape would hide in the next). Writes OUTPUT.json and
OUTPUT.png, with a straight line through the smaller half of the points: what lies above it grows faster than tokens do.

    python benchmarks/growth.py --output benchmarks/results/growth
"""

import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "benchmarks"))

from train_step import Worker, cpu_name, make_checkpoint  # noqa: E402

from mobilebert.base import cli, plots  # noqa: E402
from mobilebert.base.errors import InputError  # noqa: E402
from mobilebert.base.files import write_json  # noqa: E402


def parse_arguments(argv: list[str] | None = None):
    parser = cli.ArgumentParser(
        "Time and memory of a training step against batch size and length.",
        "  python benchmarks/growth.py --output benchmarks/results/growth",
    )
    parser.add_argument("--lengths", nargs="+", type=int, default=[64, 128, 192, 256, 384, 512], help="tokens")
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 2, 4, 8, 16, 32], help="examples")
    parser.add_argument("--batch", type=int, default=8, help="examples while the length varies")
    parser.add_argument("--length", type=int, default=128, help="tokens while the batch varies")
    parser.add_argument("--steps", type=int, default=3, help="timed steps of each point; the fastest counts")
    parser.add_argument("--warmup", type=int, default=2, help="steps before the timed ones")
    parser.add_argument("--layers", type=int, default=24, help="num_hidden_layers")
    parser.add_argument("--output", required=True, help="OUTPUT.json and OUTPUT.png are written")
    arguments = parser.parse_args(argv)
    sizes = [*arguments.lengths, *arguments.batches, arguments.batch, arguments.length, arguments.steps]
    if min(sizes) < 1 or max(*arguments.lengths, arguments.length) > 512 or arguments.warmup < 0:
        raise InputError("expected sizes of at least 1 and lengths of at most 512 tokens")
    return arguments


def measure(batch: int, length: int, arguments, folder: str) -> dict:
    """Seconds of the fastest step and peak memory of one shape."""
    worker = Worker("paddle", folder, batch, length, 0.0, 0)
    try:
        seconds = [worker.step() for _ in range(arguments.warmup + arguments.steps)][arguments.warmup :]
    finally:
        worker.close()
    return {"batch": batch, "length": length, "seconds": min(seconds), "peak_mib": worker.peak_mib}


def over_linear(tokens: list[int], values: list[float]) -> float:
    """The last value relative to a straight line through the smaller half of the points; 1 is linear."""
    import numpy as np

    half = max(2, len(tokens) // 2)
    slope, start = np.polyfit(tokens[:half], values[:half], 1)
    return float(values[-1] / (start + slope * tokens[-1]))


def plot(sweeps: dict[str, list[dict]], path: Path) -> None:
    import numpy as np

    with plots.figure(path, columns=2) as both:
        for axes, key, label in zip(
            both, ("seconds", "peak_mib"), ("step, s", "peak resident memory, MiB"), strict=True
        ):
            for (name, points), color, marker in zip(sweeps.items(), plots.COLORS, plots.MARKERS, strict=False):
                tokens = [point["batch"] * point["length"] for point in points]
                values = [point[key] for point in points]
                axes.plot(tokens, values, color=color, marker=marker, label=name)
                half = max(2, len(tokens) // 2)
                fit = np.poly1d(np.polyfit(tokens[:half], values[:half], 1))
                axes.plot([0, tokens[-1]], [fit(0), fit(tokens[-1])], "--", color=color, alpha=0.5)
            axes.set(xlabel="tokens in the batch (dashed: line through the smaller half)", ylabel=label, ylim=(0, None))
            axes.legend()


def main(argv: list[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    shapes = {
        f"batch {arguments.batch}, length varies": [(arguments.batch, n) for n in sorted(arguments.lengths)],
        f"length {arguments.length}, batch varies": [(n, arguments.length) for n in sorted(arguments.batches)],
    }
    measured: dict[tuple[int, int], dict] = {}
    with tempfile.TemporaryDirectory() as folder:
        make_checkpoint(folder, arguments.layers, 0)
        for shape in sorted({shape for sweep in shapes.values() for shape in sweep}):
            measured[shape] = measure(*shape, arguments, folder)
            print("{batch}x{length}: {seconds:.3f} s, {peak_mib:.0f} MiB".format(**measured[shape]), flush=True)
    sweeps = {name: [measured[shape] for shape in sweep] for name, sweep in shapes.items()}
    summary = {}
    for name, points in sweeps.items():
        tokens = [point["batch"] * point["length"] for point in points]
        if len(tokens) < 3:
            continue
        summary[name] = {key: over_linear(tokens, [point[key] for point in points]) for key in ("seconds", "peak_mib")}
        print(f"{name}: last point / straight line: {summary[name]}")
    machine = {"cpu": cpu_name(), "load_1min": os.getloadavg()[0]}
    write_json(f"{arguments.output}.json", {"machine": machine, "over_linear": summary, "sweeps": sweeps})
    plot(sweeps, Path(f"{arguments.output}.png"))


if __name__ == "__main__":
    cli.run(main)
