"""Folding is exact: the folded program equals the model in float64, for every head and configuration."""

import numpy as np
import paddle
import pytest

from mobilebert.base.errors import InputError
from mobilebert.data.collate import INPUT_NAMES
from mobilebert.export.fold import fold, narrow_to_first_token, writer
from mobilebert.export.paddle_graph import compute
from mobilebert.export.program import Linear, Scale
from mobilebert.model import weights
from mobilebert.model.config import MobileBertConfig
from mobilebert.model.heads import HEADS

SMALL = {
    "vocab_size": 60,
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "intermediate_size": 40,
    "embedding_size": 16,
    "intra_bottleneck_size": 32,
    "max_position_embeddings": 24,
}
CONFIGS = {
    "mobilebert": {},
    "mobilebert-without-opt": {},
    "mobilebert-tiny": {},
    "ib-bert-large": {"intra_bottleneck_size": 64},
}


def config_of(preset, **changes):
    return MobileBertConfig.preset(preset, **{**SMALL, **CONFIGS[preset], **changes})


NO_BOTTLENECK = MobileBertConfig(**{**SMALL, "hidden_size": 32}, use_bottleneck=False)
NO_TRANSFORMATION = MobileBertConfig(**{**SMALL, "embedding_size": 48}, trigram_input=False, hidden_act="gelu")


@pytest.fixture(autouse=True)
def float64():
    paddle.set_default_dtype("float64")
    yield
    paddle.set_default_dtype("float32")


def model_and_state(config, head, seed=0, change=None):
    """A model in float64 whose norms and biases are far from their initial 1 and 0."""
    rng = np.random.default_rng(seed)
    model = HEADS[head](config)
    for name, parameter in model.named_parameters():
        shape = parameter.shape
        if name.endswith("LayerNorm.weight"):
            value = rng.uniform(0.5, 1.5, shape) * rng.choice([1, -1], shape)
        elif name.endswith("bias"):
            value = rng.normal(0, 0.5, shape)
        else:
            value = rng.normal(0, shape[0] ** -0.5, shape)
        if change is not None:
            value = change(name, value)
        parameter.set_value(value)
    model.eval()
    return model, weights.model_state(model)


def inputs_of(head, seed=1, length=9):
    rng = np.random.default_rng(seed)
    shape = (2, 3, length) if head == "multiple-choice" else (3, length)
    mask = (rng.random(shape) < 0.7).astype(np.int64)
    mask[..., 0] = 1
    arrays = rng.integers(0, SMALL["vocab_size"], shape), mask, rng.integers(0, 2, shape)
    return dict(zip(INPUT_NAMES, arrays, strict=True))


def relative_error(model, program, head, length=9):
    inputs = inputs_of(head, length=length)
    with paddle.no_grad():
        expected = model(**{name: paddle.to_tensor(array) for name, array in inputs.items()})
    (got,) = compute(program, [inputs], "float64")
    assert list(got) == expected.keys()
    errors = []
    for name, value in got.items():
        reference = expected[name].numpy()
        assert value.shape == reference.shape
        errors.append(np.abs(value - reference).max() / np.abs(reference).max())
    return max(errors)


@pytest.mark.parametrize("divide", [True, False])
@pytest.mark.parametrize("head", HEADS)
def test_every_head_is_exact(head, divide):
    model, state = model_and_state(config_of("mobilebert"), head)
    program = fold(model.config, state, head, divide=divide)
    assert relative_error(model, program, head) < 1e-12


@pytest.mark.parametrize("head", ["model", "sequence-classification", "question-answering"])
@pytest.mark.parametrize(
    "config",
    [*(config_of(preset, classifier_activation=True) for preset in CONFIGS), NO_BOTTLENECK, NO_TRANSFORMATION],
    ids=[*CONFIGS, "no bottleneck", "no transformation"],
)
def test_every_configuration_is_exact(config, head):
    model, state = model_and_state(config, head)
    assert relative_error(model, fold(config, state, head), head) < 1e-12
    assert relative_error(model, fold(config, state, head, divide=False), head) < 1e-12


def test_one_token_only():
    model, state = model_and_state(config_of("mobilebert"), "question-answering")
    assert relative_error(model, fold(model.config, state, "question-answering"), "question-answering", 1) < 1e-12


def test_folding_leaves_nothing_of_the_norms():
    model, state = model_and_state(config_of("mobilebert"), "question-answering")
    program = fold(model.config, state, "question-answering")
    assert {type(operation).__name__ for operation in program.operations} == {
        "Words", "Positions", "Linear", "Attention",
    }  # fmt: skip
    per_layer = 3 + 2 + 1 + 2 * model.config.num_feedforward_networks + 1
    linears = [operation for operation in program.operations if isinstance(operation, Linear)]
    assert len(linears) == per_layer * model.config.num_hidden_layers + 2


