"""Folding is exact: the folded program equals the model in float64, for every head and configuration."""

import numpy as np
import paddle
import pytest

from mobilebert.base.errors import InputError
from mobilebert.data.collate import INPUT_NAMES
from mobilebert.export.fold import fold, narrow_to_first_token, writer
from mobilebert.export.paddle_graph import compute
from mobilebert.export.program import FirstToken, LayerNorm, Linear, Positions, Scale, Vocabulary, Words, reads
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


# Value: what it is made of, by layer. One sees these names in viewers of the exported files.
DIVIDED = """
    embedded:
    positions:
    embeddings: embedded positions
    layer0.residual: embeddings
    layer0.shared: embeddings
    layer0.value: embeddings
    layer0.query: layer0.shared
    layer0.key: layer0.shared
    layer0.context: layer0.query layer0.key layer0.value
    layer0.attention.output: layer0.context layer0.residual
    layer0.ffn0.intermediate: layer0.attention.output
    layer0.ffn0.output: layer0.ffn0.intermediate layer0.attention.output
    layer0.ffn1.intermediate: layer0.ffn0.output
    layer0.ffn1.output: layer0.ffn1.intermediate layer0.ffn0.output
    layer0.output: layer0.ffn1.output embeddings
    layer0.output.first: layer0.output
    transform: layer0.output
    transform.norm 1e-12: transform
    vocabulary: transform.norm
    pooled: layer0.output.first
    cls.seq_relationship: pooled
    prediction_logits = vocabulary[0:60]
    seq_relationship_logits = cls.seq_relationship[0:2]
"""
MULTIPLIED = """
    embedded:
    positions:
    embeddings: embedded positions
    layer0.residual: embeddings
    layer0.shared: embeddings
    layer0.value: embeddings
    layer0.query: layer0.shared
    layer0.key: layer0.shared
    layer0.context: layer0.query layer0.key layer0.value
    layer0.attention.output: layer0.context layer0.residual
    layer0.ffn0.intermediate: layer0.attention.output
    layer0.ffn0.output.residual: layer0.attention.output
    layer0.ffn0.output: layer0.ffn0.intermediate layer0.ffn0.output.residual
    layer0.ffn1.intermediate: layer0.ffn0.output
    layer0.ffn1.output.residual: layer0.ffn0.output
    layer0.ffn1.output: layer0.ffn1.intermediate layer0.ffn1.output.residual
    layer0.output.residual: embeddings
    layer0.output: layer0.ffn1.output layer0.output.residual
    layer0.output.first: layer0.output
    layer0.output.plain: layer0.output
    pooled: layer0.output.first
    last_hidden_state = layer0.output.plain[0:48]
    pooler_output = pooled[0:48]
"""
LAYER_NORMS = """
    embedded:
    positions:
    embeddings: embedded positions
    embeddings.norm 1e-05: embeddings
    layer0.residual: embeddings.norm
    layer0.residual.norm 1e-12: layer0.residual
    layer0.shared: embeddings.norm
    layer0.shared.norm 1e-12: layer0.shared
    layer0.value: embeddings.norm
    layer0.key: layer0.shared.norm
    layer0.shared.norm.first: layer0.shared.norm
    layer0.query: layer0.shared.norm.first
    layer0.residual.norm.first: layer0.residual.norm
    layer0.context: layer0.query layer0.key layer0.value
    layer0.attention.output: layer0.context layer0.residual.norm.first
    layer0.attention.output.norm 1e-12: layer0.attention.output
    layer0.ffn0.intermediate: layer0.attention.output.norm
    layer0.ffn0.output: layer0.ffn0.intermediate layer0.attention.output.norm
    layer0.ffn0.output.norm 1e-12: layer0.ffn0.output
    layer0.ffn1.intermediate: layer0.ffn0.output.norm
    layer0.ffn1.output: layer0.ffn1.intermediate layer0.ffn0.output.norm
    layer0.ffn1.output.norm 1e-05: layer0.ffn1.output
    embeddings.norm.first: embeddings.norm
    layer0.output: layer0.ffn1.output.norm embeddings.norm.first
    layer0.output.norm 1e-12: layer0.output
    pooled: layer0.output.norm
    classifier: pooled
    logits = classifier[0:2]
"""


@pytest.mark.parametrize(
    ("preset", "head", "divide", "listing"),
    [
        ("mobilebert", "pretraining", True, DIVIDED),
        ("mobilebert", "model", False, MULTIPLIED),
        ("mobilebert-without-opt", "sequence-classification", True, LAYER_NORMS),
    ],
)
def test_names_tell_what_is_made_where_and_weights_are_called_after_it(preset, head, divide, listing):
    """Also the order, and which norm has which epsilon: two files of one checkpoint are the same."""
    one_layer = {"num_hidden_layers": 1, "num_feedforward_networks": 2, "classifier_activation": True}
    model, state = model_and_state(config_of(preset, **one_layer), head)
    program = fold(model.config, state, head, divide=divide)
    lines, named = [], set()
    for operation in program.operations:
        name = operation.output
        epsilon = f" {operation.epsilon}" if isinstance(operation, LayerNorm) else ""
        lines.append(f"{name}{epsilon}: {' '.join(reads(operation).values())}".rstrip())
        weights_of = {
            Words: ("words",),
            Positions: ("positions.table", "token_types.table"),
            Vocabulary: ("words", "vocabulary.dense", "vocabulary.bias"),
            Scale: (f"{name}.factor", f"{name}.offset"),
        }.get(type(operation), (f"{name}.weight", f"{name}.bias"))
        used = {value for value in vars(operation).values() if value in program.weights}
        assert used <= set(weights_of)
        named |= used
        if isinstance(operation, FirstToken | LayerNorm):
            assert name == f"{operation.input}.{'norm' if epsilon else 'first'}"
    lines += [f"{output.name} = {output.value}[{output.start}:{output.stop}]" for output in program.outputs]
    assert lines == [line.strip() for line in listing.strip().splitlines()]
    assert named == set(program.weights)
    assert all(value.any() for value in program.weights.values())  # a bias of zeros is left out


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
