"""Write a small data set of named entities, a vocabulary and a model's shape: the passages of samples/squad, marked.

People, places, years, ships, books and machines that never were; no name of train is in dev, so a name is known by the
words around it. Each split as JSON lines with spans (.jsonl) and as CoNLL's columns in IOB2 (.conll).
"""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mobilebert.base import cli, files
from mobilebert.base.errors import InputError
from mobilebert.commands.predict.output import json_line
from mobilebert.data.ner.schemes import write
from mobilebert.data.ner.words import align, split_words
from samples.squad.generate import write_passage
from samples.squad.names import Dice
from samples.squad.vocabulary import train_vocabulary

EXAMPLES = """\
  python samples/ner/generate.py --output_dir outputs/ner/data"""
MODEL = Path(__file__).resolve().parents[1] / "squad" / "model.json"
TYPES = {"person": "PER", "place": "LOC", "year": "DATE", "ship": "SHIP", "book": "BOOK", "machine": "MACHINE"}


def generate(split: str, passages: int, seed: int) -> list[dict]:
    """Texts with their entities, ``{"text": ..., "entities": [[start, end, type], ...]}``.

    Args:
        split: ``"train"`` or ``"dev"``; decides which names are used.
        passages: how many.
        seed: the same seed gives the same texts.
    """
    dice = Dice(f"ner {split} {seed}")
    rows = []
    for _ in range(passages):
        passage = write_passage(dice, split)
        names = {passage.name: passage.topic.kind, **{fact.answer: fact.relation.answer for fact in passage.facts}}
        found = [
            [match.start(), match.end(), TYPES[kind]]
            for name, kind in names.items()
            for match in re.finditer(rf"\b{name}\b", passage.text)
        ]
        rows.append({"text": passage.text, "entities": sorted(found)})
    return rows


def columns(rows: list[dict]) -> str:
    """The same as CoNLL writes it: a word and its tag a line, a blank line behind each text."""
    lines = []
    for row in rows:
        places = split_words(row["text"])
        tags = write([align(places, *entity)[0] for entity in row["entities"]], len(places))
        lines += [f"{row['text'][slice(*place)]} {tag}" for place, tag in zip(places, tags, strict=True)] + [""]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Parse, generate, write."""
    parser = cli.ArgumentParser(__doc__, EXAMPLES)
    parser.add_argument("--output_dir", required=True, help="gets train and dev, vocab.txt, config.json")
    parser.add_argument("--train_passages", type=int, default=600)
    parser.add_argument("--dev_passages", type=int, default=100)
    parser.add_argument("--vocab_size", type=int, default=400, help="tokens at most")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    sizes = {"train": args.train_passages, "dev": args.dev_passages}
    for split, size in sizes.items():
        if not 1 <= size <= 10**6:
            raise InputError(f"--{split}_passages {size}: expected 1 to {10**6}")
    output = Path(args.output_dir)
    contents = {split: generate(split, size, args.seed) for split, size in sizes.items()}
    for split, rows in contents.items():
        files.write_text(output / f"{split}.jsonl", "".join(map(json_line, rows)))
        files.write_text(output / f"{split}.conll", columns(rows))
        entities = sum(len(row["entities"]) for row in rows)
        print(f"{output / split}.jsonl, .conll: {len(rows)} texts, {entities} entities")
    vocabulary = train_vocabulary([row["text"] for row in contents["train"]], args.vocab_size)
    files.write_text(output / "vocab.txt", "".join(f"{token}\n" for token in vocabulary))
    print(f"{output / 'vocab.txt'}: {len(vocabulary)} tokens")
    files.write_json(output / "config.json", {**files.read_json(MODEL), "vocab_size": len(vocabulary)})
    print(f"{output / 'config.json'}: the model of {MODEL.name}, for so many tokens")


if __name__ == "__main__":
    cli.run(main)
