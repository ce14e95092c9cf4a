"""LiteRT: our engine's answers from its interpreter, and the interpreter by itself, as an app on a phone calls it."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[3]))

import common
import numpy as np
from ai_edge_litert.interpreter import Interpreter

CLOSE = 1e-4  # of scores: sums of two logits of some 10
LEAST_INT8 = 0.97  # of the answers
PURELIB = "import sysconfig; print(sysconfig.get_path('purelib'))"
VARIANTS = {"float32": "reader-litert", "float16 weights": "reader-litert-fp16", "dynamic int8": "reader-litert-int8"}


def answers(folder: Path, rows: list[dict]) -> list:
    """What ``Predictor`` answers with the engine; the tokenizer is this repository's."""
    from mobilebert.inference.predictor import Predictor

    predictor = Predictor(folder, engine="litert", threads=2)
    return [predictor.answer(row["question"], row["context"])[0] for row in rows]


def row_of_128(path: Path) -> "tuple[Interpreter, dict[str, np.ndarray]]":
    """An interpreter of a file, resized to 128 tokens, and a row for it."""
    interpreter = Interpreter(str(path), num_threads=2)
    ids = np.random.default_rng(0).integers(1000, 30000, (1, 128), np.int32)
    row = {"ids": ids, "segment_ids": np.zeros_like(ids), "mask": np.ones_like(ids)}
    for one in interpreter.get_input_details():
        interpreter.resize_tensor_input(one["index"], row[one["name"]].shape)
    interpreter.allocate_tensors()
    for one in interpreter.get_input_details():
        interpreter.set_tensor(one["index"], row[one["name"]])
    return interpreter, row


def check_signature(interpreter: Interpreter, row: dict[str, np.ndarray]) -> None:
    """The file's signature gives by name what its outputs give by place."""
    (signature,) = interpreter.get_signature_list().values()
    assert set(signature["inputs"]) == set(row), signature
    interpreter.invoke()
    outputs = {one["name"]: interpreter.get_tensor(one["index"]) for one in interpreter.get_output_details()}
    named = interpreter.get_signature_runner()(**row)
    assert set(named) == {"start_logits", "end_logits"} and all((named[name] == outputs[name]).all() for name in named)


def main() -> None:
    work = Path(sys.argv[1]).resolve()
    # The tokenizer's library is in this repository's environment; what both have is of one version.
    python = os.environ["MOBILEBERT_PYTHON"]
    sys.path.append(subprocess.run([python, "-c", PURELIB], check=True, capture_output=True, text=True).stdout.strip())
    rows = common.read(work, "reader")
    failed = []
    for title, name in VARIANTS.items():
        print(f"{name}: {len(rows)} questions", file=sys.stderr)
        got = answers(work / "exports" / name, rows)
        equal = sum(
            (one.text, one.start, one.end) == (row["text"], row["start"], row["end"])
            for one, row in zip(got, rows, strict=True)
        )
        close = sum(abs(one.score - row["score"]) < CLOSE for one, row in zip(got, rows, strict=True))
        # The control: what float32 gets all of, fewer bits must not, or nothing is compared.
        if (close == len(rows)) != (title == "float32") or equal < (1 if title == "float32" else LEAST_INT8) * len(
            rows
        ):
            failed.append(f"{title}: {equal} answers and {close} scores of {len(rows)} are equal")
        big = work / "exports" / f"big-{name}" / "model.tflite"
        interpreter, row = row_of_128(big)
        check_signature(interpreter, row)
        common.report(
            "LiteRT", version("ai-edge-litert"), f"question answering, {title}", equal, len(rows),
            ratio=common.ratio(interpreter.invoke, work, "big-reader"), megabytes=big.stat().st_size / 1e6,
        )  # fmt: skip
    if failed:
        sys.exit("\n".join(failed))


if __name__ == "__main__":
    main()
