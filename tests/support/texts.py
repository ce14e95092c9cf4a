"""One small vocabulary, and questions, tables and files written with it."""

import json
import random
import string
from pathlib import Path

from mobilebert.text.tokenizer import MobileBertTokenizer

NAMES = ["anna", "boris", "clara", "david", "elena", "frank", "greta", "henry", "irene", "jakob", "karin", "lukas"]
PLACES = ["harbour", "library", "station", "garden", "museum", "theatre", "bakery", "castle", "market", "school"]
THINGS = ["lamp", "book", "chair", "violin", "kettle", "map", "clock", "basket", "mirror", "ladder"]
SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_ENGINE_AND_FILM = (
    "the a of in was wrote by ada lovelace 1843 who when it program notes engine good bad film great boring and is ? ."
)
_OTHERS = "where put an first grace hopper 1952 man sleeps nobody awake b i , ! < > / = ( )"
# Of a checkpoint that is exported: small enough that the calibration of its int8 form sees most of it.
CHECKPOINT_VOCABULARY = [*SPECIAL_TOKENS, *_ENGINE_AND_FILM.split()]
VOCABULARY = [*CHECKPOINT_VOCABULARY, *NAMES, *PLACES, *THINGS, *_OTHERS.split()]


def make_tokenizer(vocabulary: list[str] = VOCABULARY) -> MobileBertTokenizer:
    """A tokenizer of one of the vocabularies."""
    return MobileBertTokenizer(vocab={word: index for index, word in enumerate(vocabulary)})


def letters_tokenizer():
    """A token for each letter: lengths are easy to count."""
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *string.ascii_lowercase, *".?"]
    tokens += [f"##{letter}" for letter in string.ascii_lowercase]
    return MobileBertTokenizer(vocab={token: index for index, token in enumerate(tokens)})


def write_vocabulary(path: Path) -> Path:
    """Write ``vocab.txt``."""
    path.write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    return path


def squad(questions: int, seed: int = 0, unanswerable: bool = False) -> dict:
    """A file in SQuAD's format: who put what where; every third question without an answer if ``unanswerable``."""
    generator = random.Random(seed)
    paragraphs = []
    for number in range(questions):
        names, places = generator.sample(NAMES, 3), generator.sample(PLACES, 3)
        things = generator.sample(THINGS, 4)
        facts = [f"{n} put the {t} in the {p} ." for n, t, p in zip(names, things, places, strict=False)]
        context, chosen = " ".join(facts), generator.randrange(3)
        impossible = unanswerable and number % 3 == 0
        thing = things[3] if impossible else things[chosen]
        answer = {"text": places[chosen], "answer_start": context.index(places[chosen])}
        question = {
            "id": f"s{seed}q{number}",
            "question": f"where is the {thing} ?",
            "answers": [] if impossible else [answer],
        }
        if unanswerable:
            question["is_impossible"] = impossible
        paragraphs.append({"context": context, "qas": [question]})
    return {"version": "v2.0" if unanswerable else "1.1", "data": [{"title": "places", "paragraphs": paragraphs}]}


def write_squad(path: Path, *arguments, **options) -> Path:
    """Write what ``squad`` makes."""
    path.write_text(json.dumps(squad(*arguments, **options)), encoding="utf-8")
    return path


def write_long_squad(path: Path, questions: int = 4) -> Path:
    """Write a SQuAD file whose contexts need two windows of 64 tokens."""
    context = "The engine was in it . Ada Lovelace wrote the notes in 1843 . " * 8
    start = context.index("Ada")
    qas = [
        {"id": f"q{i}", "question": "Who wrote it ?", "answers": [{"text": "Ada Lovelace", "answer_start": start}]}
        for i in range(questions)
    ]
    data = [{"title": "engine", "paragraphs": [{"context": context, "qas": qas}]}]
    path.write_text(json.dumps({"version": "1.1", "data": data}), encoding="utf-8")
    return path


def write_table(path: Path) -> Path:
    """Write a table of sentences with the labels 0 and 1."""
    rows = [("good film", 1), ("bad film", 0), ("a great engine", 1), ("boring notes and a bad program", 0)]
    path.write_text("sentence\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in rows * 3), encoding="utf-8")
    return path
