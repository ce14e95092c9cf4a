"""Write small tables of texts that never were, as people bring them: reviews, tickets, topics and scores.

The same seed gives the same bytes on every machine. With them come a vocabulary and the shape of a small model.
"""

import csv
import io
import json
import random
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mobilebert.base import cli, files
from mobilebert.base.errors import InputError

EXAMPLES = """\
  python samples/own/generate.py --output_dir outputs/own
  python samples/own/generate.py --output_dir outputs/own --rows 2000"""
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
MODEL = {
    "model_type": "mobilebert", "num_hidden_layers": 2, "hidden_size": 64, "embedding_size": 32,
    "intra_bottleneck_size": 64, "intermediate_size": 64, "num_feedforward_networks": 2, "num_attention_heads": 2,
    "max_position_embeddings": 128, "attention_probs_dropout_prob": 0.0, "normalization_type": "no_norm",
    "classifier_activation": False, "initializer_range": 0.1,
}  # fmt: skip

NAMES = ("Alder", "Brook", "Cedar", "Dune", "Elm", "Fern", "Grove", "Heath")
NEUTRAL = (
    "We came on a {day}.", "My sister booked the {name} house.", "It is two streets from the station.",
    "There were {count} of us.", "The {name} house has {count} rooms.",
)  # fmt: skip
DAYS = ("Monday", "Tuesday", "Friday", "Saturday", "Sunday")
COUNTS = ("two", "three", "four", "five", "six")
THINGS = ("room", "breakfast", "garden", "bath", "view", "kitchen", "lift", "bed")
# Adjective -> what it is worth, from 0 to 5.
WORTH = {
    "awful": 0.0, "filthy": 0.2, "broken": 0.6, "poor": 1.0, "dull": 1.6, "plain": 2.2, "decent": 3.0, "nice": 3.6,
    "lovely": 4.2, "great": 4.6, "superb": 5.0,
}  # fmt: skip
# Team -> how many of 20 tickets it gets, and what is in them.
TEAMS = {
    "billing": (10, ("I was charged twice", "the invoice is wrong", "my refund has not come", "the price has changed")),
    "delivery": (5, ("the parcel is late", "the box came open", "the courier left it outside", "nothing has arrived")),
    "account": (3, ("I cannot sign in", "my password is refused", "please change my address", "delete my profile")),
    "repair": (1, ("the screen is black", "the battery is dead", "it makes a noise", "the button is stuck")),
    "press": (1, ("I write for a paper", "may I have an interview", "send me your pictures", "who speaks for you")),
}
GREETINGS = ("Hello,", "Good morning,", "Dear team,", "Hi,")
CLOSINGS = ("Please help.", "Thank you.", "What can I do?", "My order is from {day}.")
OFF = 25  # one label in so many is another, as it happens with people
TOPICS = {
    "price": ("It was too dear.", "We paid little.", "The bill surprised us.", "A bargain."),
    "food": ("The soup was cold.", "The bread was fresh.", "We ate well.", "Breakfast ended early."),
    "noise": ("Trains all night.", "Very quiet.", "The walls are thin.", "A dog barked."),
    "staff": ("The porter smiled.", "Nobody greeted us.", "The cook is kind.", "The manager was rude."),
}


class Dice:
    """Choices that depend on the seed alone, in every version of Python."""

    def __init__(self, seed: str):
        self._random = random.Random(seed).random

    def below(self, count: int) -> int:
        """0 to ``count`` - 1."""
        return int(self._random() * count)

    def pick(self, items: Sequence[str]) -> str:
        """One of them."""
        return items[self.below(len(items))]

    def fill(self, text: str) -> str:
        """A template with its gaps filled."""
        return text.format(day=self.pick(DAYS), name=self.pick(NAMES), count=self.pick(COUNTS))

    def mix(self, sentences: Sequence[str]) -> str:
        """Sentences in random order, as one text."""
        left, mixed = list(sentences), []
        while left:
            mixed.append(left.pop(self.below(len(left))))
        return " ".join(mixed)


