"""Half precision where the residual stream reaches 1e7.

All of this is an EMULATION. Paddle's CPU build has no float16 or bfloat16 ``matmul`` and its ``auto_cast`` does nothing
there, so nothing below ran on a device. What O1 autocast does is imitated: while the tracer's own autocast state says
O1, ``F.linear`` and ``paddle.matmul`` round their operands to the half type (beyond 65504 float16 is infinite), add up
in float32 and round the result, and their backwards do the same with gradients; whatever carries float16 tensors is
treated alike, autocast or not. Everything else runs in float32, as O1's grey operations do beside a float32 operand;
a grey operation on a half result alone (a ReLU, the scores times 1 / sqrt(d)) is not rounded again.
"""

from contextlib import contextmanager, nullcontext

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from paddle.autograd import PyLayer
from paddle.base import core
from paddle.base.framework import _dygraph_tracer
from support.models import SIZES, random_values

from mobilebert.accel import dispatch
from mobilebert.base.errors import InputError
from mobilebert.model import precision
from mobilebert.model.config import MobileBertConfig
from mobilebert.model.heads import HEADS
from mobilebert.train import TrainSettings, loop, train
from mobilebert.train.optim import LossScaler

HALF = {"bf16": "bfloat16", "fp16": "float16"}
FLOAT16_MAX = 65504
paddle_matmul, paddle_linear = paddle.matmul, F.linear


# ---- the emulation ----


def rounded(tensor, dtype):
    """The nearest values of ``dtype``, held in float32."""
    return tensor.astype(dtype).astype("float32")


class HalfMatmul(PyLayer):
    """A matmul kernel of a half type with float32 sums, and its gradient kernel."""

    @staticmethod
    def forward(ctx, left, right, transpose_y, dtype):
        ctx.transpose_y, ctx.dtype = transpose_y, dtype
        left, right = rounded(left, dtype), rounded(right, dtype)
        ctx.save_for_backward(left, right)
        ctx.wanted = [not operand.stop_gradient for operand in (left, right)]
        return rounded(paddle_matmul(left, right, transpose_y=transpose_y), dtype)

    @staticmethod
    def backward(ctx, gradient):
        left, right = ctx.saved_tensor()
        gradient = rounded(gradient, ctx.dtype)
        d_left = paddle_matmul(gradient, right, transpose_y=not ctx.transpose_y)
        if right.ndim < left.ndim:
            left, gradient = left.flatten(0, -2), gradient.flatten(0, -2)
        d_right = paddle_matmul(left, gradient, transpose_x=True)
        d_right = d_right.swapaxes(-1, -2) if ctx.transpose_y else d_right
        return rounded(d_left, ctx.dtype), rounded(d_right, ctx.dtype)


def half_type(*operands):
    """The type in which a product of these runs."""
    if all(operand.dtype == paddle.float16 for operand in operands):
        return "float16"
    return paddle.get_autocast_dtype() if paddle.is_autocast_enabled() else None


def emulated_matmul(left, right, transpose_y=False):
    dtype = half_type(left, right)
    if dtype is None:
        return paddle_matmul(left, right, transpose_y=transpose_y)
    product = HalfMatmul.apply(left, right, transpose_y, dtype)
    return product.astype(left.dtype)


def emulated_linear(x, weight, bias=None, name=None):
    dtype = half_type(x, weight)
    if dtype is None:
        return paddle_linear(x, weight, bias)
    return rounded(HalfMatmul.apply(x, weight, False, dtype) + rounded(bias, dtype), dtype)


@pytest.fixture(autouse=True)
def emulation(monkeypatch):
    monkeypatch.setattr(paddle, "matmul", emulated_matmul)
    monkeypatch.setattr(F, "linear", emulated_linear)


@contextmanager
def autocast(amp):
    """Set the state that ``paddle.amp.auto_cast`` sets on a GPU, for None off; the products are ours: empty lists."""
    tracer = _dygraph_tracer()
    before = tracer._amp_level, tracer._amp_dtype, tracer._get_amp_op_list()
    tracer._amp_level, tracer._amp_dtype = (core.AmpLevel.O1, HALF[amp]) if amp else (core.AmpLevel.O0, before[1])
    tracer._set_amp_op_list(set(), set())
    try:
        yield
    finally:
        tracer._amp_level, tracer._amp_dtype = before[:2]
        tracer._set_amp_op_list(*before[2])


@pytest.fixture
def unscaled(monkeypatch):
    """Plain autocast: what would happen without precision.py."""
    monkeypatch.setattr(precision, "needs_scaling", lambda *operands: False)


# ---- a model like the released one ----

BATCH, LENGTH = 3, 12


