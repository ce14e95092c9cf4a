"""The task of pre-training: rows by epoch, scores against NumPy, refusals, heads on masked places alone."""

import numpy as np
import paddle
import pytest
from support.models import SIZES, randomise
from support.pretraining import Rows
from support.texts import make_tokenizer

from mobilebert.base.errors import InputError
from mobilebert.model.config import MobileBertConfig
from mobilebert.model.heads import MobileBertForPreTraining
from mobilebert.model.modeling import MobileBertModel
from mobilebert.tasks.model import run_of
from mobilebert.tasks.plan import RunPlan
from mobilebert.tasks.pretrain import (
    MODEL_INPUTS,
    EpochRows,
    Pretraining,
    PretrainingFiles,
    build_model,
    count,
    loss_sizes,
    metrics_of,
    pretraining_loss,
)
from mobilebert.train.parallel import World


@pytest.fixture(scope="module")
def model():
    return randomise(MobileBertForPreTraining(MobileBertConfig(**SIZES))).to(dtype="float64")


def tensors(batch):
    return {name: paddle.to_tensor(array) for name, array in batch.items()}


def test_the_places_that_are_asked_for_have_the_logits_that_all_places_have(model):
    batch = tensors(EpochRows(Rows()).batch(np.arange(7)))
    places = batch.pop("masked_positions")
    inputs = {name: batch[name] for name in MODEL_INPUTS if name in batch}
    some, whole = model(**inputs, masked_positions=places), model(**inputs)
    assert some.prediction_logits.shape == [7, places.shape[1], SIZES["vocab_size"]]
    expected = np.take_along_axis(whole.prediction_logits.numpy(), places.numpy()[:, :, None], axis=1)
    np.testing.assert_allclose(some.prediction_logits.numpy(), expected, rtol=1e-12)
    assert np.array_equal(some.seq_relationship_logits.numpy(), whole.seq_relationship_logits.numpy())


def test_the_loss_is_the_models_own_with_labels_at_all_places(model):
    batch = EpochRows(Rows()).batch(np.arange(7))
    labels = np.full(batch["input_ids"].shape, -100)
    for row, (places, ids, weights) in enumerate(
        zip(batch["masked_positions"], batch["masked_ids"], batch["masked_weights"], strict=True)
    ):
        labels[row, places[weights > 0]] = ids[weights > 0]
    given = {name: batch[name] for name in MODEL_INPUTS if name != "masked_positions"}
    expected = model(**tensors({**given, "labels": labels, "next_sentence_label": batch["next_sentence_label"]})).loss
    terms = pretraining_loss(model, tensors(batch))
    np.testing.assert_allclose(terms.numpy().sum(), expected.numpy(), rtol=1e-12)
    assert loss_sizes(batch).tolist() == [(labels >= 0).sum(), 7]


def test_a_row_means_the_same_alone_and_beside_longer_ones(model):
    rows = EpochRows(Rows())
    order = np.argsort(rows.lengths)
    short, long = order[:1], order[-1:]
    table = model.get_input_embeddings().weight
    assert np.abs(table.numpy()[0]).max() > 0.01  # [PAD], which a short row's last token sees behind it
    alone = run_of(model, ("seq_relationship_logits",))(_inputs(rows.batch(short)))[0]
    beside = run_of(model, ("seq_relationship_logits",))(_inputs(rows.batch(np.concatenate([short, long]))))[0]
    np.testing.assert_allclose(alone[0], beside[0], rtol=1e-6)
    # Negative control: without the [PAD] behind it.
    cut = {name: array[:, :-1] if array.shape[1] > rows.lengths[short][0] else array
           for name, array in _inputs(rows.batch(short)).items()}  # fmt: skip
    assert np.abs(run_of(model, ("seq_relationship_logits",))(cut)[0][0] - beside[0]).max() > 1e-4


def _inputs(batch):
    return {name: batch[name] for name in MODEL_INPUTS}


def test_masks_are_drawn_anew_by_epoch_and_seed_and_never_for_the_dev_set():
    rows, indices = EpochRows(Rows(), seed=1), np.arange(9)
    first = rows.batch(indices)["masked_positions"]
    assert np.array_equal(first, rows.of_epoch(0).batch(indices)["masked_positions"])
    assert not np.array_equal(first, rows.of_epoch(1).batch(indices)["masked_positions"])
    assert not np.array_equal(first, EpochRows(Rows(), seed=2).batch(indices)["masked_positions"])
    assert rows.example_ids(indices[:2]) == ["row 0", "row 1"]


