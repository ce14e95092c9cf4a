"""Layers, backbone and heads, each detail by itself. tests/parity holds the whole against transformers."""

import weakref

import numpy as np
import paddle
import pytest
from support.models import SIZES, random_values

from mobilebert.accel import dispatch
from mobilebert.base.errors import InputError
from mobilebert.model.config import HEAD_CLASSES, MobileBertConfig
from mobilebert.model.heads import HEADS, LogitsOutput
from mobilebert.model.modeling import (
    Bottleneck,
    DenseResidualNorm,
    MobileBertEmbeddings,
    MobileBertModel,
    NoNorm,
    attention_bias,
    make_norm,
)

IDS = np.array([[5, 6, 7, 8, 9, 10], [11, 12, 13, 0, 0, 0]])
MASK = np.array([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]])


def build(head="model", **changes):
    """A model of ``SIZES`` with changes, every parameter perturbed, in evaluation mode."""
    model = HEADS[head](MobileBertConfig(**{**SIZES, **changes}))
    randomise(model)
    model.eval()
    return model


def randomise(model):
    generator = np.random.default_rng(0)
    for name, parameter in model.named_parameters():
        parameter.set_value(random_values(name, tuple(parameter.shape), generator).astype("float32"))


def run(model, ids=IDS, **inputs):
    """Last hidden state (or logits) as an array."""
    arrays = {name: paddle.to_tensor(value) for name, value in inputs.items()}
    with paddle.no_grad():
        return model(paddle.to_tensor(ids), **arrays)[0].numpy()


def inputs_for(head, ids=IDS):
    ids = np.stack([ids, ids[::-1]], axis=1) if head == "multiple-choice" else ids
    return paddle.to_tensor(ids)


# Embeddings


def trigram(reverse=False):
    """What the embeddings make of the words e(t) = t + [0, .1, .2, .3] when their product changes nothing."""
    layer = MobileBertEmbeddings(MobileBertConfig(**{**SIZES, "embedding_size": 4, "hidden_size": 12}))
    words = np.arange(SIZES["vocab_size"])[:, None] + np.arange(4)[None] / 10
    layer.word_embeddings.weight.set_value(words.astype("float32"))
    identity = np.eye(12, dtype="float32")
    blocks = np.split(identity, 3)
    layer.embedding_transformation.weight.set_value(np.concatenate(blocks[::-1]) if reverse else identity)
    for embedding in (layer.position_embeddings, layer.token_type_embeddings):
        embedding.weight.set_value(paddle.zeros_like(embedding.weight))
    layer.eval()
    return layer(paddle.to_tensor([[5, 6, 7]]))[0].numpy()[:, ::4]  # each block's first number


def test_the_trigram_is_next_current_previous_with_zeros_beyond_both_ends():
    expected = [[6, 5, 0], [7, 6, 5], [0, 7, 6]]
    np.testing.assert_array_equal(trigram(), expected)
    assert not np.array_equal(trigram(reverse=True), expected)


def test_trigram_of_one_token():
    model = build()
    embedded = model.embeddings(paddle.to_tensor([[5]]))
    assert embedded.shape == [1, 1, SIZES["hidden_size"]] and bool(paddle.isfinite(embedded).all())


def test_the_padding_row_is_read():
    model = build()
    before = run(model)
    row = model.embeddings.word_embeddings.weight
    with paddle.no_grad():
        row[0] = row[0] + 1.0
    after = run(model)
    assert np.abs(after[1] - before[1]).max() > 1e-3  # the row with [PAD]
    np.testing.assert_array_equal(after[0], before[0])


@pytest.mark.parametrize("pad_token_id", [0, 3, None])
def test_a_lookup_gives_the_padding_row_no_gradient(pad_token_id):
    model = build(pad_token_id=pad_token_id)
    model.train()
    ids = np.array([[1, 0, 3, 4]])
    model(paddle.to_tensor(ids)).last_hidden_state.pow(2).sum().backward()
    gradient = np.abs(model.embeddings.word_embeddings.weight.grad.numpy()).sum(axis=1)
    assert {row for row in range(6) if gradient[row] > 0} == {0, 1, 3, 4} - {pad_token_id}


