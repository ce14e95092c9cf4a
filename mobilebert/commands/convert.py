"""Convert a MobileBERT checkpoint from PyTorch (Hugging Face) or TensorFlow (Google) to Paddle, or back."""

import argparse
from typing import NoReturn

from mobilebert.base import cli
from mobilebert.model.config import HEAD_CLASSES

EXAMPLES = """\
  %(prog)s                                       weight/torch -> weight/paddle
  %(prog)s --src my_torch_qa --dst task/squadv1
  %(prog)s --reverse --src task/squadv1 --dst my_torch_qa
  %(prog)s --head question-answering             add a fresh head to a bare checkpoint
  %(prog)s --src uncased_L-24_H-128 --dst out    Google's TF1 checkpoint, with its bert_config.json
  %(prog)s --src run/model.ckpt-500 --dst out    one of several steps
  %(prog)s --to tf1 --src task/squadv1           what Google's code reads"""

# What is read and written where nothing is said.
_SOURCES = {"paddle": "weight/torch"}
_DESTINATIONS = {"paddle": "weight/paddle", "torch": "weight/torch_again", "tf1": "weight/tf1", "tf2": "weight/tf2"}


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = cli.ArgumentParser(__doc__, EXAMPLES)
    group = parser.add_argument_group("from where to where")
    group.add_argument(
        "--src", "--model", metavar="DIR",
        help="folder of the checkpoint, of any format (default: weight/torch, with --to something else weight/paddle)",
    )  # fmt: skip
    group.add_argument(
        "--dst", "--out", metavar="DIR",
        help="folder to write (default: weight/paddle, with --to torch weight/torch_again, else weight/tf1 or tf2)",
    )  # fmt: skip
    group.add_argument(
        "--to", choices=[*_DESTINATIONS],
        help="what shall read it: Paddle (default), transformers, Google's TF1 code, or TensorFlow's Model Garden",
    )  # fmt: skip
    group.add_argument("--reverse", action="store_true", help="the same as --to torch")

    group = parser.add_argument_group("what to write")
    group.add_argument(
        "--head", choices=[*HEAD_CLASSES], metavar="HEAD",
        help=f"head to write: {', '.join(HEAD_CLASSES)} (default: the checkpoint's own)",
    )  # fmt: skip
    group.add_argument("--seed", type=cli.seed, default=0, help="for what the checkpoint lacks and is initialised")
    parser.add_argument("--verbose", action="store_true", help="print a line a transposed or renamed tensor")
    return parser.parse_args()


def main() -> None:
    """Parse, convert, print the summary."""
    args = parse_args()

    import paddle

    from mobilebert.convert import convert as hf

    paddle.seed(args.seed)
    target = args.to or ("torch" if args.reverse else "paddle")
    source = args.src or _SOURCES.get(target, "weight/paddle")
    destination = args.dst or _DESTINATIONS[target]
    conversion = hf.convert(source, destination, args.head, args.reverse, args.to)
    if args.verbose:
        for name in conversion.report.transposed:
            shape = list(conversion.state[name].shape)
            cli.say(f"transpose parameter of key: {name}  {shape[::-1]} -> {shape}")
        cli.say(f"transpose parameter: {len(conversion.report.transposed)} in all")
        for key, name in conversion.report.renamed.items():
            cli.say(f"rename key: {key} -> {name}")
    print(conversion.summary())


def run() -> NoReturn:
    """The console command."""
    cli.run(main)
