"""Every number that a training here begins with: recipes by name, and presets of GLUE's tasks.

A script names its recipe (``bash scripts/train_squadv1.sh`` runs ``run_squad.py --recipe squadv1``); any flag wins over
it. Lengths in tokens, ``eval_steps`` in updates.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mobilebert.data.glue.tasks import Task
from mobilebert.train.settings import TrainSettings


@dataclass(frozen=True)
class Recipe:
    """How a model is trained and reads.

    Attributes:
        settings: of the training.
        reading: fields of ``inference.source.ReadingSettings``; those that are missing have its defaults.
        caution: what is said on standard error whenever the trained model is used.
        transfer_steps: updates before those of ``settings``, where layers are transferred.
    """

    settings: TrainSettings
    reading: Mapping[str, Any] = field(default_factory=dict)
    caution: str = ""
    transfer_steps: int = 0


_SQUAD = {"max_seq_length": 384, "doc_stride": 128}
# What all trainings of a small model from random weights have in common.
_SMALL = {"adam_beta2": 0.98, "max_grad_norm": 1.0, "weight_decay": 0.01, "log_steps": 50}

QA_RECIPES: dict[str, Recipe] = {
    # The original reproduction; also what a training without a recipe does.
    "squadv1": Recipe(TrainSettings(lr_schedule="cosine_annealing"), _SQUAD),
    "squadv2": Recipe(
        TrainSettings(lr_schedule="cosine_annealing", min_lr=5e-7, decay_ratio=0.9, eval_steps=120),
        {**_SQUAD, "allow_no_answer": True, "null_score_diff_threshold": -1.5},
    ),
    # Google's code, its README and its optimizer.
    "squadv1_google": Recipe(
        TrainSettings(
            batch_size=32,
            num_train_epochs=5,
            learning_rate=4e-5,
            lr_schedule="linear",
            weight_decay=0.01,
            adam_beta2=0.999,
            max_grad_norm=1.0,
            eval_steps=500,
        ),
        _SQUAD,
    ),
    # A small model on generated passages, a minute on two cores: samples/squad/README.md.
    "quickstart": Recipe(
        TrainSettings(
            batch_size=32,
            max_steps=1000,
            learning_rate=2e-3,
            min_lr=1e-5,
            decay_ratio=1.0,
            eval_steps=250,
            save_steps=0,
            **_SMALL,
        ),
        {"max_seq_length": 96, "doc_stride": 32, "max_answer_length": 10},
        "knows only the invented places, ships and books of samples/squad; a model for trying things out",
    ),
    # A small model on some thousand real questions: scripts/distill_small.sh.
    "squad_small": Recipe(
        TrainSettings(
            batch_size=32,
            num_train_epochs=2,
            learning_rate=1e-3,
            min_lr=1e-5,
            decay_ratio=1.0,
            eval_steps=250,
            save_steps=300,
            **_SMALL,
        ),
        {"max_seq_length": 128, "doc_stride": 48, "max_answer_length": 30},
    ),
}
CLASSIFICATION_RECIPES: dict[str, Recipe] = {
    # 4 layers on SST-2 from random weights, within 20 minutes on two cores.
    "sst2_from_scratch": Recipe(
        TrainSettings(
            batch_size=64,
            num_train_epochs=2,
            learning_rate=1e-3,
            lr_schedule="linear",
            min_lr=5e-7,
            decay_ratio=0.9,
            group_by_length=True,
            eval_steps=250,
            save_steps=350,
            **{**_SMALL, "adam_beta2": 0.999},
        ),
        {"max_seq_length": 128},
    ),
    # A small model on a table of one's own, from random weights: samples/own/README.md.
    "from_scratch": Recipe(
        TrainSettings(batch_size=32, num_train_epochs=10, learning_rate=2e-3, min_lr=1e-5, decay_ratio=1.0, **_SMALL),
        {"max_seq_length": 128},
    ),
}
NER_RECIPES: dict[str, Recipe] = {
    # What fine-tuning on CoNLL-2003 usually begins with (Devlin et al. 2019, appendix A.3); not searched here.
    "ner": Recipe(
        TrainSettings(
            batch_size=32,
            num_train_epochs=5,
            learning_rate=5e-5,
            lr_schedule="linear",
            weight_decay=0.01,
            adam_beta2=0.999,
            max_grad_norm=1.0,
            eval_steps=400,
            save_steps=400,
        ),
        {"max_seq_length": 128, "doc_stride": 32},
    ),
    # A small model on generated texts, some ten seconds on two cores: samples/ner/README.md.
    "ner_sample": Recipe(
        TrainSettings(
            batch_size=16,
            max_steps=150,
            learning_rate=3e-3,
            min_lr=1e-5,
            decay_ratio=1.0,
            eval_steps=50,
            save_steps=0,
            **_SMALL,
        ),
        {"max_seq_length": 96, "doc_stride": 32},
        "knows only the generated texts of samples/ner; a model for trying things out",
    ),
}
# What Google's optimizer has in common for all of MobileBERT's pre-training.
_PRETRAIN = {"weight_decay": 0.01, "adam_beta2": 0.999, "max_grad_norm": 1.0, "lr_schedule": "polynomial"}
PRETRAIN_RECIPES: dict[str, Recipe] = {
    # A checkpoint goes on with text of one's own; a beginning, not searched here.
    "continued": Recipe(
        TrainSettings(
            batch_size=32,
            num_train_epochs=1,
            learning_rate=1e-4,
            min_lr=0.0,
            warmup_ratio=0.05,
            eval_steps=500,
            save_steps=500,
            **_PRETRAIN,
        ),
    ),
    # Google's README for MobileBERT: 500,000 steps of 2048 rows; its rate ends at 1e-4 of the peak. (Section 4.1 of
    # the paper has batches of 4096 for the teacher.) Where it warms up, Google's schedule counts from the first step,
    # so that it goes on at 98 % of the peak; here it goes on at the peak.
    "paper": Recipe(
        TrainSettings(
            batch_size=2048,
            max_steps=500_000,
            optimizer="lamb",
            learning_rate=1.5e-3,
            min_lr=1.5e-7,
            warmup_steps=10_000,
            eval_steps=10_000,
            save_steps=1_000,
            log_steps=100,
            **_PRETRAIN,
        ),
    ),
    # A small model from random weights, some minutes on two cores: scripts/pretrain_small.sh.
    "pretrain_small": Recipe(
        TrainSettings(
            batch_size=32,
            max_steps=1000,
            learning_rate=1e-3,
            min_lr=1e-5,
            eval_steps=250,
            save_steps=250,
            log_steps=50,
            **_PRETRAIN,
        ),
    ),
}

# Of run_distill.py: transfer (240,000 steps are Google's and the paper's), then pre-training distillation.
DISTILL_RECIPES: dict[str, Recipe] = {
    "paper": replace(PRETRAIN_RECIPES["paper"], transfer_steps=240_000),
    "distill_small": replace(PRETRAIN_RECIPES["pretrain_small"], transfer_steps=500),
}


@dataclass(frozen=True)
class Preset:
    """What differs between tasks; lengths in tokens, ``eval_steps`` in updates."""

    learning_rate: float
    epochs: float
    batch_size: int
    warmup_ratio: float
    max_seq_length: int
    eval_steps: int
    lr_schedule: str = "cosine"


# MNLI is the recipe of the original reproduction. The others are starting points within the ranges that the paper
# searched (section 4.3: learning rate 1e-5 to 1e-4, batch 16 to 48, 2 to 10 epochs), with an evaluation about every
# half epoch on small tasks; they have not been searched here.
PRESETS: dict[str, Preset] = {
    #              lr  epochs batch warm-up length eval_steps
    "cola": Preset(5e-5, 10, 32, 0.1, 64, 130),
    "sst2": Preset(5e-5, 5, 48, 0.1, 64, 350),
    "mrpc": Preset(5e-5, 10, 32, 0.1, 128, 60),
    "stsb": Preset(5e-5, 10, 32, 0.1, 128, 90),
    "qqp":  Preset(8e-5, 5, 48, 0.1, 128, 1900),
    "mnli": Preset(8e-5, 6, 64, 0.1, 128, 240, "cosine_annealing"),
    "qnli": Preset(5e-5, 5, 48, 0.1, 128, 550),
    "rte":  Preset(5e-5, 10, 16, 0.1, 256, 80),
    "wnli": Preset(1e-5, 5, 16, 0.1, 128, 20),
}  # fmt: skip
OWN_TASK = Preset(5e-5, 5, 32, 0.1, 128, 200)


def preset_of(task: Task) -> Preset:
    """The task's row of the table, or the row for a task of one's own."""
    return PRESETS.get(task.name, OWN_TASK)


def train_settings(task: Task) -> TrainSettings:
    """The task's preset; what is the same for all tasks is the original's MNLI recipe."""
    preset = preset_of(task)
    return TrainSettings(
        learning_rate=preset.learning_rate,
        num_train_epochs=preset.epochs,
        batch_size=preset.batch_size,
        warmup_ratio=preset.warmup_ratio,
        eval_steps=preset.eval_steps,
        save_steps=preset.eval_steps,
        lr_schedule=preset.lr_schedule,
        min_lr=5e-7,
        decay_ratio=0.9,
        best_metric=task.metrics[0],
    )


def recipe_of(task: Task, name: str | None = None) -> Recipe:
    """A recipe for texts and pairs: the named one, or the task's preset."""
    if name is not None:
        return CLASSIFICATION_RECIPES[name]
    return Recipe(train_settings(task), {"max_seq_length": preset_of(task).max_seq_length})


def own_recipe(task: Task, rows: int, name: str | None = None) -> Recipe:
    """``recipe_of`` for a table of one's own: unless the recipe is named after data of its own, it is evaluated and
    saved about every half epoch.

    Args:
        task: of one's own.
        rows: of the train file.
        name: of a recipe.
    """
    recipe = recipe_of(task, name)
    if name not in (None, "from_scratch"):
        return recipe
    half = min(2000, max(20, rows // (2 * recipe.settings.batch_size)))
    return replace(recipe, settings=replace(recipe.settings, eval_steps=half, save_steps=half))
