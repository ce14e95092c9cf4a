"""Ours against transformers: every head on every kind of configuration, outputs, losses and all gradients."""

import numpy as np
import paddle
import pytest
import torch
import transformers
from support.models import SIZES, paddle_twin, torch_model

from mobilebert.base.errors import InputError
from mobilebert.model import weights
from mobilebert.model.config import HEAD_CLASSES, PRESETS, MobileBertConfig
from mobilebert.model.heads import HEADS
from mobilebert.model.modeling import MobileBertModel

# Paddle keeps a LayerNorm's epsilon in float32: 2**-10 is exact there, and far from both defaults.
CONFIGS = {
    "released": {},
    "without-opt": {"normalization_type": "layer_norm", "hidden_act": "gelu"},
    "tiny": {"use_bottleneck_attention": True, "key_query_shared_bottleneck": False, "num_feedforward_networks": 2},
    "tiny-with-hf-default": {"use_bottleneck_attention": True},
    "no-bottleneck": {"use_bottleneck": False},
    "no-trigram": {"trigram_input": False},
    "one-ffn-two-heads": {"num_feedforward_networks": 1, "num_attention_heads": 2},
    "gelu_new": {"hidden_act": "gelu_new", "normalization_type": "layer_norm", "layer_norm_eps": 2**-10},
    "silu": {"hidden_act": "silu", "type_vocab_size": 3, "pad_token_id": 5},
    "no-padding-id": {"hidden_act": "gelu_pytorch_tanh", "pad_token_id": None, "vocab_size": 31},
    "classifier-activation": {"classifier_activation": True},
    "square": {"embedding_size": 16, "hidden_size": 32, "intra_bottleneck_size": 32, "intermediate_size": 32},
    "embedding-as-wide-as-hidden": {"embedding_size": 48, "trigram_input": False, "classifier_activation": True},
}
LANGUAGE_MODELS = ("pretraining", "masked-lm")
EVERY_HEAD = ("released", "classifier-activation", "embedding-as-wide-as-hidden")  # elsewhere two show the backbone
PAIRS = [
    (config, head)
    for config in CONFIGS
    for head in (HEADS if config in EVERY_HEAD else ("pretraining", "question-answering"))
]


def make_inputs(config, head="model", seed=1):
    """Three rows, two of them padded, two segments; [PAD] inside the second row's text as well."""
    generator = np.random.default_rng(seed)
    rows, length = 3, 9
    padding = config.pad_token_id or 0
    ids = generator.integers(0, config.vocab_size, (rows, length))
    mask = np.arange(length) < np.array([[9], [6], [2]])
    ids = np.where(mask, ids, padding)
    ids[1, 2] = padding
    inputs = {
        "input_ids": ids,
        "attention_mask": mask.astype("int64"),
        "token_type_ids": ((np.arange(length) > 3) & mask).astype("int64"),
    }
    if head == "multiple-choice":
        inputs = {name: np.stack([value, value[::-1]], axis=1) for name, value in inputs.items()}
    return inputs


def make_labels(config, head, seed=2):
    generator = np.random.default_rng(seed)
    tokens = generator.integers(0, config.vocab_size, (3, 9))
    tokens[:, ::2] = -100
    classes = generator.integers(0, config.num_labels, (3, 9))
    classes[1, 3:] = -100
    return {
        "model": {},
        "pretraining": {"labels": tokens, "next_sentence_label": np.array([0, 1, 1])},
        "masked-lm": {"labels": tokens},
        "next-sentence": {"labels": np.array([1, 0, 1])},
        "sequence-classification": {"labels": np.array([1, 0, 1])},
        # Beyond the row, and before it: the one is ignored, the other is taken as 0.
        "question-answering": {"start_positions": np.array([1, 30, -4]), "end_positions": np.array([3, 9, 8])},
        "multiple-choice": {"labels": np.array([1, 0, 0])},
        "token-classification": {"labels": classes},
    }[head]


