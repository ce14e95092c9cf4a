"""mobilebert bulk beside predict.py --input on the same cores, and how its time and memory grow with the rows.

Both are run as a user runs them, in processes of their own, and once more with two rows: the difference is the time of
the rows without that of the start. Needs an environment with the extras deploy and ray.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from mobilebert.base import cli  # isort: skip (before the rest: refuses other Pythons)

from mobilebert import process
from mobilebert.inference.source import read_source

ROOT = Path(__file__).parents[1]
EXAMPLES = """\
  %(prog)s rate --model outputs/big-reader-native
  %(prog)s growth --model outputs/reader-native --rows 10000 100000 1000000
"""
HEADER = (
    *("command", "rows", "the same answers", "seconds", "of the start", "rows a second without it", "of predict's"),
    *("with the start", "MiB of the command", "of a worker halfway", "of a worker at most", "of all processes"),
)
_SAMPLE_SECONDS = 0.5


def parse_args() -> argparse.Namespace:
    parser = cli.ArgumentParser(__doc__, EXAMPLES)
    commands = parser.add_subparsers(dest="command", required=True, metavar="rate|growth")
    for command, what, rows in (
        ("rate", "rows a second beside predict.py --input", [2000]),
        ("growth", "time and memory by the number of rows", [10_000, 100_000, 1_000_000]),
    ):
        one = commands.add_parser(command, help=what, description=what)
        one.add_argument("--model", required=True, help="an export that answers questions or classifies texts")
        one.add_argument("--rows", type=int, nargs="+", default=rows)
        one.add_argument("--words", type=int, default=110 if command == "rate" else 12, help="of a context, on average")
        one.add_argument("--block_rows", type=int, default=128 if command == "rate" else 4096)
        one.add_argument("--threads", type=int, nargs="+", default=[1], help="of a worker; each is tried")
        one.add_argument("--folder", help="where the rows and results go (default: a temporary folder)")
    return parser.parse_args()


def write_rows(path: Path, rows: int, words: int, vocabulary: list[str]) -> None:
    """Questions of 8 words, contexts of half to one and a half times ``words``."""
    generator = random.Random(rows)
    with open(path, "w", encoding="utf-8") as handle:
        for number in range(rows):
            question, context = (
                " ".join(generator.choices(vocabulary, k=count))
                for count in (8, generator.randint(words // 2, words + words // 2))
            )
            row = {"question": question, "context": context, "sentence": f"{question} {context}"}
            handle.write(json.dumps({"id": str(number), **row}) + "\n")


@dataclass
class Run:
    """Seconds of a command, and the most MiB of memory of its own process, of its largest worker and of all.

    Attributes:
        halfway: MiB of the largest worker when half of the time had passed.
    """

    seconds: float = 0.0
    own: float = 0.0
    worker: float = 0.0
    together: float = 0.0
    workers: list[float] = field(default_factory=list)

    @property
    def halfway(self) -> float:
        return self.workers[len(self.workers) // 2] if self.workers else 0.0


def processes() -> dict[int, tuple[int, float, str]]:
    """Number -> (parent, MiB, name) of all processes; memory without what is mapped from files and shared."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            lines = (folder / "status").read_text().splitlines()
            status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
            name = (folder / "cmdline").read_text().replace("\0", " ")
            size = int(status.get("RssAnon", "0 kB").split()[0]) / 1024
            found[int(folder.name)] = int(status["PPid"]), size, name
        except (OSError, ValueError):
            continue
    return found


