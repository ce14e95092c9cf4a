"""Convert a MobileBERT checkpoint from PyTorch (Hugging Face) to Paddle, or back."""

from mobilebert import cli
from mobilebert.config import HEAD_CLASSES

EXAMPLES = """\
  python convert.py                                        # weight/torch -> weight/paddle
  python convert.py --src my_torch_qa --dst task/squadv1
  python convert.py --reverse --src task/squadv1 --dst my_torch_qa
  python convert.py --head question-answering              # add a fresh head to a bare checkpoint"""


def main() -> None:
    """Parse, convert, print the summary."""
    parser = cli.ArgumentParser(__doc__, EXAMPLES)
    parser.add_argument("--src", help="folder of the checkpoint (default: weight/torch, with --reverse weight/paddle)")
    parser.add_argument("--dst", help="folder to write (default: weight/paddle, with --reverse weight/torch_again)")
    parser.add_argument("--head", choices=[*HEAD_CLASSES], help="head to write (default: the checkpoint's own)")
    parser.add_argument("--reverse", action="store_true", help="Paddle -> a folder that transformers loads")
    parser.add_argument("--seed", type=int, default=0, help="for what the checkpoint lacks and is initialised")
    parser.add_argument("--verbose", action="store_true", help="print a line a transposed or renamed tensor")
    args = parser.parse_args()

    from mobilebert import runtime  # noqa: F401, I001 (before Paddle)
    import paddle

    from mobilebert.interop import hf

    paddle.seed(args.seed)
    source = args.src or ("weight/paddle" if args.reverse else "weight/torch")
    destination = args.dst or ("weight/torch_again" if args.reverse else "weight/paddle")
    conversion = hf.convert(source, destination, args.head, args.reverse)
    if args.verbose:
        for name in conversion.report.transposed:
            shape = list(conversion.state[name].shape)
            print(f"transposed  {name}  {shape[::-1]} -> {shape}")
        for key, name in conversion.report.renamed.items():
            print(f"renamed     {key} -> {name}")
    print(conversion.summary())


if __name__ == "__main__":
    cli.run(main)
