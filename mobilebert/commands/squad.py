"""Train, evaluate and predict on SQuAD v1.1 and v2.0, or on questions of one's own in SQuAD's format."""

import argparse
from pathlib import Path
from typing import NoReturn

from mobilebert.base import cli
from mobilebert.base.errors import InputError
from mobilebert.tasks.flags import add_engine_flags, add_training_flags, settings_from
from mobilebert.train.settings import TrainSettings

EXAMPLES = """\
  %(prog)s --model_name_or_path weight/paddle --output_dir output_squadv1 --do_train --do_eval
  %(prog)s --model_name_or_path task/squadv1 --output_dir outputs/eval --do_eval --dev_file dev-v1.1.json
  %(prog)s --model_name_or_path task/squadv2 --output_dir outputs/answers --do_predict \\
      --test_file mine.json --version_2_with_negative --null_score_diff_threshold -1.5
  %(prog)s --model_name_or_path outputs/squad-int8 --engine onnxruntime --output_dir outputs/eval-int8 --do_eval
  %(prog)s --resume --model_name_or_path weight/paddle --output_dir output_squadv1 --do_train --do_eval
"""
DEFAULTS = TrainSettings()


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = cli.ArgumentParser(__doc__, EXAMPLES)
    group = parser.add_argument_group("what to do")
    group.add_argument("--do_train", action="store_true", help="train; evaluates on the way with --do_eval")
    group.add_argument("--do_eval", action="store_true", help="answer the dev questions and score the answers")
    group.add_argument("--do_predict", action="store_true", help="answer the questions of --test_file")
    group.add_argument("--output_dir", "--out", metavar="DIR", required=True, help="where everything is written")

    group = parser.add_argument_group("data")
    group.add_argument(
        "--train_file", metavar="FILE", help="SQuAD JSON, plain or .gz (default: the official one is downloaded)"
    )
    group.add_argument("--dev_file", metavar="FILE", help="the same")
    group.add_argument("--test_file", metavar="FILE", help="the same; answers are not needed")
    group.add_argument("--data_dir", metavar="DIR", default=".cache/squad", help="where downloads go")
    group.add_argument("--version_2_with_negative", action="store_true", help="v2.0: some questions have no answer")
    group.add_argument(
        "--max_seq_length", metavar="TOKENS", type=int, default=384, help="tokens of question and window together"
    )
    group.add_argument(
        "--doc_stride", metavar="TOKENS", type=int, default=128, help="tokens that neighbouring windows share"
    )
    group.add_argument(
        "--on_bad_answer", choices=("error", "drop"), default="error",
        help="what to do with train questions whose answer is not at its answer_start",
    )  # fmt: skip
    group.add_argument("--cache_dir", metavar="DIR", default=".cache", help="of features; empty for none")

    group = parser.add_argument_group("model: one of the first two")
    group.add_argument("--model_name_or_path", "--model", metavar="MODEL", help="a checkpoint's folder or hub name")
    group.add_argument("--config_name", metavar="CONFIG", help="a config.json or its folder: begin with random weights")
    group.add_argument(
        "--tokenizer_name", metavar="TOKENIZER", help="a vocab.txt or a tokenizer's folder (default: the model's)"
    )

    group = parser.add_argument_group("answers")
    group.add_argument("--eval_batch_size", metavar="N", type=int, default=32, help="features in one forward pass")
    group.add_argument("--n_best_size", metavar="N", type=int, default=20, help="answers to keep for each question")
    group.add_argument("--max_answer_length", metavar="TOKENS", type=int, default=30, help="tokens")
    group.add_argument(
        "--null_score_diff_threshold",
        metavar="ODDS",
        type=float,
        default=0.0,
        help="v2.0: no answer where its odds exceed this",
    )

    add_engine_flags(parser)
    add_training_flags(parser, DEFAULTS)
    return parser.parse_args()


def main() -> None:
    """Parse and run."""
    args = parse_args()
    if args.eval_batch_size < 1:
        raise InputError(f"--eval_batch_size {args.eval_batch_size}: expected at least 1")

    from mobilebert.tasks import qa as squad

    cli.log_to_console()
    rules = squad.AnswerRules(
        args.version_2_with_negative, args.n_best_size, args.max_answer_length, args.null_score_diff_threshold
    )
    plan = squad.Plan(
        output_dir=Path(args.output_dir),
        do_train=args.do_train,
        do_eval=args.do_eval,
        do_predict=args.do_predict,
        train_file=args.train_file,
        dev_file=args.dev_file,
        test_file=args.test_file,
        data_dir=args.data_dir,
        model_name_or_path=args.model_name_or_path,
        config_name=args.config_name,
        tokenizer_name=args.tokenizer_name,
        max_seq_length=args.max_seq_length,
        doc_stride=args.doc_stride,
        on_bad_answer=args.on_bad_answer,
        eval_batch_size=args.eval_batch_size,
        cache_dir=args.cache_dir or None,
        rules=rules,
        engine=args.engine,
        threads=args.threads,
    )
    squad.run(
        plan,
        settings_from(args, DEFAULTS),
        header=vars(args),
        resume=args.resume,
        resume_fallback=args.resume_fallback,
        overwrite=args.overwrite_output_dir,
    )


def run() -> NoReturn:
    """The console command."""
    cli.run(main)
