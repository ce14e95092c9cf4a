"""Do PyTorch and Paddle compute the same function? Layer by layer, head by head; exit code 1 where they do not."""

import argparse
from importlib.util import find_spec
from typing import NoReturn

from mobilebert.base import cli, digests, extras
from mobilebert.base.errors import InputError
from mobilebert.model.config import HEAD_CLASSES

EXAMPLES = """\
  %(prog)s                                 weight/torch against weight/paddle, float32
  %(prog)s --dtype float64                 the same to 1e-10
  %(prog)s --report parity.json --plot parity.png
  %(prog)s --head question-answering --lengths 64 384
  %(prog)s --peer paddlenlp                weight/paddle here and in PaddleNLP"""


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = cli.ArgumentParser(__doc__, EXAMPLES)
    group = parser.add_argument_group("the two")
    group.add_argument("--torch", metavar="DIR", default="weight/torch", help="folder that transformers loads")
    group.add_argument("--paddle", metavar="DIR", default="weight/paddle", help="folder that convert.py wrote")
    group.add_argument(
        "--peer", choices=["transformers", "paddlenlp"], default="transformers",
        help="paddlenlp: our converted weights in PaddleNLP's MobileBERT (bash scripts/setup.sh paddlenlp), float32",
    )  # fmt: skip

    digests.add_flag(group)

    group = parser.add_argument_group("how to compare")
    group.add_argument("--dtype", choices=["float32", "float64"], default="float32", help="both compute in it")
    group.add_argument("--tolerance", type=float, help="largest relative difference (default: 1e-5, float64 1e-10)")
    group.add_argument(
        "--head", nargs="+", choices=[*HEAD_CLASSES], metavar="HEAD",
        help=f"compare these only: {', '.join(HEAD_CLASSES)} (default: all)",
    )  # fmt: skip
    group.add_argument(
        "--lengths", metavar="TOKENS", nargs="+", type=int, help="tokens in a row, a batch each (default: 7 32 128)"
    )
    group.add_argument(
        "--seed", type=cli.seed, default=0, help="of the batches, and of heads that the checkpoint lacks"
    )

    group = parser.add_argument_group("what to keep")
    group.add_argument("--report", metavar="FILE.json", help="write the table as JSON")
    group.add_argument("--plot", metavar="FILE.png", help="draw the relative error against the depth")
    return parser.parse_args()


def main() -> int:
    """Parse, compare, print the table and the verdict."""
    args = parse_args()

    from mobilebert.base import plots
    from mobilebert.verify import model as verify

    for module in ("torch", "transformers") if args.peer == "transformers" else ():
        if find_spec(module) is None:
            raise extras.missing(module)  # before a folder is missed that nobody could compare
    if args.verify:
        for folder in (args.torch, args.paddle):
            digests.check_all(folder)
    if args.peer == "paddlenlp":
        if args.dtype != "float32" or args.head:
            raise InputError("--peer paddlenlp compares all its heads in float32: leave out --dtype and --head")
        length = max(args.lengths or [32])
        comparison = verify.compare_paddlenlp(args.paddle, args.tolerance, length, args.seed)
    else:
        comparison = verify.compare(
            args.torch, args.paddle, args.dtype, args.tolerance, args.lengths, args.head, args.seed
        )
    print(comparison.table())
    print(comparison.verdict())
    if args.report:
        comparison.save(args.report)
    if args.plot:
        plots.parity([vars(row) for row in comparison.rows], args.plot)
    return 0 if comparison.passed else 1


def run() -> NoReturn:
    """The console command."""
    cli.run(main)
