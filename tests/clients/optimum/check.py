"""Optimum and transformers' pipelines, with the lines of the card.

No times: the model runs in ONNX Runtime as in ``../onnxruntime``.
"""

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from common import read, report, run_snippet, snippet

WORK = Path(sys.argv[1])
CLIENT = ("Optimum (Python)", version("optimum-onnx"))
NOTE = f"pipelines of transformers {version('transformers')}"


def card(name: str, model: str) -> dict[str, Any]:
    """What the card's lines define."""
    return run_snippet(snippet(WORK / "exports" / name, f"from optimum.onnxruntime import {model}"))


def check_answers(name: str, tested: str, least: int) -> None:
    """The card's pipeline and its settings; the pipeline's own settings must do worse."""
    rows, names = read(WORK, "reader"), card(name, "ORTModelForQuestionAnswering")

    def equal(**how: Any) -> int:
        answers = (names["reader"](question=row["question"], context=row["context"], **how) for row in rows)
        return sum(
            (answer["answer"], answer["start"], answer["end"]) == (row["text"], row["start"], row["end"])
            for answer, row in zip(answers, rows, strict=True)
        )

    found, untold = equal(**names["how"]), equal()
    report(*CLIENT, tested, found, len(rows), note=f"{NOTE}; {untold} with their own settings")
    if found < least or untold >= found:
        raise SystemExit(f"{name}: {found} of {len(rows)} equal, expected {least}, and {untold} with other settings")


def check_classes(name: str) -> None:
    """The label, and every probability within 1e-5; another text's must not do."""
    rows, classify = read(WORK, "classifier"), card(name, "ORTModelForSequenceClassification")["classify"]
    found = [
        {one["label"]: one["score"] for one in scores}
        for scores in classify([row["text"] for row in rows], truncation=True, top_k=None)
    ]

    def equal(answers: list[dict[str, float]]) -> int:
        return sum(
            max(one, key=one.__getitem__) == row["label"]
            and all(abs(one[label] - value) < 1e-5 for label, value in row["scores"].items())
            for one, row in zip(answers, rows, strict=True)
        )

    report(*CLIENT, "classes, float32", equal(found), len(rows), note=NOTE)
    if equal(found) < len(rows) or equal(found[1:] + found[:1]) > len(rows) // 2:
        raise SystemExit(f"{name}: {equal(found)} of {len(rows)} equal")


check_answers("reader-onnx", "answers, float32", 600)
check_answers("reader-onnx-int8", "answers, int8", 590)
check_classes("classifier-onnx")
