"""Make rows for pre-training out of text: masked tokens and next sentences, by BERT's rules."""

import argparse
from math import ceil
from pathlib import Path
from typing import NoReturn

from mobilebert import process
from mobilebert.base import cli
from mobilebert.base.errors import InputError

DESCRIPTION = """\
Makes rows for pre-training out of text, by the rules of BERT's create_pretraining_data.py: masked tokens and next
sentences. Text is one sentence a line with an empty line between documents; with --paragraphs a line may be a whole
paragraph, and is split. Files may be .gz and .zst; of .parquet and .jsonl each row is a document.

A run that was stopped goes on when it is started again. The same text, settings and vocabulary give the same bytes,
whatever the number of workers and of machines."""

EXAMPLES = """\
  %(prog)s --input text.txt --out pretraining
  %(prog)s --input wiki/ books.txt.gz 'news-*.zst' --paragraphs --max_seq_length 512 --out pretraining
  %(prog)s --input pages.parquet --text_column body --paragraphs --masking dynamic --out pretraining
  %(prog)s --input text/ --out /shared/pretraining --shard 3/8      the third of eight machines"""

# Flags of Google's script that have another name here.
HINTS = {
    "input_file": "--input",
    "output_file": "--out",
    "do_whole_word_mask": "--whole_word_mask",
    "random_seed": "--seed",
    "do_lower_case": "nothing: the tokenizer's files say so; give its folder with --tokenizer",
}


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = cli.ArgumentParser(DESCRIPTION, EXAMPLES, HINTS)
    group = parser.add_argument_group("from where to where")
    group.add_argument("--input", metavar="PATH", nargs="+", required=True,
                       help="files, folders and patterns; folders are read with all that is below them")  # fmt: skip
    group.add_argument("--out", "--output_dir", metavar="DIR", required=True, help="folder to write, or to go on with")
    group.add_argument("--overwrite", action="store_true", help="remove first what an earlier run wrote there")
    source = group.add_mutually_exclusive_group()
    source.add_argument("--tokenizer", "--tokenizer_name", "--model", metavar="DIR", default="weight/paddle",
                        help="folder with a tokenizer's files, or a model's name")  # fmt: skip
    source.add_argument("--vocab", "--vocab_file", metavar="FILE", help="vocab.txt of an uncased model")

    group = parser.add_argument_group("text")
    group.add_argument("--paragraphs", action="store_true",
                       help="lines are paragraphs: split them into sentences (needs sentencex)")  # fmt: skip
    group.add_argument("--language", metavar="CODE", default="en", help="of the text, for --paragraphs")
    group.add_argument("--text_column", metavar="NAME", default="text", help="of .parquet and .jsonl")

    group = parser.add_argument_group("rows")
    group.add_argument("--max_seq_length", metavar="TOKENS", type=int, default=128, help="of a row")
    group.add_argument("--max_predictions_per_seq", metavar="TOKENS", type=int,
                       help="masked in a row at most (default: so many that none is passed over)")  # fmt: skip
    group.add_argument("--masked_lm_prob", metavar="SHARE", type=float, default=0.15, help="of a row that is masked")
    group.add_argument("--short_seq_prob", metavar="SHARE", type=float, default=0.1,
                       help="of documents that are cut into shorter rows")  # fmt: skip
    group.add_argument("--whole_word_mask", action="store_true", help="mask all pieces of a word or none")
    group.add_argument("--masking", choices=("static", "dynamic"), default="static",
                       help="dynamic: training draws the masks, anew in each epoch")  # fmt: skip
    group.add_argument("--dupe_factor", metavar="N", type=int,
                       help="copies of each document, each cut and masked anew (default: 10; dynamic: 1)")  # fmt: skip
    group.add_argument("--seed", type=cli.seed, default=12345, help="of all that is random")

    group = parser.add_argument_group("machines")
    group.add_argument("--workers", metavar="N", type=int, help="processes (default: one a core)")
    group.add_argument("--shard", metavar="I/N", default="1/1",
                       help="make every Nth block, from the Ith on; run it with each I, into one folder")  # fmt: skip
    group.add_argument("--block_bytes", metavar="N", type=int, default=16_000_000,
                       help="text that is worked on at once; a random next sentence is of the same block")  # fmt: skip
    return parser.parse_args()


def main() -> None:
    """Parse, make the rows, print what there is."""
    args = parse_args()
    shard = _shard(args.shard)
    workers = process.usable_cores() if args.workers is None else args.workers
    if workers < 1:
        raise InputError(f"`workers={workers}`: give 1 or more")

    from mobilebert.data.pretrain.make import make
    from mobilebert.data.pretrain.settings import Settings
    from mobilebert.data.pretrain.sources import Corpus, find_files
    from mobilebert.text.tokenizer import MobileBertTokenizer

    is_dynamic = args.masking == "dynamic"
    most = args.max_predictions_per_seq
    settings = Settings(
        max_seq_length=args.max_seq_length,
        max_predictions_per_seq=max(1, ceil(args.masked_lm_prob * args.max_seq_length)) if most is None else most,
        masked_lm_prob=args.masked_lm_prob,
        short_seq_prob=args.short_seq_prob,
        dupe_factor=args.dupe_factor if args.dupe_factor is not None else 1 if is_dynamic else 10,
        whole_word_mask=args.whole_word_mask,
        dynamic=is_dynamic,
        seed=args.seed,
        block_bytes=args.block_bytes,
        language=args.language if args.paragraphs else None,
    )
    corpus = Corpus(find_files(args.input), args.text_column)
    if args.vocab:
        tokenizer = MobileBertTokenizer(vocab_file=args.vocab)
    else:
        tokenizer = MobileBertTokenizer.from_pretrained(args.tokenizer)
    outcome = make(corpus, tokenizer, Path(args.out), settings, shard=shard, workers=workers, overwrite=args.overwrite)

    if outcome.manifest is None:
        print(f"{outcome.made} of {outcome.blocks} blocks made, {outcome.missing} are left to the other shards")
        return
    counts = outcome.manifest.counts
    print(
        f"text: {corpus.size / 1e6:,.1f} MB on disk, {counts['documents']:,} documents, {counts['sentences']:,} "
        f"sentences, {counts['tokens']:,} tokens"
    )
    cli.say(
        f"rows: {counts['rows']:,} of {counts['row_tokens'] / counts['rows']:.1f} tokens on average, "
        f"{counts['random_next'] / counts['rows']:.1%} with a random next sentence; "
        f"{outcome.blocks} files in {args.out}, {outcome.made} of them new"
    )
    mean = counts["tokens"] / counts["sentences"]
    if 2 * mean > settings.max_seq_length:
        print(
            f"note: a sentence has {mean:.0f} tokens, and much of it is cut off where a row has "
            f"{settings.max_seq_length}; where lines are paragraphs, --paragraphs splits them"
        )


def _shard(text: str) -> tuple[int, int]:
    """``"3/8"`` -> (2, 8)."""
    number, slash, count = text.partition("/")
    if not (slash and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise InputError(f"`shard={text}`: give I/N, the Ith of N machines, as in 3/8")
    return int(number) - 1, int(count)


def run() -> NoReturn:
    """The console command."""
    cli.run(main)
