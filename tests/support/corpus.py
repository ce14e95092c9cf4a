"""Text for pre-training, of documents whose sentences say which document they are of."""

import random
from pathlib import Path

from support.texts import NAMES, PLACES, THINGS


def make_documents(count: int, seed: int = 0) -> list[list[str]]:
    """Documents of 3 to 12 sentences, all of a document about one person."""
    draw, documents = random.Random(seed), []
    for number in range(count):
        name = NAMES[number % len(NAMES)]
        sentences = [
            f"{name} put the {draw.choice(THINGS)} in the {draw.choice(PLACES)}{draw.randint(0, 2) * ' and good'}."
            for _ in range(draw.randint(3, 12))
        ]
        documents.append(sentences)
    return documents


def as_text(documents: list[list[str]]) -> str:
    """A sentence a line, an empty line between documents."""
    return "\n\n".join("\n".join(sentences) for sentences in documents) + "\n"


def write_text(path: Path, count: int = 40, seed: int = 0) -> Path:
    """Write such a text."""
    path.write_text(as_text(make_documents(count, seed)), encoding="utf-8")
    return path
