"""Schedules against transformers, AdamW against torch, norms and the loss scale."""

import math

import numpy as np
import paddle
import pytest
import torch
import transformers

from mobilebert.base.errors import InputError
from mobilebert.train import TrainSettings
from mobilebert.train.optim import (
    LossScaler,
    build_optimizer,
    check_amp,
    clip_factor,
    global_norm,
    learning_rate_at,
    load_optimizer_arrays,
    optimizer_arrays,
)

STEPS, WARMUP, PEAK = 37, 5, 3e-4


def reference_rates(make):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=PEAK)
    scheduler, rates = make(optimizer), []
    for _ in range(STEPS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


REFERENCES = {
    "linear": (
        {},
        lambda o: transformers.get_linear_schedule_with_warmup(o, WARMUP, STEPS),
    ),
    "cosine": (
        {"min_lr": 0.0, "decay_ratio": 1.0},
        lambda o: transformers.get_cosine_schedule_with_warmup(o, WARMUP, STEPS),
    ),
    "polynomial": (
        {"min_lr": 1e-6, "lr_power": 2.0},
        lambda o: transformers.get_polynomial_decay_schedule_with_warmup(o, WARMUP, STEPS, lr_end=1e-6, power=2.0),
    ),
    "constant": ({}, lambda o: transformers.get_constant_schedule_with_warmup(o, WARMUP)),
}


@pytest.mark.parametrize("name", REFERENCES)
def test_schedules_equal_transformers(name):
    extra, make = REFERENCES[name]
    settings = TrainSettings(lr_schedule=name, learning_rate=PEAK, warmup_steps=WARMUP, **extra)
    rates = [learning_rate_at(settings, step, STEPS) for step in range(STEPS)]
    np.testing.assert_allclose(rates, reference_rates(make), rtol=1e-12, atol=1e-19)
    other = TrainSettings(lr_schedule=name, learning_rate=PEAK, warmup_steps=WARMUP + 1, **extra)
    assert not np.allclose([learning_rate_at(other, step, STEPS) for step in range(STEPS)], rates, rtol=1e-6, atol=0)


def test_cosine_reaches_its_floor_where_the_recipe_says_and_stays():
    settings = TrainSettings(learning_rate=8e-5, min_lr=1e-6, decay_ratio=0.7, warmup_ratio=0.1)
    total = 8304  # SQuAD v1.1: 88,524 features in batches of 64, 6 epochs
    rates = [learning_rate_at(settings, step, total) for step in range(total)]
    warmup, end = math.ceil(0.1 * total), math.ceil(0.7 * total)
    assert rates[0] == 0.0 and rates[warmup] == 8e-5 and max(rates) == 8e-5
    assert rates[end] == 1e-6 and set(rates[end:]) == {1e-6} and rates[end - 1] > 1e-6
    assert rates[(warmup + end) // 2] == pytest.approx((8e-5 + 1e-6) / 2, rel=1e-3)
    assert all(a > b for a, b in zip(rates[warmup:end], rates[warmup + 1 : end + 1], strict=True))


def test_a_warmup_longer_than_the_decay_does_not_divide_by_zero():
    settings = TrainSettings(warmup_ratio=1.0, decay_ratio=0.5)
    assert all(math.isfinite(learning_rate_at(settings, step, 10)) for step in range(10))
    assert learning_rate_at(TrainSettings(warmup_ratio=0.0), 0, 1) == 8e-5


class Small(paddle.nn.Layer):
    def __init__(self, dtype="float64"):
        super().__init__()
        for name, shape in (("weight", [7, 5]), ("bias", [5]), ("table", [11, 3])):
            setattr(self, name, self.create_parameter(shape, dtype=dtype))


def both_adamw(decay_the_bias=False):
    """50 steps of ours and torch's AdamW on the same gradients of very different sizes, in float64."""
    rng = np.random.default_rng(0)
    model = Small()
    values = {name: rng.normal(size=p.shape) for name, p in model.named_parameters()}
    settings = TrainSettings(learning_rate=5e-3)
    twins = {name: torch.nn.Parameter(torch.tensor(value)) for name, value in values.items()}
    groups = [
        {"params": [twins["weight"], twins["table"]], "weight_decay": 0.1},
        {"params": [twins["bias"]], "weight_decay": 0.1 if decay_the_bias else 0.0},
    ]
    theirs = torch.optim.AdamW(groups, betas=(0.9, 0.98), eps=1e-6)
    for name, p in model.named_parameters():
        p.set_value(values[name])
    ours = build_optimizer(model, settings)
    for step in range(50):
        rate = learning_rate_at(settings, step, 50)
        for group in theirs.param_groups:
            group["lr"] = rate
        ours.set_lr(rate)
        for name, p in model.named_parameters():
            gradient = rng.normal(size=p.shape) * 10.0 ** rng.uniform(-9, 1, size=p.shape)
            p.grad, twins[name].grad = paddle.to_tensor(gradient), torch.tensor(gradient)
        ours.step()
        theirs.step()
    return {name: (p.numpy(), twins[name].detach().numpy()) for name, p in model.named_parameters()}


def test_adamw_equals_torch_over_50_steps_in_float64():
    for ours, theirs in both_adamw().values():
        np.testing.assert_allclose(ours, theirs, rtol=1e-8)
    ours, theirs = both_adamw(decay_the_bias=True)["bias"]  # negative control
    assert np.abs(ours / theirs - 1).max() > 1e-6


def test_weight_decay_spares_what_the_predicate_names():
    model = Small("float32")
    for p in model.parameters():
        p.set_value(paddle.ones_like(p))
        p.grad = paddle.zeros_like(p)
    optimizer = build_optimizer(model, TrainSettings(weight_decay=0.1), no_decay=lambda name, p: name == "table")
    optimizer.set_lr(1.0)
    optimizer.step()
    assert {name: round(float(p.mean()), 6) for name, p in model.named_parameters()} == {
        "weight": 0.9,
        "bias": 0.9,
        "table": 1.0,
    }


def test_layerwise_decay_scales_the_update_of_each_depth():
    model = Small("float32")
    before = {name: p.numpy() for name, p in model.named_parameters()}
    for p in model.parameters():
        p.grad = paddle.ones_like(p)
    depths = {"weight": 0, "bias": 1, "table": 3}
    settings = TrainSettings(weight_decay=0.0, layerwise_lr_decay=0.5)
    optimizer = build_optimizer(model, settings, depth_of=depths.__getitem__)
    optimizer.set_lr(1e-2)
    optimizer.step()
    moved = {name: float(np.abs(p.numpy() - before[name]).mean()) for name, p in model.named_parameters()}
    for name, depth in depths.items():
        assert moved[name] == pytest.approx(1e-2 * 0.5**depth, rel=1e-3)
    with pytest.raises(InputError, match="this model gives no layer depths"):
        build_optimizer(model, settings)


def test_a_frozen_model_is_refused():
    model = Small("float32")
    for p in model.parameters():
        p.stop_gradient = True
    with pytest.raises(InputError, match="no trainable parameter"):
        build_optimizer(model, TrainSettings())


def test_optimizer_state_survives_under_the_models_own_names():
    rng = np.random.default_rng(1)
    gradients = [{n: rng.normal(size=p.shape) for n, p in Small().named_parameters()} for _ in range(4)]

    def steps(model, optimizer, some):
        for gradient in some:
            for name, p in model.named_parameters():
                p.grad = paddle.to_tensor(gradient[name]) if name != "table" else None
            optimizer.step()

    one = Small()
    first = build_optimizer(one, TrainSettings())
    steps(one, first, gradients[:2])
    arrays = optimizer_arrays(one, first)
    assert sorted({name.split("/")[0] for name in arrays}) == ["bias", "weight"]  # the table never had a gradient
    other = Small()  # its Paddle names differ
    other.set_state_dict(one.state_dict())
    second = build_optimizer(other, TrainSettings())
    load_optimizer_arrays(other, second, arrays)
    steps(one, first, gradients[2:])
    steps(other, second, gradients[2:])
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert np.array_equal(a.numpy(), b.numpy())


@pytest.mark.parametrize(("shape", "dtype"), [([7], "float64"), ([], "float64"), ([7, 5], "float32")])
def test_optimizer_state_of_another_model_is_refused(shape, dtype):
    model = Small()
    with pytest.raises(InputError, match=r"another model \(weight/moment2 is .* there, float64 \[7, 5\] here\)"):
        load_optimizer_arrays(model, build_optimizer(model, TrainSettings()), {"weight/moment2": np.ones(shape, dtype)})


def test_norm_and_clipping_equal_torch():
    rng = np.random.default_rng(2)
    arrays = [rng.normal(size=shape).astype("float32") for shape in ((3, 4), (7,), (1,))]
    norm = global_norm([paddle.to_tensor(array) for array in arrays]).tolist()[0]
    twins = [torch.nn.Parameter(torch.tensor(array)) for array in arrays]
    for twin, array in zip(twins, arrays, strict=True):
        twin.grad = torch.tensor(array)
    assert norm == pytest.approx(float(torch.nn.utils.clip_grad_norm_(twins, 0.5)), rel=1e-6)
    np.testing.assert_allclose(arrays[0] * clip_factor(norm, 0.5), twins[0].grad.numpy(), rtol=1e-6)
    assert clip_factor(0.4, 0.5) == 1.0 and clip_factor(1e9, 0.0) == 1.0
    assert not np.isfinite(global_norm([paddle.to_tensor([1.0, float("nan")])]).tolist()[0])


def test_loss_scale_halves_on_overflow_and_doubles_after_a_good_stretch():
    scaler = LossScaler(enabled=True, scale=8.0, growth_interval=3)
    scaler.update(overflow=True)
    assert scaler.scale == 4.0
    for _ in range(3):
        scaler.update(overflow=False)
    assert scaler.scale == 8.0
    other = LossScaler(enabled=True)
    other.load(scaler.state())
    assert other.state() == scaler.state() == {"scale": 8.0, "good_steps": 0}
    off = LossScaler(enabled=False)
    off.update(overflow=True)
    assert off.scale == 1.0 and not off.can_shrink


@pytest.mark.skipif(paddle.device.get_device() != "cpu", reason="on a GPU autocast works")
@pytest.mark.parametrize("amp", ["bf16", "fp16"])
def test_a_cpu_refuses_autocast(amp):
    with pytest.raises(
        InputError, match=f"amp={amp}: Paddle cannot autocast to {amp} on this device .cpu.; use amp=none"
    ):
        check_amp(amp)
    check_amp("none")
