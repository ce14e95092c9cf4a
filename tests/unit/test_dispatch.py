"""The CPU fast path against the plain layers of modeling.py: outputs, gradients, dropout, and when it stands back."""

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from support.models import FAST_PATH_CASES, FAST_PATH_SIZES, make_batch

from mobilebert.accel import dispatch, dropout, reference
from mobilebert.model.config import MobileBertConfig
from mobilebert.model.modeling import MobileBertModel

# Float64 shows whether the formulas are the same; float32, with weights this large, only that nothing else is wrong.
TOLERANCE = {"float64": 1e-9, "float32": 2e-3}


@pytest.fixture(autouse=True)
def _restore():
    yield
    dispatch.set_enabled(True)
    paddle.set_default_dtype("float32")


def make_model(dtype="float64", **changes):
    paddle.set_default_dtype(dtype)
    paddle.seed(3)
    model = MobileBertModel(MobileBertConfig(**{**FAST_PATH_SIZES, **changes}))
    for name, parameter in model.named_parameters():  # no NoNorm at its start: weights 1, biases 0
        if "LayerNorm" in name or name.endswith("bias"):
            parameter.set_value(parameter + 0.2 * paddle.randn(parameter.shape))
    model.train()
    return model


def loss_of(model, ids, mask):
    hidden = model(ids, attention_mask=mask).last_hidden_state
    weights = paddle.cos(paddle.arange(hidden.size).astype(hidden.dtype)).reshape(hidden.shape)
    return (hidden * weights).sum()


def run(model, batch, enabled, seed=5):
    """-> output, gradients by name."""
    dispatch.set_enabled(enabled)
    model.clear_gradients(set_to_zero=False)
    paddle.seed(seed)
    loss = loss_of(model, *batch)
    loss.backward()
    return float(loss), {name: p.grad.numpy() for name, p in model.named_parameters() if p.grad is not None}


def worst_difference(left, right):
    """Largest difference of any gradient, relative to that gradient; some are mathematically zero, hence the floor."""
    assert left.keys() == right.keys()
    floor = 1e-3 * max(np.abs(g).max() for g in left.values())
    return max(np.abs(left[name] - right[name]).max() / max(np.abs(left[name]).max(), floor) for name in left)


def assert_same(model, batch, tolerance):
    loss, gradients = run(model, batch, enabled=False)
    fast_loss, fast_gradients = run(model, batch, enabled=True)
    assert abs(loss - fast_loss) <= tolerance * abs(loss)
    assert worst_difference(gradients, fast_gradients) <= tolerance


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("changes", FAST_PATH_CASES.values(), ids=FAST_PATH_CASES.keys())
def test_loss_and_every_gradient(changes, dtype):
    model = make_model(dtype, **changes)
    assert all(dispatch.supports(layer, paddle.ones([1], dtype)) for layer in model.encoder.layer)
    assert_same(model, make_batch(), TOLERANCE[dtype])


@pytest.mark.parametrize("length, masked", [(1, (1,)), (2, (2, 1)), (32, (32, 31, 5))])
def test_lengths_and_masks(length, masked):
    assert_same(make_model(), make_batch(length, masked), 1e-9)


def test_without_mask_and_with_a_mask_for_each_head():
    model = make_model()
    ids, _ = make_batch()
    assert_same(model, (ids, None), 1e-9)
    per_head = paddle.to_tensor(np.random.default_rng(1).integers(0, 2, [3, 4, 13, 13]))
    assert_same(model, (ids, per_head), 1e-9)
    assert_same(model, (ids, paddle.randn([3, 1, 13, 13])), 1e-9)


def test_scores_too_large_for_the_plain_exponential():
    model = make_model()
    query = model.encoder.layer[1].attention.self.query
    query.weight.set_value(query.weight * 400)
    batch = make_batch()
    scores = []
    reference = F.softmax
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(F, "softmax", lambda x, axis: scores.append(float(x.max())) or reference(x, axis=axis))
        run(model, batch, enabled=False)
    assert max(scores) > 800  # exp overflows in float64
    assert_same(model, batch, 1e-7)


