"""MediaPipe Tasks in Python: its text classifier takes the file as it is, tokenizer, labels and all."""

import sys
import unicodedata
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import common
from mediapipe.tasks.python import text
from mediapipe.tasks.python.core.base_options import BaseOptions

CLOSE = 1e-5  # of float32's probabilities
LEAST_INT8 = 0.97  # of the labels
LONG = " ".join(f"word{number}" for number in range(1000, 1126))  # 128 tokens of the big classifier


def open_classifier(folder: Path) -> text.TextClassifier:
    """A classifier of an export."""
    options = text.TextClassifierOptions(base_options=BaseOptions(model_asset_path=str(folder / "model.tflite")))
    return text.TextClassifier.create_from_options(options)


def scores_of(classifier: text.TextClassifier, sentence: str) -> dict[str, float]:
    """Class -> probability, likeliest first."""
    first, second = classifier.classify(sentence).classifications
    assert (first.head_name, second.head_name) == ("probability", "logits")
    return {category.category_name: category.score for category in first.categories}


def clean_of(folder: Path) -> Callable[[str], str]:
    """The clean-up, as the export's card has it."""
    names: dict = {}
    exec((folder / "README.md").read_text(encoding="utf-8").split("```python\n")[2].split("```")[0], names)
    return names["clean"]


def decorate(sentence: str) -> str:
    """The same text to BERT's tokenizer: with accents, capitals, soft hyphens, and spaces of other kinds."""
    accents = sentence.translate({ord("e"): "e\u0301", ord("o"): "\u00f6", ord("A"): "\u00c0"})
    return unicodedata.normalize("NFC", accents).replace(" ", "\u00a0", 1).replace("a", "a\u00ad\u200b")


def equal_to(reference: list[dict], found: list[dict[str, float]], close: float | None = None) -> int:
    """How many have the label of the reference, and, with ``close``, its probabilities."""
    return sum(
        next(iter(got)) == row["label"]
        and (close is None or all(abs(got[label] - score) < close for label, score in row["scores"].items()))
        for row, got in zip(reference, found, strict=True)
    )


def main() -> None:
    work = Path(sys.argv[1]).resolve()
    rows, exports = common.read(work, "classifier"), work / "exports"
    failed = []

    def require(holds: bool, what: str) -> None:
        if not holds:
            failed.append(what)

    clean = clean_of(exports / "classifier-litert")
    lines = common.snippet(exports / "classifier-litert", "from mediapipe.tasks.python import text")
    classify = common.run_snippet(lines)["classify"]
    found = [classify(clean(row["text"])) for row in rows]
    equal = equal_to(rows, found, CLOSE)
    require(equal == len(rows), f"the card's lines: {equal} equal")
    require(equal_to(rows, found[1:] + found[:1], CLOSE) <= len(rows) // 2, "the comparison cannot tell")
    for title, name in (("float32", "classifier-litert"), ("dynamic int8", "classifier-litert-int8")):
        print(f"{name}: {len(rows)} texts", file=sys.stderr)
        with open_classifier(exports / name) as classifier:
            found = [scores_of(classifier, row["text"]) for row in rows]
            equal, close = equal_to(rows, found), equal_to(rows, found, CLOSE)
            if title == "float32":
                require(equal == close == len(rows), f"{title}: {equal} labels and {close} probabilities are equal")
                raw = [scores_of(classifier, decorate(row["text"])) for row in rows]
                cleaned = [scores_of(classifier, clean(decorate(row["text"]))) for row in rows]
                counts = equal_to(rows, raw, CLOSE), equal_to(rows, cleaned, CLOSE)
                # The first is the control: the clean-up has something to do.
                require(counts[0] < 0.1 * len(rows) and counts[1] == len(rows), f"uncleaned and cleaned: {counts}")
            else:
                require(
                    LEAST_INT8 * len(rows) <= equal and close < len(rows), f"{title}: {equal} labels, {close} close"
                )
        with open_classifier(exports / f"big-{name}") as classifier:
            ratio = common.ratio(lambda classifier=classifier: classifier.classify(LONG), work, "big-classifier")
        common.report(
            "MediaPipe Tasks (Python)", version("mediapipe"), f"text classifier, {title}", equal, len(rows),
            ratio=ratio, megabytes=(exports / f"big-{name}" / "model.tflite").stat().st_size / 1e6,
        )  # fmt: skip
    if failed:
        sys.exit("\n".join(failed))


if __name__ == "__main__":
    main()
