"""The command-line flags that every training script has: one flag a field of ``TrainSettings``, one place."""

import argparse
from dataclasses import fields, replace
from pathlib import Path

from mobilebert.base.errors import InputError
from mobilebert.inference.engines import ENGINES
from mobilebert.tasks.plan import RunPlan
from mobilebert.train.settings import AMP_MODES, LR_SCHEDULES, ON_NAN, OPTIMIZERS, Start, TrainSettings

_HELP = {
    "num_train_epochs": "passes over the train set; may be a fraction",
    "max_steps": "number of updates; 0 lets the epochs decide",
    "batch_size": "examples in one forward pass on one device",
    "gradient_accumulation_steps": "forward passes per update",
    "optimizer": "LAMB is for batches of thousands, as in pre-training",
    "learning_rate": "peak learning rate, reached after the warm-up",
    "min_lr": "where the cosines and the polynomial schedule end",
    "lr_schedule": "course of the learning rate after the warm-up; cosine_annealing is the original reproduction's",
    "warmup_ratio": "share of all steps for the linear warm-up",
    "warmup_steps": "length of the warm-up in steps; 0 lets --warmup_ratio decide",
    "decay_ratio": "cosines: share of all steps after which --min_lr is reached and kept",
    "lr_power": "power of the polynomial schedule",
    "weight_decay": "decoupled weight decay, except of biases and norms",
    "adam_beta1": "beta1 of AdamW and LAMB",
    "adam_beta2": "beta2 of AdamW and LAMB",
    "adam_epsilon": "epsilon of AdamW and LAMB",
    "max_grad_norm": "clip gradients to this global norm; 0 clips nothing",
    "layerwise_lr_decay": "factor on the learning rate for each layer away from the top; 1 is off",
    "eval_steps": "evaluate every so many steps and at the end; 0: only at the end",
    "save_steps": "write a checkpoint every so many steps; 0: only when the run is interrupted",
    "keep_checkpoints": "how many of the newest checkpoints stay on disk",
    "log_steps": "one log line every so many steps",
    "seed": "of the data order, dropout, new weights and all else that is random",
    "amp": "autocast to a half precision",
    "on_nan": "what a NaN or infinite loss or gradient does",
    "early_stop_patience": "stop after so many evaluations without a new best; 0: never",
    "group_by_length": "batches of similar length: less padding",
}
_CHOICES = {"optimizer": OPTIMIZERS, "lr_schedule": LR_SCHEDULES, "amp": AMP_MODES, "on_nan": ON_NAN}
_METAVARS = {int: "N", float: "X", str: "NAME"}
_BATCH_FLAGS = {"batch_size", "gradient_accumulation_steps"}
_OF_THE_TASK = ("best_metric", "best_is_higher")  # no flags: what is best follows from the task


def add_training_flags(parser: argparse.ArgumentParser, shown: TrainSettings | None) -> None:
    """Add the flags of a training run, grouped. A flag that is not given is absent from the parsed arguments.

    Args:
        parser: of the script.
        shown: the defaults to name in the help; None where they depend on other flags.
    """
    group = parser.add_argument_group("training" if shown else "training (default: the task's preset)")
    values = shown or TrainSettings()
    for item in fields(TrainSettings):
        if item.name in _OF_THE_TASK:
            continue
        value = getattr(values, item.name)
        kind = type(value)
        options = (
            {"action": argparse.BooleanOptionalAction} if kind is bool else {"type": kind, "metavar": _METAVARS[kind]}
        )
        if item.name in _CHOICES:
            options |= {"choices": _CHOICES[item.name], "metavar": None}
        text = _HELP[item.name] + (f" (default: {value})" if shown and value is not False else "")
        group.add_argument(f"--{item.name}", help=text, default=argparse.SUPPRESS, **options)
    group.add_argument(
        "--global_batch_size", type=int, metavar="N", default=argparse.SUPPRESS,
        help="examples of an update over all devices: devices x --batch_size x --gradient_accumulation_steps; those "
        "of the two that are not given follow (default: the recipe's batch, unless one of the two is given)",
    )  # fmt: skip
    group.add_argument(
        "--recompute", action="store_true",
        help="less memory, more time, the same numbers: the backward pass computes each layer again"
    )  # fmt: skip

    group = parser.add_argument_group("checkpoints")
    group.add_argument(
        "--resume",
        nargs="?",
        const="latest",
        metavar="CHECKPOINT",
        help="go on from the latest checkpoint of --output_dir, or from this one",
    )
    group.add_argument(
        "--resume_fallback", action="store_true", help="where the latest checkpoint is damaged, use the one before"
    )
    group.add_argument(
        "--extend", action="store_true", help="with --resume: train a finished run on to a larger --num_train_epochs"
    )
    group.add_argument(
        "--overwrite_output_dir",
        action="store_true",
        help="a new run may delete what an earlier one left in --output_dir",
    )