def test_the_tied_decoder_gives_the_padding_row_a_gradient():
    model = build("masked-lm")
    model.train()
    model(paddle.to_tensor([[1, 0, 3]]), labels=paddle.to_tensor([[1, -100, 2]])).loss.backward()
    gradient = np.abs(model.get_input_embeddings().weight.grad.numpy()).sum(axis=1)
    assert (gradient > 0).all()


def test_new_weights_have_a_zero_padding_row_unit_norms_and_the_configured_spread():
    paddle.seed(0)
    model = MobileBertModel(MobileBertConfig(**SIZES, pad_token_id=3, initializer_range=0.5))
    words = model.embeddings.word_embeddings.weight.numpy()
    assert not words[3].any() and words[0].any()
    assert words[4:].std() == pytest.approx(0.5, rel=0.1)
    first = model.encoder.layer[0]
    assert first.attention.self.query.weight.numpy().std() == pytest.approx(0.5, rel=0.1)
    assert not first.attention.self.query.bias.numpy().any() and not first.output.LayerNorm.bias.numpy().any()
    assert (first.output.LayerNorm.weight.numpy() == 1).all()


def test_position_ids_default_to_counting_and_are_used():
    model = build()
    counted = np.tile(np.arange(6), (2, 1))
    np.testing.assert_array_equal(run(model), run(model, position_ids=counted))
    assert np.abs(run(model) - run(model, position_ids=counted + 3)).max() > 1e-3


def test_token_types_default_to_zero_and_are_used():
    model = build()
    np.testing.assert_array_equal(run(model), run(model, token_type_ids=np.zeros_like(IDS)))
    assert np.abs(run(model) - run(model, token_type_ids=np.ones_like(IDS))).max() > 1e-3


def test_embeddings_instead_of_ids_give_the_same():
    model = build()
    with paddle.no_grad():
        words = model.embeddings.word_embeddings(paddle.to_tensor(IDS))
        output = model(inputs_embeds=words, attention_mask=paddle.to_tensor(MASK)).last_hidden_state
    np.testing.assert_array_equal(output.numpy(), run(model, attention_mask=MASK))


@pytest.mark.parametrize("names", [(), ("input_ids", "inputs_embeds")])
def test_neither_or_both_kinds_of_input_are_refused(names):
    given = {"input_ids": paddle.to_tensor(IDS), "inputs_embeds": paddle.ones([2, 6, 16])}
    with pytest.raises(InputError, match="pass exactly one of input_ids and inputs_embeds"):
        build()(**{name: given[name] for name in names})


@pytest.mark.parametrize("head", HEADS)
def test_more_tokens_than_positions_are_refused(head):
    ids = inputs_for(head, np.ones((2, 33), "int64"))
    with pytest.raises(InputError, match="33 tokens in a row, the model has 32 positions: truncate"):
        build(head)(ids)
    build(head)(inputs_for(head, np.ones((2, 32), "int64")))


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("head", HEADS)
def test_an_empty_batch_is_refused(head, fast):
    model = build(head)
    dispatch.set_enabled(fast)
    try:
        for shape in ((0, 5), (3, 0), (0, 0)):
            with pytest.raises(InputError, match=r"input_ids has shape \[\d, \d\]: an empty batch; pass "):
                model(inputs_for(head, np.ones(shape, "int64")))
        model(inputs_for(head, np.ones((1, 1), "int64")))
    finally:
        dispatch.set_enabled(True)
    with pytest.raises(InputError, match=r"inputs_embeds has shape \[0, 5, 16\]: an empty batch"):
        build()(inputs_embeds=paddle.ones([0, 5, 16]))


