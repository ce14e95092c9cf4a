"""What the environment does to Paddle on a CPU: matrix products by settings, page faults by malloc's settings.

Each setting is measured in processes of its own, in turns, and the best of the rounds is shown: on a busy machine the
best is the least disturbed. Example: ``python benchmarks/environment.py --rounds 3``.
"""

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from mobilebert.base import cli

# [rows, inner, columns] of the products: square, and into and out of a feed-forward layer at batch 8, length 128.
PRODUCTS = {"square 512": (512, 512, 512), "FFN in": (1024, 128, 512), "FFN out": (1024, 512, 128)}
SIZES_MIB = (2, 24, 48)


def measure_products() -> list[float]:
    """GFLOP/s of each product in this process."""
    import paddle

    rates = []
    for rows, inner, columns in PRODUCTS.values():
        left, right = paddle.ones([rows, inner]), paddle.ones([inner, columns])
        fastest = float("inf")
        for _ in range(40):
            start = time.perf_counter()
            paddle.matmul(left, right)
            fastest = min(fastest, time.perf_counter() - start)
        rates.append(2 * rows * inner * columns / fastest / 1e9)
    return rates


def measure_faults() -> list[float]:
    """Page faults of one sum whose result has each of the sizes, then the milliseconds of each."""
    import paddle

    faults, times = [], []
    for size in SIZES_MIB:
        value = paddle.ones([size, 1 << 18])  # float32: 1 MiB a row
        fastest, before = float("inf"), 0
        for turn in range(14):
            if turn == 4:
                before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            start = time.perf_counter()
            value + value
            fastest = min(fastest, time.perf_counter() - start)
        faults.append((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 10)
        times.append(fastest * 1000)
    return [*faults, *times]


def in_child(job: str, settings: dict[str, str]) -> list[float]:
    """Run a measurement in a fresh process with nothing but these settings."""
    drop = ("OMP_NUM_THREADS", "MKL_DEBUG_CPU_TYPE", "FLAGS_use_stride_kernel", "FLAGS_use_mkldnn")
    environment = {key: value for key, value in os.environ.items() if key not in drop} | settings
    command = [sys.executable, "-W", "ignore", __file__, "--child", job]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return [float(word) for word in done.stdout.split()]


def main() -> None:
    parser = cli.ArgumentParser(__doc__, "  python benchmarks/environment.py --rounds 3")
    parser.add_argument("--rounds", type=int, default=3, help="processes a setting")
    parser.add_argument("--child", help="used by the script itself")
    arguments = parser.parse_args()
    if arguments.child:
        if arguments.child == "faults-kept":
            os.environ["MOBILEBERT_QUIET"] = "1"
        print(*(measure_products() if arguments.child == "products" else measure_faults()))
        return

    cores = str(os.cpu_count())
    threads = {"OMP_NUM_THREADS": cores}
    candidates = {
        "nothing set": {},
        "OMP_NUM_THREADS=1": {"OMP_NUM_THREADS": "1"},
        f"OMP_NUM_THREADS={cores}": threads,
        "  and MKL_DEBUG_CPU_TYPE=5": threads | {"MKL_DEBUG_CPU_TYPE": "5"},
        "  and MKL_DEBUG_CPU_TYPE=7": threads | {"MKL_DEBUG_CPU_TYPE": "7"},
        "  and FLAGS_use_stride_kernel=False": threads | {"FLAGS_use_stride_kernel": "False"},
        "  and FLAGS_use_mkldnn=True": threads | {"FLAGS_use_mkldnn": "True"},
    }
    best: dict[str, list[float]] = {}
    for _ in range(arguments.rounds):
        for name, settings in candidates.items():
            rates = in_child("products", settings)
            best[name] = [max(pair) for pair in zip(rates, best.get(name, rates), strict=True)]
    print(f"{'matrix products, float32, GFLOP/s':<40}" + "".join(f"{name:>12}" for name in PRODUCTS))
    for name, rates in best.items():
        print(f"{name:<40}" + "".join(f"{rate:>12.0f}" for rate in rates))

    print(f"\n{'a sum, by the size of its result':<40}" + "".join(f"{size:>8} MiB" for size in SIZES_MIB))
    for name, job in (("malloc as it is", "faults"), ("malloc as mobilebert.process sets it", "faults-kept")):
        runs = [in_child(job, {"OMP_NUM_THREADS": "1"}) for _ in range(arguments.rounds)]
        least = [min(column) for column in zip(*runs, strict=True)]
        print(f"{name + ': page faults':<40}" + "".join(f"{value:>12.0f}" for value in least[: len(SIZES_MIB)]))
        print(f"{name + ': ms':<40}" + "".join(f"{value:>12.2f}" for value in least[len(SIZES_MIB) :]))


if __name__ == "__main__":
    cli.run(main)
