"""Does the tokenizer match the reference, token by token?"""

import argparse
from typing import NoReturn

from mobilebert.base import cli

DESCRIPTION = """\
Compares this repository's tokenizer with transformers' fast and older Python tokenizer: ids, token types, masks,
offsets, windows. Over a built-in set of hard cases, and over files: plain text (a text a line) or SQuAD JSON
(questions and contexts, in windows). Exit code 1 if anything differs.

--peer paddlenlp lists how PaddleNLP's tokenizer differs from transformers' as well; that is for information."""

EXAMPLES = """\
  %(prog)s
  %(prog)s --tokenizer weight/paddle dev-v1.1.json notes.txt --report report.json
  %(prog)s --vocab vocab.txt --peer paddlenlp"""


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = cli.ArgumentParser(DESCRIPTION, EXAMPLES)
    group = parser.add_argument_group("the tokenizers")
    source = group.add_mutually_exclusive_group()
    source.add_argument("--vocab", metavar="FILE", help="vocab.txt")
    source.add_argument(
        "--tokenizer",
        "--tokenizer_name",
        "--model",
        metavar="DIR",
        help="folder with a tokenizer's files, or a model's name",
    )
    group.add_argument(
        "--peer", choices=("transformers", "paddlenlp"), default="transformers",
        help="paddlenlp: PaddleNLP's tokenizer too (bash scripts/setup.sh paddlenlp)",
    )  # fmt: skip

    group = parser.add_argument_group("texts")
    group.add_argument("files", nargs="*", metavar="FILE", help="text or SQuAD JSON, .gz or plain")
    group.add_argument("--max_seq_length", "--max_length", metavar="TOKENS", type=int, default=384,
                       help="tokens a window of SQuAD")  # fmt: skip
    group.add_argument("--doc_stride", "--stride", metavar="TOKENS", type=int, default=128,
                       help="tokens that windows of SQuAD share")  # fmt: skip
    group.add_argument("--limit", type=int, help="texts or questions read of each file")
    parser.add_argument("--report", metavar="FILE.json", help="write all counts and first differences there")
    return parser.parse_args()


def main() -> int:
    """Compare; 1 if there are differences."""
    args = parse_args()
    from mobilebert.verify import report_tokenizer

    return report_tokenizer.run(
        files=args.files,
        vocab=args.vocab,
        tokenizer=args.tokenizer,
        max_length=args.max_seq_length,
        stride=args.doc_stride,
        limit=args.limit,
        peer=args.peer,
        report=args.report,
    )


def run() -> NoReturn:
    """The console command."""
    cli.run(main)
