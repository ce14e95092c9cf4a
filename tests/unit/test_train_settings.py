"""Every wrong setting is refused by its name."""

import pytest

from mobilebert.base.errors import InputError
from mobilebert.train import TrainResult, TrainSettings


@pytest.mark.parametrize(
    "name, value, expected",
    [
        ("batch_size", 0, "a whole number of at least 1"),
        ("batch_size", 2.5, "a whole number of at least 1"),
        ("gradient_accumulation_steps", 0, "a whole number of at least 1"),
        ("max_steps", -1, "a whole number of at least 0"),
        ("seed", True, "a whole number of at least 0"),
        ("learning_rate", -1e-5, "a number, 0 or more"),
        ("learning_rate", float("nan"), "a number, 0 or more"),
        ("learning_rate", "fast", "a number, 0 or more"),
        ("learning_rate", 0, "a number above 0"),
        ("min_lr", 1.0, "above learning_rate=8e-05; lower min_lr"),
        ("warmup_ratio", 1.1, "a number, 0 to 1"),
        ("decay_ratio", 0, "a number above 0"),
        ("adam_beta2", 1, "a number below 1"),
        ("layerwise_lr_decay", 1.5, "a number, 0 to 1"),
        ("lr_schedule", "step", "one of cosine, cosine_annealing, linear, polynomial, constant"),
        ("amp", "fp8", "one of none, bf16, fp16"),
        ("on_nan", "ignore", "one of stop, skip"),
        ("num_train_epochs", 0, "there is nothing to train"),
        ("early_stop_patience", 3, "best_metric must name the metric to watch"),
    ],
)
def test_wrong_values_are_named(name, value, expected):
    with pytest.raises(InputError) as error:
        TrainSettings(**{name: value})
    assert str(error.value).startswith(f"{name}={value!r}"[: len(name) + 2])
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


def test_settings_come_out_of_a_larger_mapping():
    settings = TrainSettings.from_mapping({"batch_size": 8, "max_seq_length": 384, "amp": "bf16"})
    assert settings == TrainSettings(batch_size=8, amp="bf16") != TrainSettings(batch_size=8)
    assert TrainSettings(**settings.as_dict()) == settings


def test_the_result_labels_dev_selected_and_final_numbers():
    result = TrainResult(
        40, 2.0, 0.5, best_step=20, best_metrics={"f1": 90.5}, final_metrics={"f1": 89.0}, skipped_steps=1
    )
    assert result.lines("f1") == [
        "done: 40 steps, 2.00 epochs in 0 s, 1 updates skipped",
        "dev-selected (step 20, best f1): f1 90.5",
        "final checkpoint (step 40): f1 89",
    ]
