"""Train a classifier on a table of one's own: texts and labels, in a CSV, TSV or JSON file."""

import argparse
from pathlib import Path
from typing import Any, NoReturn

from mobilebert.base import cli, digests
from mobilebert.base.errors import InputError
from mobilebert.tasks.flags import (
    add_engine_flags,
    add_teacher_flags,
    add_training_flags,
    plan_from,
    settings_from,
    start_from,
)
from mobilebert.tasks.recipes import CLASSIFICATION_RECIPES, own_recipe
from mobilebert.tasks.transformers_flags import HINTS

EXAMPLES = """\
  %(prog)s --train reviews.csv
  %(prog)s --train tickets.csv --class_weights balanced --output_dir output_tickets
  %(prog)s --train train.tsv --dev dev.tsv --text_column title body --label_column stars
  %(prog)s --train topics.jsonl --test new.jsonl             (lists of labels: several a text)
  %(prog)s --train essays.csv --label_column grade --regression
  %(prog)s --dev dev.tsv --model output_train/best           (evaluates)
"""
DEFAULT_MODEL = Path("weight/paddle")
DEV_SPLIT = 0.1


def parse_args() -> argparse.Namespace:
    """The command line; training flags that are not given are absent: the recipe decides them."""
    parser = cli.ArgumentParser(__doc__, EXAMPLES, HINTS)
    group = parser.add_argument_group("data")
    add_file_flags(group)
    group = parser.add_argument_group("what to do (default: what the files are for)")
    add_action_flags(group)
    group.add_argument("--output_dir", "--out", metavar="DIR", help="where all is written (default: output_FILE)")
    add_reading_flags(parser.add_argument_group("how to read"))
    add_model_flags(parser.add_argument_group(f"model (default: {DEFAULT_MODEL})"))
    add_teacher_flags(parser)
    add_engine_flags(parser)
    add_training_flags(parser, None)
    return parser.parse_args()


def add_file_flags(group: argparse._ArgumentGroup) -> None:
    """Files of one's own, and where in them the texts and the labels are."""
    group.add_argument(
        "--train_file", "--train", metavar="FILE", help="a TSV, CSV or JSON file with named columns, plain or .gz"
    )
    group.add_argument("--dev_file", "--dev", metavar="FILE", help="the same")
    group.add_argument("--test_file", "--test", metavar="FILE", help="the same, without labels")
    group.add_argument(
        "--dev_split", metavar="SHARE", type=float,
        help="without a dev file: this share of the train file is the dev set, of each class alike; dev_rows.json says "
        f"which rows (default: {DEV_SPLIT} of mobilebert train classify, else none)",
    )  # fmt: skip
    group.add_argument("--dev_split_seed", metavar="N", type=cli.seed, default=42, help="of that choice")
    group.add_argument(
        "--text_column", nargs="+", metavar="COLUMN",
        help="one column, or two for pairs (default: found by well-known names, or by shape)",
    )  # fmt: skip
    group.add_argument("--label_column", metavar="COLUMN", help="the column of labels (default: found alike)")
    group.add_argument(
        "--label_columns", nargs="+", metavar="COLUMN",
        help="several labels a text: columns of 0 and 1, one a label (lists in a JSON file need no flag)",
    )  # fmt: skip
    group.add_argument(
        "--label_separator",
        metavar="SEP",
        help="several labels a text: what stands between them in a cell, such as ';'",
    )
    group.add_argument("--regression", action="store_true", help="the labels are numbers")
    group.add_argument(
        "--label_order", metavar="NAMES",
        help="class names in the order of the model's outputs, with commas: for checkpoints that do "
        "not name their classes, and for new heads that should have another order than the task's"
    )  # fmt: skip
    group.add_argument(
        "--on_missing_label", choices=("error", "drop"), default="error",
        help="rows without a label: error names them, drop leaves them out"
    )  # fmt: skip


def add_action_flags(group: argparse._ArgumentGroup) -> None:
    """What to do, and with which numbers."""
    group.add_argument("--do_train", action="store_true", help="train; evaluates on the way with --do_eval")
    group.add_argument("--do_eval", action="store_true", help="score on the dev set (of MNLI on both)")
    group.add_argument("--do_predict", action="store_true", help="write the predictions for the test set")
    group.add_argument(
        "--recipe", choices=(*CLASSIFICATION_RECIPES,),
        help="numbers to begin with (default: the task's preset; of one's own with --config_name: from_scratch)",
    )  # fmt: skip
    group.add_argument(
        "--class_weights", metavar="WEIGHTS", default="none",
        help="in the training loss: balanced (examples / (classes * examples of the class)), none, or NAME=W,NAME=W",
    )  # fmt: skip


def add_reading_flags(group: argparse._ArgumentGroup) -> None:
    """Lengths and thresholds."""
    group.add_argument(
        "--max_seq_length",
        metavar="TOKENS",
        type=int,
        help="tokens; what is longer is cut (default: as the checkpoint notes it, when it is not trained; else the "
        "task's preset)",
    )
    group.add_argument(
        "--threshold", metavar="P", type=float,
        help="several labels a text: probability above which it has one (default: the checkpoint's, else 0.5)",
    )  # fmt: skip
    group.add_argument("--cache_dir", metavar="DIR", default=".cache", help="of encoded examples; empty for none")


