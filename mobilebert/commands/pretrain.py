"""Pre-train MobileBERT: masked language modelling and next sentence prediction, from random weights or a checkpoint."""

import argparse
from typing import NoReturn

from mobilebert.base import cli
from mobilebert.commands.classify import add_model_flags
from mobilebert.tasks.flags import add_training_flags, plan_from, settings_from, start_from
from mobilebert.tasks.recipes import PRETRAIN_RECIPES
from mobilebert.tasks.transformers_flags import PRETRAIN_HINTS

EXAMPLES = """\
  python -m mobilebert pretrain-data --help                     (makes the folders of rows out of text)
  %(prog)s --train_data rows/train --dev_data rows/dev --init_from weight/paddle \\
      --output_dir output_pretrain --do_train --do_eval          (a checkpoint goes on with text of one's own)
  %(prog)s --recipe paper --train_data rows/train --config_name config.json --tokenizer_name vocab.txt \\
      --output_dir output_pretrain --do_train --global_batch_size 2048 --batch_size 32
  %(prog)s --model_name_or_path output_pretrain/best --dev_data rows/dev --output_dir outputs/pretrain --do_eval
"""


def parse_args() -> argparse.Namespace:
    """The command line; training flags that are not given are absent: the recipe decides them."""
    parser = cli.ArgumentParser(__doc__, EXAMPLES, PRETRAIN_HINTS)
    add_pretraining_flags(parser, PRETRAIN_RECIPES, "continued")
    add_model_flags(parser.add_argument_group("model: one of the first three"), eval_batch_size=32)
    add_training_flags(parser, None)
    parser.set_defaults(cache_dir=None)  # the folders are what a cache would be
    return parser.parse_args()


def add_pretraining_flags(parser: argparse.ArgumentParser, recipes: dict, recipe: str) -> None:
    """What to do, and on which rows.

    Args:
        parser: of the script.
        recipes: those to choose from.
        recipe: the one where none is chosen.
    """
    group = parser.add_argument_group("what to do")
    group.add_argument("--do_train", action="store_true", help="train; evaluates on the way with --do_eval")
    group.add_argument("--do_eval", action="store_true", help="perplexity and accuracies on the rows of --dev_data")
    group.add_argument("--output_dir", "--out", metavar="DIR", required=True, help="where everything is written")
    group.add_argument(
        "--recipe", choices=(*recipes,), default=recipe,
        help=f"numbers to begin with; every flag wins over it (default: {recipe})",
    )  # fmt: skip
    group = parser.add_argument_group("data")
    group.add_argument("--train_data", metavar="DIR", help="a folder that python -m mobilebert pretrain-data wrote")
    group.add_argument("--dev_data", metavar="DIR", help="the same, of text that is not trained on")


def main() -> None:
    """Parse and run."""
    args = parse_args()
    plan = plan_from(args)

    from mobilebert.tasks.pretrain import Pretraining, PretrainingFiles
    from mobilebert.tasks.run import run as run_task
    from mobilebert.train import parallel

    cli.log_to_console()
    settings = settings_from(args, PRETRAIN_RECIPES[args.recipe].settings, parallel.world_size())
    named = {"train": args.train_data, "dev": args.dev_data}
    files = PretrainingFiles({kind: named[kind] for kind in plan.kinds if named[kind]}, plan.verify)
    run_task(Pretraining(files, settings.seed), plan, settings, start_from(args), vars(args))


def run() -> NoReturn:
    """The console command."""
    cli.run(main)