def review(dice: Dice) -> dict[str, str]:
    """A text with a good or a bad word for two things."""
    good = dice.below(2) == 1
    words = [word for word, worth in WORTH.items() if (worth > 2.5) == good]
    praise = [f"The {dice.pick(THINGS)} was {dice.pick(words)}." for _ in range(2)]
    good ^= dice.below(OFF) == 0
    return {
        "review": dice.mix([*praise, dice.fill(dice.pick(NEUTRAL))]),
        "sentiment": "positive" if good else "negative",
    }


def ticket(dice: Dice) -> dict[str, str]:
    """A request for one of five teams; half of them for one."""
    team = dice.pick([team for team, (share, _) in TEAMS.items() for _ in range(share)])
    text = f"{dice.pick(GREETINGS)} {dice.pick(TEAMS[team][1])}. {dice.fill(dice.pick(CLOSINGS))}"
    return {"ticket": text, "team": team if dice.below(OFF) else dice.pick(list(TEAMS))}


def topics(dice: Dice) -> dict[str, object]:
    """A text about some of four topics, or about none."""
    chosen = [topic for topic in TOPICS if dice.below(5) < 2]
    sentences = [dice.pick(TOPICS[topic]) for topic in chosen]
    return {"text": dice.mix([*sentences, dice.fill(dice.pick(NEUTRAL))]), "topics": chosen}


def score(dice: Dice) -> dict[str, str]:
    """A text with three words, and the mean of what they are worth."""
    words = [dice.pick(list(WORTH)) for _ in range(3)]
    sentences = [f"The {dice.pick(THINGS)} was {word}." for word in words]
    mean = sum(WORTH[word] for word in words) / len(words)
    return {"text": dice.mix([*sentences, dice.fill(dice.pick(NEUTRAL))]), "score": f"{mean:.2f}"}


TABLES: dict[str, Callable[[Dice], dict]] = {
    "reviews.csv": review,
    "tickets.csv": ticket,
    "topics.jsonl": topics,
    "scores.csv": score,
}


def generate(name: str, rows: int, seed: int) -> str:
    """The content of one of ``TABLES``."""
    dice = Dice(f"{name} {seed}")
    made = [TABLES[name](dice) for _ in range(rows)]
    if name.endswith(".jsonl"):
        return "".join(f"{json.dumps(row)}\n" for row in made)
    text = io.StringIO()
    writer = csv.DictWriter(text, made[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(made)
    return text.getvalue()


def vocabulary() -> list[str]:
    """Every word and sign that the tables may hold."""
    parts = [*NEUTRAL, *NAMES, *DAYS, *COUNTS, *THINGS, *WORTH, *GREETINGS, *CLOSINGS, "The was ."]
    parts += [text for _, texts in TEAMS.values() for text in texts] + [
        text for texts in TOPICS.values() for text in texts
    ]
    words = re.findall(r"\w+|[^\w\s{}]", " ".join(parts).lower())
    return [*SPECIAL_TOKENS, *sorted(set(words))]


def main() -> None:
    """Parse, generate, write."""
    parser = cli.ArgumentParser(__doc__, EXAMPLES)
    parser.add_argument("--output_dir", required=True, help=f"gets {', '.join(TABLES)}, vocab.txt and config.json")
    parser.add_argument("--rows", type=int, default=400, help="of each table")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if not 50 <= args.rows <= 10**6:
        raise InputError(f"--rows {args.rows}: expected 50 to 1000000")
    output = Path(args.output_dir)
    for name in TABLES:
        files.write_text(output / name, generate(name, args.rows, args.seed))
        print(f"{output / name}: {args.rows} rows")
    words = vocabulary()
    files.write_text(output / "vocab.txt", "".join(f"{word}\n" for word in words))
    files.write_json(output / "config.json", {**MODEL, "vocab_size": len(words)})
    print(f"{output / 'vocab.txt'}: {len(words)} words; {output / 'config.json'}: a small model")


if __name__ == "__main__":
    cli.run(main)
