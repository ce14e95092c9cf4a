"""Each loss of knowledge transfer against the paper's formula, written out in float64, and what must not be equal."""

import numpy as np
import paddle
import pytest

from mobilebert.base.errors import InputError
from mobilebert.distill.losses import (
    TransferWeights,
    attention_loss,
    feature_map_losses,
    layer_losses,
    soft_target_loss,
)

LENGTHS = (7, 4, 1)
B, S, H, A = len(LENGTHS), 7, 10, 3
MASK = (np.arange(S) < np.array(LENGTHS)[:, None]).astype("int64")
rng = np.random.default_rng(3)
TEACHER_MAP, STUDENT_MAP = rng.normal(2, 3, [B, S, H]), rng.normal(-1, 0.5, [B, S, H])


def attention(seed):
    scores = np.random.default_rng(seed).normal(0, 2, [B, A, S, S])
    scores[np.broadcast_to(MASK[:, None, None] == 0, scores.shape)] = -np.inf
    exp = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exp / exp.sum(axis=-1, keepdims=True)


TEACHER_ATTENTION, STUDENT_ATTENTION = attention(4), attention(5)
mask = paddle.to_tensor(MASK)


def tensor(array, learns=False):
    return paddle.to_tensor(array, stop_gradient=not learns)


def expected_feature_map(teacher, student):
    """Token by token, as the paper has it: 1 / (T N) over the tokens of a sequence, then over sequences."""
    sums = np.zeros([B, 3])
    for b, length in enumerate(LENGTHS):
        for t in range(length):
            x, y = teacher[b, t], student[b, t]
            normal_x, normal_y = ((v - v.mean()) / np.sqrt(v.var() + 1e-12) for v in (x, y))
            parts = ((normal_x - normal_y) ** 2).mean(), (x.mean() - y.mean()) ** 2, abs(x.var() - y.var())
            sums[b] += np.array(parts) / length
    return sums.mean(axis=0)


def expected_attention(teacher, student):
    total = 0.0
    for b, length in enumerate(LENGTHS):
        for t in range(length):
            for a in range(A):
                p, q = teacher[b, a, t, :length], student[b, a, t, :length]
                total += (p * np.log(p / q)).sum() / (length * A * B)
    return total


def test_feature_map_transfer_is_the_papers():
    found = feature_map_losses(tensor(TEACHER_MAP), tensor(STUDENT_MAP), mask)
    expected = expected_feature_map(TEACHER_MAP, STUDENT_MAP)
    np.testing.assert_allclose([float(found[n]) for n in ("feature_map", "mean", "variance")], expected, rtol=1e-12)
    # Not the same: with padding, as one mean over all tokens, or without the normalization.
    others = expected_feature_map(STUDENT_MAP, TEACHER_MAP * 2)
    assert not np.allclose(expected, others, rtol=1e-3)
    whole = paddle.ones_like(mask)
    padded = [float(value) for value in feature_map_losses(tensor(TEACHER_MAP), tensor(STUDENT_MAP), whole).values()]
    assert not np.isclose(padded, expected, rtol=1e-3).any()
    assert not np.isclose(((TEACHER_MAP - STUDENT_MAP) ** 2)[MASK == 1].mean(), expected[0], rtol=1e-1)


def test_normalised_maps_ignore_gain_and_shift_which_the_statistics_see():
    found = feature_map_losses(tensor(TEACHER_MAP), tensor(3 * TEACHER_MAP + 1), mask)
    assert float(found["feature_map"]) < 1e-20 < 1 < float(found["mean"]) < float(found["variance"])


def test_attention_transfer_is_the_papers():
    found = float(attention_loss(tensor(TEACHER_ATTENTION), tensor(STUDENT_ATTENTION), mask))
    np.testing.assert_allclose(found, expected_attention(TEACHER_ATTENTION, STUDENT_ATTENTION), rtol=1e-12)
    assert float(attention_loss(tensor(TEACHER_ATTENTION), tensor(TEACHER_ATTENTION), mask)) == 0
    # The other direction, and rows of padding, are other numbers.
    assert not np.isclose(found, expected_attention(STUDENT_ATTENTION, TEACHER_ATTENTION), rtol=1e-2)
    whole = paddle.ones_like(mask)
    assert not np.isclose(found, float(attention_loss(tensor(TEACHER_ATTENTION), tensor(STUDENT_ATTENTION), whole)))