def test_a_wrong_backward_is_noticed(monkeypatch):
    model, batch = make_model(), make_batch()
    _, gradients = run(model, batch, enabled=False)
    exact = reference._product_sums
    monkeypatch.setattr(reference, "_product_sums", lambda left, right: exact(left, right) * (1 + 1e-6))
    _, wrong = run(model, batch, enabled=True)
    assert worst_difference(gradients, wrong) > 1e-8


class Replay(paddle.nn.Layer):
    """Dropout with masks that were drawn elsewhere."""

    def __init__(self, masks, probability):
        super().__init__()
        self.masks, self.p = masks, probability

    def forward(self, hidden):
        return hidden * self.masks.pop(0).reshape(hidden.shape) / (1 - self.p)


@pytest.mark.parametrize("wrong_mask", [False, True])
def test_dropout_with_the_same_masks(monkeypatch, wrong_mask):
    model = make_model(attention_probs_dropout_prob=0.2, hidden_dropout_prob=0.3)
    batch = make_batch()
    drawn, draw = [], dropout.mask

    def record(*arguments):
        drawn.append(draw(*arguments))
        return drawn[-1].clone()  # the caller scales it in place

    monkeypatch.setattr(dropout, "mask", lambda *arguments: record(*arguments))
    loss, gradients = run(model, batch, enabled=True)
    masks = [mask.clone() for mask in drawn]
    assert len(masks) == 4  # two a layer
    if wrong_mask:
        masks[1] = 1 - masks[1]
    for layer in model.encoder.layer:
        layer.attention.self.dropout = Replay(masks, 0.2)
        layer.output.bottleneck.dropout = Replay(masks, 0.3)
    reference_loss, reference = run(model, batch, enabled=False)
    assert not masks
    same = abs(loss - reference_loss) <= 1e-9 * abs(loss) and worst_difference(reference, gradients) <= 1e-9
    assert same is not wrong_mask


def test_dropout_mask_has_the_probability_and_comes_from_paddles_generator():
    paddle.seed(1)
    state = paddle.get_rng_state()
    first = dropout.mask([501, 401], 0.1, paddle.float32)
    second = dropout.mask([501, 401], 0.1, paddle.float32)
    assert abs(float((1 - first).mean()) - 0.1) < 0.003  # 4.5 standard deviations
    assert set(np.unique(first.numpy())) == {0.0, 1.0}
    assert not first.equal_all(second)
    paddle.set_rng_state(state)
    assert dropout.mask([501, 401], 0.1, paddle.float32).equal_all(first)


def test_restoring_paddles_random_state_repeats_a_step():
    model = make_model("float32", attention_probs_dropout_prob=0.1)
    batch = make_batch()
    loss, gradients = run(model, batch, enabled=True, seed=11)
    assert run(model, batch, enabled=True, seed=12)[0] != loss
    again, repeated = run(model, batch, enabled=True, seed=11)
    assert again == loss
    assert all(np.array_equal(gradients[name], repeated[name]) for name in gradients)


def test_losses_of_twenty_steps():
    losses = []
    for enabled in (False, True):
        paddle.set_default_dtype("float32")
        paddle.seed(3)
        model, batch = MobileBertModel(MobileBertConfig(**{**FAST_PATH_SIZES, "initializer_range": 0.02})), make_batch()
        dispatch.set_enabled(enabled)
        optimizer = paddle.optimizer.AdamW(1e-3, parameters=model.parameters(), epsilon=1e-6)
        losses.append([])
        for _ in range(20):
            loss = (model(batch[0], attention_mask=batch[1]).last_hidden_state - 1).square().mean()
            loss.backward()
            optimizer.step()
            optimizer.clear_grad(set_to_zero=False)
            losses[-1].append(float(loss))
    assert losses[0][-1] < 0.9 * losses[0][0]
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)


def test_gradient_accumulation():
    model, batch = make_model(), make_batch()
    _, once = run(model, batch, enabled=True)
    loss_of(model, *batch).backward()  # on top of the first
    twice = {name: p.grad.numpy() for name, p in model.named_parameters() if p.grad is not None}
    assert worst_difference({name: 2 * g for name, g in once.items()}, twice) < 1e-12


