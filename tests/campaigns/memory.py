"""Memory over many training steps and over many predictions of each engine: what a leak would make grow.

A small MobileBERT on rows of all lengths: `run_squad.py` with evaluations and checkpoints on the way, then one process
an engine that answers one question after another. Resident memory early (after a tenth) is compared with that at the
end, each the median of a tenth's samples. Exit code 1 where it grew by more than `--tolerance`.

    python tests/campaigns/memory.py                                  (10,000 steps, 10,000 predictions an engine)
    python tests/campaigns/memory.py --steps 500 --predictions 500
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

ENGINES = ("dygraph", "onnxruntime", "paddle", "openvino")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=10_000, help="of training; 0 leaves it out")
    parser.add_argument("--predictions", type=int, default=10_000, help="of each engine; 0 leaves them out")
    parser.add_argument("--tolerance", type=float, default=0.05, help="growth that is still none, as a share")
    parser.add_argument("--seed", type=int, default=0, help="of data and texts")
    parser.add_argument("--child", nargs=2, metavar=("ENGINE", "MODEL"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        predict(*args.child, args.predictions, args.seed)
        return 0

    from support.models import save_checkpoint

    grew = []
    with tempfile.TemporaryDirectory(prefix="memory_campaign_") as name:
        folder = Path(name)
        checkpoint = save_checkpoint(folder / "qa", "question-answering")
        if args.steps:
            grew.append(report("training", train(folder, checkpoint, args.steps, args.seed), args.tolerance))
        if args.predictions:
            command = ["export.py", "--model", str(checkpoint), "--out", str(folder / "exported"), "--format", "all"]
            subprocess.run([sys.executable, *command], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
            for engine in ENGINES:
                samples = of_child(engine, folder / "exported", args.predictions, args.seed)
                grew.append(report(engine, samples, args.tolerance))
    return int(any(grew))


def train(folder: Path, checkpoint: Path, steps: int, seed: int) -> list[tuple[int, float]]:
    """(step, MiB) while a training runs."""
    from support.texts import write_squad

    write_squad(folder / "train.json", 200, seed)
    output = folder / "run"
    command = (
        f"run_squad.py --do_train --do_eval --model_name_or_path {checkpoint} --output_dir {output} "
        f"--train_file {folder}/train.json --dev_file {folder}/train.json --max_seq_length 64 --doc_stride 16 "
        f"--batch_size 8 --max_steps {steps} --log_steps 10 --save_steps {steps // 8} --eval_steps {steps // 8}"
    )
    process = subprocess.Popen([sys.executable, *command.split()], cwd=ROOT, stdout=subprocess.DEVNULL)
    samples, log = [], output / "train.jsonl"
    while process.poll() is None:
        time.sleep(0.2)
        lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        try:
            step = json.loads(lines[-1])["step"] if lines else 0
            samples.append((step, resident_mib(process.pid)))
        except (OSError, ValueError, KeyError):  # it has just ended, or a line is being written
            continue
    if process.returncode:
        raise SystemExit(f"training ended with {process.returncode}")
    return samples


def of_child(engine: str, model: Path, count: int, seed: int) -> list[tuple[int, float]]:
    """What ``predict`` prints in a process of its own; nothing where the engine is not installed."""
    command = [sys.executable, __file__, "--child", engine, str(model)]
    command += ["--predictions", str(count), "--seed", str(seed)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        print(f"{engine}: not run: {done.stderr.strip().splitlines()[-1]}", flush=True)
        return []
    return [(int(step), float(mib)) for step, mib in map(str.split, done.stdout.splitlines())]


def predict(engine: str, model: str, count: int, seed: int) -> None:
    """Answer questions about passages of 1 to 300 words, and print (prediction, MiB) of every hundredth."""
    from support.texts import CHECKPOINT_VOCABULARY

    from mobilebert.base.errors import InputError
    from mobilebert.inference.predictor import Predictor

    words, generator = CHECKPOINT_VOCABULARY[5:], random.Random(seed)
    try:
        predictor = Predictor(model, engine=engine)
    except InputError as error:
        raise SystemExit(f"{error}") from None
    for number in range(1, count + 1):
        passage = " ".join(generator.choices(words, k=generator.randint(1, 300)))
        predictor.answer("who wrote the notes ?", passage, top_k=3)
        if number % max(1, count // 100) == 0:
            print(number, resident_mib(os.getpid()))


def resident_mib(process: int) -> float:
    fields = Path(f"/proc/{process}/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def report(what: str, samples: list[tuple[int, float]], tolerance: float) -> bool:
    """Print a line; returns whether memory grew."""
    if not samples:
        return False
    last = samples[-1][0]
    early = statistics.median(mib for step, mib in samples if 0.1 * last <= step <= 0.2 * last)
    late = statistics.median(mib for step, mib in samples if step >= 0.9 * last)
    grew = late > (1 + tolerance) * early
    print(f"{what}: {last:,}: {early:.0f} MiB early, {late:.0f} MiB at the end{': grew' if grew else ''}", flush=True)
    return grew


if __name__ == "__main__":
    sys.exit(main())