def both(theirs, ours, *positional, **inputs):
    """Outputs of both for the same arrays."""
    convert = {key: value for key, value in inputs.items() if not isinstance(value, np.ndarray)}
    arrays = {key: value for key, value in inputs.items() if isinstance(value, np.ndarray)}
    expected = theirs(
        *map(torch.from_numpy, positional), **{k: torch.from_numpy(v.copy()) for k, v in arrays.items()}, **convert
    )
    output = ours(*map(paddle.to_tensor, positional), **{k: paddle.to_tensor(v) for k, v in arrays.items()}, **convert)
    return expected, output


def error(got, expected):
    """Largest difference relative to the largest value."""
    assert list(got.shape) == list(expected.shape)
    expected = expected.detach().numpy()
    return float(np.abs(got.numpy() - expected).max() / max(np.abs(expected).max(), 1e-30))


def errors(output, expected):
    """``error`` of every tensor of two outputs, which must have the same fields."""
    assert list(output.keys()) == list(expected.keys())
    found = {}
    for key in output.keys():  # noqa: SIM118 (no mapping)
        if not isinstance(output[key], tuple):
            found[key] = error(output[key], expected[key])
            continue
        assert len(output[key]) == len(expected[key])
        for depth, (ours, theirs) in enumerate(zip(output[key], expected[key], strict=True)):
            found[f"{key}[{depth}]"] = error(ours, theirs)
    return found


def gradient_errors(ours, theirs):
    """Relative error of every parameter's gradient; a parameter without one counts as zero on both sides."""
    gradients = {
        name: (torch.zeros_like(p) if p.grad is None else p.grad).numpy() for name, p in theirs.named_parameters()
    }
    fitted, report = weights.fit_state(ours, gradients, "pt", "gradients")
    assert not report.initialised and not report.unused
    # Some gradients vanish but for rounding (a key's bias moves all scores of a query alike): a floor for the scale.
    fitted = {name: value for name, value in fitted.items() if value.size}  # a decoder's columns beyond the embedding
    floor = 1e-4 * max(np.abs(value).max() for value in fitted.values())
    found = {}
    for name, parameter in ours.named_parameters():
        if name not in fitted:
            continue
        got = np.zeros(parameter.shape) if parameter.grad is None else parameter.grad.numpy()
        found[name] = float(np.abs(got - fitted[name]).max() / max(np.abs(fitted[name]).max(), floor))
    return found


def backward(theirs, ours, expected, output):
    """Run both backward passes from the loss, or, for the bare model, from a weighted sum of its outputs."""
    theirs.zero_grad()
    ours.clear_gradients()
    if "loss" in output.keys():  # noqa: SIM118
        expected.loss.backward()
        output.loss.backward()
        return
    factors = np.random.default_rng(3).normal(size=output.last_hidden_state.shape)
    pooled = factors[:, 0]
    loss = (expected.last_hidden_state * torch.from_numpy(factors)).sum()
    (loss + (expected.pooler_output * torch.from_numpy(pooled)).sum()).backward()
    loss = (output.last_hidden_state * paddle.to_tensor(factors)).sum()
    (loss + (output.pooler_output * paddle.to_tensor(pooled)).sum()).backward()


@pytest.mark.parametrize(("name", "head"), PAIRS)
def test_outputs_losses_and_gradients_in_float64(name, head):
    theirs = torch_model(head, **CONFIGS[name])
    ours = paddle_twin(theirs, head)
    theirs.train()
    ours.train()
    inputs = {**make_inputs(ours.config, head), **make_labels(ours.config, head)}
    expected, output = both(theirs, ours, **inputs, output_hidden_states=True, output_attentions=True)
    found = errors(output, expected)
    assert len(found) >= 1 + 2 + 3 and max(found.values()) < 1e-10, found
    backward(theirs, ours, expected, output)
    found = gradient_errors(ours, theirs)
    assert max(found.values()) < 1e-10, {key: value for key, value in found.items() if value >= 1e-10}


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("padding", [0, 5])
def test_the_padding_row_has_no_gradient_in_either_mode(padding, mode):
    theirs = torch_model("model", pad_token_id=padding)
    ours = paddle_twin(theirs, "model")
    for model in (theirs, ours):
        getattr(model, mode)()
    inputs = make_inputs(ours.config)
    assert (inputs["input_ids"] == padding).any()
    backward(theirs, ours, *both(theirs, ours, **inputs))
    assert max(gradient_errors(ours, theirs).values()) < 1e-10
    rows = ours.embeddings.word_embeddings.weight.grad.numpy()
    assert not rows[padding].any() and rows[inputs["input_ids"][0, 0]].any()


