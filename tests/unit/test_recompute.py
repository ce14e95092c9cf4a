"""Each layer computed again in the backward pass: the same numbers to the last bit, on every path."""

import json
from functools import partial

import numpy as np
import paddle
import pytest
from support.models import FAST_PATH_SIZES, make_batch, save_checkpoint
from support.texts import write_squad

from mobilebert.accel import dispatch, native
from mobilebert.model import modeling
from mobilebert.model.config import MobileBertConfig
from mobilebert.model.heads import MobileBertForQuestionAnswering
from mobilebert.model.modeling import MobileBertLayer, MobileBertModel

DROPOUT = {"attention_probs_dropout_prob": 0.2, "hidden_dropout_prob": 0.1}


@pytest.fixture(autouse=True)
def _restore():
    yield
    dispatch.set_enabled(True)
    paddle.set_default_dtype("float32")


def make_model(dtype="float32"):
    paddle.set_default_dtype(dtype)
    paddle.seed(1)
    model = MobileBertModel(MobileBertConfig(**{**FAST_PATH_SIZES, **DROPOUT}))
    model.train()
    return model


def run(model, recompute, **options):
    """-> hidden states, gradients by name, and what the generator gives afterwards."""
    paddle.seed(7)
    model.set_recompute(recompute)
    model.clear_gradients(set_to_zero=False)
    ids, mask = make_batch()
    output = model(ids, attention_mask=mask, output_hidden_states=True, **options)
    (output.last_hidden_state * paddle.cos(paddle.arange(48.0)).astype(output.last_hidden_state.dtype)).sum().backward()
    gradients = {name: p.grad.numpy() for name, p in model.named_parameters() if p.grad is not None}
    return [state.numpy() for state in output.hidden_states], gradients, paddle.rand([4]).numpy()


def equal(one, other):
    assert one[1].keys() == other[1].keys() and len(one[1]) > 0
    pairs = [*zip(one[0], other[0], strict=True), *((one[1][name], other[1][name]) for name in one[1])]
    return all(np.array_equal(a, b) for a, b in [*pairs, (one[2], other[2])])


@pytest.fixture(params=["in C", "in Python", "modeling.py"])
def model(request):
    if request.param == "in C" and native.library() is None:
        pytest.skip("no C compiler, or no MKL in this Paddle")
    dispatch.set_enabled(request.param != "modeling.py")
    return make_model("float64" if request.param == "in Python" else "float32")


def test_gradients_are_those_without_dropout_masks_included(model, monkeypatch):
    expected = run(model, recompute=False)
    assert equal(run(model, recompute=True), expected)
    assert equal(run(model, recompute=True), expected)
    # Negative control: a backward pass that draws masks of its own.
    monkeypatch.setattr(modeling, "recompute", partial(modeling.recompute, preserve_rng_state=False))
    assert not equal(run(model, recompute=True), expected)


def test_layers_run_twice_and_only_where_a_backward_pass_comes(model, monkeypatch):
    calls, forward = [], MobileBertLayer.forward
    monkeypatch.setattr(MobileBertLayer, "forward", lambda self, *rest: calls.append(self) or forward(self, *rest))
    for recompute, expected in ((False, 2), (True, 4)):
        calls.clear()
        run(model, recompute)
        assert len(calls) == expected
    calls.clear()
    with paddle.no_grad():
        model(make_batch()[0])
    assert len(calls) == 2


def test_behind_frozen_embeddings_no_layer_loses_its_gradient(model):
    for name, parameter in model.named_parameters():
        parameter.stop_gradient = name.startswith("embeddings.")
    expected = run(model, recompute=False)
    assert any(name.startswith("encoder.layer.0.") for name in expected[1])
    assert equal(run(model, recompute=True), expected)


def test_attentions_are_still_given(model):
    expected = run(model, recompute=False, output_attentions=True)
    assert equal(run(model, recompute=True, output_attentions=True), expected)


def test_a_model_with_a_head_passes_it_on():
    model = MobileBertForQuestionAnswering(MobileBertConfig(**FAST_PATH_SIZES))
    model.set_recompute(True)
    assert model.mobilebert.encoder.recompute and not MobileBertModel(model.config).encoder.recompute


def test_the_flag_trains_the_same_model_and_may_come_and_go(tmp_path, run_script, monkeypatch):
    """With the released configuration's dropout: two runs with it and without, and one that takes it up on the way."""
    save_checkpoint(tmp_path / "model", "question-answering", attention_probs_dropout_prob=0.1)
    write_squad(tmp_path / "squad.json", 20)
    calls = []
    monkeypatch.setattr(modeling, "recompute", lambda *a, run=modeling.recompute: calls.append(0) or run(*a))

    def train(name, *flags):
        code, _, errors = run_script(
            "run_squad", "--model", tmp_path / "model", "--train_file", tmp_path / "squad.json", "--do_train",
            "--out", tmp_path / name, "--batch_size", 5, "--max_seq_length", 64, "--doc_stride", 16,
            "--log_steps", 1, "--save_steps", 3, "--keep_checkpoints", 5, "--cache_dir", "", *flags,
        )  # fmt: skip
        assert code == 0, errors
        return [json.loads(line)["loss"] for line in (tmp_path / name / "train.jsonl").read_text().splitlines()]

    expected = train("without", "--max_steps", 6)
    assert not calls
    assert train("with", "--max_steps", 6, "--recompute") == expected and len(calls) == 2 * 6
    checkpoint = tmp_path / "without" / "checkpoints" / "step_00000003"
    assert train("half", "--max_steps", 6, "--recompute", "--resume", checkpoint) == expected[3:]
    assert len(calls) == 2 * 6 + 2 * 3