def test_an_attention_that_is_zero_somewhere_gives_finite_gradients():
    teacher, student = TEACHER_ATTENTION.astype("float32"), STUDENT_ATTENTION.astype("float32")
    student[0, 0, 0] = [1, 0, 0, 0, 0, 0, 0]
    learns = tensor(student, learns=True)
    loss = attention_loss(tensor(teacher), learns, mask)
    loss.backward()
    assert np.isfinite(float(loss)) and np.isfinite(learns.grad.numpy()).all()


def test_soft_targets_are_the_divergence_and_at_one_the_cross_entropy_less_the_teachers_entropy():
    teacher, student = rng.normal(0, 3, [5, 9]), rng.normal(0, 2, [5, 9])
    for temperature in (1.0, 2.5):
        p, q = (np.exp(x / temperature) for x in (teacher, student))
        p, q = p / p.sum(axis=1, keepdims=True), q / q.sum(axis=1, keepdims=True)
        expected = (p * np.log(p / q)).sum(axis=1) * temperature**2
        found = soft_target_loss(tensor(teacher), tensor(student), temperature).numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-11)
    # Google's one cross-entropy against mixed labels: the same but for a constant, so the same gradient.
    p, q = np.exp(teacher), np.exp(student)
    p, q = p / p.sum(axis=1, keepdims=True), q / q.sum(axis=1, keepdims=True)
    hard = np.eye(9)[[0, 3, 8, 2, 2]]
    mixed = -((0.5 * p + 0.5 * hard) * np.log(q)).sum(axis=1)
    ours = 0.5 * -(hard * np.log(q)).sum(axis=1) + 0.5 * (p * np.log(p / q)).sum(axis=1)
    np.testing.assert_allclose(mixed - ours, -0.5 * (p * np.log(p)).sum(axis=1), rtol=1e-12)
    assert not np.allclose(mixed, ours)


@pytest.mark.parametrize("part", ["feature_map", "mean", "variance", "attention"])
def test_gradients_go_to_the_student_alone_and_are_the_formulas(part):
    teacher, student = (TEACHER_ATTENTION, STUDENT_ATTENTION) if part == "attention" else (TEACHER_MAP, STUDENT_MAP)

    def loss(theirs, ours):
        return (
            attention_loss(theirs, ours, mask) if part == "attention" else feature_map_losses(theirs, ours, mask)[part]
        )

    theirs, ours = tensor(teacher, learns=True), tensor(student, learns=True)
    loss(theirs, ours).backward()
    assert theirs.grad is None
    gradient = ours.grad.numpy()
    assert not gradient[2, ..., 1:, :].any()  # the third example's padding
    place = (0, 1, 2, 3) if part == "attention" else (0, 2, 3)
    values = []
    for change in (1e-6, -1e-6):
        moved = student.copy()
        moved[place] += change
        values.append(float(loss(tensor(teacher), tensor(moved))))
    np.testing.assert_allclose(gradient[place], (values[0] - values[1]) / 2e-6, rtol=1e-6)


def test_layers_are_weighted_and_summed_and_what_counts_nothing_is_left_out():
    layers = [(tensor(TEACHER_MAP), tensor(TEACHER_ATTENTION)), (tensor(STUDENT_MAP), tensor(STUDENT_ATTENTION))]
    weights = TransferWeights(feature_map=2.0, mean=0.0, variance=0.5, attention=3.0)
    found = layer_losses(layers, layers[::-1], mask, weights)
    there, back = expected_feature_map(TEACHER_MAP, STUDENT_MAP), expected_feature_map(STUDENT_MAP, TEACHER_MAP)
    kl = expected_attention(TEACHER_ATTENTION, STUDENT_ATTENTION) + expected_attention(
        STUDENT_ATTENTION, TEACHER_ATTENTION
    )
    expected = {"feature_map": 2 * (there + back)[0], "variance": 0.5 * (there + back)[2], "attention": 3 * kl}
    assert found.keys() == expected.keys()
    np.testing.assert_allclose([float(found[name]) for name in expected], list(expected.values()), rtol=1e-12)
    assert (TransferWeights().feature_map, TransferWeights().mean, TransferWeights().variance) == (100, 5000, 5)
    with pytest.raises(InputError, match="`mean_weight=-1`: expected a number of at least 0"):
        TransferWeights(mean=-1)


def test_what_stands_at_padding_never_reaches_a_loss():
    spoiled = np.where(MASK[..., None] == 0, np.nan, TEACHER_MAP)
    ours = tensor(np.where(MASK[..., None] == 0, 1e300, STUDENT_MAP), learns=True)
    found = feature_map_losses(tensor(spoiled), ours, mask)
    expected = expected_feature_map(TEACHER_MAP, STUDENT_MAP)
    np.testing.assert_allclose([float(found[n]) for n in ("feature_map", "mean", "variance")], expected, rtol=1e-12)
