"""Show what scripts/quickstart.sh made: the questions noted with the model, and one table with everything measured."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mobilebert.base import cli
from mobilebert.base.files import read_json
from mobilebert.data.qa.squad_json import read_squad

EXAMPLES = "  python scripts/quickstart_table.py --folder outputs/quickstart --training_seconds 60 --total_seconds 120"


def main() -> None:
    """Read the artefacts and print."""
    parser = cli.ArgumentParser(__doc__, EXAMPLES)
    parser.add_argument("--folder", required=True, help="what scripts/quickstart.sh wrote")
    parser.add_argument("--training_seconds", type=int, required=True, help="of the training process")
    parser.add_argument("--total_seconds", type=int, required=True, help="of all steps after set-up")
    args = parser.parse_args()

    folder = Path(args.folder)
    predictions = read_json(folder / "evaluation" / "predictions.json")
    examples, _ = read_squad(folder / "data" / "dev.json")
    config = read_json(folder / "training" / "best" / "config.json")
    noted = config["task_specific_params"]["question-answering"].get("examples", [])
    texts = {(example["passage"], example["question"]) for example in noted}
    shown = [example for example in examples if (example.context, example.question) in texts]
    right = sum(predictions[example.id] in example.answers for example in examples)
    print(f"\n{len(shown)} of the {right} dev questions (of {len(examples)}) that it answers right, of the surer half:")
    for example in shown:
        print(f"\n{example.context}")
        print(f"  question  {example.question}")
        print(f"  answer    {predictions[example.id]}   (expected: {example.answers[0]})")

    from safetensors import safe_open

    with safe_open(folder / "paddle" / "model.safetensors", framework="np") as weights:
        parameters = sum(weights.get_tensor(name).size for name in weights.keys())  # noqa: SIM118 (no mapping)
    compared = "not compared"  # in a minimal environment
    if (folder / "compare.json").exists():
        compared = f"{max(row['relative'] for row in read_json(folder / 'compare.json')['rows']):.1e}"
    training = read_json(folder / "training" / "eval_results.json")
    evaluation = read_json(folder / "evaluation" / "eval_results.json")
    scores = evaluation["evaluated"]
    rows = [
        ("parameters", f"{parameters:,}"),
        ("PyTorch and Paddle, worst relative difference", compared),
        ("dev questions, on names never seen in training", f"{evaluation['examples']}"),
        ("steps of training", f"{training['final']['step']}"),
        ("training, seconds", f"{args.training_seconds}"),
        ("dev exact match, %", f"{scores['exact_match']:.2f}"),
        ("dev F1, %", f"{scores['f1']:.2f}"),
        ("all steps after set-up, seconds", f"{args.total_seconds}"),
    ]
    width, values = max(len(name) for name, _ in rows), max(len(value) for _, value in rows)
    print(f"\n{'-' * (width + values + 2)}")
    for name, value in rows:
        print(f"{name:<{width}}  {value:>{values}}")
    print(f"{'-' * (width + values + 2)}\neverything is under {folder}/")


if __name__ == "__main__":
    cli.run(main)
