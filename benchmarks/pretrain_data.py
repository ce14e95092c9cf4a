"""Speed and memory of ``python -m mobilebert pretrain-data`` on generated text, by size and duplication factor.

The text has the word frequencies of a language (Zipf's law over the vocabulary's words and compounds of them),
sentences of 5 to 40 words, documents of 5 to 60 sentences; from 100 MB on it repeats itself. Memory is the
proportional share (PSS) of all processes of the run together, looked at ten times a second; pages of files that the
kernel keeps count where they are mapped. On a busy machine the processors' seconds say more than the clock's.

    python benchmarks/pretrain_data.py --vocab vocab.txt --megabytes 100 1000 --dupe_factor 10 1
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mobilebert.base import cli  # noqa: E402

WORDS = 400_000  # of the lexicon
CHUNK = 200_000  # words written at once
MOST_BYTES = 100_000_000  # of text that does not repeat itself


def parse_arguments():
    parser = cli.ArgumentParser(
        __doc__.split("\n")[0],
        "  python benchmarks/pretrain_data.py --vocab vocab.txt --megabytes 100 1000 --dupe_factor 10 1",
    )
    parser.add_argument("--vocab", metavar="FILE", required=True, help="vocab.txt, whose words the text is made of")
    parser.add_argument("--megabytes", type=int, nargs="+", default=[100], help="sizes of the text")
    parser.add_argument("--dupe_factor", type=int, nargs="+", default=[10, 1], help="copies of each document")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--folder", metavar="DIR", help="for text and rows, instead of the system's temporary folder")
    return parser.parse_args()


def write_text(path: Path, vocab: Path, size: int) -> None:
    """Write ``size`` bytes of text."""
    import numpy as np

    rng = np.random.default_rng(0)
    known = [token for token in vocab.read_text(encoding="utf-8").split("\n") if token.isascii() and token.isalpha()]
    rng.shuffle(known)
    pairs = rng.integers(0, len(known), (WORDS - len(known), 2))
    lexicon = np.array([*known, *(known[a] + known[b] for a, b in pairs)], object)
    shares = 1 / np.arange(10, WORDS + 10)
    edges = np.cumsum(shares / shares.sum())
    with open(path, "w", encoding="utf-8") as file:
        while file.tell() < min(size, MOST_BYTES):
            words = lexicon[np.searchsorted(edges, rng.random(CHUNK) * edges[-1])]
            begin, left = 0, 0
            lengths = iter(rng.integers(5, 41, CHUNK // 5))
            while begin < len(words):
                end = begin + next(lengths)
                file.write(" ".join(words[begin:end]).capitalize() + ".\n")
                begin, left = end, left - 1
                if left < 0:
                    file.write("\n")
                    left = rng.integers(5, 60)
        file.write("\n")
    once = path.read_bytes()
    with open(path, "ab") as file:
        for _ in range(round(size / len(once)) - 1):
            file.write(once)


def family(pid: int) -> list[int]:
    """A process and all below it."""
    try:
        below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(process for child in below for process in family(int(child)))]


def memory(pid: int) -> int:
    """Proportional share of a process, in bytes; 0 where it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:")), 0)


def processor_seconds() -> float:
    """Of all children that have ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(command: list[str]) -> tuple[float, float, int]:
    """Seconds, seconds of processors and peak memory of a command."""
    begin, used, peak = time.perf_counter(), processor_seconds(), 0
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            peak = max(peak, sum(map(memory, family(process.pid))))
            time.sleep(0.1)
    if process.returncode:
        sys.exit(process.returncode)
    return time.perf_counter() - begin, processor_seconds() - used, peak


def main() -> None:
    arguments = parse_arguments()
    print(f"{'text, MB':>8} {'copies':>7} {'s':>8} {'MB a minute':>12} {'CPU s':>7} {'peak, MiB':>10} {'rows, MB':>9}")
    for megabytes in arguments.megabytes:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            text = Path(folder) / "text.txt"
            write_text(text, Path(arguments.vocab), megabytes * 1_000_000)
            for copies in arguments.dupe_factor:
                out = Path(folder) / f"rows-{copies}"
                command = [sys.executable, "-m", "mobilebert", "pretrain-data", "--input", str(text), "--out", str(out)]
                command += ["--vocab", str(Path(arguments.vocab).resolve()), "--dupe_factor", str(copies)]
                seconds, used, peak = measure([*command, "--workers", str(arguments.workers)])
                written = sum(path.stat().st_size for path in out.iterdir()) / 1e6
                speed = text.stat().st_size / 1e6 / seconds * 60
                print(
                    f"{megabytes:8} {copies:7} {seconds:8.1f} {speed:12.0f} {used:7.1f} {peak / 2**20:10.0f} "
                    f"{written:9.0f}",
                    flush=True,
                )


if __name__ == "__main__":
    cli.run(main)