@pytest.mark.parametrize("batch_size", [4, 30])
def test_scores_are_means_over_all_masked_tokens_and_pairs(model, batch_size):
    rows = EpochRows(Rows(30, seed=3))
    scores = metrics_of(count(run_of(model, Pretraining.outputs), rows, batch_size, World(0, 1)))
    batch = rows.batch(np.arange(30))
    output = model(**tensors({name: batch[name] for name in MODEL_INPUTS}))
    words, pairs = output.prediction_logits.numpy(), output.seq_relationship_logits.numpy()
    masked, pair_loss, right, losses = batch["masked_weights"] > 0, [], [], []
    for row in range(30):
        for place in np.flatnonzero(masked[row]):
            logits, truth = words[row, place], batch["masked_ids"][row, place]
            losses.append(np.log(np.exp(logits - logits.max()).sum()) + logits.max() - logits[truth])
            right.append(logits.argmax() == truth)
        pair_loss.append(np.log(np.exp(pairs[row]).sum()) - pairs[row, batch["next_sentence_label"][row]])
    expected = {
        "loss": np.mean(losses) + np.mean(pair_loss),
        "perplexity": np.exp(np.mean(losses)),
        "masked_accuracy": np.mean(right),
        "next_sentence_accuracy": np.mean(pairs.argmax(1) == batch["next_sentence_label"]),
        "masked_loss": np.mean(losses),
        "next_sentence_loss": np.mean(pair_loss),
    }
    assert list(scores) == list(expected)
    np.testing.assert_allclose(list(scores.values()), list(expected.values()), rtol=1e-5)


def test_a_hopeless_model_has_a_perplexity_all_the_same():
    counts = np.array([[1e6, 1.0, 0.0, 3.0, 0.0]])
    assert np.isfinite(metrics_of(counts)["perplexity"]) and metrics_of(counts)["masked_accuracy"] == 0


def test_logits_that_are_no_numbers_are_refused():
    def run(batch):
        return np.full([len(batch["input_ids"]), 1, 97], np.nan, "float32"), np.zeros([len(batch["input_ids"]), 2])

    with pytest.raises(InputError, match="not finite; did the training diverge"):
        count(run, EpochRows(Rows(3)), 2, World(0, 1))


def test_a_checkpoint_goes_on_with_its_heads_and_another_tasks_gets_new_ones(tmp_path, model):
    model.save_pretrained(tmp_path / "pretrained")
    plan = RunPlan(tmp_path / "out", do_train=True, init_from=str(tmp_path / "pretrained"))
    found, has_heads = build_model(plan, seed=0)
    assert has_heads
    for (name, a), b in zip(found.named_parameters(), model.parameters(), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-6, err_msg=name)
    MobileBertModel(MobileBertConfig(**SIZES)).save_pretrained(tmp_path / "backbone")
    found, has_heads = build_model(RunPlan(tmp_path / "out", True, init_from=str(tmp_path / "backbone")), seed=0)
    assert not has_heads
    again, _ = build_model(RunPlan(tmp_path / "out", True, init_from=str(tmp_path / "backbone")), seed=0)
    for a, b in zip(found.parameters(), again.parameters(), strict=True):
        assert np.array_equal(a.numpy(), b.numpy())
    with pytest.raises(InputError, match="exactly one of"):
        build_model(RunPlan(tmp_path / "out", do_train=True), seed=0)


def test_what_is_missing_or_of_another_vocabulary_is_said(tmp_path):
    files = PretrainingFiles({"train": "rows"})
    with pytest.raises(InputError, match="which dev rows\\? give `dev_data`"):
        Pretraining(files).check(RunPlan(tmp_path, do_train=True, do_eval=True))
    files._open["train"] = Rows()
    with pytest.raises(InputError, match="rows: made with another vocabulary than the model's; make it again"):
        Pretraining(files).load("train", RunPlan(tmp_path, do_train=True), make_tokenizer(), World(0, 1))
