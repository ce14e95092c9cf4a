"""Print mean, standard deviation and best over seeds: python scripts/seed_table.py RUNS SCRIPT [TASK]."""

import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mobilebert.base import cli
from mobilebert.base.errors import InputError
from mobilebert.base.files import read_json

# Sun et al. 2020: SQuAD's dev set (table 5), by script; GLUE as its server scores the test sets (table 4), by task.
PAPER_DEV = {
    "train_squadv1": {"exact_match": 82.9, "f1": 90.0},
    "train_squadv1_google": {"exact_match": 82.9, "f1": 90.0},
    "train_squadv2": {"exact": 76.2, "f1": 79.2},
}
PAPER_TEST = {
    "mnli": {"accuracy": 83.3, "accuracy_mm": 82.6},
    "cola": {"matthews_correlation": 50.5},
    "sst2": {"accuracy": 92.8},
    "mrpc": {"f1": 88.8},
    "stsb": {"spearmanr": 84.4},
    "qqp": {"f1": 70.2},
    "qnli": {"accuracy": 90.6},
    "rte": {"accuracy": 66.2},
}
NOT_METRICS = ("step", "loss", "loss_mm")


def main() -> None:
    """Read every seed's ``eval_results.json`` and print one line a metric, dev-selected and final apart."""
    runs, script, *rest = sys.argv[1:]
    results = [read_json(path) for path in sorted(Path(runs).glob("seed_*/eval_results.json"))]
    if not results:
        raise InputError(f"{runs}: no seed_*/eval_results.json; did the runs finish?")
    name = rest[0] if rest else Path(script).stem.removeprefix("train_")
    on_dev = PAPER_DEV.get(Path(script).stem)
    source, paper = ("paper, test server", PAPER_TEST.get(name, {})) if on_dev is None else ("paper, dev", on_dev)
    row = "{:<13} {:<22} {:>5} {:>16} {:>8} {:>19}".format
    print(row("checkpoint", "dev metric", "seeds", "mean ± std", "best", source))
    for kind in ("dev_selected", "final"):
        for metric in results[0].get(kind, {}):
            if metric in NOT_METRICS:
                continue
            values = [result[kind][metric] for result in results]
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            mean = f"{statistics.mean(values):.2f} ± {spread:.2f}"
            print(row(kind, metric, len(values), mean, f"{max(values):.2f}", paper.get(metric, "-")))


if __name__ == "__main__":
    cli.run(main)