# Norms


def test_no_norm_scales_and_shifts_and_nothing_else():
    norm = NoNorm(3)
    norm.weight.set_value(np.array([2, -1, 0.5], "float32"))
    norm.bias.set_value(np.array([0, 1, -1], "float32"))
    hidden = np.array([[1e7, 1, -2], [0, 0, 0]], "float32")
    np.testing.assert_array_equal(norm(paddle.to_tensor(hidden)).numpy(), [[2e7, 0, -2], [0, 1, -1]])


def test_no_norm_stays_in_its_parameters_precision():
    assert NoNorm(2)(paddle.ones([1, 2], "bfloat16")).dtype == paddle.float32


def test_layer_norms_have_hugging_faces_epsilons():
    model = HEADS["masked-lm"](MobileBertConfig(**SIZES, normalization_type="layer_norm", layer_norm_eps=1e-3))
    epsilons = {
        name: layer._epsilon for name, layer in model.named_sublayers() if isinstance(layer, paddle.nn.LayerNorm)
    }
    default = {name for name, epsilon in epsilons.items() if epsilon == 1e-5}
    assert default == {"mobilebert.embeddings.LayerNorm"} | {
        f"mobilebert.encoder.layer.{number}.output.LayerNorm" for number in range(2)
    }
    assert {epsilon for name, epsilon in epsilons.items() if name not in default} == {1e-3}


def test_a_no_norm_model_has_a_real_layer_norm_in_its_mlm_head_alone():
    model = HEADS["masked-lm"](MobileBertConfig(**SIZES))
    found = [name for name, layer in model.named_sublayers() if isinstance(layer, paddle.nn.LayerNorm)]
    assert found == ["cls.predictions.transform.LayerNorm"]
    assert isinstance(make_norm(MobileBertConfig(**SIZES), 4), NoNorm)


# Attention


def test_query_and_key_read_the_shared_bottleneck_and_value_the_raw_stream():
    bottleneck = Bottleneck(MobileBertConfig(**SIZES))
    randomise(bottleneck)
    hidden = paddle.randn([2, 3, SIZES["hidden_size"]])
    query, key, value, residual = bottleneck(hidden)
    assert query is key and value is hidden
    np.testing.assert_array_equal(query.numpy(), bottleneck.attention(hidden).numpy())
    np.testing.assert_array_equal(residual.numpy(), bottleneck.input(hidden).numpy())
    assert not np.allclose(query.numpy(), residual.numpy())


def test_bottleneck_attention_reads_one_bottleneck_with_or_without_the_shared_one():
    for shared in (True, False):
        config = MobileBertConfig(**SIZES, use_bottleneck_attention=True, key_query_shared_bottleneck=shared)
        query, key, value, residual = (bottleneck := Bottleneck(config))(hidden := paddle.randn([1, 2, 48]))
        assert query is key and key is value and value is residual
        np.testing.assert_array_equal(value.numpy(), bottleneck.input(hidden).numpy())
        assert hasattr(bottleneck, "attention") == shared


def test_without_a_shared_bottleneck_all_three_read_the_raw_stream():
    bottleneck = Bottleneck(MobileBertConfig(**SIZES, key_query_shared_bottleneck=False))
    query, key, value, residual = bottleneck(hidden := paddle.randn([1, 2, 48]))
    assert query is hidden and key is hidden and value is hidden
    assert residual.shape == [1, 2, 24] and not hasattr(bottleneck, "attention")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_attention_bias_hides_with_the_lowest_number(dtype):
    lowest = np.finfo(dtype).min
    for kind in ("int64", "bool", "float32"):
        bias = attention_bias(paddle.to_tensor(MASK.astype(kind)), paddle.to_tensor(0.0, dtype).dtype)
        assert bias.shape == [2, 1, 1, 6] and str(bias.dtype) == f"paddle.{dtype}"
        np.testing.assert_array_equal(bias[1, 0, 0].numpy(), [0, 0, 0, lowest, lowest, lowest])
    assert attention_bias(None, paddle.float32) is None


