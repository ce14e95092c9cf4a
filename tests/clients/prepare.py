"""Make what the clients are tried with: four models, the exports that they name, and the answers expected of them.

    python tests/clients/prepare.py outputs/clients litert mediapipe

A folder that is there already is kept; ``bash scripts/clients.sh --anew`` deletes them all. ``README.md`` beside this
file says what is where.
"""

import csv
import os
import shlex
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[1]))

from mobilebert.base import cli  # isort: skip (before the rest: refuses other Pythons)

import numpy as np

from mobilebert.base.errors import InputError
from mobilebert.base.files import write_json
from mobilebert.data.qa.squad_json import read_squad

ROOT = Path(__file__).parents[2]
CLIENTS = Path(__file__).parent
LITERT = ROOT / ".venv-clients" / "litert" / "bin" / "python"
BASELINES = ("big-reader-onnx --model big-reader", "big-classifier-onnx --model big-classifier")
REVIEWS = 600
LONG = 384  # tokens that the TF Lite Task Library reads


def call(*command: object, **settings: str) -> None:
    """Run one of this repository's commands; what it prints goes to standard error."""
    subprocess.run([*map(str, command)], cwd=ROOT, env={**os.environ, **settings}, check=True, stdout=sys.stderr)


def make_reader(folder: Path) -> None:
    """The quickstart's reader, trained."""
    work = folder.parents[1] / "quickstart"
    call("bash", "scripts/quickstart.sh", OUTPUT=str(work))
    (work / "training" / "best").rename(folder)


def make_long_reader(folder: Path) -> None:
    """The reader with more positions, of zeros: on short texts the same function, in 384 tokens."""
    from mobilebert.model import weights
    from mobilebert.model.config import MobileBertConfig
    from mobilebert.model.heads import HEADS
    from mobilebert.text.tokenizer import MobileBertTokenizer

    reader = HEADS["question-answering"].from_pretrained(folder.with_name("reader"))
    state = weights.model_state(reader)
    name = next(name for name in state if name.endswith("position_embeddings.weight"))
    config = MobileBertConfig.from_dict({**reader.config.to_dict(), "max_position_embeddings": LONG})
    longer = HEADS["question-answering"](config)
    state[name] = np.pad(state[name], ((0, LONG - len(state[name])), (0, 0)))
    for key, parameter in longer.named_parameters():
        parameter.set_value(state[key])
    longer.save_pretrained(folder)
    MobileBertTokenizer.from_pretrained(folder.with_name("reader")).save_pretrained(folder)


def make_classifier(folder: Path) -> None:
    """A small classifier of generated reviews, trained."""
    own = folder.parents[1] / "own"
    call(sys.executable, "samples/own/generate.py", "--output_dir", own, "--rows", REVIEWS)
    training = folder.parents[1] / "classifier-training"
    call(
        sys.executable, "run_classify.py", "--train", own / "reviews.csv", "--config_name", own,
        "--tokenizer_name", own, "--output_dir", training, "--overwrite_output_dir",
    )  # fmt: skip
    (training / "best").rename(folder)


def make_big(folder: Path) -> None:
    """Random weights at full size, with a vocabulary of words without meaning."""
    from support.models import randomise

    from mobilebert.model.config import MobileBertConfig
    from mobilebert.model.heads import HEADS
    from mobilebert.text.tokenizer import MobileBertTokenizer

    head = "question-answering" if folder.name == "big-reader" else "sequence-classification"
    config = MobileBertConfig.preset("mobilebert")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"word{number}" for number in range(5, config.vocab_size))]
    randomise(HEADS[head](config)).save_pretrained(folder)
    MobileBertTokenizer(vocab={word: number for number, word in enumerate(words)}).save_pretrained(folder)


MODELS: dict[str, Callable[[Path], None]] = {
    "reader": make_reader,
    "long-reader": make_long_reader,
    "classifier": make_classifier,
    "big-reader": make_big,
    "big-classifier": make_big,
}