@pytest.mark.parametrize("preset", CONFIGS)
def test_the_last_layer_computes_cls_alone(preset, monkeypatch):
    """A pass over the program: the same function, with one row a text from the last query on."""
    model, state = model_and_state(config_of(preset), "sequence-classification")
    narrowed = fold(model.config, state, "sequence-classification")
    monkeypatch.setattr("mobilebert.export.fold.narrow_to_first_token", lambda program: program)
    whole = fold(model.config, state, "sequence-classification")
    inputs = inputs_of("sequence-classification")

    def run(program):
        counts = {}
        (values,) = compute(program, [inputs], "float64", lambda name, value: counts.update({name: len(value)}))
        return values["logits"], counts

    (expected, all_rows), (logits, few_rows) = run(whole), run(narrowed)
    assert np.abs(logits - expected).max() < 1e-12 * np.abs(expected).max()
    texts, tokens = len(inputs["input_ids"]), inputs["input_ids"].size
    for part in ("query", "context", "attention.output", "ffn0.output"):
        assert (all_rows[f"layer2.{part}"], few_rows[f"layer2.{part}"]) == (tokens, texts)
        assert few_rows[f"layer1.{part}"] == tokens
    assert few_rows["layer2.key"] == few_rows["layer2.value"] == tokens
    assert narrow_to_first_token(narrowed) is narrowed


def test_without_division_one_multiplication_a_sum_stays():
    model, state = model_and_state(config_of("mobilebert"), "question-answering")
    program = fold(model.config, state, "question-answering", divide=False)
    scales = [operation for operation in program.operations if isinstance(operation, Scale)]
    assert len(scales) == (model.config.num_feedforward_networks + 1) * model.config.num_hidden_layers


@pytest.mark.parametrize("gamma", [0.0, 1e-30, 1e-9, -1e-9, 1e9])
def test_a_gamma_that_must_not_divide(gamma):
    def change(name, value):
        if name.endswith("encoder.layer.1.ffn.0.output.LayerNorm.weight"):
            value[3] = gamma
        return value

    model, state = model_and_state(config_of("mobilebert"), "question-answering", change=change)
    program = fold(model.config, state, "question-answering")
    scales = [operation for operation in program.operations if isinstance(operation, Scale)]
    assert [scale.output for scale in scales] == ["layer1.ffn0.output.residual"]
    assert relative_error(model, program, "question-answering") < 1e-12


def test_every_gamma_zero():
    def change(name, value):
        return value * 0 if name.endswith("LayerNorm.weight") else value

    model, state = model_and_state(config_of("mobilebert"), "question-answering", change=change)
    assert relative_error(model, fold(model.config, state, "question-answering"), "question-answering") < 1e-12


def test_scales_that_drift_over_the_layers_start_anew():
    def change(name, value):
        return np.full_like(value, 1e-3) if name.endswith("bottleneck.LayerNorm.weight") else value

    model, state = model_and_state(config_of("mobilebert", num_hidden_layers=6), "question-answering", change=change)
    program = fold(model.config, state, "question-answering")
    assert sum(isinstance(operation, Scale) for operation in program.operations) == 2  # 1e-3 cubed is below 2^-24
    assert relative_error(model, program, "question-answering") < 1e-12


@pytest.mark.parametrize(
    "forgotten",
    [
        "encoder.layer.0.bottleneck.input.LayerNorm.weight",
        "encoder.layer.1.bottleneck.attention.LayerNorm.bias",
        "encoder.layer.2.attention.output.LayerNorm.weight",
        "encoder.layer.1.ffn.2.output.LayerNorm.bias",
        "encoder.layer.2.output.LayerNorm.weight",
        "encoder.layer.0.output.bottleneck.LayerNorm.weight",
        "embeddings.LayerNorm.bias",
    ],
)
def test_one_forgotten_norm_shows(forgotten):
    model, state = model_and_state(config_of("mobilebert"), "question-answering")
    state[f"mobilebert.{forgotten}"] = np.full_like(
        state[f"mobilebert.{forgotten}"], 1.0 if forgotten.endswith("weight") else 0.0
    )
    assert relative_error(model, fold(model.config, state, "question-answering"), "question-answering") > 1e-4


def test_the_bound_on_scales_is_what_keeps_float32_finite(monkeypatch):
    """Without the bound, three gammas of 1e-20 in a row leave float32's range."""

    def change(name, value):
        return np.full_like(value, 1e-20) if ".ffn." in name and name.endswith("LayerNorm.weight") else value

    model, state = model_and_state(config_of("mobilebert"), "question-answering", change=change)
    inputs = inputs_of("question-answering")

    def largest_error():
        program = fold(model.config, state, "question-answering")
        exact, single = (compute(program, [inputs], dtype)[0]["start_logits"] for dtype in ("float64", "float32"))
        return np.abs(single - exact).max() / np.abs(exact).max()

    assert largest_error() < 1e-5
    monkeypatch.setattr(writer, "LARGEST_SCALE", 1e300)
    with np.errstate(all="ignore"):
        assert not largest_error() < 1e-5


def test_a_missing_and_a_broken_parameter():
    model, state = model_and_state(config_of("mobilebert"), "question-answering")
    broken = {**state, "qa_outputs.bias": np.array([np.nan, 0])}
    with pytest.raises(InputError, match=r"qa_outputs\.bias holds values that are not finite"):
        fold(model.config, broken, "question-answering")
    del state["qa_outputs.bias"]
    with pytest.raises(InputError, match=r"the checkpoint has no qa_outputs\.bias"):
        fold(model.config, state, "question-answering")