def test_a_mask_with_four_axes_is_taken_as_it_is():
    square = np.tril(np.ones((6, 6)))[None, None].repeat(2, 0)
    lowest = np.finfo("float32").min
    for kind in ("int64", "bool"):
        bias = attention_bias(paddle.to_tensor(square.astype(kind)), paddle.float32).numpy()
        np.testing.assert_array_equal(bias, np.where(square > 0, 0, lowest).astype("float32"))
    floats = paddle.to_tensor(square.astype("float32") * -3)
    np.testing.assert_array_equal(attention_bias(floats, paddle.float32).numpy(), floats.numpy())
    with pytest.raises(InputError, match=r"attention_mask has shape \[2, 6, 6\]: expected \[batch, tokens\] or 4"):
        attention_bias(paddle.to_tensor(square[:, 0]), paddle.float32)


def test_a_mask_with_four_axes_repeats_the_one_with_two():
    model = build()
    wide = np.tile(MASK[:, None, None], (1, 1, 6, 1))
    np.testing.assert_allclose(run(model, attention_mask=wide), run(model, attention_mask=MASK), rtol=0, atol=1e-5)
    assert np.abs(run(model) - run(model, attention_mask=MASK)).max() > 1e-3


def test_under_a_causal_mask_later_tokens_change_nothing():
    model = build(trigram_input=False)
    causal = np.tril(np.ones((6, 6), "int64"))[None, None].repeat(2, 0)
    changed = IDS.copy()
    changed[:, 4:] = 20
    before, after = (run(model, ids, attention_mask=causal) for ids in (IDS, changed))
    np.testing.assert_allclose(before[:, :4], after[:, :4], rtol=0, atol=1e-5)
    assert np.abs(before[:, 4:] - after[:, 4:]).max() > 1e-3
    assert np.abs(run(model, IDS)[:, :4] - run(model, changed)[:, :4]).max() > 1e-3  # without the mask


def test_a_row_that_may_see_nothing_attends_evenly():
    attentions = build()(
        paddle.to_tensor(IDS), attention_mask=paddle.zeros([2, 6], "int64"), output_attentions=True
    ).attentions
    np.testing.assert_allclose(attentions[0].numpy(), 1 / 6, rtol=1e-6)


def test_padding_changes_no_token_before_it():
    model = build(trigram_input=False)  # with trigrams the last token sees the row of [PAD]
    padded = run(model, IDS[1:], attention_mask=MASK[1:])[:, :3]
    np.testing.assert_allclose(padded, run(model, IDS[1:, :3]), rtol=0, atol=1e-5)


# Dropout


@pytest.mark.parametrize("use_bottleneck", [True, False])
def test_dropout_acts_where_the_paper_has_it(use_bottleneck):
    config = MobileBertConfig(
        **{**SIZES, "num_hidden_layers": 1, "attention_probs_dropout_prob": 0.2},
        hidden_dropout_prob=0.3,
        classifier_dropout=0.4,
        use_bottleneck=use_bottleneck,
    )
    model = HEADS["sequence-classification"](config)
    active = {n: d.p for n, d in model.named_sublayers() if isinstance(d, paddle.nn.Dropout) and d.p}
    layer = "mobilebert.encoder.layer.0."
    inside = ("output.bottleneck",) if use_bottleneck else ("attention.output", "output")
    expected = {"mobilebert.embeddings.dropout": 0.3, f"{layer}attention.self.dropout": 0.2, "dropout": 0.4}
    assert active == {**expected, **{f"{layer}{name}.dropout": 0.3 for name in inside}}


def test_training_drops_and_evaluation_does_not():
    model = build(hidden_dropout_prob=0.5, attention_probs_dropout_prob=0.5)
    np.testing.assert_array_equal(run(model), run(model))
    model.train()
    assert np.abs(run(model) - run(model)).max() > 1e-3


