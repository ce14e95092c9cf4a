"""Our ONNX float32 export at full size in ONNX Runtime: a child process that the checks take turns with, for ratios.

A line on standard input, a number of runs, is answered by their times in milliseconds, as one line of JSON.
"""

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from mobilebert.base import cli  # isort: skip (before the rest: refuses other Pythons)

import numpy as np

from mobilebert.data.collate import INPUT_NAMES
from mobilebert.inference import engines

SHAPE = (1, 128)
THREADS = 2


def main() -> None:
    parser = cli.ArgumentParser(__doc__)
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="an export")
    engine = engines.load(parser.parse_args().folder, "onnxruntime", THREADS)
    ids = np.random.default_rng(0).integers(1000, 30000, SHAPE)
    values = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    batch = {name: values[name] for name in INPUT_NAMES}
    engine.run(batch)
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            start = time.perf_counter()
            engine.run(batch)
            times.append((time.perf_counter() - start) * 1e3)
        print(json.dumps(times), flush=True)


if __name__ == "__main__":
    cli.run(main)
