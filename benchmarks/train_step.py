"""One training step (forward, backward, AdamW) of the full-size model: Paddle against transformers/torch, on a CPU.

Each engine runs in a process of its own and they take turns, one step each, in an order that reverses every round: a
machine that is slower for a while is slower for all. Ratios are medians over rounds of (engine / first engine of the
same round). All start from one set of weights and must agree on the loss of the batch before anything is timed.

    python benchmarks/train_step.py
    python benchmarks/train_step.py --shapes 8x128 --engines torch-eager paddle --rounds 20
    python benchmarks/train_step.py --shapes 8x384 --engines paddle paddle-plain --recompute
    python benchmarks/train_step.py --task pretrain --shapes 8x128
"""

import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mobilebert import process  # noqa: E402
from mobilebert.base import cli  # noqa: E402
from mobilebert.base.errors import InputError  # noqa: E402
from mobilebert.base.files import write_json, write_text  # noqa: E402

ENGINES = {
    "torch-eager": "transformers, attn_implementation=eager, torch.optim.AdamW",
    "torch-eager-fused-adamw": "the same with torch.optim.AdamW(fused=True)",
    "torch-sdpa": "transformers, attn_implementation=sdpa, torch.optim.AdamW",
    "paddle": "this repository",
    "paddle-python": "this repository, MOBILEBERT_NATIVE=0: the fast path without its C layer",
    "paddle-plain": "this repository, MOBILEBERT_FUSED=0: modeling.py alone",
}
RECOMPUTE = "-recompute"  # behind a Paddle engine's name: each layer is computed again in the backward pass
HEADS = {"qa": "MobileBertForQuestionAnswering", "pretrain": "MobileBertForPreTraining"}  # task -> class of both
MASKED = 0.15  # share of a row's tokens that pre-training predicts
SETTLE_SECONDS = 0.3  # OpenMP threads of the engine that just ran spin up to 0.2 s before they sleep
LOSS_TOLERANCE = 1e-4  # relative, float32, before any update, without dropout


def parse_arguments(argv: list[str] | None = None):
    parser = cli.ArgumentParser(
        "Time one training step, Paddle against transformers/torch, interleaved.",
        "  python benchmarks/train_step.py\n  python benchmarks/train_step.py --shapes 8x384 --rounds 5\n"
        "  python benchmarks/train_step.py --task pretrain --shapes 8x128",
    )
    parser.add_argument("--task", choices=list(HEADS), default="qa", help="what is trained")
    parser.add_argument("--shapes", nargs="+", default=["8x128", "8x384"], help="examples x tokens")
    parser.add_argument(
        "--engines",
        nargs="+",
        default=["torch-eager", "paddle"],
        choices=list(ENGINES),
        help="the first is what the others are divided by; all are in memory at once, 3 to 7 GiB each at 8x384",
    )
    parser.add_argument("--recompute", action="store_true", help="time each Paddle engine with --recompute too")
    parser.add_argument("--rounds", type=int, default=9, help="timed steps of each engine and shape")
    parser.add_argument("--warmup", type=int, default=2, help="steps before the first timed one")
    parser.add_argument("--layers", type=int, default=24, help="num_hidden_layers")
    parser.add_argument("--padding", type=float, default=0.0, help="share of tokens that are padding")
    parser.add_argument("--seed", type=int, default=0, help="of weights and batch")
    parser.add_argument("--output", default="", help="write OUTPUT.json and OUTPUT.md (nothing where empty)")
    arguments = parser.parse_args(argv)
    if arguments.recompute:
        arguments.engines += [name + RECOMPUTE for name in arguments.engines if name.startswith("paddle")]
    for shape in arguments.shapes:
        parse_shape(shape)
    if arguments.rounds < 1 or arguments.warmup < 0 or not 0 <= arguments.padding < 1:
        raise InputError("expected --rounds of at least 1, --warmup of at least 0, --padding from 0 to below 1")
    return arguments


def parse_shape(text: str) -> tuple[int, int]:
    """``"8x128"`` -> (8, 128)."""
    try:
        batch, length = (int(part) for part in text.split("x"))
    except ValueError:
        raise InputError(f"shape {text!r}: expected examples x tokens, for example 8x128") from None
    if batch < 1 or not 1 <= length <= 512:
        raise InputError(f"shape {text!r}: expected at least 1 example of 1 to 512 tokens")
    return batch, length


