"""A web page on this machine: ask models about a passage, classify sentences, compare fp32 with int8."""

import argparse
import os
from pathlib import Path
from typing import NoReturn

from mobilebert.base import cli, digests
from mobilebert.base.errors import InputError

EXAMPLES = """\
  %(prog)s                                    (what is in task/ and outputs/)
  %(prog)s outputs/squad outputs/squad-int8   (two exported models, to switch between)
  %(prog)s task/mnli --port 0                 (any free port)
"""
CONNECTIONS = """\
800 connections at once, 400 of one address (all users of this machine, or behind one proxy, are one); fewer where
`ulimit -n` is low. One more takes the place of the one that has been silent longest. 10 s for a request's header, and
for its body.
"""


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = cli.ArgumentParser(__doc__, EXAMPLES)
    parser.add_argument(
        "models", nargs="*", metavar="MODEL",
        help="exported folders or fine-tuned checkpoints (default: those found in task/ and outputs/)",
    )  # fmt: skip
    parser.add_argument("--list", action="store_true", help="only say which models would be on the page")
    digests.add_flag(parser)
    group = parser.add_argument_group("where to listen")
    group.add_argument("--host", default="127.0.0.1", help="this machine alone, unless another address is given")
    group.add_argument("--port", type=int, default=7860, help="0 takes any free one")
    group = parser.add_argument_group("limits", CONNECTIONS)
    group.add_argument("--queue", type=int, default=64, help="requests at once; one more is told to come back")
    group.add_argument("--timeout", type=float, default=60, metavar="SECONDS", help="of one request")
    group.add_argument("--max_passage", type=int, default=100_000, metavar="CHARACTERS", help="of one passage")
    args = parser.parse_args()
    if "" in args.models:
        raise InputError("a model's name is empty; leave it out to take what is in task/ and outputs/")
    for name in ("queue", "timeout", "max_passage"):
        if getattr(args, name) <= 0:
            raise InputError(f"--{name} {getattr(args, name)}: expected more than 0")
    if not 0 <= args.port < 65536:
        raise InputError(f"--port {args.port}: expected 0 to 65535")
    return args


def main() -> None:
    """Parse, find models, serve until stopped."""
    args = parse_args()
    os.environ.setdefault("MOBILEBERT_QUIET", "setup")  # the line about threads is for training

    from mobilebert.demo.models import find

    folders = args.models or find(Path())
    if args.list:
        for folder in folders:
            cli.say(str(folder))
        return
    if not folders:
        raise InputError(
            "no fine-tuned model in task/ or outputs/; name one, or make a small one: bash scripts/quickstart.sh"
        )

    if args.verify:
        for folder in folders:
            digests.check_all(folder)

    from mobilebert.demo.app import Limits
    from mobilebert.demo.serve import serve

    limits = Limits(passage=args.max_passage)
    serve(folders, args.host, args.port, args.queue, args.timeout, limits)


def run() -> NoReturn:
    """The console command: ``main``, its exit code and its one-line errors."""
    cli.run(main)


if __name__ == "__main__":
    run()
