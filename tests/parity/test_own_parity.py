"""Tables of one's own against torch: weighted losses in every cut of a step, several labels, the threshold."""

import numpy as np
import paddle
import pytest
import torch

from mobilebert.data.classify.label_sets import LabelSets
from mobilebert.data.glue.tasks import Task
from mobilebert.model.heads import cross_entropy
from mobilebert.tasks.class_scores import mean_loss, predictions_of

WEIGHTS = np.array([0.3, 2.5, 1.0, 7.0])
SETS = Task("own", "", ("text",), labels=("a", "b", "c", "d"), label_sets=LabelSets())


def logits_and_labels(seed, ignored=False):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, 12)
    if ignored:
        labels[[1, 5]] = -100
    return rng.normal(0, 3, (12, 4)), labels


@pytest.mark.parametrize("ignored", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_the_weighted_loss_and_its_gradient_are_torchs(seed, ignored):
    logits, labels = logits_and_labels(seed, ignored)
    theirs = torch.tensor(logits, requires_grad=True)
    expected = torch.nn.CrossEntropyLoss(weight=torch.tensor(WEIGHTS))(theirs, torch.tensor(labels))
    expected.backward()

    def ours(weights):
        values = paddle.to_tensor(logits, stop_gradient=False)
        loss = cross_entropy(values, paddle.to_tensor(labels), weight=weights)
        loss.backward()
        return float(loss), values.grad.numpy()

    loss, gradient = ours(paddle.to_tensor(WEIGHTS))
    assert loss == pytest.approx(expected.item(), rel=1e-12)
    np.testing.assert_allclose(gradient, theirs.grad.numpy(), rtol=1e-10, atol=1e-14)
    assert ours(None)[0] != pytest.approx(expected.item(), rel=1e-3)


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_the_dev_loss_of_several_labels_is_torchs(scale):
    rng = np.random.default_rng(1)
    logits, labels = scale * rng.normal(size=(20, 4)), (rng.random((20, 4)) < 0.4).astype(np.float32)
    expected = torch.nn.BCEWithLogitsLoss()(torch.tensor(logits), torch.tensor(labels, dtype=torch.float64)).item()
    assert mean_loss(SETS, logits, labels) == pytest.approx(expected, rel=1e-12)
    assert mean_loss(SETS, logits, 1 - labels) != pytest.approx(expected, rel=1e-3)


def test_labels_are_chosen_where_transformers_example_chooses_them():
    logits = np.random.default_rng(2).normal(size=(20, 4)).astype(np.float32)
    theirs = (torch.sigmoid(torch.tensor(logits)) > 0.5).numpy()
    assert (predictions_of(SETS, logits) == theirs).all() and (theirs == (logits > 0)).all()
    stricter = predictions_of(SETS, logits, 0.8)
    assert (stricter == (torch.sigmoid(torch.tensor(logits)) > 0.8).numpy()).all() and stricter.sum() < theirs.sum()
