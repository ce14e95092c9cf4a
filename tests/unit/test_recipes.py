"""The numbers that trainings begin with, against the logs of the original reproduction."""

import math
import sys
from dataclasses import replace

import numpy as np
import pytest

from mobilebert.commands import distill
from mobilebert.data.glue.tasks import TASKS
from mobilebert.tasks.recipes import QA_RECIPES, train_settings
from mobilebert.train.optim import learning_rate_at

# Learning rates in the logs of the original reproduction, by the number of updates made; 10 digits.
LOGGED_RATES = {
    "squadv1": (8304, {30: 0.0000029880, 840: 0.0000799991, 3030: 0.0000476940}),
    "squadv2": (12354, {30: 0.0000020081, 870: 0.0000564211, 10560: 0.0000011235}),
    "mnli": (36816, {30: 0.0000006737, 870: 0.0000189296, 17940: 0.0000422292}),
}


@pytest.mark.parametrize("recipe", LOGGED_RATES)
def test_the_recipes_have_the_learning_rates_of_the_original_logs(recipe):
    settings = train_settings(TASKS["mnli"]) if recipe == "mnli" else QA_RECIPES[recipe].settings
    total, logged = LOGGED_RATES[recipe]
    rates = [learning_rate_at(settings, step, total) for step in logged]
    np.testing.assert_allclose(rates, list(logged.values()), rtol=0, atol=0.51e-10)
    transformers_own = replace(settings, lr_schedule="cosine")
    others = [learning_rate_at(transformers_own, step, total) for step in logged]
    assert not np.allclose(others, list(logged.values()), rtol=0, atol=1e-9)


def test_the_annealed_cosine_ends_at_its_floor_after_the_last_update():
    settings = QA_RECIPES["squadv1"].settings
    total = 8304
    rates = [learning_rate_at(settings, step, total) for step in range(total)]
    warmup, end = math.floor(0.1 * total), math.ceil(0.7 * total)
    assert rates[0] == pytest.approx(8e-5 / warmup, rel=1e-12) and rates[warmup - 1] == max(rates) == 8e-5
    assert (
        set(rates[end - 1 :]) == {rates[-1]} and rates[-1] == pytest.approx(1e-6, rel=1e-12) and rates[end - 2] > 1e-6
    )


@pytest.mark.parametrize(
    ("words", "transfer", "total"),
    [
        ([], 500, 1500),
        (["--recipe", "paper"], 240_000, 740_000),
        (["--transfer_steps", "60", "--max_steps", "40"], 60, 100),
    ],
)
def test_a_recipe_of_distillation_has_both_lengths(monkeypatch, words, transfer, total):
    asked = []
    monkeypatch.setattr("mobilebert.tasks.run.run", lambda *arguments: asked.append(arguments))
    given = ["run_distill.py", "--teacher", "t", "--config_name", "c", "--tokenizer_name", "v", "--train_data", "d",
             "--output_dir", "o", "--do_train", *words]  # fmt: skip
    monkeypatch.setattr(sys, "argv", given)
    distill.main()
    ((task, _, settings, *_),) = asked
    assert (task.transfer.transfer_steps, settings.max_steps) == (transfer, total)
    assert task.schedule.max_steps == total - transfer


@pytest.mark.parametrize("name", [name for name in TASKS if name != "mnli"])
def test_the_other_presets_keep_transformers_cosine(name):
    assert train_settings(TASKS[name]).lr_schedule == "cosine"
