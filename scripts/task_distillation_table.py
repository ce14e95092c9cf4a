"""Print what scripts/task_distillation.sh measured: students with and without their teacher."""

import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mobilebert.base import cli
from mobilebert.base.errors import InputError
from mobilebert.base.files import read_json

EXAMPLES = "  python scripts/task_distillation_table.py outputs/task_distillation"
TASKS = {"sst2": ("SST-2 dev, accuracy", "accuracy"), "squad": ("quickstart dev, F1", "f1")}
ARMS = {"alone": "student alone", "answers": "+ teacher's answers", "layers": "+ answers and layers"}


def main() -> None:
    """Read every seed's results and print."""
    parser = cli.ArgumentParser(__doc__, EXAMPLES)
    parser.add_argument("folder", help="what scripts/task_distillation.sh wrote")
    folder = Path(parser.parse_args().folder)
    row = "{:<22} {:<22} {:>5} {:>16}  {}".format
    print(row("metric (final weights)", "", "seeds", "mean ± std", "by seed"))
    for task, (title, metric) in TASKS.items():
        if not (folder / task / "teacher" / "eval_results.json").is_file():
            raise InputError(f"{folder}: no results of {task}; run scripts/task_distillation.sh")
        for name, arm in {"teacher": "teacher", **ARMS}.items():
            pattern = f"{task}/teacher" if name == "teacher" else f"{task}/seed_*/{name}"
            paths = sorted(folder.glob(f"{pattern}/eval_results.json"))
            found = [read_json(path)["final"][metric] for path in paths]
            if not found:
                continue
            spread = f" ± {statistics.stdev(found):.2f}" if len(found) > 1 else ""
            by_seed = " ".join(f"{value:.2f}" for value in found)
            print(row(title, arm, len(found), f"{statistics.mean(found):.2f}{spread}", by_seed))


if __name__ == "__main__":
    cli.run(main)