def test_the_classifiers_dropout_defaults_to_the_hidden_one():
    sizes = {**SIZES, "hidden_dropout_prob": 0.25}
    assert HEADS["token-classification"](MobileBertConfig(**sizes)).dropout.p == 0.25
    assert HEADS["token-classification"](MobileBertConfig(**sizes, classifier_dropout=0.0)).dropout.p == 0.0


def test_residuals_are_summed_in_the_residuals_precision():
    layer = DenseResidualNorm(MobileBertConfig(**SIZES), 4, 4)
    layer.dense.forward = lambda hidden: hidden  # as a product under autocast: bfloat16 comes out
    one, large = paddle.full([1, 4], -1.0, "bfloat16"), paddle.full([1, 4], 16777215.0)
    assert layer(one, large)[0, 0].item() == 16777214.0
    assert large.astype("bfloat16")[0, 0].item() != 16777215.0  # so a sum in bfloat16 would not do


# Outputs


def test_outputs_are_read_by_name_by_key_by_position_and_by_unpacking():
    model = build("question-answering")
    output = model(paddle.to_tensor(IDS), output_hidden_states=True)
    assert output.keys() == ["start_logits", "end_logits", "hidden_states"] and len(output) == 3
    assert output["start_logits"] is output.start_logits is output[0] and output[1] is output.end_logits
    start, end, hidden = output
    assert start is output[0] and hidden is output.hidden_states and output[:2] == (start, end)
    assert output.loss is None and output.attentions is None
    for missing in ("loss", "nonsense"):
        with pytest.raises(KeyError):
            output[missing]
    assert LogitsOutput().to_tuple() == ()


@pytest.mark.parametrize("head", HEADS)
def test_every_head_returns_tuple_states_and_attentions_when_asked(head):
    model = build(head)
    ids = inputs_for(head)
    rows = int(np.prod(ids.shape[:-1]))
    plain = model(ids)
    assert plain.hidden_states is None and plain.attentions is None and plain.to_tuple()
    output = model(ids, output_hidden_states=True, output_attentions=True)
    assert [s.shape for s in output.hidden_states] == [[rows, 6, 48]] * 3
    assert [a.shape for a in output.attentions] == [[rows, 4, 6, 6]] * 2
    row_sums = output.attentions[1].sum(axis=-1).numpy()
    np.testing.assert_allclose(row_sums, 1, rtol=1e-5)
    values = model(ids, return_dict=False)
    assert isinstance(values, tuple) and len(values) == len(plain)
    np.testing.assert_allclose(values[0].numpy(), plain[0].numpy(), rtol=1e-6)


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("fast", [False, True])
def test_without_gradients_only_what_was_asked_for_is_held(asked, fast):
    model = build(num_hidden_layers=4)
    seen, held = [], []

    def note(layer, inputs, outputs):
        held.append(sum(reference() is not None for reference in seen))
        seen.extend(weakref.ref(tensor) for tensor in outputs if tensor is not None)

    for layer in model.encoder.layer:
        layer.register_forward_post_hook(note)
    dispatch.set_enabled(fast)
    try:
        with paddle.no_grad():
            output = model(paddle.to_tensor(IDS), output_hidden_states=asked, output_attentions=asked)
    finally:
        dispatch.set_enabled(True)
    assert (output.hidden_states is not None) is (output.attentions is not None) is asked
    assert held == ([0, 2, 4, 6] if asked else [0, 1 + (not fast), 1 + (not fast), 1 + (not fast)])


