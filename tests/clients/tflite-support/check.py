"""TF Lite Task Library: its BertQuestionAnswerer takes the file as it is, where it has the 384 tokens that it reads.

Its answers are whole words of at most 32 tokens, so ``reference/long-reader.json`` has such.
"""

import sys
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import common
from tflite_support.task import text


def widened(context: str, start: int, end: int) -> str:
    """A piece of a context with all of the words that it touches."""
    while start and not context[start - 1].isspace():
        start -= 1
    while end < len(context) and not context[end].isspace():
        end += 1
    return context[start:end]


def main() -> None:
    work = Path(sys.argv[1]).resolve()
    rows = common.read(work, "long-reader")
    path = work / "exports" / "long-reader-litert" / "model.tflite"
    answerer = text.BertQuestionAnswerer.create_from_file(str(path))
    found = [answerer.answer(row["context"], row["question"]).answers for row in rows]
    expected = [widened(row["context"], row["start"], row["end"]) for row in rows]
    equal = sum(got[0].text == wanted for got, wanted in zip(found, expected, strict=True))
    # The control: the second best answers are others.
    second = sum(got[1].text == wanted for got, wanted in zip(found, expected, strict=True) if len(got) > 1)
    common.report(
        "TF Lite Task Library", version("tflite-support"), "question answering, float32", equal, len(rows),
        note="whole words, at most 32 tokens, as the library answers; no time: it reads 384 tokens whatever the text",
    )  # fmt: skip
    if equal < len(rows) or second > 0.5 * len(rows):
        sys.exit(f"{equal} answers of {len(rows)} are equal, and {second} second ones")


if __name__ == "__main__":
    main()
