"""LAMB against the paper's formulas in NumPy, its guards, its state in a checkpoint."""

import numpy as np
import paddle
import pytest

from mobilebert.train import TrainSettings
from mobilebert.train.optim import build_optimizer, load_optimizer_arrays, optimizer_arrays

SETTINGS = TrainSettings(optimizer="lamb", weight_decay=0.013, adam_beta2=0.999)
BETA1, BETA2, EPSILON = SETTINGS.adam_beta1, SETTINGS.adam_beta2, SETTINGS.adam_epsilon


class Small(paddle.nn.Layer):
    """A matrix, a bias, and an embedding that is a matrix too."""

    def __init__(self, dtype="float64"):
        super().__init__()
        for name, shape in (("weight", [7, 5]), ("bias", [5]), ("table", [11, 3])):
            setattr(self, name, self.create_parameter(shape, dtype=dtype))


def gradients(model, rng):
    """Of all sizes."""
    return {n: rng.normal(size=p.shape) * 10.0 ** rng.uniform(-9, 1, p.shape) for n, p in model.named_parameters()}


def reference(values, steps, rates, corrects=True, adapts=lambda value: value.ndim > 1):
    """Algorithm 2 of You et al. 2020 with phi(z) = z, written from the paper; ``steps`` of gradients by name."""
    w = {name: value.copy() for name, value in values.items()}
    m, v = ({name: np.zeros_like(value) for name, value in values.items()} for _ in range(2))
    for t, (g, rate) in enumerate(zip(steps, rates, strict=True), 1):
        for name in w:
            m[name] = BETA1 * m[name] + (1 - BETA1) * g[name]
            v[name] = BETA2 * v[name] + (1 - BETA2) * g[name] ** 2
            c1, c2 = (1 - BETA1**t, 1 - BETA2**t) if corrects else (1.0, 1.0)
            r = (m[name] / c1) / (np.sqrt(v[name] / c2) + EPSILON)
            if adapts(w[name]):
                r = r + SETTINGS.weight_decay * w[name]
                r = r * np.linalg.norm(w[name]) / np.linalg.norm(r)
            w[name] = w[name] - rate * r
    return w


def both(**options):
    rng = np.random.default_rng(0)
    model = Small()
    values = {name: rng.normal(size=p.shape) for name, p in model.named_parameters()}
    steps = [gradients(model, rng) for _ in range(50)]
    rates = [0.02 * (step + 1) / 50 for step in range(50)]
    for name, p in model.named_parameters():
        p.set_value(values[name])
    optimizer = build_optimizer(model, SETTINGS)
    for step, rate in zip(steps, rates, strict=True):
        optimizer.set_lr(rate)
        for name, p in model.named_parameters():
            p.grad = paddle.to_tensor(step[name])
        optimizer.step()
    expected = reference(values, steps, rates, **options)
    return max(np.abs(p.numpy() - expected[name]).max() for name, p in model.named_parameters())


def test_lamb_equals_the_papers_formulas_over_50_steps():
    error = both()
    print(f"largest difference {error:.1e}")
    assert error < 1e-10


@pytest.mark.parametrize(
    "other", [{"corrects": False}, {"adapts": lambda value: True}, {"adapts": lambda value: False}]
)
def test_other_formulas_are_noticed(other):
    """Negative control: Google's moments without correction; biases with decay and ratio; no ratio at all."""
    assert both(**other) > 1e-4


def test_a_matrix_of_zeros_and_a_rate_of_zero_are_no_division_by_zero():
    model = Small()
    optimizer = build_optimizer(model, SETTINGS)
    before = {name: p.numpy() for name, p in model.named_parameters()}
    model.table.set_value(paddle.zeros_like(model.table))
    for rate in (0.0, 0.1):
        optimizer.set_lr(rate)
        for p in (model.weight, model.table):
            p.grad = paddle.ones_like(p)
        optimizer.step()
        if rate == 0:
            assert np.array_equal(model.weight.numpy(), before["weight"])
    # The ratio of a norm of 0 is 1: Adam's step.
    np.testing.assert_allclose(model.table.numpy(), -0.1, rtol=1e-5)
    assert np.isfinite(model.weight.numpy()).all() and np.array_equal(model.bias.numpy(), before["bias"])


def test_without_decay_the_ratio_stays():
    """What ``paddle.optimizer.Lamb`` drops."""
    model = Small()
    optimizer = build_optimizer(model, TrainSettings(optimizer="lamb", weight_decay=0.0))
    before = model.weight.numpy()
    model.weight.grad = paddle.to_tensor(np.random.default_rng(1).normal(size=[7, 5]))
    optimizer.set_lr(0.01)
    optimizer.step()
    np.testing.assert_allclose(np.linalg.norm(model.weight.numpy() - before), 0.01 * np.linalg.norm(before), rtol=1e-9)


def test_layers_have_their_own_rates():
    models = [Small() for _ in range(2)]
    depths = {"weight": 2, "table": 2, "bias": 2}
    models[1].set_state_dict(models[0].state_dict())
    for model, decay, rate in zip(models, (0.5, 1.0), (0.4, 0.1), strict=True):
        optimizer = build_optimizer(
            model, TrainSettings(optimizer="lamb", layerwise_lr_decay=decay), depth_of=depths.__getitem__
        )
        optimizer.set_lr(rate)
        for name, p in model.named_parameters():
            p.grad = paddle.to_tensor(gradients(model, np.random.default_rng(2))[name])
        optimizer.step()
    for a, b in zip(*(model.parameters() for model in models), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-12)


def test_its_state_goes_through_a_checkpoint_bit_for_bit():
    one, other = Small("float32"), Small("float32")
    rng = np.random.default_rng(3)
    first, second = build_optimizer(one, SETTINGS), build_optimizer(other, SETTINGS)
    steps = [gradients(one, rng) for _ in range(4)]

    def move(model, optimizer, step):
        for name, p in model.named_parameters():
            p.grad = paddle.to_tensor(step[name].astype("float32"))
        optimizer.step()

    for step in steps[:3]:
        move(one, first, step)
    arrays = optimizer_arrays(one, first)
    assert sorted(arrays)[:2] == ["bias/beta1_pow", "bias/beta2_pow"]
    other.set_state_dict(one.state_dict())
    load_optimizer_arrays(other, second, arrays)
    for model, optimizer in ((one, first), (other, second)):
        move(model, optimizer, steps[3])
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert np.array_equal(a.numpy(), b.numpy())
