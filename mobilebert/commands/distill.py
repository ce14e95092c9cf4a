"""Pre-train MobileBERT with a teacher: knowledge transfer layer by layer, then pre-training distillation."""

import argparse
from dataclasses import fields, replace
from typing import NoReturn

from mobilebert.base import cli
from mobilebert.base.errors import InputError
from mobilebert.commands.classify import add_model_flags
from mobilebert.commands.pretrain import add_pretraining_flags
from mobilebert.tasks.flags import add_training_flags, plan_from, settings_from, start_from
from mobilebert.tasks.recipes import DISTILL_RECIPES
from mobilebert.tasks.transformers_flags import PRETRAIN_HINTS

EXAMPLES = """\
  %(prog)s --teacher output_teacher/best --config_name config.json --tokenizer_name vocab.txt \\
      --train_data rows/train --dev_data rows/dev --output_dir output_distill --do_train --do_eval
  %(prog)s --strategy joint --transfer_steps 2000 --max_steps 4000 --teacher ... (all layers at once, then predictions)
  %(prog)s --strategy auxiliary --feature_map_weight 0 --mean_weight 0 --variance_weight 0 --attention_weight 0 \\
      --teacher ...                                                        (the teacher's predictions alone)
  %(prog)s --resume --teacher ...                                          (goes on in the stage where it was ended)
"""
_WEIGHTS = {
    "feature_map_weight": "of the squared difference between layer-normalised feature maps; 0 leaves it out",
    "mean_weight": "of the squared difference between their means",
    "variance_weight": "of the absolute difference between their variances",
    "attention_weight": "of the divergence between attention distributions",
}


def parse_args() -> argparse.Namespace:
    """The command line; training flags that are not given are absent: the recipe decides them."""
    parser = cli.ArgumentParser(__doc__, EXAMPLES, PRETRAIN_HINTS)
    add_pretraining_flags(parser, DISTILL_RECIPES, "distill_small")
    add_model_flags(parser.add_argument_group("student: one of the first three"), eval_batch_size=32)
    _add_transfer_flags(parser)
    add_training_flags(parser, None)
    parser.set_defaults(cache_dir=None)
    return parser.parse_args()


def _add_transfer_flags(parser: argparse.ArgumentParser) -> None:
    """One flag a field of ``tasks.transfer.Transfer``; what is not given is absent."""
    group = parser.add_argument_group(
        "teacher and transfer (default: as published; --max_steps are those of the last stage)"
    )
    group.add_argument(
        "--teacher", metavar="MODEL", help="a pre-trained checkpoint, such as an IB-BERT of run_pretrain.py"
    )
    group.add_argument(
        "--strategy", choices=("progressive", "joint", "auxiliary"), default=argparse.SUPPRESS,
        help="layers one by one, then predictions; all layers, then predictions; all at once (default: progressive)",
    )  # fmt: skip
    group.add_argument(
        "--transfer_steps", metavar="N", type=int, default=argparse.SUPPRESS,
        help="updates of all transfer stages together, before --max_steps of pre-training distillation; of auxiliary "
        "more updates of its one stage (default: the recipe's, 500 of distill_small, 240000 of paper)",
    )  # fmt: skip
    for name, text in _WEIGHTS.items():
        group.add_argument(f"--{name}", metavar="X", type=float, default=argparse.SUPPRESS, help=text)
    group.add_argument(
        "--alpha", metavar="SHARE", type=float, default=0.5,
        help="share of the true tokens in what masked tokens are trained on; the teacher's distribution has the rest, "
        "1 asks it for none (default: %(default)s)",
    )  # fmt: skip
    group.add_argument(
        "--temperature", metavar="T", type=float, default=1.0, help="of both distributions (default: %(default)s)"
    )
    group.add_argument(
        "--transfer_rate", metavar="X", type=float, default=argparse.SUPPRESS,
        help="factor on --learning_rate while layers are transferred (default: 3)",
    )  # fmt: skip
    group.add_argument(
        "--lower_rate", metavar="X", type=float, default=argparse.SUPPRESS,
        help="progressive: further factor for the layers below the one that is learned; 0 freezes them (default: 0.1)",
    )  # fmt: skip
    group.add_argument(
        "--cache_teacher", metavar="DIR", default=argparse.SUPPRESS,
        help="keep what the teacher makes of each row on disk, and ask it once; for rows with stored masks",
    )  # fmt: skip


def main() -> None:
    """Parse and run."""
    args = parse_args()
    plan = plan_from(args)
    if args.extend:
        raise InputError("--extend: stages have their lengths; train the model in best on with run_pretrain.py")

    from mobilebert.distill.losses import TransferWeights
    from mobilebert.tasks.distill import Distillation
    from mobilebert.tasks.pretrain import PretrainingFiles
    from mobilebert.tasks.run import run as run_task
    from mobilebert.tasks.transfer import Transfer
    from mobilebert.train import parallel

    cli.log_to_console()
    recipe = DISTILL_RECIPES[args.recipe]
    schedule = settings_from(args, recipe.settings, parallel.world_size())
    if not schedule.max_steps:
        raise InputError("--max_steps 0: how many updates of pre-training distillation?")
    weights = {name.removesuffix("_weight"): getattr(args, name) for name in _WEIGHTS if hasattr(args, name)}
    given = {item.name: getattr(args, item.name) for item in fields(Transfer) if hasattr(args, item.name)}
    transfer = Transfer(**{"transfer_steps": recipe.transfer_steps, **given}, weights=TransferWeights(**weights))
    named = {"train": args.train_data, "dev": args.dev_data}
    files = PretrainingFiles({kind: named[kind] for kind in plan.kinds if named[kind]}, plan.verify)
    task = Distillation(files, schedule.seed, transfer, schedule)
    settings = replace(schedule, max_steps=schedule.max_steps + transfer.transfer_steps)
    run_task(task, plan, settings, start_from(args), vars(args))


def run() -> NoReturn:
    """The console command."""
    cli.run(main)