def add_engine_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that evaluate an exported model in the place of a checkpoint."""
    group = parser.add_argument_group("an exported model: --model_name_or_path is what export.py wrote")
    group.add_argument("--engine", choices=ENGINES, help="evaluate or predict with it")
    group.add_argument("--threads", metavar="N", type=int, help="of the engine (default: its own choice)")


def add_teacher_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of a training that learns from a fine-tuned teacher too."""
    group = parser.add_argument_group("task distillation: learn from a larger model that was fine-tuned on the task")
    group.add_argument("--teacher", metavar="MODEL", help="its checkpoint; vocabulary and classes are the student's")
    group.add_argument(
        "--student_layers", metavar="N", type=int,
        help="begin with N of the teacher's layers, evenly spaced, its embeddings and its head; give no other model",
    )  # fmt: skip
    group.add_argument(
        "--temperature", metavar="T", type=float, default=2.0,
        help="divides both logits; above 1 the teacher's small probabilities count more (default: %(default)s)",
    )  # fmt: skip
    group.add_argument(
        "--alpha", metavar="SHARE", type=float, default=0.5,
        help="share of the task's own loss; the teacher's answers have the rest (default: %(default)s)",
    )  # fmt: skip
    group.add_argument(
        "--hidden_weight", metavar="X", type=float, default=0.0,
        help="add so many times the distance of the layers' outputs; needs layers of one width (default: %(default)s)",
    )  # fmt: skip


def settings_from(args: argparse.Namespace, defaults: TrainSettings, devices: int) -> TrainSettings:
    """``defaults`` with every flag that was given, and what of the batch follows from them.

    Args:
        args: parsed.
        defaults: a recipe's; its batch is that of an update, whatever the number of devices.
        devices: processes that train.

    Raises:
        InputError: a value out of range; the message starts with the flag.
    """
    given = {item.name: getattr(args, item.name) for item in fields(TrainSettings) if hasattr(args, item.name)}
    try:
        settings = replace(defaults, **given)
    except InputError as error:
        raise InputError(f"--{error}") from None
    whole = getattr(args, "global_batch_size", None)
    if whole is None:
        if _BATCH_FLAGS & set(given):
            return settings
        whole = defaults.batch_size * defaults.gradient_accumulation_steps
    return replace(settings, **_share_batch(whole, devices, {name: given.get(name) for name in _BATCH_FLAGS}))


def _share_batch(whole: int, devices: int, given: dict[str, int | None]) -> dict[str, int]:
    """Examples of a forward pass and passes of an update, so that ``devices`` of them make an update of ``whole``."""
    batch, passes = given["batch_size"], given["gradient_accumulation_steps"]
    known = devices * (batch or 1) * (passes or 1)
    if whole < 1 or whole % known or (batch and passes and whole != known):
        factors = [f"{devices} device{'s' if devices > 1 else ''}"]
        factors += [f"`{name}={value}`" for name, value in sorted(given.items()) if value]
        raise InputError(
            f"`global_batch_size={whole}`: expected {'' if batch and passes else 'a multiple of '}{known}, "
            f"{' x '.join(factors)}; change one of them"
        )
    batch = batch or whole // known
    return {"batch_size": batch, "gradient_accumulation_steps": whole // (devices * batch)}


def plan_from(args: argparse.Namespace) -> RunPlan:
    """What the flags of every task say about model, folder and what to do.

    Raises:
        InputError: a value out of range.
    """
    names = {item.name for item in fields(RunPlan)} & set(vars(args))
    given = {name: getattr(args, name) for name in names}
    return RunPlan(**{**given, "output_dir": Path(args.output_dir), "cache_dir": args.cache_dir or None})


def start_from(args: argparse.Namespace) -> Start:
    """How the run begins in a folder that may hold an earlier one."""
    return Start(args.resume, args.resume_fallback, args.overwrite_output_dir, args.extend)
