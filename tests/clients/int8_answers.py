"""What ``Predictor`` answers with an int8 export, for the checks: as ``reference/reader.json``, on standard output."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from mobilebert.base import cli  # isort: skip (before the rest: refuses other Pythons)

from mobilebert.inference.predictor import Predictor


def main() -> None:
    parser = cli.ArgumentParser(__doc__)
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="an export")
    parser.add_argument("reference", metavar="FILE", type=Path, help="reader.json")
    args = parser.parse_args()
    print(json.dumps(answers(args.folder, json.loads(args.reference.read_text(encoding="utf-8")))))


def answers(folder: Path, rows: list[dict]) -> list[dict]:
    """The rows with what the export says, question by question: the ranges of int8 are those of what runs together."""
    predictor = Predictor(folder, engine="onnxruntime")
    found = [predictor.answer(row["question"], row["context"])[0] for row in rows]
    return [{**row, **vars(answer)} for row, answer in zip(rows, found, strict=True)]


if __name__ == "__main__":
    cli.run(main)
