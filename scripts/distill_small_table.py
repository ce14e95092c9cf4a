"""Print what scripts/distill_small.sh measured, and whether the paper's order is found."""

import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mobilebert.base import cli
from mobilebert.base.errors import InputError
from mobilebert.base.files import read_json

EXAMPLES = "  python scripts/distill_small_table.py outputs/distill_small"
ARMS = {
    "teacher": "teacher (IB-BERT)",
    "none": "no transfer",
    "pd": "PD",
    "pd_fmt": "PD + FMT",
    "pd_at": "PD + AT",
    "akt": "AKT (FMT + AT + PD)",
    "jkt": "JKT (FMT + AT + PD)",
    "pkt": "PKT (FMT + AT + PD)",
}
# Sun et al. 2020, tables 8 and 7: worse, better.
PAPER = [("none", "pd"), ("pd", "pd_fmt"), ("pd_fmt", "pkt"), ("akt", "jkt"), ("jkt", "pkt")]
METRICS = {"masked_loss": "masked loss", "perplexity": "perplexity", "masked_accuracy": "masked acc.",
           "next_sentence_accuracy": "next sent. acc."}  # fmt: skip
FINETUNED = {"sst2": ("SST-2 dev", "accuracy"), "squad": ("SQuAD v1.1 dev, F1", "f1")}


def values(folder: Path, name: str, metric: str) -> list[float]:
    """A metric of the final weights, seed by seed, where that has finished."""
    found = (read_json(path)["final"] for path in sorted(folder.glob(f"seed_*/{name}/eval_results.json")))
    return [result[metric] for result in found]


def shown(numbers: list[float]) -> str:
    """Mean, and the standard deviation of several."""
    if not numbers:
        return "-"
    spread = f" ± {statistics.stdev(numbers):.4f}" if len(numbers) > 1 else ""
    return f"{statistics.mean(numbers):.4f}{spread}"


def best_arm(folder: Path) -> str:
    """The student with the lowest masked loss on held-out text."""
    losses = {name: values(folder, name, "masked_loss") for name in ARMS if name != "teacher"}
    means = {name: statistics.mean(numbers) for name, numbers in losses.items() if numbers}
    if not means:
        raise InputError(f"{folder}: no arm has finished; run scripts/distill_small.sh --stage pretrain")
    return min(means, key=means.__getitem__)


def print_order(folder: Path) -> None:
    """Pair by pair, as the paper orders them, what was found here."""
    print("\norder by masked loss (lower is better), pairs as in the paper's tables 8 and 7:")
    for worse, better in PAPER:
        pair = [values(folder, name, "masked_loss") for name in (worse, better)]
        if not all(pair) or len(pair[0]) != len(pair[1]):
            print(f"  {ARMS[worse]} -> {ARMS[better]}: not measured")
            continue
        gains = [there - here for there, here in zip(*pair, strict=True)]
        wins = sum(gain > 0 for gain in gains)
        verdict = "as in the paper" if statistics.mean(gains) > 0 else "NOT as in the paper"
        gain = f"{statistics.mean(gains):+.4f} better in {wins} of {len(gains)} seeds"
        print(f"  {ARMS[worse]} -> {ARMS[better]}: {gain}, {verdict}")


def main() -> None:
    """Read every arm's results and print."""
    parser = cli.ArgumentParser(__doc__, EXAMPLES)
    parser.add_argument("folder", help="what scripts/distill_small.sh wrote")
    parser.add_argument("--best", action="store_true", help="print the name of the best student's arm only")
    parser.add_argument("--finetuned", action="store_true", help="the table of fine-tuned models instead")
    args = parser.parse_args()
    folder = Path(args.folder)
    if args.best:
        print(best_arm(folder))
        return
    if args.finetuned:
        for task, (title, metric) in FINETUNED.items():
            for start in ("random", best_arm(folder)):
                numbers = values(folder, f"finetuned/{task}_{start}", metric)
                print(f"{title:<20} {ARMS.get(start, 'random weights'):<22} {shown(numbers)}")
        return
    row = "{:<22} {:>5}" + " {:>18}" * len(METRICS) + " {:>9}"
    print(row.format("held-out text", "seeds", *METRICS.values(), "seconds"))
    for name, title in ARMS.items():
        columns = [values(folder, name, metric) for metric in METRICS]
        results = [read_json(path) for path in sorted(folder.glob(f"seed_*/{name}/eval_results.json"))]
        seconds = f"{statistics.mean(result['seconds'] for result in results):.0f}" if results else "-"
        print(row.format(title, len(columns[0]), *map(shown, columns), seconds))
    print_order(folder)


if __name__ == "__main__":
    cli.run(main)
