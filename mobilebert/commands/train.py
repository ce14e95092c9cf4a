"""Train, evaluate and predict: one word for each kind of data. Each has its own --help."""

from typing import NoReturn

from mobilebert.base import cli

EXAMPLES = """\
  %(prog)s classify --train reviews.csv
  %(prog)s classify --help"""
# Kind of data -> the module whose ``main`` it calls, and what its help says.
KINDS = {
    "classify": ("mobilebert.commands.classify", "texts with classes, several labels or numbers, from a table"),
    "ner": ("mobilebert.commands.ner", "texts with entities, or words with tags"),
    "squad": ("mobilebert.commands.squad", "questions about passages, in SQuAD's format"),
    "glue": ("mobilebert.commands.glue", "GLUE's tasks"),
    "pretrain": ("mobilebert.commands.pretrain", "plain text: masked words and next sentences"),
}


def main() -> int | None:
    """Hand over to the kind of data that the first word names."""
    return cli.hand_over(__doc__ or "", EXAMPLES, KINDS, "KIND", "kinds of data")


def run() -> NoReturn:
    """The console command."""
    cli.run(main)
