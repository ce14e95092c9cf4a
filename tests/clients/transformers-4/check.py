"""What ``convert.py --reverse`` writes, in transformers 4 and then, in this repository's environment, in 5."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch
import transformers
from common import read, report

ROOT = Path(__file__).parents[3]
WORK = Path(sys.argv[1])
TRAINED = {"max_length": 96, "stride": 32}  # the quickstart's
LONGEST = 10
transformers.logging.set_verbosity_error()
torch.set_num_threads(1)  # enough for so small a model, and no thread waits for another


def reversed_model(name: str) -> Path:
    """The model, back in PyTorch's format."""
    folder = WORK / "exports" / f"{name}-torch"
    command = [os.environ["MOBILEBERT_PYTHON"], "convert.py", "--reverse", "--src", WORK / "models" / name]
    subprocess.run([*map(str, command), "--dst", str(folder)], cwd=ROOT, check=True, stdout=sys.stderr)
    return folder


def load(folder: Path, kind: str) -> tuple[Any, Any]:
    """Model and tokenizer; nothing may be missing or left over."""
    model, found = getattr(transformers, kind).from_pretrained(folder, output_loading_info=True)
    if any(found[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")):
        raise SystemExit(f"{folder}: {found}")
    return model.eval(), transformers.AutoTokenizer.from_pretrained(folder)


def answers(model: Any, tokenizer: Any, rows: list[dict[str, Any]]) -> list[tuple[int, int]]:
    """First and last character (exclusive) of each question's best answer."""
    found = []
    for row in rows:
        windows = tokenizer(
            row["question"], row["context"], truncation="only_second", return_overflowing_tokens=True,
            return_offsets_mapping=True, padding=True, return_tensors="pt", **TRAINED,
        )  # fmt: skip
        offsets = windows.pop("offset_mapping").tolist()
        windows.pop("overflow_to_sample_mapping")
        with torch.no_grad():
            output = model(**windows)
        best = (-np.inf, 0, 0)
        for number, (start, end) in enumerate(zip(output.start_logits, output.end_logits, strict=True)):
            inside = torch.tensor([part == 1 for part in windows.sequence_ids(number)])
            place = torch.arange(len(inside))
            length = place - place[:, None] + 1
            fits = inside[:, None] & inside & (length >= 1) & (length <= LONGEST)
            scores = torch.where(fits, start[:, None] + end, -torch.inf)
            first, last = divmod(int(scores.argmax()), len(inside))
            best = max(best, (float(scores[first, last]), offsets[number][first][0], offsets[number][last][1]))
        found.append(best[1:])
    return found


def main() -> None:
    name, version = f"transformers {transformers.__version__.partition('.')[0]}", transformers.__version__
    rows = read(WORK, "reader")
    folder = reversed_model("reader")
    model, tokenizer = load(folder, "MobileBertForQuestionAnswering")
    found = answers(model, tokenizer, rows)
    equal = sum(place == (row["start"], row["end"]) for place, row in zip(found, rows, strict=True))
    report(name, version, "answers, convert.py --reverse", equal, len(rows), note="PyTorch, eager")
    with torch.no_grad():  # of two rows that are exchanged, the comparison must notice it
        model.mobilebert.embeddings.token_type_embeddings.weight.copy_(
            model.mobilebert.embeddings.token_type_embeddings.weight.flip(0)
        )
    wrong = answers(model, tokenizer, rows[:100])
    worse = sum(place == (row["start"], row["end"]) for place, row in zip(wrong, rows[:100], strict=True))

    texts = read(WORK, "classifier")
    folder = reversed_model("classifier")
    model, tokenizer = load(folder, "MobileBertForSequenceClassification")
    with torch.no_grad():
        encoded = (tokenizer(row["text"], truncation=True, return_tensors="pt") for row in texts)
        scores = [model(**inputs).logits.softmax(-1)[0].tolist() for inputs in encoded]
    labels = list(model.config.id2label.values())

    def equal_classes(found: list[list[float]]) -> int:
        return sum(
            labels[int(np.argmax(one))] == row["label"]
            and all(abs(value - row["scores"][label]) < 1e-5 for label, value in zip(labels, one, strict=True))
            for one, row in zip(found, texts, strict=True)
        )

    same, shifted = equal_classes(scores), equal_classes(scores[1:] + scores[:1])
    report(name, version, "classes, convert.py --reverse", same, len(texts), note="PyTorch, eager")
    if (equal, same) != (len(rows), len(texts)) or worse > 90 or 2 * shifted > len(texts):
        raise SystemExit(
            f"{equal} answers and {same} classes equal; with exchanged token types {worse} of 100, "
            f"of another text {shifted} classes"
        )


main()
if transformers.__version__.startswith("4."):
    subprocess.run([os.environ["MOBILEBERT_PYTHON"], __file__, WORK], check=True)