def test_the_pooler_is_raw_or_activated_or_absent():
    raw = build()(paddle.to_tensor(IDS))
    np.testing.assert_array_equal(raw.pooler_output.numpy(), raw.last_hidden_state[:, 0].numpy())
    active = build(classifier_activation=True)
    output = active(paddle.to_tensor(IDS))
    dense = active.pooler.dense
    expected = np.tanh(output.last_hidden_state[:, 0].numpy() @ dense.weight.numpy() + dense.bias.numpy())
    np.testing.assert_allclose(output.pooler_output.numpy(), expected, rtol=1e-5, atol=1e-6)
    assert MobileBertModel(active.config, add_pooling_layer=False)(paddle.to_tensor(IDS)).pooler_output is None


def test_pretraining_has_a_loss_when_both_labels_are_there():
    model = build("pretraining")
    ids, labels, follows = paddle.to_tensor(IDS), paddle.to_tensor(IDS), paddle.to_tensor([0, 1])
    assert model(ids, labels=labels).loss is None and model(ids, next_sentence_label=follows).loss is None
    assert model(ids, labels=labels, next_sentence_label=follows).loss.shape == []


def test_heads_refuse_a_shape_that_they_cannot_have():
    with pytest.raises(InputError, match=r"num_labels=3: question answering has 2 \(start, end\)"):
        HEADS["question-answering"](MobileBertConfig(**SIZES, num_labels=3))
    with pytest.raises(InputError, match="embedding_size=49 is above hidden_size=48: the language modeling"):
        HEADS["masked-lm"](MobileBertConfig(**{**SIZES, "embedding_size": 49}))


def test_pairs_are_refused_where_the_model_has_one_token_type():
    model = build(type_vocab_size=1)
    zeros = np.zeros_like(IDS)
    np.testing.assert_array_equal(run(model, token_type_ids=zeros), run(model))
    with pytest.raises(InputError) as refused:
        run(model, token_type_ids=MASK)
    assert "\n" not in str(refused.value) and "type_vocab_size=1" in str(refused.value)
    run(build(), token_type_ids=MASK)  # two types have room for it


@pytest.mark.parametrize("head", ["masked-lm", "pretraining"])
def test_a_language_model_whose_embedding_is_as_wide_as_the_hidden_size(head, tmp_path):
    model = build(head, embedding_size=48)
    assert model.cls.predictions.dense.weight.shape == [97, 0]
    model.save_pretrained(tmp_path)
    again = HEADS[head].from_pretrained(tmp_path)
    assert not again.load_report.initialised and not again.load_report.unused
    logits = run(again)
    np.testing.assert_array_equal(logits, run(model))
    assert logits.shape == (2, 6, 97)
    # The decoder is the embedding alone.
    with paddle.no_grad():
        hidden = model.cls.predictions.transform(model.mobilebert(paddle.to_tensor(IDS)).last_hidden_state).numpy()
    words = model.get_input_embeddings().weight.numpy()
    np.testing.assert_allclose(logits, hidden @ words.T + model.cls.predictions.bias.numpy(), rtol=1e-4, atol=1e-4)
    assert again.resize_token_embeddings(120).weight.shape == [120, 48] and run(again).shape == (2, 6, 120)


# Vocabulary


@pytest.mark.parametrize("size", [97, 120, 50])
@pytest.mark.parametrize("head", HEADS)
def test_resizing_keeps_rows_and_survives_a_round_trip(head, size, tmp_path):
    model = build(head)
    before = {name: p.numpy() for name, p in model.named_parameters()}
    returned = model.resize_token_embeddings(size)
    assert returned is model.get_input_embeddings() and returned.weight.shape == [size, 16]
    assert model.config.vocab_size == size
    after = {name: p.numpy() for name, p in model.named_parameters()}
    assert list(after) == list(before)
    grown = {name for name in after if after[name].shape[0] == size and before[name].shape[0] == 97}
    prefix = "" if head == "model" else "mobilebert."
    expected = {f"{prefix}embeddings.word_embeddings.weight"}
    if head in ("masked-lm", "pretraining"):
        expected |= {"cls.predictions.dense.weight", "cls.predictions.bias"}
    assert grown == expected
    kept = min(size, 97)
    for name in expected:
        np.testing.assert_array_equal(after[name][:kept], before[name][:kept])
        mean = np.broadcast_to(before[name].mean(axis=0), after[name][kept:].shape)
        np.testing.assert_allclose(after[name][kept:], mean, rtol=1e-4, atol=1e-6)
    ids = inputs_for(head, np.full((2, 6), size - 1))
    logits = model(ids)[0].numpy()
    if head in ("masked-lm", "pretraining"):
        assert logits.shape == (2, 6, size)
    model.save_pretrained(tmp_path)
    loaded = HEADS[head].from_pretrained(tmp_path)
    assert loaded.config.vocab_size == size and not loaded.load_report.initialised
    np.testing.assert_array_equal(loaded(ids)[0].numpy(), logits)


