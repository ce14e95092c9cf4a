"""Print the dev scores of output_TASK/eval_results.json beside the paper's test row and AIMET's dev row."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mobilebert.base.files import read_json
from mobilebert.data.glue.tasks import TASKS

# Paper: Sun et al. 2020, MobileBERT, scored by GLUE's server on the test sets. AIMET: the dev scores that Qualcomm
# publishes for its float32 baseline; MRPC's is F1. Both were checked: docs/reproduce.md.
PAPER_TEST = {
    "cola": "50.5",
    "sst2": "92.8",
    "mrpc": "88.8",
    "stsb": "84.4",
    "qqp": "70.2",
    "mnli": "83.3/82.6",
    "qnli": "90.6",
    "rte": "66.2",
}
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
    row = "{:<6} {:<22} {:>14} {:>14} {:>12} {:>10}".format
    print(row("task", "metric", "dev, selected", "dev, final", "paper, test", "AIMET, dev"))
    for name, task in TASKS.items():
        if not task.dev_splits:
            continue
        path = runs / f"output_{name}" / "eval_results.json"
        results = read_json(path) if path.exists() else {}
        for position, metric in enumerate(task.metrics):
            selected, final = (scores(results.get(key, {}), metric) or "-" for key in ("dev_selected", "final"))
            first = position == 0
            paper, aimet = (table.get(name, "-") if first else "" for table in (PAPER_TEST, AIMET_DEV))
            print(row(name if first else "", metric, selected, final, paper, aimet))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