def large_model(head, **config):
    """[CLS] starts 1e4 times the other tokens; each layer multiplies the stream by about 50; inside it is moderate."""
    paddle.seed(0)
    model = HEADS[head](MobileBertConfig.from_dict({**SIZES, "hidden_dropout_prob": 0.0, **config}))
    generator = np.random.default_rng(1)
    for name, parameter in model.named_parameters():
        value = random_values(name, tuple(parameter.shape), generator).astype("float32")
        if "output.bottleneck.LayerNorm.weight" in name:
            value *= 50
        elif "bottleneck" in name and "output" not in name and name.endswith("LayerNorm.weight"):
            value *= 1e-4  # into the bottleneck
        elif name.endswith("position_embeddings.weight"):
            value[0] *= 1e4
        elif name.startswith(("classifier.", "qa_outputs.", "mobilebert.pooler.")) and name.endswith("weight"):
            value *= 1e-6
        parameter.set_value(value)
    model.eval()
    return model


def batch(head):
    generator = np.random.default_rng(2)
    mask = np.ones([BATCH, LENGTH], "int64")
    mask[1, 8:] = 0
    values = {"input_ids": generator.integers(5, 97, [BATCH, LENGTH]), "attention_mask": mask}
    if head == "question-answering":
        values |= {"start_positions": np.array([0, 3, 5]), "end_positions": np.array([1, 0, 7])}
    else:
        values["labels"] = np.array([0, 1, 1])
    return {name: paddle.to_tensor(value) for name, value in values.items()}


def measure(head, amp, recompute=False, **config):
    """Hidden states, loss and gradients of one step, loss scaling as in the training loop."""
    model, scaler = large_model(head, **config), LossScaler(enabled=amp == "fp16")
    model.set_recompute(recompute)
    with autocast(amp) if amp else nullcontext():
        output = model(**batch(head), output_hidden_states=True)
    (output.loss * scaler.scale).backward()
    gradients = {n: p.grad.numpy() / scaler.scale for n, p in model.named_parameters() if p.grad is not None}
    assert all(tensor.dtype == paddle.float32 for tensor in (*output.hidden_states, output.loss))
    return [tensor.numpy() for tensor in output.hidden_states], output.loss.item(), gradients


def worst(values, expected):
    """Largest error of any row, relative to the row's largest value."""
    scale = np.abs(expected).max(axis=-1, keepdims=True)
    return (np.abs(values - expected) / scale).max()


def gradient_errors(gradients, expected):
    """Errors of the backbone's gradients relative to their norm: as one vector, and of the worst parameter.

    Of the parameters those count whose gradient is no less than 1e-3 of all: some are 0 but for rounding (a key's
    bias moves all scores of a row alike).
    """
    assert gradients.keys() == expected.keys()
    backbone = [name for name in expected if ".encoder." in name or ".embeddings." in name]
    differences = {name: np.linalg.norm(gradients[name] - expected[name]) for name in backbone}
    norms = {name: np.linalg.norm(expected[name]) for name in backbone}
    total = np.linalg.norm(list(norms.values()))
    worst_of_all = max(differences[name] / norms[name] for name in backbone if norms[name] > 1e-3 * total)
    return np.linalg.norm(list(differences.values())) / total, worst_of_all


def is_finite(hidden_states, loss, gradients):
    return all(np.isfinite(value).all() for value in (*hidden_states, loss, *gradients.values()))


# ---- tests ----

CASES = [
    ("sequence-classification", {}),
    ("sequence-classification", {"use_bottleneck_attention": True}),
    ("sequence-classification", {"classifier_activation": True}),
    ("question-answering", {}),
]
# Hidden states and loss; all gradients; the worst gradient. bfloat16 has 8 bits, float16 11. The largest errors were
# 1.2e-2, 5.7e-2, 8.4e-2 and 1.0e-3, 1.8e-2, 1.8e-2; without the pooler's tanh all gradients had 2.7e-2 and 3.3e-3.
TOLERANCES = {"bf16": (2e-2, 1e-1, 1.5e-1), "fp16": (2e-3, 3e-2, 3e-2)}


@pytest.mark.parametrize(("head", "config"), CASES)
@pytest.mark.parametrize("amp", HALF)
def test_half_precision_is_finite_and_close_to_float32(amp, head, config):
    expected = measure(head, None, **config)
    stream = expected[0][-1]
    assert np.abs(stream[:, 0]).max() > 1e7
    assert np.abs(stream[:, 1:]).max() < np.abs(stream[:, 0]).max() / 50  # [CLS] is far above the others
    hidden_states, loss, gradients = measure(head, amp, **config)
    assert is_finite(hidden_states, loss, gradients)
    close, all_gradients, one_gradient = TOLERANCES[amp]
    assert max(worst(*pair) for pair in zip(hidden_states, expected[0], strict=True)) < close
    assert loss == pytest.approx(expected[1], rel=close)
    total_error, worst_error = gradient_errors(gradients, expected[2])
    assert total_error < all_gradients
    assert worst_error < one_gradient
    # It was half precision: float32 alone would be far closer.
    assert worst(hidden_states[-1], expected[0][-1]) > 1e-5