def random_batch(task: str, batch: int, length: int, padding: float, seed: int) -> dict:
    """Inputs and what is to be learned; ``padding`` is the mean share of padded tokens a row."""
    import numpy as np

    rng = np.random.default_rng(seed)
    real = np.clip(rng.uniform(1 - 2 * padding, 1, batch) * length, 1, length).astype("int64")
    mask = (np.arange(length) < real[:, None]).astype("int64")
    inputs = {
        "input_ids": rng.integers(1000, 30000, [batch, length]) * mask,
        "attention_mask": mask,
        "token_type_ids": np.broadcast_to(np.arange(length) >= length // 4, [batch, length]).astype("int64"),
    }
    if task == "qa":
        return {**inputs, "start_positions": rng.integers(0, real), "end_positions": rng.integers(0, real)}
    counts = np.maximum(np.rint(real * MASKED), 1).astype("int64")
    weights = (np.arange(counts.max()) < counts[:, None]).astype("float32")
    positions = np.argsort(np.where(mask == 1, rng.random(mask.shape), 2), axis=1)[:, : counts.max()]
    positions = np.where(weights > 0, positions, 0)
    return {
        **inputs,
        "masked_positions": positions,
        "masked_ids": rng.integers(1000, 30000, positions.shape),
        "masked_weights": weights,
        "next_sentence_label": rng.integers(0, 2, batch),
    }


def as_transformers_takes_it(batch: dict) -> dict:
    """A batch of ``random_batch`` with labels for all tokens, -100 where none is masked."""
    import numpy as np

    if "masked_ids" not in batch:
        return batch
    labels = np.full(batch["input_ids"].shape, -100)
    rows, columns = np.nonzero(batch["masked_weights"])
    labels[rows, batch["masked_positions"][rows, columns]] = batch["masked_ids"][rows, columns]
    return {**{name: value for name, value in batch.items() if not name.startswith("masked_")}, "labels": labels}


# ---- one engine in its own process ----


def torch_step(task: str, engine: str, folder: str, batch: dict):
    """-> (loss without dropout, function that makes one step)."""
    import torch
    import transformers

    torch.manual_seed(0)
    attention = "sdpa" if "sdpa" in engine else "eager"
    model = getattr(transformers, HEADS[task]).from_pretrained(folder, attn_implementation=attention)
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    fused = True if "fused" in engine else None
    optimizer = torch.optim.AdamW(groups, lr=8e-5, betas=(0.9, 0.98), eps=1e-6, fused=fused)
    tensors = {key: torch.from_numpy(value) for key, value in as_transformers_takes_it(batch).items()}
    with torch.no_grad():
        first_loss = float(model.eval()(**tensors).loss)
    model.train()

    def step() -> None:
        loss = model(**tensors).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        float(loss)

    return first_loss, step


def paddle_step(task: str, engine: str, folder: str, batch: dict):
    """-> (loss without dropout, function that makes one step)."""
    path = engine.removesuffix(RECOMPUTE)
    os.environ["MOBILEBERT_NATIVE"] = "1" if path == "paddle" else "0"
    os.environ["MOBILEBERT_FUSED"] = "0" if path == "paddle-plain" else "1"

    import paddle

    from mobilebert.model import heads
    from mobilebert.tasks.pretrain import pretraining_loss
    from mobilebert.train.optim import build_optimizer
    from mobilebert.train.settings import TrainSettings

    paddle.seed(0)
    model = getattr(heads, HEADS[task]).from_pretrained(folder)
    model.set_recompute(engine.endswith(RECOMPUTE))
    optimizer = build_optimizer(model, TrainSettings(learning_rate=8e-5, weight_decay=0.1))
    tensors = {key: paddle.to_tensor(value) for key, value in batch.items()}

    def loss_of_batch():
        return pretraining_loss(model, tensors).sum() if task == "pretrain" else model(**tensors).loss

    with paddle.no_grad():
        first_loss = float(loss_of_batch())
    model.train()

    def step() -> None:
        loss = loss_of_batch()
        loss.backward()
        optimizer.step()
        optimizer.clear_grad(set_to_zero=False)
        float(loss)

    return first_loss, step


def work(task: str, engine: str, folder: str, batch: int, length: int, padding: float, seed: int) -> None:
    """Serve an engine on standard input and output: a line in asks for a step, a line out gives its seconds."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries may print; only answers go to the parent
    make = torch_step if engine.startswith("torch") else paddle_step
    loss, step = make(task, engine, folder, random_batch(task, batch, length, padding, seed))
    print(loss, file=answers, flush=True)
    for _ in sys.stdin:
        started = time.perf_counter()
        step()
        print(time.perf_counter() - started, peak_mib(), file=answers, flush=True)


def peak_mib() -> float:
    """Highest resident memory of this process so far in MiB (Linux)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return float("nan")


class Worker:
    """An engine's process, seen from the parent."""

    def __init__(self, task: str, engine: str, folder: str, batch: int, length: int, padding: float, seed: int):
        command = [sys.executable, __file__, "--worker", task, engine, folder]
        command += map(str, (batch, length, padding, seed))
        pipe = subprocess.PIPE
        self.engine, self.peak_mib = engine, 0.0
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed by close)
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=self.errors, text=True)
        self.first_loss = float(self._answer())

    def _answer(self) -> str:
        line = self.process.stdout.readline()
        if not line:
            self.errors.seek(0)
            last = (self.errors.read().strip().splitlines() or ["no message"])[-1]
            code = self.process.wait()
            hint = " (killed, probably out of memory: name fewer engines)" if code == -9 else ""
            raise InputError(f"engine {self.engine} ended with code {code}{hint}; its last line: {last}")
        return line

    def step(self) -> float:
        """Seconds of one step."""
        self.process.stdin.write("step\n")
        self.process.stdin.flush()
        seconds, self.peak_mib = (float(word) for word in self._answer().split())
        time.sleep(SETTLE_SECONDS)
        return seconds

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.errors.close()