def test_frozen_parameters_get_no_gradient_and_leave_the_others_alone():
    model, batch = make_model(), make_batch()
    _, everything = run(model, batch, enabled=True)
    model.clear_gradients(set_to_zero=False)
    for name, parameter in model.named_parameters():
        parameter.stop_gradient = "embeddings" in name or "bias" in name or "layer.0.ffn" in name
    _, some = run(model, batch, enabled=True)
    assert 0 < len(some) < len(everything)
    assert all(not ("embeddings" in n or "bias" in n or "layer.0.ffn" in n) for n in some)
    assert worst_difference(some, {name: everything[name] for name in some}) < 1e-12


def test_no_grad_and_hidden_states():
    model, (ids, mask) = make_model(attention_probs_dropout_prob=0.1), make_batch()
    model.eval()
    with paddle.no_grad():
        fast = model(ids, attention_mask=mask, output_hidden_states=True)
        with dispatch.disabled():
            plain = model(ids, attention_mask=mask, output_hidden_states=True)
    assert fast.last_hidden_state.stop_gradient
    for left, right in zip(fast.hidden_states, plain.hidden_states, strict=True):
        np.testing.assert_allclose(left.numpy(), right.numpy(), rtol=1e-9, atol=1e-9)


def test_attentions_come_from_the_reference(monkeypatch):
    model, (ids, mask) = make_model(), make_batch()
    monkeypatch.setattr(dispatch, "encoder_layer", lambda *_: pytest.fail("the fast path has no attentions"))
    assert len(model(ids, attention_mask=mask, output_attentions=True).attentions) == 2


@pytest.mark.parametrize(
    "changes",
    [{"normalization_type": "layer_norm"}, {"hidden_act": "gelu"}, {"use_bottleneck": False}],
    ids=["layer_norm", "gelu", "no_bottleneck"],
)
def test_what_is_not_claimed_runs_in_the_reference(monkeypatch, changes):
    model, (ids, mask) = make_model(**changes), make_batch()
    monkeypatch.setattr(dispatch, "encoder_layer", lambda *_: pytest.fail("the fast path must not be taken"))
    model(ids, attention_mask=mask).last_hidden_state.sum().backward()


def test_supports_stands_back():
    model = make_model("float32")
    layer, hidden = model.encoder.layer[0], paddle.ones([1, 2, 48])
    assert dispatch.supports(layer, hidden)
    with dispatch.disabled():
        assert not dispatch.supports(layer, hidden)
    assert not dispatch.supports(layer, hidden.astype("bfloat16"))
    assert not dispatch.supports(layer, paddle.ones([0, 2, 48]))
    assert not dispatch.supports(layer, paddle.ones([1, 0, 48]))
    hook = layer.attention.self.register_forward_post_hook(lambda *_: None)
    assert not dispatch.supports(layer, hidden)
    hook.remove()
    assert dispatch.supports(layer, hidden)
    layer.attention.self.query = paddle.nn.Sequential(layer.attention.self.query)
    assert not dispatch.supports(layer, hidden)


def test_never_on_a_gpu():
    class OnGpu:
        dtype = paddle.float32
        place = (
            paddle.CUDAPlace(0)
            if paddle.is_compiled_with_cuda()
            else type("P", (), {"is_cpu_place": lambda _: False})()
        )

    assert not dispatch.supports(make_model("float32").encoder.layer[0], OnGpu())


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_embeddings_take_the_fast_path(monkeypatch, dtype):
    model, (ids, mask) = make_model(dtype), make_batch()
    calls, fast = [], dispatch.residual_norm
    monkeypatch.setattr(dispatch, "residual_norm", lambda *arguments: calls.append(1) or fast(*arguments))
    assert_same(model, (ids, mask), TOLERANCE[dtype])
    assert calls == [1]
    positions = paddle.to_tensor(np.random.default_rng(2).integers(0, 32, ids.shape))
    outputs = []
    for enabled in (False, True):
        dispatch.set_enabled(enabled)
        embedded = model.embeddings(ids, token_type_ids=(positions > 9).astype("int64"), position_ids=positions)
        outputs.append(embedded.numpy())
    np.testing.assert_allclose(*outputs, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    assert calls == [1, 1]
