"""MobileBERT in PaddlePaddle: all commands behind one name. Each has its own --help."""

import sys
from importlib import import_module
from typing import NoReturn

from mobilebert.base import cli
from mobilebert.commands import VERBS

EXAMPLES = """\
  %(prog)s download google/mobilebert-uncased weight/torch
  %(prog)s convert                               weight/torch -> weight/paddle
  %(prog)s predict qa --model task/squadv1
  %(prog)s squad --help"""


def main() -> int | None:
    """Hand over to the command that the first word names; without one, show what there is."""
    parser = cli.ArgumentParser(__doc__, EXAMPLES)
    verbs = parser.add_subparsers(metavar="VERB", title="verbs")
    for verb, (_, explanation) in VERBS.items():
        verbs.add_parser(verb, help=explanation)
    verb, *arguments = sys.argv[1:] or ["--help"]
    if verb not in VERBS:
        parser.parse_args([verb])  # help, version, or an error: it ends here
    # A command reads sys.argv itself, and shows in its help how it was called.
    sys.argv = [f"{parser.prog} {verb}", *arguments]
    return import_module(VERBS[verb][0]).main()


def run() -> NoReturn:
    """The console command."""
    cli.run(main)


if __name__ == "__main__":
    run()