@pytest.mark.parametrize("name", CONFIGS)
def test_outputs_in_float32(name):
    head = "pretraining"
    exact, theirs = (torch_model(head, dtype, **CONFIGS[name]) for dtype in ("float64", "float32"))
    ours = paddle_twin(theirs, head, "float32")
    inputs = make_inputs(ours.config, head)
    exact.load_state_dict(theirs.state_dict())  # the rounded weights
    with torch.no_grad(), paddle.no_grad():
        reference, output = both(exact, ours, **inputs, output_hidden_states=True)
        rounded = theirs(**{key: torch.from_numpy(value) for key, value in inputs.items()}, output_hidden_states=True)
    torch_error = max(errors(rounded, reference).values())
    # Some of these weights magnify rounding: there torch's own is the measure.
    assert max(errors(output, reference).values()) < max(1e-5, 3 * torch_error)
    assert torch_error < 1e-3


def test_one_changed_weight_is_seen():
    theirs = torch_model("question-answering")
    ours = paddle_twin(theirs, "question-answering")
    inputs = {**make_inputs(ours.config), **make_labels(ours.config, "question-answering")}
    bias = dict(ours.named_parameters())["mobilebert.encoder.layer.1.attention.self.value.bias"]
    changed = bias.numpy()
    changed[0] += 1e-7
    bias.set_value(changed)
    expected, output = both(theirs, ours, **inputs)
    assert max(errors(output, expected).values()) > 1e-10
    backward(theirs, ours, expected, output)
    assert max(gradient_errors(ours, theirs).values()) > 1e-10


# Labels


@pytest.mark.parametrize(
    ("config", "labels"),
    [
        ({"num_labels": 3}, np.array([2, 0, 1])),
        ({"num_labels": 3}, np.array([[2], [0], [1]])),
        ({"num_labels": 3}, np.array([[1.0, 0, 1], [0, 0, 0], [1, 1, 1]])),
        ({"num_labels": 3, "problem_type": "multi_label_classification"}, np.array([[1.0, 0, 1]] * 3)),
        ({"num_labels": 3, "problem_type": "single_label_classification"}, np.array([2, 0, 1])),
        ({"num_labels": 1}, np.array([0.5, -1.0, 3.0])),
        ({"num_labels": 1}, np.array([[0.5], [-1.0], [3.0]])),
        ({"num_labels": 1, "problem_type": "regression"}, np.array([0.5, -1.0, 3.0])),
        ({"num_labels": 2, "problem_type": "regression"}, np.array([[0.5, 1], [-1.0, 0], [3.0, 2]])),
        ({"num_labels": 3}, np.array([2, -100, 1])),
    ],
    ids=str,
)
def test_every_kind_of_label_of_sequence_classification(config, labels):
    theirs = torch_model("sequence-classification", **config)
    ours = paddle_twin(theirs, "sequence-classification")
    ours.train()  # as when gradients are wanted; there is no dropout
    assert ours.config.num_labels == config["num_labels"]
    expected, output = both(theirs, ours, **make_inputs(ours.config), labels=labels)
    assert max(errors(output, expected).values()) < 1e-12
    backward(theirs, ours, expected, output)
    assert max(gradient_errors(ours, theirs).values()) < 1e-10


def test_positions_of_shape_batch_by_one():
    theirs = torch_model("question-answering")
    ours = paddle_twin(theirs, "question-answering")
    positions = {"start_positions": np.array([[1], [2], [0]]), "end_positions": np.array([[3], [2], [1]])}
    expected, output = both(theirs, ours, **make_inputs(ours.config), **positions)
    assert error(output.loss, expected.loss) < 1e-12
    expected, output = both(theirs, ours, **make_inputs(ours.config), start_positions=positions["start_positions"])
    assert expected.loss is None and output.loss is None


