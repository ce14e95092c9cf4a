"""Write a small reading-comprehension set in SQuAD's JSON format, and a vocabulary trained on it.

A gazetteer of towns, ships, books and machines that never were. A passage tells several facts of one thing. In dev, and
mostly in train, every answer has another of the same kind beside it (a second year, person or place), so the kind of
word asked for does not give the answer away: it has to be found. All names are invented; no name of train is in dev.
"""

import sys
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mobilebert.base import cli, files
from mobilebert.base.errors import InputError
from samples.squad.names import Dice, Namer
from samples.squad.topics import TOPICS, Relation, Topic
from samples.squad.vocabulary import train_vocabulary

EXAMPLES = """\
  python samples/squad/generate.py --output_dir outputs/quickstart/data
  python samples/squad/generate.py --output_dir outputs/samples_v2 --squad_version 2 --seed 7"""

KINDS = ("year", "person", "place")
EASY_SHARE = 3  # one train passage in three tells one fact of each kind; all others tell two facts of each of two kinds
FIRST_YEAR, YEARS = 1700, 290


class Fact(NamedTuple):
    """What a passage tells under one relation."""

    relation: Relation
    answer: str


class Passage(NamedTuple):
    """A passage and what can be asked about it.

    Attributes:
        topic: what it is about.
        name: of the thing.
        text: the passage.
        facts: all that it tells.
        starts: answer -> its first character in ``text``.
    """

    topic: Topic
    name: str
    text: str
    facts: list[Fact]
    starts: dict[str, int]


def _choose_facts(dice: Dice, namer: Namer, topic: Topic, easy: bool) -> list[Fact]:
    """Facts in random order, no two answers alike."""
    facts = []
    for kind in dice.sample(KINDS, 3 if easy else 2):
        relations = [relation for relation in topic.relations if relation.answer == kind]
        chosen = [relations[i] for i in sorted(dice.sample(range(len(relations)), 1 if easy else 2))]
        if kind == "year":
            answers = [str(FIRST_YEAR + year) for year in sorted(dice.sample(range(YEARS), len(chosen)))]
        elif kind == "person":
            answers = [namer.person() for _ in chosen]
        else:
            answers = [namer.word("place") for _ in chosen]
        facts += [Fact(relation, answer) for relation, answer in zip(chosen, answers, strict=True)]
    return dice.sample(facts, len(facts))


def write_passage(dice: Dice, split: str) -> Passage:
    """Invent a thing and tell about it."""
    topic = dice.pick(TOPICS)
    namer = Namer(dice, split)
    name = namer.word(topic.kind)
    easy = split == "train" and dice.below(EASY_SHARE) == 0
    facts = _choose_facts(dice, namer, topic, easy)
    text = dice.pick(topic.introductions).replace("{e}", name)
    starts = {}
    joins = False
    for index, fact in enumerate(facts):
        joins = not joins and index > 0 and dice.below(2) == 0  # two facts a sentence at most
        text = text[:-1] + ", and " if joins else text + " "
        clause = dice.pick(fact.relation.statements).replace("{e}", name)
        for slot, pronoun, noun in zip(("{it}", "{its}"), topic.pronouns, (name, f"{name}'s"), strict=True):
            clause = clause.replace(slot, noun if dice.below(3) == 0 else pronoun)
        before, after = clause.split("{a}")
        if not joins:
            before = before[0].upper() + before[1:]
        starts[fact.answer] = len(text) + len(before)
        text += f"{before}{fact.answer}{after}."
    return Passage(topic, name, text, facts, starts)


def _ask(dice: Dice, passage: Passage, fact: Fact) -> dict:
    """A question on ``fact`` with its answer."""
    question = dice.pick(fact.relation.questions).replace("{e}", passage.name)
    return {"question": question, "answers": [{"text": fact.answer, "answer_start": passage.starts[fact.answer]}]}


def _ask_in_vain(dice: Dice, passage: Passage) -> dict:
    """A question on the same thing that the passage does not answer."""
    told = [fact.relation for fact in passage.facts]
    untold = [relation for relation in passage.topic.relations if relation not in told]
    question = dice.pick(dice.pick(untold).questions).replace("{e}", passage.name)
    return {"question": question, "answers": [], "is_impossible": True}


def generate(split: str, passages: int, questions: int, seed: int, squad_version: int = 1) -> dict:
    """Make one file of the set.

    Args:
        split: ``"train"`` or ``"dev"``; decides which names are used.
        passages: number of passages.
        questions: questions for each passage, 1 to 3, all on different facts.
        seed: the same seed gives the same file.
        squad_version: 1, or 2: one question in three has no answer.

    Returns:
        The content of a SQuAD JSON file: one article for each topic, one paragraph for each passage.
    """
    dice = Dice(f"{split} {seed}")
    articles: dict[str, list[dict]] = {topic.title: [] for topic in TOPICS}
    for number in range(passages):
        passage = write_passage(dice, split)
        entries = []
        for index, fact in enumerate(dice.sample(passage.facts, questions)):
            in_vain = squad_version == 2 and dice.below(3) == 0
            entry = _ask_in_vain(dice, passage) if in_vain else _ask(dice, passage, fact)
            if squad_version == 2:
                entry.setdefault("is_impossible", False)
            entries.append({"id": f"{split}-{seed}-{number:05d}-{index}", **entry})
        articles[passage.topic.title].append({"context": passage.text, "qas": entries})
    return {
        "version": "v2.0" if squad_version == 2 else "1.1",
        "data": [{"title": title, "paragraphs": paragraphs} for title, paragraphs in articles.items()],
    }


def texts_of(content: dict) -> list[str]:
    """All contexts and questions of a SQuAD file."""
    paragraphs = [paragraph for article in content["data"] for paragraph in article["paragraphs"]]
    questions = [entry["question"] for paragraph in paragraphs for entry in paragraph["qas"]]
    return [paragraph["context"] for paragraph in paragraphs] + questions


def main() -> None:
    """Parse, generate, write."""
    parser = cli.ArgumentParser(__doc__, EXAMPLES)
    parser.add_argument("--output_dir", required=True, help="gets train.json, dev.json and vocab.txt")
    parser.add_argument("--train_passages", type=int, default=8000)
    parser.add_argument("--dev_passages", type=int, default=200)
    parser.add_argument("--questions", type=int, default=3, help="for each passage, 1 to 3")
    parser.add_argument("--vocab_size", type=int, default=800, help="tokens at most")
    parser.add_argument("--squad_version", type=int, choices=(1, 2), default=1, help="2: some have no answer")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    for name, least, most in (("train_passages", 1, 10**6), ("dev_passages", 1, 10**6), ("questions", 1, 3)):
        if not least <= getattr(args, name) <= most:
            raise InputError(f"--{name} {getattr(args, name)}: expected {least} to {most}")

    output = Path(args.output_dir)
    sizes = {"train": args.train_passages, "dev": args.dev_passages}
    contents = {
        split: generate(split, passages, args.questions, args.seed, args.squad_version)
        for split, passages in sizes.items()
    }
    vocabulary = train_vocabulary(texts_of(contents["train"]), args.vocab_size)
    for split, content in contents.items():
        files.write_json(output / f"{split}.json", content, indent=None)
        print(f"{output / split}.json: {sizes[split]} passages, {sizes[split] * args.questions} questions")
    files.write_text(output / "vocab.txt", "".join(f"{token}\n" for token in vocabulary))
    print(f"{output / 'vocab.txt'}: {len(vocabulary)} tokens")


if __name__ == "__main__":
    cli.run(main)