def write_reader_answers(path: Path, **options: int) -> None:
    """What ``Predictor`` answers in Paddle: the best piece of each context, its place and its two logits' sum."""
    from mobilebert import Predictor

    predictor = Predictor(path.parents[1] / "models" / path.stem, engine="dygraph")
    rows = []
    for example in read_squad(path.parents[1] / "quickstart" / "data" / "dev.json", purpose="answer")[0]:
        best = predictor.answer(example.question, example.context, **options)[0]
        rows.append({
            "id": example.id, "question": example.question, "context": example.context, "text": best.text,
            "start": best.start, "end": best.end, "score": best.score, "probability": best.probability,
        })  # fmt: skip
    write_json(path, rows)


def write_classifier_answers(path: Path) -> None:
    """What ``Predictor`` decides in Paddle, with every class's probability."""
    from mobilebert import Predictor

    predictor = Predictor(path.parents[1] / "models" / "classifier", engine="dygraph")
    with open(path.parents[1] / "own" / "reviews.csv", encoding="utf-8", newline="") as file:
        texts = [row["review"] for row in csv.DictReader(file)]
    decisions = [predictor.classify(text) for text in texts]
    write_json(path, [{"text": t, "label": d.label, "scores": d.scores} for t, d in zip(texts, decisions, strict=True)])


ANSWERS: dict[str, Callable[[Path], None]] = {
    "reader": write_reader_answers,
    "long-reader": partial(write_reader_answers, max_answer_length=32),  # the TF Lite Task Library's
    "classifier": write_classifier_answers,
}


def exports_of(clients: list[str]) -> list[str]:
    """The lines of the clients' ``exports.txt``, each once: a folder's name, and flags of ``export.py``."""
    lines = dict.fromkeys(BASELINES)
    for client in clients:
        file = CLIENTS / client / "exports.txt"
        lines |= dict.fromkeys(file.read_text(encoding="utf-8").splitlines() if file.exists() else ())
    return [line for line in lines if line.strip() and not line.startswith("#")]


def export(work: Path, line: str) -> None:
    """Make one export, unless it is there as this line says it."""
    name, *flags = shlex.split(line)
    folder, note = work / "exports" / name, work / "exports" / f"{name}.txt"
    if folder.exists() and note.exists() and note.read_text(encoding="utf-8") == line:
        return
    for flag, place in (("--model", work / "models"), ("--calibration", work)):
        if flag in flags:
            flags[flags.index(flag) + 1] = str(place / flags[flags.index(flag) + 1])
    folder.parent.mkdir(exist_ok=True)
    if "litert" in flags:  # whose library, which checks the file, is in its client's environment only; ours goes before
        python, settings = LITERT, {"PYTHONPATH": sysconfig.get_path("purelib")}
    else:
        python, settings = sys.executable, {}
    call(python, "export.py", *flags, "--out", folder, "--force", **settings)
    note.write_text(line, encoding="utf-8")


def main() -> None:
    parser = cli.ArgumentParser(__doc__)
    parser.add_argument("work", metavar="FOLDER", type=Path, help="where everything is made, and found again")
    parser.add_argument("clients", metavar="CLIENT", nargs="+", help="folders beside this file")
    args = parser.parse_args()
    if missing := [name for name in args.clients if not (CLIENTS / name).is_dir()]:
        known = ", ".join(sorted(path.parent.name for path in CLIENTS.glob("*/check.*")))
        raise InputError(f"{missing[0]}: no such client; expected some of {known}")
    work = args.work.resolve()
    for name, make in MODELS.items():
        folder = work / "models" / name
        folder.parent.mkdir(parents=True, exist_ok=True)
        if not folder.exists():
            make(folder)
    for name, write in ANSWERS.items():
        path = work / "reference" / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        if not path.exists():
            write(path)
    for line in exports_of(args.clients):
        export(work, line)


if __name__ == "__main__":
    cli.run(main)