def measure(command: list[object]) -> Run:
    """Run a command, and watch it and all that it starts."""
    run, start = Run(), time.perf_counter()
    with subprocess.Popen([*map(str, command)], cwd=ROOT, stdout=subprocess.DEVNULL) as child:
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(_SAMPLE_SECONDS):
                there = processes()
                family = {child.pid}
                while more := {pid for pid, (parent, *_) in there.items() if parent in family} - family:
                    family |= more
                sizes = {pid: there[pid][1] for pid in family if pid in there}
                workers = [size for pid, size in sizes.items() if "(_Actor)" in there[pid][2]]
                run.own = max(run.own, sizes.get(child.pid, 0.0))
                run.together = max(run.together, sum(sizes.values()))
                if workers:
                    run.workers.append(max(workers))
                    run.worker = max(run.worker, *workers)

        watcher = threading.Thread(target=watch)
        watcher.start()
        code = child.wait()
        run.seconds = time.perf_counter() - start
        ended.set()
        watcher.join()
    if code:
        sys.exit(f"{' '.join(map(str, command))}: exit {code}")
    return run


def task(model: str) -> list[str]:
    """The words of a command for what a model does."""
    if read_source(model).manifest.head == "question-answering":
        return ["qa", "--top_k", "1"]
    return ["classify", "--text_column", "sentence"]


def bulk(args: argparse.Namespace, rows: Path, output: Path, threads: int) -> Run:
    shutil.rmtree(output, ignore_errors=True)
    command = [sys.executable, "-m", "mobilebert", "bulk", *task(args.model), "--model", args.model, "--input", rows]
    return measure([*command, "--output", output, "--id", "id", "--block_rows", args.block_rows, "--threads", threads])


def predict(args: argparse.Namespace, rows: Path, output: Path) -> Run:
    command = [sys.executable, "predict.py", *task(args.model), "--model", args.model, "--input", rows]
    return measure([*command, "--output", output, "--overwrite", "--threads", process.usable_cores()])


def answers(path: Path) -> list[tuple[str, str]]:
    files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    lines = (json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines())
    return [(row["id"], row.get("answer", row.get("label"))) for row in lines]


def main() -> None:
    """Measure, print a table."""
    args = parse_args()
    os.environ["MOBILEBERT_QUIET"] = "1"
    tokens = (Path(args.model) / "vocab.txt").read_text(encoding="utf-8").split()
    vocabulary = [token for token in tokens if token.isalnum()]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(args.folder or temporary)
        folder.mkdir(exist_ok=True, parents=True)
        few = folder / "few.jsonl"
        write_rows(few, 2, args.words, vocabulary)
        print(f"{process.cpu_name()}, {process.this_cpu().cores} cores, load {os.getloadavg()[0]:.1f} before\n")
        print(f"| {' | '.join(HEADER)} |\n|{' --- |' * len(HEADER)}")
        for count in args.rows:
            rows = folder / f"{count}.jsonl"
            write_rows(rows, count, args.words, vocabulary)
            reference, expected = None, folder / "predicted.jsonl"
            if args.command == "rate":
                start = predict(args, few, folder / "few_predicted.jsonl").seconds
                run = predict(args, rows, expected)
                reference = count / (run.seconds - start), count / run.seconds
                show("predict", count, run, start, reference, "")
            for threads in args.threads:
                start = bulk(args, few, folder / "few", threads).seconds
                run = bulk(args, rows, folder / "answers", threads)
                same = ""
                if reference:
                    pairs = zip(answers(folder / "answers"), answers(expected), strict=True)
                    same = f"{sum(found == wanted for found, wanted in pairs):,}"
                show(f"bulk, threads of a worker: {threads}", count, run, start, reference, same)


def show(name: str, count: int, run: Run, start: float, reference: tuple[float, float] | None, same: str) -> None:
    rates = count / (run.seconds - start), count / run.seconds
    ratios = [f"{rate / base:.2f}" for rate, base in zip(rates, reference, strict=True)] if reference else ["", ""]
    cells = [name, f"{count:,}", same, f"{run.seconds:.1f}", f"{start:.1f}", f"{rates[0]:,.1f}", *ratios]
    cells += [f"{size:.0f}" for size in (run.own, run.halfway, run.worker, run.together)]
    print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    cli.run(main)
