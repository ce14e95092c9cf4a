"""Print the dev scores of output_TASK/eval_results.json beside AIMET's and beside the paper's of the test server."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from seed_table import PAPER_TEST

from mobilebert.base.files import read_json
from mobilebert.data.glue.tasks import TASKS

# The dev scores that Qualcomm publishes for its float32 baseline; MRPC's is F1. Checked: docs/reproduce.md.
AIMET_DEV = {
    "cola": "51.48",
    "sst2": "91.60",
    "mrpc": "85.86",
    "stsb": "88.22",
    "qqp": "90.66",
    "mnli": "83.54",
    "qnli": "91.18",
    "rte": "68.60",
}


def scores(results: dict, metric: str) -> str:
    """A metric's value, or both for MNLI: ``83.3/82.6``."""
    values = [results[name] for name in (metric, f"{metric}_mm") if name in results]
    return "/".join(f"{value:.2f}" for value in values)


def main(runs: Path) -> None:
    """Print one line a task and metric; a task without results has a dash."""
    row = "{:<6} {:<22} {:>14} {:>14} {:>18} {:>10}".format
    print(row("task", "metric", "dev, selected", "dev, final", "paper, test server", "AIMET, dev"))
    for name, task in TASKS.items():
        if not task.dev_splits:
            continue
        path = runs / f"output_{name}" / "eval_results.json"
        results = read_json(path) if path.exists() else {}
        for position, metric in enumerate(task.metrics):
            selected, final = (scores(results.get(key, {}), metric) or "-" for key in ("dev_selected", "final"))
            first = position == 0
            paper = "/".join(str(value) for value in PAPER_TEST.get(name, {}).values())
            paper, aimet = (text or "-" if first else "" for text in (paper, AIMET_DEV.get(name)))
            print(row(name if first else "", metric, selected, final, paper, aimet))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
