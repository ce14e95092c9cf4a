"""How each GLUE task is trained unless flags say otherwise."""

from dataclasses import dataclass

from mobilebert.data.glue.tasks import Task
from mobilebert.train.settings import TrainSettings


@dataclass(frozen=True)
class Preset:
    """What differs between tasks; lengths in tokens, ``eval_steps`` in updates."""

    learning_rate: float
    epochs: float
    batch_size: int
    warmup_ratio: float
    max_seq_length: int
    eval_steps: int


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
    "mnli": Preset(8e-5, 6, 64, 0.1, 128, 240),
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
        lr_schedule="cosine",
        min_lr=5e-7,
        decay_ratio=0.9,
        best_metric=task.metrics[0],
    )
