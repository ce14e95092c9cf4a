"""Our weights in PaddleNLP's MobileBERT; skipped where its environment is absent."""

import numpy as np
import pytest

from mobilebert.base.errors import InputError
from mobilebert.verify import model as verify
from mobilebert.verify.peers import paddlenlp

needs_paddlenlp = pytest.mark.skipif(
    not paddlenlp.PYTHON.exists(), reason="no .venv-paddlenlp: bash scripts/setup.sh paddlenlp"
)
SMALL = {
    "vocab_size": 100,
    "num_hidden_layers": 2,
    "max_position_embeddings": 32,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}


def build(class_name: str, pad_row: float, **overrides):
    """A model with random weights far from their initial values, in evaluation mode."""
    import paddle

    import mobilebert

    config = mobilebert.MobileBertConfig(**SMALL | overrides)
    model = getattr(mobilebert, class_name)(config)
    generator = np.random.default_rng(5)
    for name, parameter in model.named_parameters():
        noise = generator.normal(0.0, 0.08, parameter.shape) + (1.0 if "LayerNorm.weight" in name else 0.0)
        parameter.set_value(noise.astype("float32"))
    embedding = model.get_input_embeddings().weight
    embedding.set_value(paddle.where(paddle.arange(100).unsqueeze(-1) == 0, paddle.full([1], pad_row), embedding))
    model.eval()
    return model, {name: value.numpy() for name, value in model.state_dict().items()}


def batch() -> dict[str, np.ndarray]:
    """Three rows of 17, 9 and 1 tokens, two segments, padded."""
    generator = np.random.default_rng(6)
    mask = (np.arange(17) < np.array([[17], [9], [1]])).astype("int64")
    ids = generator.integers(1, 100, (3, 17)) * mask
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": (np.arange(17) > 6) * mask}


def run_ours(model, inputs: dict[str, np.ndarray], **options):
    import paddle

    with paddle.no_grad():
        return model(**{name: paddle.to_tensor(value) for name, value in inputs.items()}, **options)


def apart(ours, theirs: np.ndarray) -> float:
    """The largest difference, relative to the largest magnitude."""
    ours = ours.numpy()
    assert ours.shape == theirs.shape
    return float(np.abs(ours - theirs).max() / np.abs(ours).max())


@needs_paddlenlp
def test_every_layer_is_equal():
    model, state = build("MobileBertModel", pad_row=0.0, classifier_activation=False)
    ours = run_ours(model, batch(), output_hidden_states=True)
    theirs = paddlenlp.run_paddlenlp(SMALL | {"classifier_activation": False}, state, batch())
    assert apart(ours.pooler_output, theirs["pooler_output"]) < 1e-5
    assert apart(ours.last_hidden_state, theirs["last_hidden_state"]) < 1e-5
    assert len(ours.hidden_states) == 3
    for index, hidden in enumerate(ours.hidden_states):
        assert apart(hidden, theirs[f"hidden_states.{index}"]) < 1e-5, index


@needs_paddlenlp
def test_its_padding_row_is_always_zero():
    """The known difference, which also shows that the comparison can fail."""
    model, state = build("MobileBertModel", pad_row=0.3, classifier_activation=False)
    ours = run_ours(model, batch(), output_hidden_states=True).hidden_states[0].numpy()
    theirs = paddlenlp.run_paddlenlp(SMALL | {"classifier_activation": False}, state, batch())["hidden_states.0"]
    difference = np.abs(ours - theirs).max(axis=-1)
    assert difference[0].max() < 1e-5  # the full row
    assert difference[1, 8] > 1e-2  # the last token before the padding sees the padding in its trigram
    assert difference[1, :8].max() < 1e-5


@needs_paddlenlp
def test_pretraining_logits_are_equal():
    model, state = build("MobileBertForPreTraining", pad_row=0.0)
    ours = run_ours(model, batch())
    theirs = paddlenlp.run_paddlenlp(SMALL, state, batch(), "MobileBertForPreTraining")
    assert apart(ours.prediction_logits, theirs["prediction_logits"]) < 1e-5
    assert apart(ours.seq_relationship_logits, theirs["seq_relationship_logits"]) < 1e-5


@needs_paddlenlp
def test_a_missing_weight_is_named():
    state = build("MobileBertModel", pad_row=0.0)[1]
    del state["encoder.layer.1.attention.self.query.weight"]
    with pytest.raises(InputError, match=r"names or shapes differ: encoder\.layers\.1\.attention\.query\.weight"):
        paddlenlp.run_paddlenlp(SMALL, state, batch())


def test_what_it_lacks_is_said(tmp_path):
    with pytest.raises(InputError, match="PaddleNLP has no MobileBertForMaskedLM; it has MobileBertModel, "):
        paddlenlp.run_paddlenlp(SMALL, {}, batch(), "MobileBertForMaskedLM")
    with pytest.raises(InputError, match="fails with normalization_type=layer_norm"):
        paddlenlp.run_paddlenlp(SMALL | {"normalization_type": "layer_norm"}, {}, batch())
    with pytest.raises(
        InputError, match=r"no PaddleNLP here; make its environment with: bash scripts/setup\.sh paddlenlp"
    ):
        paddlenlp.run_paddlenlp(SMALL, {}, batch(), python=tmp_path / "python")


def test_renames():
    names = {
        "mobilebert.embeddings.LayerNorm.weight": "mobilebert.embeddings.layer_norm.weight",
        "mobilebert.encoder.layer.11.attention.self.value.bias": "mobilebert.encoder.layers.11.attention.value.bias",
        "encoder.layer.0.attention.output.dense.weight": "encoder.layers.0.attention.dense.weight",
        "mobilebert.encoder.layer.0.output.bottleneck.LayerNorm.bias": (
            "mobilebert.encoder.layers.0.output.bottleneck.layer_norm.bias"
        ),
        "mobilebert.encoder.layer.0.ffn.2.output.LayerNorm.bias": (
            "mobilebert.encoder.layers.0.ffn.2.output.layer_norm.bias"
        ),
        "mobilebert.pooler.dense.weight": "mobilebert.pooler.dense.weight",
        "qa_outputs.bias": "qa_outputs.bias",
    }
    renamed = paddlenlp.rename_to_paddlenlp({name: np.zeros(1) for name in names})
    assert list(renamed) == list(names.values())


@needs_paddlenlp
def test_compare_holds_a_folder_against_it_and_can_fail(tmp_path):
    model, _ = build("MobileBertForPreTraining", pad_row=0.5, classifier_activation=False)
    model.save_pretrained(tmp_path)
    comparison = verify.compare_paddlenlp(tmp_path, length=9)
    assert comparison.passed, comparison.table()
    assert {"embeddings", "encoder.layer.1", "PreTraining.prediction_logits"} <= {row.name for row in comparison.rows}
    assert "paddlenlp-f64" in comparison.table()
    assert not verify.compare_paddlenlp(tmp_path, tolerance=1e-12, length=9).passed
