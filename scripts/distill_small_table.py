"""Print what scripts/distill_small.sh measured, and whether the paper's order is found."""

import statistics
import sys
from collections.abc import Iterable
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


def results(folder: Path, name: str) -> dict[int, dict]:
    """What was measured of an arm, by seed, where that has finished."""
    paths = folder.glob(f"seed_*/{name}/eval_results.json")
    number = len(folder.parts)  # of the part seed_1
    return dict(sorted((int(path.parts[number].removeprefix("seed_")), read_json(path)) for path in paths))


def values(folder: Path, name: str, metric: str) -> list[float]:
    """A metric of the final weights, seed by seed."""
    return [result["final"][metric] for result in results(folder, name).values()]


def check_steps(folder: Path, names: Iterable[str]) -> None:
    """Refuse to compare what was not trained equally long."""
    steps = {f"seed_{seed}/{name}": found["final"]["step"] for name in names
             for seed, found in results(folder, name).items()}  # fmt: skip
    if len(set(steps.values())) > 1:
        least, most = min(steps, key=steps.__getitem__), max(steps, key=steps.__getitem__)
        raise InputError(
            f"{folder}: {least} has {steps[least]} steps, {most} {steps[most]}: nothing to be compared; run "
            "scripts/distill_small.sh with one STEPS"
        )


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
        pair = [results(folder, name) for name in (worse, better)]
        if not (seeds := pair[0].keys() & pair[1].keys()):
            print(f"  {ARMS[worse]} -> {ARMS[better]}: not measured")
            continue
        losses = [[found[seed]["final"]["masked_loss"] for seed in sorted(seeds)] for found in pair]
        gains = [there - here for there, here in zip(*losses, strict=True)]
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
    check_steps(folder, ARMS.keys() - {"teacher"})
    check_steps(folder, ["teacher"])
    if args.best:
        print(best_arm(folder))
        return
    if args.finetuned:
        for task, (title, metric) in FINETUNED.items():
            starts = ("random", best_arm(folder))
            check_steps(folder, [f"finetuned/{task}_{start}" for start in starts])
            for start in starts:
                numbers = values(folder, f"finetuned/{task}_{start}", metric)
                print(f"{title:<20} {ARMS.get(start, 'random weights'):<22} {shown(numbers)}")
        return
    row = "{:<22} {:>5}" + " {:>18}" * len(METRICS) + " {:>9}"
    print(row.format("held-out text", "seeds", *METRICS.values(), "seconds"))
    for name, title in ARMS.items():
        columns = [values(folder, name, metric) for metric in METRICS]
        times = [found["seconds"] for found in results(folder, name).values()]
        seconds = f"{statistics.mean(times):.0f}" if times else "-"
        print(row.format(title, len(columns[0]), *map(shown, columns), seconds))
    print_order(folder)


if __name__ == "__main__":
    cli.run(main)