@pytest.mark.parametrize(("head", "config"), CASES)
def test_plain_float16_autocast_is_not_finite(unscaled, head, config):
    hidden_states, _, gradients = measure(head, "fp16", **config)
    assert not np.isfinite(hidden_states[-1]).all()
    assert not is_finite([], 0.0, gradients)


@pytest.mark.parametrize("amp", HALF)
def test_layers_computed_again_are_computed_in_the_same_precision(amp, monkeypatch):
    def auto_cast(enable=True, custom_white_list=None, custom_black_list=None, level="O1", dtype="float16"):
        assert level == "O1"
        return autocast(next(name for name, half in HALF.items() if half == dtype) if enable else None)

    monkeypatch.setattr(paddle.amp, "auto_cast", auto_cast)  # as Paddle calls it when it computes again
    expected = measure("question-answering", amp)
    hidden_states, loss, gradients = measure("question-answering", amp, recompute=True)
    assert loss == expected[1] and all(map(np.array_equal, hidden_states, expected[0]))
    assert gradients.keys() == expected[2].keys()
    assert all(np.array_equal(gradients[name], expected[2][name]) for name in gradients)
    # Negative control: in float32 they are other gradients.
    monkeypatch.setattr(paddle.amp, "auto_cast", lambda *_, **__: autocast(None))
    other = measure("question-answering", amp, recompute=True)[2]
    assert not all(np.array_equal(other[name], expected[2][name]) for name in gradients)


def rows(*shape, seed):
    """Normal values in rows from 1e-3 to 1e7."""
    generator = np.random.default_rng(seed)
    return generator.normal(size=shape) * 10.0 ** np.linspace(-3, 7, shape[-2])[:, None]


SHAPES = [((9, 6), (6, 5)), ((2, 3, 9, 6), (2, 3, 6, 5))]


@pytest.mark.parametrize(("left", "right"), SHAPES)
def test_the_scaled_product_and_its_gradients(left, right):
    left, right = rows(*left, seed=0), rows(*right, seed=1)
    gradient = rows(*left.shape[:-1], right.shape[-1], seed=2)[..., ::-1, :].copy()
    operands = [paddle.to_tensor(value.astype("float32"), stop_gradient=False) for value in (left, right)]
    with autocast("fp16"):
        product = precision.matmul(*operands)
    product.backward(paddle.to_tensor(gradient.astype("float32")))
    expected = [
        (product, left @ right, np.abs(left) @ np.abs(right)),
        (operands[0].grad, gradient @ right.swapaxes(-1, -2), np.abs(gradient) @ np.abs(right.swapaxes(-1, -2))),
        (operands[1].grad, left.swapaxes(-1, -2) @ gradient, np.abs(left.swapaxes(-1, -2)) @ np.abs(gradient)),
    ]
    for value, exact, terms in expected:
        # Relative to the sum of the terms' sizes, the largest of the row: what float16 operands can give.
        assert (np.abs(value.numpy() - exact) / terms.max(axis=-1, keepdims=True)).max() < 2e-3
    assert np.abs(left @ right).max() > 1e3 * FLOAT16_MAX


def test_the_transposed_product_is_the_same():
    left, right = (paddle.to_tensor(rows(2, 4, 7, 6, seed=seed).astype("float32")) for seed in (0, 1))
    with autocast("fp16"):
        transposed = precision.matmul(left, right, transpose_y=True)
        plain = precision.matmul(left, right.swapaxes(-1, -2))
    assert transposed.shape == [2, 4, 7, 7]
    np.testing.assert_array_equal(transposed.numpy(), plain.numpy())


def test_a_small_probability_of_a_large_value_counts():
    # 1e-9 is 0 in float16; times the value of [CLS] it is a tenth of the sum.
    probabilities, values = paddle.to_tensor([[1.0, 1e-9]]), paddle.to_tensor([[1.0], [1e8]])
    with autocast("fp16"):
        assert precision.matmul(probabilities, values).item() == pytest.approx(1.1, rel=1e-3)


def test_rows_of_zeros_and_what_is_really_infinite():
    left = paddle.to_tensor([[0.0, 0.0], [1.0, 1.0], [float("inf"), 1.0]])
    with autocast("fp16"):
        product = precision.matmul(left, paddle.to_tensor([[1.0, 0.0], [2.0, 0.0]])).numpy()
    np.testing.assert_allclose(product[:2], [[0, 0], [3, 0]], rtol=1e-3)
    assert not np.isfinite(product[2]).any()  # an overflow of float32 is not hidden


