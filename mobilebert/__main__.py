"""MobileBERT in PaddlePaddle: all commands behind one name. Each has its own --help."""

from typing import NoReturn

from mobilebert.base import cli
from mobilebert.commands import VERBS

EXAMPLES = """\
  %(prog)s download google/mobilebert-uncased weight/torch
  %(prog)s convert                               weight/torch -> weight/paddle
  %(prog)s predict qa --model task/squadv1
  %(prog)s train classify --train reviews.csv
  %(prog)s squad --help"""


def main() -> int | None:
    """Hand over to the command that the first word names; without one, show what there is."""
    return cli.hand_over(__doc__ or "", EXAMPLES, VERBS, "VERB", "verbs")


def run() -> NoReturn:
    """The console command."""
    cli.run(main)


if __name__ == "__main__":
    run()
