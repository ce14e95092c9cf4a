"""Do PyTorch and Paddle compute the same function? Layer by layer, head by head; exit code 1 where they do not."""

from mobilebert import cli
from mobilebert.config import HEAD_CLASSES
from mobilebert.errors import InputError

EXAMPLES = """\
  python compare.py                                  # weight/torch against weight/paddle, float32
  python compare.py --dtype float64                  # the same to 1e-10
  python compare.py --report parity.json --plot parity.png
  python compare.py --head question-answering --lengths 64 384
  python compare.py --peer paddlenlp                 # weight/paddle here and in PaddleNLP"""


def main() -> int:
    """Parse, compare, print the table and the verdict."""
    parser = cli.ArgumentParser(__doc__, EXAMPLES)
    parser.add_argument("--torch", default="weight/torch", help="folder that transformers loads")
    parser.add_argument("--paddle", default="weight/paddle", help="folder that convert.py wrote")
    parser.add_argument(
        "--peer", choices=["transformers", "paddlenlp"], default="transformers",
        help="paddlenlp: our converted weights in PaddleNLP's MobileBERT (bash scripts/setup.sh paddlenlp), float32",
    )  # fmt: skip
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    parser.add_argument("--tolerance", type=float, help="largest relative difference (default: 1e-5, float64 1e-10)")
    parser.add_argument("--head", nargs="+", choices=[*HEAD_CLASSES], help="compare these only (default: all)")
    parser.add_argument("--lengths", nargs="+", type=int, help="tokens in a row, a batch each (default: 7 32 128)")
    parser.add_argument("--seed", type=int, default=0, help="of the batches, and of heads that the checkpoint lacks")
    parser.add_argument("--report", metavar="FILE.json", help="write the table as JSON")
    parser.add_argument("--plot", metavar="FILE.png", help="draw the relative error against the depth")
    args = parser.parse_args()

    from mobilebert import (
        plots,
        runtime,  # noqa: F401 (before Paddle)
    )
    from mobilebert.interop import verify

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


if __name__ == "__main__":
    cli.run(main)
