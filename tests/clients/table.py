"""Print the rows that the checks have written as the table of README.md, "Runs in"."""

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from mobilebert.base import cli  # isort: skip (before the rest: refuses other Pythons)

from mobilebert import process

HEADER = ("client", "version", "tested", "answers equal", "time", "MB")


def cells(row: dict[str, Any]) -> list[str]:
    """A row as the table shows it."""
    ratio, size = row.get("ratio"), row.get("megabytes")
    return [
        row["client"],
        row["version"],
        row["tested"],
        f"{row['equal']} of {row['total']}",
        "" if ratio is None else f"{ratio:.2f}",
        "" if size is None else f"{size:.1f}",
    ]


def main() -> None:
    parser = cli.ArgumentParser(__doc__)
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="of files of JSON lines, one a client")
    rows = [
        json.loads(line)
        for file in sorted(parser.parse_args().folder.glob("*.jsonl"))
        for line in file.read_text(encoding="utf-8").splitlines()
    ]
    for row in (HEADER, ["---"] * len(HEADER), *map(cells, rows)):
        cli.say(f"| {' | '.join(row)} |")
    for row in rows:
        if row.get("note"):
            cli.say(f"{row['client']}, {row['tested']}: {row['note']}")
    cli.say(f"time: over our ONNX float32's, full size, one text of 128 tokens, 2 threads, {process.cpu_name()}")


if __name__ == "__main__":
    cli.run(main)