def test_labels_outside_the_classes_are_refused():
    ours = paddle_twin(torch_model("token-classification"), "token-classification")
    inputs = {name: paddle.to_tensor(value) for name, value in make_inputs(ours.config).items()}
    for label in (-1, 2):
        with pytest.raises(InputError, match=f"label {label}: expected 0 to 1, or -100 for none"):
            ours(**inputs, labels=paddle.full([3, 9], label, "int64"))


@pytest.mark.parametrize("head", ["masked-lm", "token-classification", "question-answering"])
def test_where_every_label_is_ignored_the_loss_is_zero_and_not_nan(head):
    theirs = torch_model(head)
    ours = paddle_twin(theirs, head)
    inputs = make_inputs(ours.config)
    nothing = {"labels": np.full((3, 9), -100)}
    if head == "question-answering":
        nothing = {"start_positions": np.full(3, 9), "end_positions": np.full(3, 20)}
    expected, output = both(theirs, ours, **inputs, **nothing)
    assert output.loss.item() == 0.0 and bool(torch.isnan(expected.loss))  # a deviation: see heads.cross_entropy


# Arguments


@pytest.mark.parametrize("head", HEADS)
def test_defaults_and_positional_use(head):
    theirs = torch_model(head)
    ours = paddle_twin(theirs, head)
    inputs = make_inputs(ours.config, head)
    ids, mask, types = inputs.values()
    for positional in ((ids,), (ids, mask), (ids, mask, types)):
        expected, output = both(theirs, ours, *positional)
        found = errors(output, expected)
        assert max(found.values()) < 1e-10, (len(positional), found)
    positions = np.broadcast_to(np.arange(9)[::-1], ids.shape).copy()
    expected, output = both(theirs, ours, ids, mask, types, positions)
    assert max(errors(output, expected).values()) < 1e-10
    expected, output = both(theirs, ours, ids, mask, return_dict=False)
    assert len(expected) == len(output) and error(output[0], expected[0]) < 1e-10


@pytest.mark.parametrize("head", HEADS)
def test_embeddings_instead_of_ids(head):
    theirs = torch_model(head)
    ours = paddle_twin(theirs, head)
    inputs = make_inputs(ours.config, head)
    ids = inputs.pop("input_ids")
    words = np.random.default_rng(0).normal(size=(*ids.shape, SIZES["embedding_size"]))
    expected, output = both(theirs, ours, **inputs, inputs_embeds=words)
    assert max(errors(output, expected).values()) < 1e-10


@pytest.mark.parametrize("kind", ["bool", "int64", "float64"])
def test_two_dimensional_masks_of_every_type(kind):
    theirs = torch_model("model")
    ours = paddle_twin(theirs, "model")
    inputs = make_inputs(ours.config)
    inputs["attention_mask"] = inputs["attention_mask"].astype(kind)
    expected, output = both(theirs, ours, **inputs)
    assert max(errors(output, expected).values()) < 1e-10


def test_four_dimensional_float_masks():
    theirs = torch_model("model")
    ours = paddle_twin(theirs, "model")
    inputs = make_inputs(ours.config)
    inputs["attention_mask"] = np.random.default_rng(0).normal(size=(3, 1, 9, 9))
    expected, output = both(theirs, ours, **inputs)
    assert max(errors(output, expected).values()) < 1e-10


def test_rows_that_see_nothing():
    theirs = torch_model("model")
    ours = paddle_twin(theirs, "model")
    inputs = make_inputs(ours.config)
    inputs["attention_mask"][2] = 0
    expected, output = both(theirs, ours, **inputs)
    assert max(errors(output, expected).values()) < 1e-10


# Names, shapes, counts


