#!/usr/bin/env python3
"""Does the tokenizer match the reference, token by token?"""

import sys

from mobilebert import cli

DESCRIPTION = """\
Compares this repository's tokenizer with transformers' fast and older Python tokenizer: ids, token types, masks,
offsets, windows. Over a built-in set of hard cases, and over files: plain text (a text a line) or SQuAD JSON
(questions and contexts, in windows). Exit code 1 if anything differs.

--peer paddlenlp lists how PaddleNLP's tokenizer differs from transformers' as well; that is for information."""

EXAMPLES = """\
  python compare_tokenizer.py
  python compare_tokenizer.py --tokenizer weight/paddle dev-v1.1.json notes.txt --report report.json
  python compare_tokenizer.py --vocab vocab.txt --peer paddlenlp"""


def _parse(argv: list[str] | None = None):
    parser = cli.ArgumentParser(DESCRIPTION, EXAMPLES)
    parser.add_argument("files", nargs="*", metavar="FILE", help="text or SQuAD JSON, .gz or plain")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--vocab", metavar="FILE", help="vocab.txt")
    source.add_argument("--tokenizer", metavar="DIR", help="folder with a tokenizer's files, or a model's name")
    parser.add_argument("--max_length", type=int, default=384, help="tokens a window of SQuAD")
    parser.add_argument("--stride", type=int, default=128, help="tokens that windows of SQuAD share")
    parser.add_argument("--limit", type=int, help="texts or questions read of each file")
    parser.add_argument("--peer", choices=("transformers", "paddlenlp"), default="transformers")
    parser.add_argument("--report", metavar="FILE.json", help="write all counts and first differences there")
    return parser.parse_args(argv)


def main() -> int:
    """Compare; 1 if there are differences."""
    args = _parse()
    from mobilebert.interop import report_tokenizer

    return report_tokenizer.run(
        files=args.files,
        vocab=args.vocab,
        tokenizer=args.tokenizer,
        max_length=args.max_length,
        stride=args.stride,
        limit=args.limit,
        peer=args.peer,
        report=args.report,
        out=sys.stdout,
    )


if __name__ == "__main__":
    cli.run(main)