def test_resized_rows_are_trained():
    model = build("masked-lm")
    model.resize_token_embeddings(120)
    model.train()
    optimizer = paddle.optimizer.SGD(0.1, parameters=model.parameters())
    before = {name: p.numpy() for name, p in model.named_parameters()}
    model(paddle.to_tensor([[119, 118]]), labels=paddle.to_tensor([[118, 119]])).loss.backward()
    optimizer.step()
    changed = {name for name, p in model.named_parameters() if not np.array_equal(p.numpy()[97:], before[name][97:])}
    assert {"cls.predictions.dense.weight", "mobilebert.embeddings.word_embeddings.weight"} <= changed


@pytest.mark.parametrize("size", [0, -1, 2.5])
def test_an_impossible_vocabulary_leaves_the_model_as_it_was(size):
    model = build("masked-lm")
    before = run(model)
    with pytest.raises(InputError, match=f"vocab_size={size}: expected a whole number of at least 1"):
        model.resize_token_embeddings(size)
    np.testing.assert_array_equal(run(model), before)


# Round trip and counts


@pytest.mark.parametrize("head", HEADS)
def test_saving_and_loading_gives_the_same_function(head, tmp_path):
    model = build(head, classifier_activation=True)
    model.save_pretrained(tmp_path)
    loaded = HEADS[head].from_pretrained(tmp_path)
    assert not loaded.training and not loaded.load_report.initialised and not loaded.load_report.unused
    assert loaded.config.extra == {"architectures": [HEAD_CLASSES[head]]}
    ids = inputs_for(head)
    np.testing.assert_array_equal(loaded(ids)[0].numpy(), model(ids)[0].numpy())


def test_a_head_loads_a_backbone_and_says_what_is_new(tmp_path):
    build().save_pretrained(tmp_path)
    model = HEADS["sequence-classification"].from_pretrained(tmp_path, num_labels=5)
    assert model.load_report.initialised == ["classifier.weight", "classifier.bias"]
    assert model.classifier.weight.shape == [48, 5]
    backbone = MobileBertModel.from_pretrained(tmp_path)
    model.save_pretrained(tmp_path / "again")
    again = MobileBertModel.from_pretrained(tmp_path / "again")
    assert sorted(again.load_report.unused) == ["classifier.bias", "classifier.weight"]
    np.testing.assert_array_equal(run(again), run(backbone))


def count(changes, layers):
    """Parameters of embeddings and encoder with so many layers."""
    model = MobileBertModel(MobileBertConfig.preset(**{**changes, "num_hidden_layers": layers}))
    return sum(p.size for name, p in model.named_parameters() if not name.startswith("pooler."))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"name": "mobilebert"}, 24_581_888),
        ({"name": "mobilebert-tiny"}, 15_485_696),
        ({"name": "mobilebert-tiny", "key_query_shared_bottleneck": True}, 17_067_776),
        ({"name": "ib-bert-large"}, 294_205_184),
    ],
)
def test_parameter_counts(changes, expected):
    one, two = count(changes, 1), count(changes, 2)
    assert one + 23 * (two - one) == expected  # the 24 layers are alike