def add_model_flags(group: argparse._ArgumentGroup, eval_batch_size: int = 64) -> None:
    """Where the model comes from, and how many rows it evaluates at once where that is not said."""
    group.add_argument("--model_name_or_path", "--model", metavar="MODEL", help="a checkpoint's folder or hub name")
    group.add_argument(
        "--init_from", metavar="MODEL", help="a checkpoint of another task: keep its encoder, begin with a new head"
    )
    group.add_argument("--config_name", metavar="CONFIG", help="a config.json or its folder: begin with random weights")
    group.add_argument(
        "--tokenizer_name", metavar="TOKENIZER", help="a vocab.txt or a tokenizer's folder (default: the model's)"
    )
    group.add_argument(
        "--eval_batch_size",
        metavar="N",
        type=int,
        default=eval_batch_size,
        help="rows in one forward pass of evaluation",
    )
    digests.add_flag(group)


def main() -> None:
    """Parse, fill in what was not said, run."""
    args = parse_args()
    given = given_files(args)
    if not given:
        raise InputError("which table? give --train FILE; its columns of texts and labels are found, or named by flags")
    if not (args.do_train or args.do_eval or args.do_predict):
        args.do_train = args.train_file is not None
        args.do_eval = args.do_train or args.dev_file is not None
        args.do_predict = args.test_file is not None
    if args.dev_split is None and args.do_train and args.do_eval and args.dev_file is None:
        args.dev_split = DEV_SPLIT
    if args.output_dir is None:
        args.output_dir = f"output_{Path(next(iter(given.values()))).name.split('.')[0]}"
    if not (args.model_name_or_path or args.init_from or args.config_name or args.student_layers):
        args.model_name_or_path = _default_model(args.do_train)
    run_own(args, given)


def given_files(args: argparse.Namespace) -> dict[str, str]:
    """The files of one's own, by kind."""
    named = {kind: getattr(args, f"{kind}_file") for kind in ("train", "dev", "test")}
    return {kind: name for kind, name in named.items() if name}


def label_order_of(args: argparse.Namespace) -> tuple[str, ...]:
    """The names in ``--label_order``."""
    return tuple(name.strip() for name in args.label_order.split(",")) if args.label_order else ()


def run_own(args: argparse.Namespace, given: dict[str, str]) -> None:
    """Find out what is to be learned from files of one's own, and run it."""
    from mobilebert.data.classify.columns import Columns
    from mobilebert.tasks.own import is_regression, label_sets_of, own_columns, own_task, row_count
    from mobilebert.train import parallel

    plan = plan_from(args)
    if args.label_columns and (args.label_column or args.label_separator):
        raise InputError("--label_columns: names all columns of labels; leave --label_column and --label_separator out")
    if args.regression and (args.label_columns or args.label_separator):
        raise InputError("--regression: one number a text; leave --label_columns and --label_separator out")
    cli.log_to_console()
    # A file that is not read says nothing of what is to be learned.
    read = {kind: name for kind, name in given.items() if kind in plan.kinds or (kind == "train" and args.dev_split)}
    files = files_of(args, None, read)
    indicators = tuple(args.label_columns or ())
    named = Columns(
        tuple(args.text_column or ()),
        indicators[0] if indicators else args.label_column,
        indicators,
        args.label_separator or "",
    )
    checkpoint = args.model_name_or_path or (args.teacher if args.student_layers else None)
    columns = own_columns(files, named, checkpoint, args.regression)
    regression = args.regression or is_regression(files, checkpoint)
    sets = None if regression else label_sets_of(files, columns, checkpoint)
    order = label_order_of(args)
    task = own_task(files, columns.texts, columns.label or "label", order, regression, checkpoint, sets)
    rows = row_count(files.given["train"]) if "train" in files.given else 0
    recipe = own_recipe(task, rows, args.recipe or ("from_scratch" if args.config_name else None))
    run_task_of(args, task, files, recipe, parallel.world_size())


def files_of(args: argparse.Namespace, data_dir: str | None, given: dict[str, str]) -> Any:
    """``class_files.Files`` of the flags."""
    from mobilebert.tasks.class_files import Files

    return Files(data_dir, given, args.on_missing_label, args.dev_split or 0.0, args.dev_split_seed)


def run_task_of(args: argparse.Namespace, task: Any, files: Any, recipe: Any, devices: int) -> None:
    """Run a classification as the flags say.

    Args:
        args: parsed.
        task: of ``data.glue.tasks``.
        files: see ``files_of``.
        recipe: of the training.
        devices: processes that train.
    """
    from mobilebert.tasks.classify import Classification
    from mobilebert.tasks.run import run as run_task

    max_seq_length = args.max_seq_length or recipe.reading["max_seq_length"]
    run_task(
        Classification(
            task,
            files,
            max_seq_length,
            label_order_of(args),
            args.max_seq_length is not None,
            args.class_weights,
            args.threshold,
        ),
        plan_from(args),
        settings_from(args, recipe.settings, devices),
        start_from(args),
        {**vars(args), "data_dir": files.data_dir, "max_seq_length": max_seq_length},
    )


def _default_model(do_train: bool) -> str:
    if do_train and (DEFAULT_MODEL / "config.json").exists():
        return str(DEFAULT_MODEL)
    if not do_train:
        raise InputError("which model? name a trained one, such as --model output_FILE/best")
    raise InputError(
        f"which model? {DEFAULT_MODEL} is not there: make it (bash scripts/download_weights.sh, python convert.py), "
        "or name a checkpoint with --model, or begin with random weights: --config_name CONFIG --tokenizer_name VOCAB"
    )


def run() -> NoReturn:
    """The console command."""
    cli.run(main)
