"""The ONNX graph of a program: valid, portable where asked, and the same function for every head."""

import numpy as np
import onnx
import paddle
import pytest
from support.models import CHECKPOINT_SIZES, randomise

from mobilebert.base import extras
from mobilebert.data.collate import INPUT_NAMES
from mobilebert.export.fold import fold
from mobilebert.export.onnx_graph import build
from mobilebert.export.paddle_graph import compute
from mobilebert.export.quantization import (
    equalize,
    largest_by_channel,
    quantize,
    quantize_table,
    quantize_weight,
    quantized_linears,
)
from mobilebert.export.variant import Quantization
from mobilebert.model import weights
from mobilebert.model.config import MobileBertConfig
from mobilebert.model.heads import HEADS

onnxruntime = extras.load("onnxruntime")


def model_of(head, preset="mobilebert", **changes):
    model = HEADS[head](MobileBertConfig.preset(preset, **{**CHECKPOINT_SIZES, **changes}))
    randomise(model)
    return model


def batch_of(head, seed=1, batch=3, length=9):
    rng = np.random.default_rng(seed)
    shape = (batch, 2, length) if head == "multiple-choice" else (batch, length)
    mask = (rng.random(shape) < 0.8).astype(np.int64)
    mask[0] = 0  # a row that may see nothing attends evenly
    arrays = rng.integers(0, CHECKPOINT_SIZES["vocab_size"], shape), mask, rng.integers(0, 2, shape)
    return dict(zip(INPUT_NAMES, arrays, strict=True))


def run_onnx(model, batch):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, batch), strict=True))


def relative_error(got, expected):
    assert got.shape == expected.shape
    return np.abs(got - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize("portable", [False, True])
@pytest.mark.parametrize("head", HEADS)
def test_every_head(head, portable):
    model = model_of(head)
    graph = build(fold(model.config, weights.model_state(model), head), portable=portable)
    onnx.checker.check_model(graph)
    domains = {node.domain for node in graph.graph.node}
    assert domains == ({""} if portable else {"", "com.microsoft"})
    batch = batch_of(head)
    with paddle.no_grad():
        expected = model(**{name: paddle.to_tensor(array) for name, array in batch.items()})
    got = run_onnx(graph, batch)
    assert list(got) == expected.keys()
    for name, value in got.items():
        assert relative_error(value, expected[name].numpy()) < 1e-5


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "silu", "tanh", "sigmoid"])
@pytest.mark.parametrize("preset", ["mobilebert-without-opt", "mobilebert-tiny", "ib-bert-large"])
def test_configurations_and_activations(preset, activation):
    model = model_of("question-answering", preset, intra_bottleneck_size=32, hidden_act=activation, embedding_size=32)
    graph = build(fold(model.config, weights.model_state(model), "question-answering"), portable=True)
    batch = batch_of("question-answering")
    with paddle.no_grad():
        expected = model(**{name: paddle.to_tensor(array) for name, array in batch.items()})
    assert relative_error(run_onnx(graph, batch)["start_logits"], expected["start_logits"].numpy()) < 1e-5


@pytest.mark.parametrize("shape", [(1, 1), (1, 64), (5, 2)])
def test_one_file_takes_any_shape(shape):
    model = model_of("question-answering")
    program = fold(model.config, weights.model_state(model), "question-answering")
    batch = batch_of("question-answering", batch=shape[0], length=shape[1])
    (expected,) = compute(program, [batch], "float64")
    assert relative_error(run_onnx(build(program), batch)["end_logits"], expected["end_logits"]) < 1e-5


def test_another_program_is_another_function():
    """The comparison can fail."""
    model = model_of("question-answering")
    program = fold(model.config, weights.model_state(model), "question-answering")
    batch = batch_of("question-answering")
    (expected,) = compute(program, [batch], "float64")
    name = next(name for name in program.weights if name.endswith("ffn1.output.weight"))
    program.weights[name] = program.weights[name] * 1.01
    assert relative_error(run_onnx(build(program), batch)["end_logits"], expected["end_logits"]) > 1e-4


def test_half_weights_are_half_the_file_and_nearly_the_function():
    model = model_of("question-answering")
    program = fold(model.config, weights.model_state(model), "question-answering")
    program.weights["layer0.value.weight"] = program.weights["layer0.value.weight"] * 1e6  # beyond float16
    program.weights["layer0.attention.output.weight"] = program.weights["layer0.attention.output.weight"] / 1e6
    whole, half = build(program), build(program, half_weights=True)
    assert half.ByteSize() < 0.65 * whole.ByteSize()
    kept = {tensor.name for tensor in half.graph.initializer}
    assert "layer0.value.weight" in kept
    assert "layer1.value.weight.half" in kept
    batch = batch_of("question-answering")
    error = relative_error(run_onnx(half, batch)["end_logits"], run_onnx(whole, batch)["end_logits"])
    assert 1e-7 < error < 2e-2


def test_rounding_to_int8_loses_at_most_half_a_step():
    weight = np.random.default_rng(0).normal(0, 1, (40, 6)) * 10.0 ** np.arange(-3, 3)
    quantized = quantize_weight(weight)
    assert quantized.values.dtype == np.int8
    assert (np.abs(quantized.values * quantized.scale - weight) <= 0.501 * quantized.scale).all()
    assert (np.abs(quantized.values).max(axis=0) == 127).all()
    table = quantize_table(weight.T)
    assert np.array_equal(table.values, quantized.values.T)
    assert np.array_equal(quantize_weight(np.zeros((3, 2))).values, np.zeros((3, 2)))


