"""Answer, classify or find entities in tables of any size, on all cores of this machine or of a cluster (Ray Data)."""

import argparse
import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

from mobilebert.base import cli, extras, outputs
from mobilebert.base.errors import InputError
from mobilebert.commands import predict

EXAMPLES = """\
  %(prog)s qa --model exported --input questions.parquet --output answers
  %(prog)s classify --model exported --input 'reviews/*.jsonl' --output classes --id review_id --format parquet
  %(prog)s ner --model exported --input letters/ --output entities --address ray://head.example:10001
  %(prog)s qa --help
"""
TASK_EXAMPLES = {
    "qa": """\
  %(prog)s --model exported --input questions.parquet --output answers
  %(prog)s --model exported --input 'questions/*.jsonl' --output answers --id id --top_k 1 --format parquet
  %(prog)s --model exported --input /shared/questions --output /shared/answers --address ray://head.example:10001
""",
    "classify": """\
  %(prog)s --model exported --input reviews.csv --output classes
  %(prog)s --model exported --input 'pairs/*.parquet' --output classes --text_column premise hypothesis --id pair_id
  %(prog)s --model exported --input /shared/reviews --output /shared/classes --address ray://head.example:10001
""",
    "ner": """\
  %(prog)s --model exported --input letters.jsonl --output entities
  %(prog)s --model exported --input 'letters/**/*.parquet' --output entities --text_column body --format parquet
""",
}
_WHAT = {
    "qa": "Answer the questions of tables of any size (columns question and context)",
    "classify": "Classify the texts, or pairs of texts, of tables of any size",
    "ner": "Find the entities in the texts of tables of any size",
}
_HOW = """\
, on all cores of this machine, or of a cluster.

The rows are done in blocks, one output file a block; rows without a result are in _failed/ below --output, with the
reason. Run again after an interruption, it does the blocks that are not there. The results are those of predict.py
--input.

--model, --input and --output are paths that all machines have; each has this package installed, in the same version."""


def parse_args() -> argparse.Namespace:
    """The command line; ``command`` is a key of ``predict.HEADS``."""
    parser = cli.ArgumentParser(__doc__, EXAMPLES)
    commands = parser.add_subparsers(dest="command", required=True, metavar="|".join(predict.HEADS))
    for command, what in _WHAT.items():
        _add_flags(
            commands.add_parser(
                command, help=what[0].lower() + what[1:], description=what + _HOW, examples=TASK_EXAMPLES[command]
            ),
            command,
        )
    return parser.parse_args()


def _add_flags(parser: cli.ArgumentParser, command: str) -> None:
    predict.add_model(parser, "of each worker's model, and the cores that it claims (default: 1)")
    group = parser.add_argument_group("rows")
    group.add_argument(
        "--input", metavar="PATH", required=True,
        help="a file (.parquet, .jsonl, .csv), a folder of them, or a pattern in quotation marks",
    )  # fmt: skip
    predict.add_columns(parser, command)
    group.add_argument("--id", metavar="COLUMN", help="names each row in the output (default: its file and number)")
    group = parser.add_argument_group("output")
    group.add_argument("--output", metavar="FOLDER", required=True, help="one file a block of rows")
    group.add_argument("--format", choices=("jsonl", "parquet"), default="jsonl", help="of the output")
    group.add_argument(
        "--block_rows", type=int, help="rows of a block (default: 512); some thousand for a billion rows"
    )
    group.add_argument("--overwrite", action="store_true", help="begin --output anew")
    if command == "qa":
        predict.add_top_k(group)
    predict.add_reading(parser, command)
    group = parser.add_argument_group("machines")
    group.add_argument(
        "--address", metavar="RAY",
        help="of a Ray cluster: ray://HOST:10001, HOST:6379, or auto for the one that this machine is in (default: Ray "
        "is started here, for this run)",
    )  # fmt: skip
    group.add_argument("--workers", type=int, help="processes with a model each (default: as many as have cores)")


def main() -> None:
    """Parse, and do what was asked."""
    args = parse_args()
    os.environ.setdefault("MOBILEBERT_QUIET", "1")  # the line about threads is for training
    for name in ("threads", "workers", "block_rows"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            raise InputError(f"`{name}={getattr(args, name)}`: expected at least 1")
    for module in ("ray", *(("pyarrow",) if args.format == "parquet" else ())):
        if find_spec(module) is None:
            raise extras.missing(module)

    from tqdm import tqdm

    from mobilebert.commands.bulk import cluster
    from mobilebert.commands.bulk.job import FAILED, Job, model_digest
    from mobilebert.commands.bulk.record import count_failed, name_blocks, open_folder, unfinished
    from mobilebert.data import slices
    from mobilebert.inference import engines
    from mobilebert.inference.source import read_source

    source = read_source(args.model)
    source.require(predict.HEADS[args.command])
    files = {name: file.absolute() for name, file in slices.find(args.input, Path(args.output)).items()}
    folder = source.folder.absolute()
    job = Job(
        task=args.command,
        folder=str(folder),
        engine=args.engine or engines.best_engine(source),
        options=predict.reading(args),
        columns=tuple(_columns(args, next(iter(files.values())), source)),
        id_column=args.id,
        output=str(Path(args.output).absolute()),
        format=args.format,
        model=model_digest(str(folder)),
    )
    threads = args.threads or 1
    job.load(threads, args.verify)  # what is wrong with it is said before anything is started
    with outputs.lock_folder(Path(job.output)):
        block_rows = open_folder(job, files, args.block_rows, args.overwrite)
        with cluster.cluster(args.address, args.workers and args.workers * threads) as ray:
            columns = (*job.columns, *([args.id] if args.id else []))
            blocks = name_blocks(cluster.cut_files(ray, files, block_rows, columns))
            left = unfinished(job, blocks)
            total, rows_left = (sum(block.piece.rows for block in some) for some in (blocks, left))
            if left:
                workers = args.workers or cluster.count_workers(ray, threads)
                with tqdm(total=total, initial=total - rows_left, desc="rows", unit="row", disable=None) as bar:
                    cluster.answer_blocks(ray, job, left, min(workers, len(left)), threads, bar)
        failed = count_failed(job, blocks)
    there = f", {total - rows_left:,} of them were there already" if rows_left < total else ""
    if total == 0:
        raise InputError(f"{args.input}: has no rows")
    if failed == total:
        raise InputError(f"{args.output}: none of {total:,} rows has a result; {FAILED}/ says why")
    without = f"; {failed:,} rows have no result, {FAILED}/ in it says why" if failed else ""
    cli.say(f"{args.output}: {total - failed:,} rows in {len(blocks):,} blocks{there}{without}")


def _columns(args: argparse.Namespace, file: Path, source) -> Sequence[str]:
    """The columns to read: the first file says which there are."""
    from mobilebert.commands.predict.batch import text_columns
    from mobilebert.commands.predict.session import check_pair
    from mobilebert.data.slices import header_of

    if args.command == "qa":
        return "question", "context"
    if args.command == "ner":
        return (args.text_column,) if args.text_column else text_columns(file, header_of(file), None, pairs=False)
    columns = args.text_column or text_columns(file, header_of(file), source.rules.columns, pairs=True)
    if len(columns) > 2:
        raise InputError(f"`text_column={' '.join(columns)}`: expected one column, or two for sentence pairs")
    check_pair(source, len(columns) == 2, "two columns (--text_column)")
    return columns


def run() -> NoReturn:
    """The console command."""
    cli.run(main)
