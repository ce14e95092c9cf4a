"""Train, evaluate and predict on SQuAD v1.1 and v2.0, or on questions of one's own in SQuAD's format."""

import argparse
from typing import Any, NoReturn

from mobilebert.base import cli, digests
from mobilebert.tasks.flags import (
    add_engine_flags,
    add_teacher_flags,
    add_training_flags,
    plan_from,
    settings_from,
    start_from,
)
from mobilebert.tasks.recipes import QA_RECIPES, Recipe
from mobilebert.tasks.transformers_flags import HINTS

EXAMPLES = """\
  %(prog)s --model_name_or_path weight/paddle --output_dir output_squadv1 --do_train --do_eval
  %(prog)s --model_name_or_path task/squadv1 --output_dir outputs/eval --do_eval --dev_file dev-v1.1.json
  %(prog)s --model_name_or_path task/squadv2 --output_dir outputs/answers --do_predict \\
      --test_file mine.json --version_2_with_negative --null_score_diff_threshold -1.5
  %(prog)s --model_name_or_path outputs/squad-int8 --engine onnxruntime --output_dir outputs/eval-int8 --do_eval
  %(prog)s --resume --model_name_or_path weight/paddle --output_dir output_squadv1 --do_train --do_eval
  %(prog)s --resume --extend --num_train_epochs 9 --model_name_or_path weight/paddle --output_dir output_squadv1 \\
      --do_train --do_eval
"""
# Flag -> field of ``ReadingSettings``.
_READING = {
    "max_seq_length": "max_seq_length",
    "doc_stride": "doc_stride",
    "max_answer_length": "max_answer_length",
    "version_2_with_negative": "allow_no_answer",
    "null_score_diff_threshold": "null_score_diff_threshold",
}
_NOTED = "(default: as the checkpoint notes it, when it is not trained; else {})"


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = cli.ArgumentParser(__doc__, EXAMPLES, HINTS)
    group = parser.add_argument_group("what to do")
    group.add_argument("--do_train", action="store_true", help="train; evaluates on the way with --do_eval")
    group.add_argument("--do_eval", action="store_true", help="answer the dev questions and score the answers")
    group.add_argument("--do_predict", action="store_true", help="answer the questions of --test_file")
    group.add_argument("--output_dir", "--out", metavar="DIR", required=True, help="where everything is written")
    group.add_argument(
        "--recipe", choices=(*QA_RECIPES,), default="squadv1", help="numbers to begin with; every flag wins over it"
    )

    group = parser.add_argument_group("data")
    group.add_argument(
        "--train_file", metavar="FILE", help="SQuAD JSON, plain or .gz (default: the official one is downloaded)"
    )
    group.add_argument("--dev_file", metavar="FILE", help="the same")
    group.add_argument("--test_file", metavar="FILE", help="the same; answers are not needed")
    group.add_argument("--data_dir", metavar="DIR", default=".cache/squad", help="where downloads go")
    group.add_argument(
        "--version_2_with_negative",
        action=argparse.BooleanOptionalAction,
        default=None,
        help=f"v2.0: some questions have no answer {_NOTED.format('no')}",
    )
    group.add_argument(
        "--max_seq_length",
        metavar="TOKENS",
        type=int,
        help=f"tokens of question and window together {_NOTED.format(384)}",
    )
    group.add_argument(
        "--doc_stride", metavar="TOKENS", type=int, help=f"tokens that neighbouring windows share {_NOTED.format(128)}"
    )
    group.add_argument(
        "--on_bad_answer", choices=("error", "drop"), default="error",
        help="what to do with train questions whose answer is not at its answer_start, or contradicts is_impossible",
    )  # fmt: skip
    group.add_argument("--cache_dir", metavar="DIR", default=".cache", help="of features; empty for none")

    group = parser.add_argument_group("model: one of the first two")
    group.add_argument("--model_name_or_path", "--model", metavar="MODEL", help="a checkpoint's folder or hub name")
    group.add_argument("--config_name", metavar="CONFIG", help="a config.json or its folder: begin with random weights")
    group.add_argument(
        "--tokenizer_name", metavar="TOKENIZER", help="a vocab.txt or a tokenizer's folder (default: the model's)"
    )
    digests.add_flag(group)

    group = parser.add_argument_group("answers")
    group.add_argument("--eval_batch_size", metavar="N", type=int, default=32, help="features in one forward pass")
    group.add_argument("--n_best_size", metavar="N", type=int, default=20, help="answers to keep for each question")
    group.add_argument("--max_answer_length", metavar="TOKENS", type=int, help=f"tokens {_NOTED.format(30)}")
    group.add_argument(
        "--null_score_diff_threshold",
        metavar="ODDS",
        type=float,
        help=f"v2.0: no answer where its odds exceed this {_NOTED.format('0')}",
    )

    group.add_argument(
        "--keep_examples", metavar="N", type=int, default=0,
        help="write N dev questions that the best model answers right, with their passages, into its config.json: the "
        "demo's page offers them"
    )  # fmt: skip

    add_teacher_flags(parser)
    add_engine_flags(parser)
    add_training_flags(parser, QA_RECIPES["squadv1"].settings)
    return parser.parse_args()


def main() -> None:
    """Parse and run."""
    args = parse_args()
    plan = plan_from(args)
    recipe = QA_RECIPES[args.recipe]

    from mobilebert.tasks.qa import QaFiles, QuestionAnswering
    from mobilebert.tasks.run import run as run_task
    from mobilebert.train import parallel

    cli.log_to_console()
    reading, given = _reading(args, recipe)
    task = QuestionAnswering(
        QaFiles(args.train_file, args.dev_file, args.test_file, args.data_dir),
        reading,
        given,
        args.n_best_size,
        args.on_bad_answer,
        args.keep_examples,
        recipe.caution,
    )
    resolved = {flag: getattr(reading, name) for flag, name in _READING.items()}
    settings = settings_from(args, recipe.settings, parallel.world_size())
    run_task(task, plan, settings, start_from(args), {**vars(args), **resolved})


def _reading(args: argparse.Namespace, recipe: Recipe) -> tuple[Any, dict[str, Any]]:
    """How a training reads, and what of it was said on the command line."""
    from mobilebert.inference.source import DEFAULT_MAX_SEQ_LENGTH, ReadingSettings

    said = {name: getattr(args, flag) for flag, name in _READING.items()}
    given = {name: value for name, value in said.items() if value is not None}
    return ReadingSettings(**{"max_seq_length": DEFAULT_MAX_SEQ_LENGTH, **recipe.reading, **given}), given


def run() -> NoReturn:
    """The console command."""
    cli.run(main)