def test_equalizing_changes_no_output_but_evens_the_channels():
    model = model_of("question-answering")
    state = weights.model_state(model)
    rng = np.random.default_rng(3)
    for name in state:  # the trap of NoNorm: neighbouring channels of very different size
        if name.endswith("LayerNorm.weight"):
            state[name] = state[name] * 10.0 ** rng.uniform(-2, 1, state[name].shape)
    program = fold(model.config, state, "question-answering", divide=False)
    batch = batch_of("question-answering", batch=4, length=32)
    before = largest_by_channel(program, [batch])
    equal = equalize(program, before)
    (expected,), (got,) = compute(program, [batch], "float64"), compute(equal, [batch], "float64")
    assert relative_error(got["start_logits"], expected["start_logits"]) < 1e-12
    after = largest_by_channel(equal, [batch])

    def spread(peaks):
        return np.mean([np.log10(peak.max() / np.median(peak[peak > 0])) for peak in peaks.values()])

    assert spread(after) < 0.6 * spread(before)


@pytest.mark.parametrize("head", HEADS)
def test_int8_of_every_head(head):
    model = model_of(head)
    program = fold(model.config, weights.model_state(model), head, divide=False)
    batches = [batch_of(head, seed, 4, 32) for seed in range(4)]
    (expected,) = compute(program, batches[:1], "float64")
    for calibration in (None, batches[1:]):
        quantized, choice = quantize(program, calibration)
        graph = build(quantized, quantization=choice)
        onnx.checker.check_model(graph)
        operators = {node.op_type for node in graph.graph.node}
        assert ("QGemm" in operators) == (calibration is not None)
        assert ("MatMulIntegerToFloat" in operators) == (calibration is None)
        assert graph.ByteSize() < 0.5 * build(program).ByteSize()  # a quarter, and names, of so small a model
        for name, value in run_onnx(graph, batches[0]).items():
            assert 1e-6 < relative_error(value, expected[name]) < 0.25


@pytest.mark.parametrize("preset", ["mobilebert", "mobilebert-without-opt", "mobilebert-tiny", "ib-bert-large"])
@pytest.mark.parametrize("head", ["question-answering", "sequence-classification"])
def test_equalizing_a_fresh_model(preset, head):
    """NoNorms of 1 and 0, like LayerNorms, leave nothing to multiply a residual by: sums read what products read."""
    paddle.seed(0)
    model = HEADS[head](MobileBertConfig.preset(preset, **CHECKPOINT_SIZES))
    program = fold(model.config, weights.model_state(model), head, divide=False)
    shared = {operation.residual for operation in program.operations if getattr(operation, "residual", None)}
    assert shared & {operation.input for operation in quantized_linears(program)}
    batches = [batch_of(head, seed, 4, 32) for seed in range(3)]
    equal = equalize(program, largest_by_channel(program, batches))
    (expected,), (got,) = compute(program, batches[:1], "float64"), compute(equal, batches[:1], "float64")
    for name, value in got.items():
        assert relative_error(value, expected[name]) < 1e-10
    assert any((equal.weights[name] != weight).any() for name, weight in program.weights.items())
    quantized, choice = quantize(program, batches[1:])
    run_onnx(build(quantized, quantization=choice), batches[0])


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["mobilebert-without-opt", "ib-bert-large"])
def test_int8_of_a_layer_norm_model(preset):
    """Its residual sums read what its products read, and must not be taken for products."""
    model = model_of("question-answering", preset)
    program = fold(model.config, weights.model_state(model), "question-answering", divide=False)
    batches = [batch_of("question-answering", seed, 4, 32) for seed in range(3)]
    (expected,) = compute(program, batches[:1], "float64")
    quantized, choice = quantize(program, batches[1:])
    for name, value in run_onnx(build(quantized, quantization=choice), batches[0]).items():
        assert 1e-6 < relative_error(value, expected[name]) < 0.25


def test_calibration_beats_one_scale_a_matrix_where_channels_differ():
    """In the geometric mean over random models: for one of them alone it may gain nothing."""
    model = model_of("question-answering")
    batches = [batch_of("question-answering", seed, 4, 32) for seed in range(5)]
    ratios = []
    for seed in range(3, 11):
        state = weights.model_state(model)
        rng = np.random.default_rng(seed)
        for name in state:
            if name.endswith("LayerNorm.weight"):
                state[name] = state[name] * 10.0 ** rng.uniform(-1.5, 0.5, state[name].shape)
        program = fold(model.config, state, "question-answering", divide=False)
        (expected,) = compute(program, batches[:1], "float64")
        errors = []
        for calibration in (batches[1:], None):
            quantized, choice = quantize(program, calibration)
            got = run_onnx(build(quantized, quantization=choice), batches[0])
            errors.append(np.mean([np.abs(got[name] - expected[name]).mean() for name in expected]))
        ratios.append(errors[0] / errors[1])
    assert np.exp(np.mean(np.log(ratios))) < 0.8, ratios


def test_what_stays_float():
    model = model_of("question-answering")
    program = fold(model.config, weights.model_state(model), "question-answering")
    names = {operation.output for operation in quantized_linears(program)}
    assert "qa_outputs" not in names
    assert {"embeddings", "layer0.value", "layer1.ffn3.output"} <= names
    assert Quantization().weights == {}