def test_frozen_operands_get_no_gradient():
    layer = precision.Linear(6, 5)
    layer.weight.stop_gradient = True
    inputs = paddle.randn([2, 3, 6])
    inputs.stop_gradient = False
    with autocast("fp16"):
        layer(inputs).sum().backward()
    assert layer.weight.grad is None
    np.testing.assert_allclose(inputs.grad.numpy()[0, 0], layer.weight.numpy().sum(axis=1), atol=2e-3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_without_autocast_the_products_are_paddles_own(monkeypatch, dtype):
    monkeypatch.setattr(precision._ScaledProduct, "apply", None)
    layer = precision.Linear(6, 5).to(dtype=dtype)
    inputs = paddle.randn([2, 3, 6]).astype(dtype)
    np.testing.assert_array_equal(layer(inputs).numpy(), paddle_linear(inputs, layer.weight, layer.bias).numpy())
    expected = paddle_matmul(inputs, inputs, transpose_y=True).numpy()
    np.testing.assert_array_equal(precision.matmul(inputs, inputs, transpose_y=True).numpy(), expected)


def test_scaling_follows_paddles_own_state():
    single, double = paddle.ones([2, 2]), paddle.ones([2, 2], "float64")
    assert not precision.needs_scaling(single)
    with autocast("fp16"):
        assert precision.needs_scaling(single)
        assert not precision.needs_scaling(single, double)  # Paddle casts no float64
        with paddle.amp.auto_cast(enable=False):  # as the heads do
            assert not precision.needs_scaling(single)
    with autocast("bf16"):
        assert not precision.needs_scaling(single)
    assert not precision.needs_scaling(single)


@pytest.mark.parametrize("amp", HALF)
def test_the_fast_path_stands_back_under_autocast(monkeypatch, amp):
    model = large_model("sequence-classification")
    hidden = paddle.ones([1, 4, SIZES["hidden_size"]])
    layer = model.mobilebert.encoder.layer[0]
    assert dispatch.supports(layer, hidden)
    with autocast(amp):
        assert not dispatch.supports(layer, hidden)
    calls = []
    monkeypatch.setattr(dispatch, "encoder_layer", lambda layer, hidden, bias: calls.append(layer) or hidden)
    with autocast(amp):
        model(**batch("sequence-classification"))
    assert not calls
    model(**batch("sequence-classification"))
    assert len(calls) == 2


# ---- the training loop ----


class TrainSet:
    """``batch`` of this file, one row an example."""

    def __init__(self, head):
        self.arrays = {name: tensor.numpy() for name, tensor in batch(head).items()}
        self.lengths = self.arrays["attention_mask"].sum(axis=1)

    def __len__(self):
        return BATCH

    def batch(self, indices):
        return {name: array[indices] for name, array in self.arrays.items()}

    def example_ids(self, indices):
        return [str(index) for index in indices]


@pytest.fixture
def loop_losses(monkeypatch, tmp_path):
    """Losses of a run through ``train`` whose autocast is the emulated one."""
    monkeypatch.setattr("mobilebert.train.run.check_amp", lambda amp: None)
    monkeypatch.setattr(loop, "autocast", lambda amp: nullcontext if amp == "none" else lambda: autocast(amp))
    monkeypatch.setattr(loop.runlog, "draw_curves", lambda output_dir: None)

    def run(amp):
        losses = []

        def loss_fn(model, batch):
            loss = model(**batch).loss
            losses.append(loss.item())
            return loss

        # The head's weights are 1e-7 in size, as its input is 1e7; so is a step.
        settings = TrainSettings(
            learning_rate=1e-8,
            min_lr=0.0,
            batch_size=3,
            max_steps=6,
            warmup_ratio=0.0,
            save_steps=0,
            eval_steps=0,
            amp=amp,
        )
        result = train(
            large_model("sequence-classification"),
            TrainSet("sequence-classification"),
            loss_fn,
            settings,
            tmp_path / amp,
        )
        assert result.skipped_steps == 0
        assert "overflow" not in (tmp_path / amp / "run.log").read_text()
        return losses

    return run


def test_training_is_close_to_float32(loop_losses):
    expected = loop_losses("none")
    assert len(expected) == 6
    assert expected[-1] < 0.9 * expected[0]
    for amp in HALF:
        np.testing.assert_allclose(loop_losses(amp), expected, rtol=TOLERANCES[amp][0])


def test_training_in_plain_float16_is_stopped(loop_losses, unscaled):
    with pytest.raises(InputError, match="step 1: loss nan, gradient norm nan"):
        loop_losses("fp16")
