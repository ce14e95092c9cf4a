"""Train, evaluate and predict on any GLUE task, or on sentences and pairs of one's own."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from mobilebert.base import cli
from mobilebert.base.errors import InputError
from mobilebert.commands import classify
from mobilebert.data.glue.tasks import TASKS, get_task
from mobilebert.tasks.flags import add_engine_flags, add_teacher_flags, add_training_flags, plan_from
from mobilebert.tasks.recipes import recipe_of
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
    classify.add_action_flags(group)
    group.add_argument("--output_dir", "--out", metavar="DIR", required=True, help="where everything is written")

    group = parser.add_argument_group("data")
    group.add_argument("--task_name", metavar="TASK", help=f"a GLUE task: {', '.join(TASKS)}")
    group.add_argument(
        "--data_dir", metavar="DIR", help=f"GLUE's folder or the task's; downloads to {DOWNLOADS} where not given"
    )
    classify.add_file_flags(group)
    classify.add_reading_flags(group)
    classify.add_model_flags(parser.add_argument_group("model: one of the first three"))
    add_teacher_flags(parser)
    add_engine_flags(parser)
    add_training_flags(parser, None)
    return parser.parse_args()


def main() -> None:
    """Parse, decide the task, run."""
    args = parse_args()
    plan_from(args)  # refuses what is out of range
    task = get_task(args.task_name) if args.task_name else None
    given = classify.given_files(args)
    if task is None and not given:
        raise InputError("which data? give --task_name, or --train_file/--dev_file/--test_file")
    if task is None:
        return classify.run_own(args, given)
    for flag in ("regression", "label_columns", "label_separator"):
        if getattr(args, flag):
            raise InputError(f"--{flag}: --task_name {task.name} already says what its labels are")

    from mobilebert.data.glue.download import fetch_task
    from mobilebert.train import parallel

    cli.log_to_console()
    data_dir = args.data_dir
    if data_dir is None and not given:
        data_dir = parallel.on_main(lambda: str(fetch_task(task, DOWNLOADS)), parallel.start())
    files = classify.files_of(args, data_dir, given)
    task = replace(
        task,
        text_columns=tuple(args.text_column or task.text_columns),
        label_column=args.label_column or task.label_column,
    )
    return classify.run_task_of(args, task, files, recipe_of(task, args.recipe), parallel.world_size())


def run() -> NoReturn:
    """The console command."""
    cli.run(main)
