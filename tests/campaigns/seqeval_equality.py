"""Compare our scores of entities with the real seqeval's, on random tags in default and in strict mode.

seqeval 1.2.2 (2020) is published as source only, so it is no dependency of the tests, which take ready-built wheels
with hashes alone: it is installed into an environment of its own, in a temporary folder.

    python tests/campaigns/seqeval_equality.py --cases 10000
    python tests/campaigns/seqeval_equality.py --cases 10000 --seed 1 --freeze tests/support/seqeval_cases.json
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mobilebert.data.ner.metrics import by_type, compute

PACKAGE = "seqeval==1.2.2"
FROZEN = 30  # cases of the table that the tests have
# What seqeval says; in each of its lines the scores of one case.
REFERENCE = """
import json, sys, warnings
warnings.simplefilter("ignore")
from seqeval.metrics import accuracy_score, classification_report, f1_score, precision_score, recall_score
from seqeval.scheme import IOB2, IOBES
for line in sys.stdin:
    scheme, gold, predicted = json.loads(line)
    scores = [score(gold, predicted) for score in (precision_score, recall_score, f1_score)]
    scores.append(f1_score(gold, predicted, mode="strict", scheme={"iob2": IOB2, "iobes": IOBES}[scheme]))
    scores.append(accuracy_score(gold, predicted))
    try:
        types = classification_report(gold, predicted, output_dict=True)
    except ValueError:  # it has no report without entities
        types = {}
    types = {name: [float(row["precision"]), float(row["recall"]), float(row["f1-score"]), int(row["support"])]
             for name, row in types.items() if not name.endswith(" avg")}
    print(json.dumps({"scores": [float(score) for score in scores], "types": types}))
"""


def random_case(dice: random.Random) -> tuple[str, list[list[str]], list[list[str]]]:
    """Scheme, gold and predicted tags: any tags in any order, or a prediction that is nearly right."""
    scheme = dice.choice(["iob2", "iobes"])
    prefixes, types = "BI" if scheme == "iob2" else "BIES", ["PER", "LOC", "creative-work"][: dice.randint(1, 3)]

    def tag() -> str:
        return "O" if dice.random() < 0.35 else f"{dice.choice(prefixes)}-{dice.choice(types)}"

    gold = [[tag() for _ in range(dice.randint(1, 9))] for _ in range(dice.randint(1, 5))]
    change = dice.choice([0.0, 0.1, 0.3, 1.0])
    return scheme, gold, [[tag() if dice.random() < change else one for one in tags] for tags in gold]


def ours(case: tuple) -> dict:
    """What we say, in shares of 1."""
    scheme, gold, predicted = case
    scores = compute(gold, predicted, scheme)
    types = {}
    for name, (right, found, there) in by_type(gold, predicted).items():
        precision, recall = right / found if found else 0.0, right / there if there else 0.0
        types[name] = [precision, recall, 2 * precision * recall / (precision + recall) if right else 0.0, there]
    names = ("precision", "recall", "f1", "strict_f1", "accuracy")
    return {"scores": [scores[name] / 100 for name in names], "types": types}


def differs(one: dict, other: dict) -> bool:
    """Whether two answers differ by more than rounding."""
    if one["types"].keys() != other["types"].keys():
        return True
    pairs = [*zip(one["scores"], other["scores"], strict=True)]
    for name in one["types"]:
        pairs += zip(one["types"][name], other["types"][name], strict=True)
    return any(abs(a - b) > 1e-12 for a, b in pairs)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--freeze", type=Path, metavar="FILE", help=f"write the first {FROZEN} cases and answers there")
    args = parser.parse_args()
    dice = random.Random(args.seed)
    cases = [random_case(dice) for _ in range(args.cases)]
    with tempfile.TemporaryDirectory(prefix="seqeval_") as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / "bin" / "python"
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", PACKAGE], check=True)
        text = "".join(json.dumps(case) + "\n" for case in cases)
        done = subprocess.run([python, "-c", REFERENCE], input=text, stdout=subprocess.PIPE, text=True, check=True)
    theirs = [json.loads(line) for line in done.stdout.splitlines()]
    different = [case for case, other in zip(cases, theirs, strict=True) if differs(ours(case), other)]
    # The control: a prediction that is the truth scores otherwise, so a comparison that sees nothing would show here.
    perfect = sum(differs(ours((case[0], case[1], case[1])), other) for case, other in zip(cases, theirs, strict=True))
    control = f"with the truth in the predictions' place {perfect} are"
    print(f"{PACKAGE}: {len(cases)} cases, {len(different)} different; {control}")
    for case in different[:3]:
        print(json.dumps(case))
    if args.freeze:
        rows = [{"case": case, "seqeval": other} for case, other in zip(cases[:FROZEN], theirs, strict=False)]
        args.freeze.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n", encoding="utf-8")
    return 1 if different or not perfect else 0


if __name__ == "__main__":
    sys.exit(main())