@pytest.mark.parametrize("name", CONFIGS)
def test_configs_pass_through_both_classes(name, tmp_path):
    theirs = transformers.MobileBertConfig(**{**SIZES, **CONFIGS[name], "num_labels": 3, "problem_type": "regression"})
    ours = MobileBertConfig.from_dict(theirs.to_dict())
    ours.save_pretrained(tmp_path)
    again = transformers.MobileBertConfig.from_pretrained(tmp_path)
    assert again.to_dict() == theirs.to_dict()
    assert again.true_hidden_size == ours.true_hidden_size


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("size", [120, 50])
def test_resized_models_have_transformers_names_and_shapes(head, size):
    theirs = torch_model(head)
    ours = paddle_twin(theirs, head)
    theirs.resize_token_embeddings(size)
    ours.resize_token_embeddings(size)
    linear = weights.linear_weights(ours)
    shapes = {n: tuple(p.shape)[::-1] if n in linear else tuple(p.shape) for n, p in ours.named_parameters()}
    expected = {name: tuple(p.shape) for name, p in theirs.named_parameters()}
    assert shapes == expected
    if head in LANGUAGE_MODELS:
        for name in ("cls.predictions.bias", "cls.predictions.dense.weight"):
            theirs_rows = dict(theirs.named_parameters())[name].detach().numpy()
            ours_rows = dict(ours.named_parameters())[name].numpy()
            theirs_rows = theirs_rows.T if name in linear else theirs_rows
            np.testing.assert_array_equal(ours_rows[: min(size, 97)], theirs_rows[: min(size, 97)])


def count(model):
    return sum(p.numel() for p in model.parameters())


def test_the_released_backbone_has_transformers_number_of_parameters():
    with torch.device("meta"):
        config = transformers.MobileBertConfig(classifier_activation=False)
        assert count(transformers.MobileBertModel(config)) == 24_581_888
        configs = [transformers.MobileBertConfig(**PRESETS["mobilebert-tiny"], num_hidden_layers=n) for n in (1, 2)]
        one, two = (count(transformers.MobileBertModel(config)) for config in configs)
    assert one + 23 * (two - one) == 15_485_696


@pytest.mark.parametrize("head", HEADS)
def test_dropout_is_where_transformers_has_it(head):
    for changes in ({}, {"use_bottleneck": False}):
        config = {**SIZES, "hidden_dropout_prob": 0.3, "attention_probs_dropout_prob": 0.2, "classifier_dropout": 0.4}
        config.update(changes)
        theirs = getattr(transformers, HEAD_CLASSES[head])(transformers.MobileBertConfig(**config))
        ours = HEADS[head](MobileBertConfig(**config))
        expected = {n: layer.p for n, layer in theirs.named_modules() if isinstance(layer, torch.nn.Dropout)}
        got = {n: layer.p for n, layer in ours.named_sublayers() if isinstance(layer, paddle.nn.Dropout) and layer.p}
        assert got == {name: p for name, p in expected.items() if p}


# The teacher, on which transformers' class crashes: a second derivation of the model, in NumPy


def layer_norm(values, gamma, beta, epsilon):
    mean = values.mean(-1, keepdims=True)
    return gamma * (values - mean) / np.sqrt(((values - mean) ** 2).mean(-1, keepdims=True) + epsilon) + beta


