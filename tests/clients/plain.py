"""The card's lines for libraries that run ONNX files and nothing else, on the reference's questions and texts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import ratio, read, report, run_snippet, snippet

REST = "# The rest is the same for every library.\n"
FIRST = "import onnxruntime"  # of the block that has the rest


def load(folder: Path, first: str) -> dict[str, Any]:
    """What the block that begins with ``first`` defines, with the rest from ONNX Runtime's where it has none."""
    code = snippet(folder, first)
    if REST not in code:
        code += REST + snippet(folder, FIRST).partition(REST)[2]
    return run_snippet(code)


def answers_equal(card: dict[str, Any], rows: list[dict[str, Any]]) -> int:
    """How many questions are answered as the reference answers them."""
    return sum(card["answer"](row["question"], row["context"]) == row["text"] for row in rows)


def classes_equal(card: dict[str, Any], rows: list[dict[str, Any]]) -> int:
    """How many texts have the reference's class, with each probability within 1e-5 of it."""
    found = [card["classify"](row["text"]) for row in rows]
    return sum(
        max(one, key=one.__getitem__) == row["label"]
        and all(abs(one[label] - value) < 1e-5 for label, value in row["scores"].items())
        for one, row in zip(found, rows, strict=True)
    )


def with_inputs_swapped(card: dict[str, Any]) -> dict[str, Any]:
    """The card's functions, with mask and token types in each other's place: what a comparison must notice."""
    run = card["run"]
    names = {"attention_mask": "token_type_ids", "token_type_ids": "attention_mask"}
    card["run"] = lambda inputs: run({names.get(name, name): value for name, value in inputs.items()})
    return card


def run_row(card: dict[str, Any]) -> Callable[[], Any]:
    """One row of 128 tokens through the card's ``run``."""
    ids = np.random.default_rng(0).integers(1000, 30000, (1, 128))
    inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    return lambda: card["run"](inputs)


def check(work: Path, client: str, version: str, first: str, exports: dict[str, tuple[str, str | None, int]]) -> None:
    """Print a row for each export, and end with an error where one is not as expected.

    Args:
        work: the folder of work.
        client, version: for the table.
        first: first line of the client's block.
        exports: what the table calls an export -> its folder, the full-size export with which time is measured (None:
            none), and how many of the 600 must be equal.
    """
    for tested, (name, big, least) in exports.items():
        folder = work / "exports" / name
        is_reader = name.startswith("reader")
        rows = read(work, "reader" if is_reader else "classifier")
        count = answers_equal if is_reader else classes_equal
        equal = count(load(folder, first), rows)
        wrong = count(with_inputs_swapped(load(folder, first)), rows[:100])
        more: dict[str, Any] = {}
        if big is None:
            more["note"] = "the small model alone"
        else:
            model = work / "exports" / big
            more["megabytes"] = (model / "model.onnx").stat().st_size / 1e6
            more["ratio"] = ratio(run_row(load(model, first)), work, "big-reader" if is_reader else "big-classifier")
        report(client, version, tested, equal, len(rows), **more)
        if equal < least or wrong > 90:
            raise SystemExit(
                f"{name}: {equal} of {len(rows)} equal, expected {least}; with swapped inputs {wrong} of 100"
            )