# ---- the parent ----


def make_checkpoint(task: str, folder: str, layers: int, seed: int) -> None:
    """Random weights of the full-size model in transformers' format."""
    program = (
        "import sys, torch, transformers as t; torch.manual_seed(int(sys.argv[3]));"
        "c = t.MobileBertConfig(num_hidden_layers=int(sys.argv[2]), classifier_activation=False);"
        f"t.{HEADS[task]}(c).save_pretrained(sys.argv[1])"
    )
    subprocess.run([sys.executable, "-c", program, folder, str(layers), str(seed)], check=True, capture_output=True)


def measure(shape: str, arguments, folder: str) -> list[dict]:
    """One row of results for each engine."""
    import numpy as np

    batch, length = parse_shape(shape)
    workers = {
        name: Worker(arguments.task, name, folder, batch, length, arguments.padding, arguments.seed)
        for name in arguments.engines
    }
    try:
        losses = {name: worker.first_loss for name, worker in workers.items()}
        if max(losses.values()) - min(losses.values()) > LOSS_TOLERANCE * abs(max(losses.values())):
            raise InputError(f"the engines do not compute the same loss: {losses}")
        seconds: dict[str, list[float]] = {name: [] for name in workers}
        for number in range(-arguments.warmup, arguments.rounds):
            names = list(workers) if number % 2 == 0 else list(workers)[::-1]
            for name in names:
                taken = workers[name].step()
                if number >= 0:
                    seconds[name].append(taken)
    finally:
        for worker in workers.values():
            worker.close()
    base = np.array(seconds[arguments.engines[0]])
    rows = []
    for name, worker in workers.items():
        values = np.array(seconds[name])
        ratios = np.quantile(values / base, [0.5, 0.25, 0.75])
        rows.append(
            {
                "shape": shape,
                "engine": name,
                "median_s": float(np.median(values)),
                "fastest_s": float(values.min()),
                "ratio": float(ratios[0]),
                "ratio_quartiles": [float(ratios[1]), float(ratios[2])],
                "examples_per_s": batch / float(np.median(values)),
                "peak_mib": worker.peak_mib,
                "first_loss": worker.first_loss,
                "seconds": [round(float(value), 4) for value in values],
            }
        )
    return rows


def cpu_name() -> str:
    """The processor's name and cores as the system gives them."""
    name = process.cpu_name() or platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} logical cores"


def as_markdown(rows: list[dict]) -> str:
    """The table of all shapes and engines."""
    lines = [
        "| shape | engine | median s | fastest s | ratio (quartiles) | examples/s | peak MiB |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        low, high = row["ratio_quartiles"]
        lines.append(
            f"| {row['shape']} | {row['engine']} | {row['median_s']:.3f} | {row['fastest_s']:.3f} | "
            f"{row['ratio']:.3f} ({low:.3f}-{high:.3f}) | {row['examples_per_s']:.1f} | {row['peak_mib']:.0f} |"
        )
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        make_checkpoint(arguments.task, folder, arguments.layers, arguments.seed)
        for shape in arguments.shapes:
            rows += measure(shape, arguments, folder)
            print(as_markdown(rows[-len(arguments.engines) :]), flush=True)
    machine = {"cpu": cpu_name(), "load_1min": os.getloadavg()[0], "python": platform.python_version()}
    if arguments.output:
        write_json(f"{arguments.output}.json", {"machine": machine, "arguments": vars(arguments), "rows": rows})
        write_text(f"{arguments.output}.md", f"{machine['cpu']}\n\n{as_markdown(rows)}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        task, name, folder, *sizes, padding, seed = sys.argv[2:]
        work(task, name, folder, *map(int, sizes), float(padding), int(seed))
    else:
        cli.run(main)