def numpy_backbone(state, config, input_ids, attention_mask, token_type_ids):
    """Last hidden state from a state dict in torch's layout, written from the paper's figure, row by row."""
    act = {"relu": lambda x: np.maximum(x, 0), "gelu": lambda x: x * torch.special.ndtr(torch.from_numpy(x)).numpy()}

    def dense(name, x):
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def norm(name, x, epsilon):
        gamma, beta = state[f"{name}.LayerNorm.weight"], state[f"{name}.LayerNorm.bias"]
        return gamma * x + beta if config["normalization_type"] == "no_norm" else layer_norm(x, gamma, beta, epsilon)

    rows = []
    for ids, mask, types in zip(input_ids, attention_mask, token_type_ids, strict=True):
        words = np.vstack([np.zeros(config["embedding_size"]), state["embeddings.word_embeddings.weight"][ids]])
        words = np.vstack([words, np.zeros(config["embedding_size"])])
        trigrams = np.hstack([words[2:], words[1:-1], words[:-2]])
        x = dense("embeddings.embedding_transformation", trigrams)
        x = x + state["embeddings.position_embeddings.weight"][: len(ids)]
        x = norm("embeddings", x + state["embeddings.token_type_embeddings.weight"][types], 1e-5)
        for number in range(config["num_hidden_layers"]):
            name = f"encoder.layer.{number}"
            narrow = norm(f"{name}.bottleneck.input", dense(f"{name}.bottleneck.input.dense", x), 1e-12)
            read = {"query": x, "key": x, "value": x}
            if config["use_bottleneck_attention"]:
                read = dict.fromkeys(read, narrow)
            elif config["key_query_shared_bottleneck"]:
                shared = norm(f"{name}.bottleneck.attention", dense(f"{name}.bottleneck.attention.dense", x), 1e-12)
                read |= {"query": shared, "key": shared}
            q, k, v = (dense(f"{name}.attention.self.{part}", source) for part, source in read.items())
            contexts = []
            for head in np.split(np.arange(q.shape[1]), config["num_attention_heads"]):
                scores = q[:, head] @ k[:, head].T / np.sqrt(len(head))
                scores = np.exp(scores - scores.max(-1, keepdims=True)) * mask
                contexts.append(scores / scores.sum(-1, keepdims=True) @ v[:, head])
            h = norm(
                f"{name}.attention.output",
                dense(f"{name}.attention.output.dense", np.hstack(contexts)) + narrow,
                1e-12,
            )
            for ffn in range(config["num_feedforward_networks"] - 1):
                wide = act[config["hidden_act"]](dense(f"{name}.ffn.{ffn}.intermediate.dense", h))
                h = norm(f"{name}.ffn.{ffn}.output", dense(f"{name}.ffn.{ffn}.output.dense", wide) + h, 1e-12)
            wide = act[config["hidden_act"]](dense(f"{name}.intermediate.dense", h))
            h = norm(f"{name}.output", dense(f"{name}.output.dense", wide) + h, 1e-5)
            x = norm(f"{name}.output.bottleneck", dense(f"{name}.output.bottleneck.dense", h) + x, 1e-12)
        rows.append(x)
    return np.stack(rows)


@pytest.mark.parametrize("name", ["released", "without-opt", "tiny"])
def test_the_second_derivation_equals_transformers(name):
    theirs = torch_model("model", **CONFIGS[name])
    config = theirs.config.to_dict()
    inputs = make_inputs(theirs.config)
    state = {key: value.numpy() for key, value in theirs.state_dict().items()}
    with torch.no_grad():
        expected = theirs(**{key: torch.from_numpy(value) for key, value in inputs.items()})[0].numpy()
    got = numpy_backbone(state, config, **inputs)
    assert np.abs(got - expected).max() / np.abs(expected).max() < 1e-12


@pytest.mark.parametrize("norm", ["layer_norm", "no_norm"])
def test_the_teachers_layout_equals_the_second_derivation(norm):
    sizes = {**SIZES, "intra_bottleneck_size": 64, "intermediate_size": 72, "num_feedforward_networks": 1}
    sizes["normalization_type"] = norm
    config = MobileBertConfig.preset("ib-bert-large", **sizes)
    model = MobileBertModel(config).to(dtype="float64")
    model.eval()
    generator = np.random.default_rng(0)
    for parameter in model.parameters():
        shape = tuple(parameter.shape)
        spread = shape[0] ** -0.5 if len(shape) == 2 else 0.3
        parameter.set_value(generator.normal(1.0 if len(shape) == 1 else 0.0, spread, shape))
    linear = weights.linear_weights(model)
    state = {n: p.numpy().T if n in linear else p.numpy() for n, p in model.named_parameters()}
    assert state["encoder.layer.0.attention.self.query.weight"].shape == (64, 48)
    inputs = make_inputs(config)
    output = model(**{key: paddle.to_tensor(value) for key, value in inputs.items()}).last_hidden_state.numpy()
    expected = numpy_backbone(state, config.to_dict(), **inputs)
    assert np.abs(output - expected).max() / np.abs(expected).max() < 1e-12
    state["encoder.layer.1.attention.self.query.bias"] = state["encoder.layer.1.attention.self.query.bias"] + 1e-3
    changed = numpy_backbone(state, config.to_dict(), **inputs)
    assert np.abs(output - changed).max() / np.abs(expected).max() > 1e-10
