"""Train, evaluate and predict on any GLUE task, or on sentences and pairs of one's own."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from mobilebert.base import cli, digests
from mobilebert.base.errors import InputError
from mobilebert.data.glue.tasks import TASKS, get_task
from mobilebert.tasks.flags import add_engine_flags, add_training_flags, plan_from, settings_from, start_from
from mobilebert.tasks.recipes import CLASSIFICATION_RECIPES, recipe_of
from mobilebert.tasks.transformers_flags import HINTS

EXAMPLES = """\
  %(prog)s --task_name mnli --model_name_or_path weight/paddle --output_dir output_mnli --do_train --do_eval
  %(prog)s --task_name mnli --data_dir GLUE --model_name_or_path task/mnli --output_dir outputs/mnli --do_eval
  %(prog)s --task_name rte --init_from output_mnli/best --output_dir output_rte --do_train --do_eval
  %(prog)s --train_file reviews.csv --dev_file dev.csv --text_column title body --label_column stars \\
      --model_name_or_path weight/paddle --output_dir output_reviews --do_train --do_eval
  %(prog)s --task_name sst2 --model_name_or_path outputs/sst2-int8 --engine onnxruntime --out outputs/int8 --do_eval
"""
DOWNLOADS = Path(".cache/glue")


def parse_args() -> argparse.Namespace:
    """The command line; training flags that are not given are absent: the task's preset decides them."""
    parser = cli.ArgumentParser(__doc__, EXAMPLES, HINTS)
    group = parser.add_argument_group("what to do")
    group.add_argument("--do_train", action="store_true", help="train; evaluates on the way with --do_eval")
    group.add_argument("--do_eval", action="store_true", help="score on the dev set, or on both of MNLI's")
    group.add_argument("--do_predict", action="store_true", help="write the GLUE server's file for the test set")
    group.add_argument("--output_dir", "--out", metavar="DIR", required=True, help="where everything is written")

    group.add_argument(
        "--recipe", choices=(*CLASSIFICATION_RECIPES,), help="numbers to begin with (default: the task's preset)"
    )

    group = parser.add_argument_group("data")
    group.add_argument("--task_name", metavar="TASK", help=f"a GLUE task: {', '.join(TASKS)}")
    group.add_argument(
        "--data_dir", metavar="DIR", help=f"GLUE's folder or the task's; downloads to {DOWNLOADS} where not given"
    )
    group.add_argument("--train_file", metavar="FILE", help="a TSV, CSV or JSON file with named columns, plain or .gz")
    group.add_argument("--dev_file", metavar="FILE", help="the same")
    group.add_argument("--test_file", metavar="FILE", help="the same, without labels")
    group.add_argument("--text_column", nargs="+", metavar="COLUMN", help="one column, or two for sentence pairs")
    group.add_argument(
        "--label_column", metavar="COLUMN", help="the column of labels (default: the task's, else label)"
    )
    group.add_argument(
        "--label_order", metavar="NAMES",
        help="class names in the order of the model's outputs, with commas: for checkpoints that do "
        "not name their classes, and for new heads that should have another order than the task's"
    )  # fmt: skip
    group.add_argument(
        "--on_missing_label", choices=("error", "drop"), default="error",
        help="rows without a label: error names them, drop leaves them out"
    )  # fmt: skip
    group.add_argument("--regression", action="store_true", help="the labels are numbers (without --task_name)")
    group.add_argument(
        "--max_seq_length",
        metavar="TOKENS",
        type=int,
        help="tokens; what is longer is cut (default: as the checkpoint notes it, when it is not trained; else the "
        "task's preset)",
    )
    group.add_argument("--cache_dir", metavar="DIR", default=".cache", help="of encoded examples; empty for none")

    group = parser.add_argument_group("model: one of the first three")
    group.add_argument("--model_name_or_path", "--model", metavar="MODEL", help="a checkpoint's folder or hub name")
    group.add_argument(
        "--init_from", metavar="MODEL", help="a checkpoint of another task: keep its encoder, begin with a new head"
    )
    group.add_argument("--config_name", metavar="CONFIG", help="a config.json or its folder: begin with random weights")
    group.add_argument(
        "--tokenizer_name", metavar="TOKENIZER", help="a vocab.txt or a tokenizer's folder (default: the model's)"
    )
    group.add_argument(
        "--eval_batch_size", metavar="N", type=int, default=64, help="examples in one forward pass of evaluation"
    )
    digests.add_flag(group)

    add_engine_flags(parser)
    add_training_flags(parser, None)
    return parser.parse_args()


def main() -> None:
    """Parse, decide the task, run."""
    args = parse_args()
    plan = plan_from(args)
    task = get_task(args.task_name) if args.task_name else None
    given = {kind: getattr(args, f"{kind}_file") for kind in ("train", "dev", "test") if getattr(args, f"{kind}_file")}
    label_order = tuple(name.strip() for name in args.label_order.split(",")) if args.label_order else ()
    if task is None and not (given and args.text_column):
        raise InputError("which data? give --task_name, or --train_file/--dev_file/--test_file and --text_column")
    if task is not None and args.regression:
        raise InputError(f"--regression: --task_name {task.name} already says what its labels are")

    from mobilebert.data.glue.download import fetch_task
    from mobilebert.tasks.classify import Classification, Files, own_task
    from mobilebert.tasks.run import run as run_task
    from mobilebert.train import parallel

    cli.log_to_console()
    data_dir = args.data_dir
    if task is not None and data_dir is None and not given:
        data_dir = parallel.on_main(lambda: str(fetch_task(task, DOWNLOADS)), parallel.start())
    files = Files(data_dir, given, args.on_missing_label)
    text_columns = tuple(args.text_column or ())
    if task is None:
        label_column = args.label_column or "label"
        task = own_task(files, text_columns, label_column, label_order, args.regression, args.model_name_or_path)
    else:
        task = replace(
            task,
            text_columns=text_columns or task.text_columns,
            label_column=args.label_column or task.label_column,
        )
    recipe = recipe_of(task, args.recipe)
    max_seq_length = args.max_seq_length or recipe.reading["max_seq_length"]
    run_task(
        Classification(task, files, max_seq_length, label_order, args.max_seq_length is not None),
        plan,
        settings_from(args, recipe.settings, parallel.world_size()),
        start_from(args),
        {**vars(args), "data_dir": data_dir, "max_seq_length": max_seq_length},
    )


def run() -> NoReturn:
    """The console command."""
    cli.run(main)
