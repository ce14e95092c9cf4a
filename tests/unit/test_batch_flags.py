"""The batch of an update from --global_batch_size, --batch_size, --gradient_accumulation_steps and the devices."""

import argparse

import pytest

from mobilebert.base.errors import InputError
from mobilebert.tasks.flags import add_training_flags, settings_from
from mobilebert.train import TrainSettings

RECIPE = TrainSettings(batch_size=64)


def resolved(devices, *words):
    parser = argparse.ArgumentParser()
    add_training_flags(parser, RECIPE)
    settings = settings_from(parser.parse_args([str(word) for word in words]), RECIPE, devices)
    return settings.batch_size, settings.gradient_accumulation_steps


@pytest.mark.parametrize(
    "devices, words, expected",
    [
        (1, (), (64, 1)),
        (2, (), (32, 1)),  # a recipe's batch is that of an update
        (4, (), (16, 1)),
        (4, ("--global_batch_size", 64), (16, 1)),
        (1, ("--global_batch_size", 64, "--batch_size", 16), (16, 4)),
        (2, ("--global_batch_size", 64, "--batch_size", 16), (16, 2)),
        (2, ("--global_batch_size", 64, "--gradient_accumulation_steps", 4), (8, 4)),
        (2, ("--global_batch_size", 64, "--gradient_accumulation_steps", 2, "--batch_size", 16), (16, 2)),
        (2, ("--batch_size", 12), (12, 1)),  # who names a part and no whole gets that part
        (2, ("--gradient_accumulation_steps", 3), (64, 3)),
    ],
)
def test_what_is_not_given_follows(devices, words, expected):
    assert resolved(devices, *words) == expected


@pytest.mark.parametrize(
    "devices, words, message",
    [
        (3, (), "`global_batch_size=64`: expected a multiple of 3, 3 devices; change one of them"),
        (
            1,
            ("--global_batch_size", 64, "--batch_size", 12),
            "`global_batch_size=64`: expected a multiple of 12, 1 device x `batch_size=12`; change one of them",
        ),
        (
            2,
            ("--global_batch_size", 64, "--batch_size", 8, "--gradient_accumulation_steps", 2),
            "`global_batch_size=64`: expected 32, 2 devices x `batch_size=8` x `gradient_accumulation_steps=2`; "
            "change one of them",
        ),
        (
            1,
            ("--global_batch_size", 0),
            "`global_batch_size=0`: expected a multiple of 1, 1 device; change one of them",
        ),
    ],
)
def test_what_does_not_divide_is_refused(devices, words, message):
    with pytest.raises(InputError) as error:
        resolved(devices, *words)
    assert str(error.value) == message
