"""Knowledge transfer put together: teachers, their cache, the loss of each stage, and who learns how fast."""

from dataclasses import replace

import numpy as np
import paddle
import pytest
from support.models import SIZES, randomise
from support.pretraining import Rows

from mobilebert.base.errors import InputError
from mobilebert.distill.cache import OutputCache
from mobilebert.distill.layers import check_pair, copy_outside, run_layers
from mobilebert.distill.losses import TransferWeights, layer_losses
from mobilebert.distill.teacher import ROWS, Teacher, Wanted, cache_shapes
from mobilebert.model.config import MobileBertConfig
from mobilebert.model.heads import HEADS
from mobilebert.tasks.pretrain import pretraining_loss
from mobilebert.tasks.transfer import Transfer, TransferLoss, stages_of, transfer_rate_at, without_dropout
from mobilebert.train import TrainSettings

L = 3
SMALL = {**SIZES, "num_hidden_layers": L, "num_attention_heads": 3}
TEACHER = {
    **SMALL, "intra_bottleneck_size": 60, "intermediate_size": 80, "num_feedforward_networks": 1,
    "key_query_shared_bottleneck": False, "normalization_type": "layer_norm", "hidden_act": "gelu",
}  # fmt: skip
SCHEDULE = TrainSettings(max_steps=40, learning_rate=0.01, lr_schedule="linear", warmup_steps=4)


def model(sizes, seed, dtype="float64"):
    return randomise(HEADS["pretraining"](MobileBertConfig(**sizes)).to(dtype=dtype), seed)


@pytest.fixture(scope="module")
def pair():
    return model(TEACHER, 1), model(SMALL, 2)


@pytest.fixture(scope="module")
def arrays():
    return Rows(40).batch(np.array([0, 3, 7, 8]))


@pytest.fixture(scope="module")
def batch(arrays):
    return {name: paddle.to_tensor(value) for name, value in arrays.items()}


def inputs(batch):
    return {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids")}


@pytest.mark.parametrize("attentions", [True, False])
def test_layers_are_the_models_own_up_to_the_last_one_wanted(pair, batch, attentions):
    for net in pair:
        whole = net.mobilebert(**inputs(batch), output_hidden_states=True, output_attentions=True)
        found = run_layers(net.mobilebert, batch, 1, 2, attentions)
        for index, (hidden, attention) in enumerate(found, start=1):
            np.testing.assert_allclose(hidden.numpy(), whole.hidden_states[index + 1].numpy(), rtol=1e-10, atol=1e-10)
            assert (attention is not None) == attentions
            if attentions:
                np.testing.assert_allclose(attention.numpy(), whole.attentions[index].numpy(), rtol=1e-10, atol=1e-12)
        assert len(run_layers(net.mobilebert, batch, 0, 0, attentions)) == 1


def test_layers_below_learn_only_where_they_are_to(pair, batch):
    student = pair[1]
    for below, expected in ((True, {"embeddings", "0", "1"}), (False, {"1"})):
        run_layers(student.mobilebert, batch, 1, 1, True, below)[0][0].sum().backward()
        learned = {
            name.split(".")[2] if "layer." in name else "embeddings"
            for name, p in student.mobilebert.named_parameters()
            if p.grad is not None
        }
        assert learned == expected
        for p in student.parameters():
            p.clear_gradient(False)


def test_pre_training_distillation_is_alpha_times_the_words_and_the_rest_of_the_teacher(pair, arrays, batch):
    teacher, student = pair
    loss = TransferLoss(Teacher(teacher), Transfer(alpha=0.25, temperature=1.5), L)
    loss.learn(0, -1, True)
    found = dict(zip(loss.names, loss(student, batch).numpy(), strict=True))
    masked, next_sentence = pretraining_loss(student, batch).numpy()
    theirs, ours = (
        net(**inputs(batch), masked_positions=batch["masked_positions"]).prediction_logits.numpy() / 1.5 for net in pair
    )

    def log_softmax(x):
        return x - x.max(-1, keepdims=True) - np.log(np.exp(x - x.max(-1, keepdims=True)).sum(-1, keepdims=True))

    p, q = log_softmax(theirs), log_softmax(ours)
    kl = (np.exp(p) * (p - q)).sum(-1)[arrays["masked_weights"] > 0].mean() * 1.5**2
    expected = {"masked": 0.25 * masked, "next_sentence": next_sentence, "soft": 0.75 * kl}
    assert {name: value for name, value in found.items() if name not in expected} == dict.fromkeys(
        ("feature_map", "mean", "variance", "attention"), 0
    )
    np.testing.assert_allclose([found[name] for name in expected], list(expected.values()), rtol=1e-9)
    assert not np.isclose(kl, (np.exp(p) * (p - q)).sum(-1).mean() * 1.5**2)  # with what fills rows up
    # Without a teacher's share it is pre-training.
    alone = TransferLoss(Teacher(teacher), Transfer("auxiliary", alpha=1.0, weights=TransferWeights(0, 0, 0, 0)), L)
    assert alone.names == ("masked", "next_sentence", "soft") and not alone.wanted.masked
    np.testing.assert_allclose(alone(student, batch).numpy(), [masked, next_sentence, 0], rtol=1e-9)


def test_each_strategy_counts_its_layers(pair, batch):
    teacher, student = pair
    sides = [run_layers(net.mobilebert, batch, 0, L - 1, True) for net in pair]
    weights = TransferWeights(feature_map=3.0, mean=0.5, variance=0.0, attention=2.0)

    def expected(layers):
        parts = layer_losses(*([side[i] for i in layers] for side in sides), batch["attention_mask"], weights)
        return {name: float(value) / L for name, value in parts.items()}

    def found(strategy):
        loss = TransferLoss(Teacher(teacher), Transfer(strategy, 30, weights), L)
        for stage in stages_of(loss, Transfer(strategy, 30, weights), SCHEDULE, L):
            stage.begin()
            yield stage.name, stage.steps, dict(zip(loss.names, loss(student, batch).numpy(), strict=True))

    progressive = list(found("progressive"))
    assert [steps for _, steps, _ in progressive] == [10, 10, 10, 40]
    for index, (name, _, terms) in enumerate(progressive[:-1]):
        assert name == f"transfer to layer {index + 1}" and terms["masked"] == terms["soft"] == 0
        np.testing.assert_allclose(
            [terms[key] for key in ("feature_map", "mean", "attention")], list(expected([index]).values()), rtol=1e-8
        )
    assert progressive[-1][2]["feature_map"] == 0 < progressive[-1][2]["soft"]
    joint = list(found("joint"))
    assert [(name, steps) for name, steps, _ in joint] == [
        ("transfer to all layers", 30), ("pre-training distillation", 40),
    ]  # fmt: skip
    np.testing.assert_allclose(joint[0][2]["attention"], expected(range(L))["attention"], rtol=1e-8)
    ((name, steps, terms),) = found("auxiliary")
    assert steps == 70 and terms["soft"] == pytest.approx(progressive[-1][2]["soft"], rel=1e-9)
    np.testing.assert_allclose(terms["feature_map"], expected(range(L))["feature_map"], rtol=1e-8)


def test_rates_are_the_published_ones():
    loss = TransferLoss(Teacher(None), Transfer(), L)
    stages = stages_of(loss, Transfer(transfer_steps=302), SCHEDULE, L)
    assert [stage.steps for stage in stages] == [100, 101, 101, 40]
    # 3 x the peak: from 0 in a tenth of the stage, then down to 0.9 of that by the square root of what is left.
    rates = [stages[0].learning_rate(step) for step in (0, 5, 10, 50, 99)]
    expected = [0, 0.5, 0.9 + 0.1 * 0.9**0.5, 0.9 + 0.1 * 0.5**0.5, 0.9 + 0.1 * 0.1]
    np.testing.assert_allclose(rates, 0.03 * np.array(expected))
    assert transfer_rate_at(0, 1) == 1
    shares = {
        name: stages[1].share_of(f"mobilebert.{name}.weight")
        for name in ("embeddings.word_embeddings", "encoder.layer.0.x", "encoder.layer.1.x", "encoder.layer.2.x")
    }
    assert list(shares.values()) == [0, 0.1, 1, 0] and stages[1].share_of("cls.predictions.bias") == 0
    assert stages[3].share_of("cls.predictions.bias") == 1 and stages[3].learning_rate(4) == 0.01
    frozen = stages_of(loss, Transfer(transfer_steps=30, lower_rate=0.0), SCHEDULE, L)
    assert frozen[2].share_of("encoder.layer.0.x") == 0
    joint = stages_of(loss, Transfer("joint", 30), SCHEDULE, L)[0]
    assert joint.share_of("encoder.layer.0.x") == 1 and joint.share_of("embeddings.x") == 0


def test_embeddings_and_heads_are_copied_and_layers_are_not(pair):
    teacher, student = pair[0], model(SMALL, 5)
    before = {name: p.numpy() for name, p in student.named_parameters()}
    theirs = dict(teacher.named_parameters())
    copied = copy_outside(teacher, student)
    for name, parameter in student.named_parameters():
        source = theirs[name] if name in copied else before[name]
        np.testing.assert_array_equal(parameter.numpy(), source if isinstance(source, np.ndarray) else source.numpy())
        kept = "encoder.layer" in name or "embeddings.LayerNorm" in name  # NoNorm's gain is another function
        assert (name not in copied) == kept
    same = model({**SMALL, "intermediate_size": 64}, 6)
    assert "mobilebert.embeddings.LayerNorm.weight" in copy_outside(same, student)


@pytest.mark.parametrize("name", ["num_hidden_layers", "hidden_size", "num_attention_heads", "embedding_size"])
def test_models_that_do_not_belong_together_are_refused(name):
    sizes = {**TEACHER, "num_attention_heads": 3, name: 2 * TEACHER[name]}
    with pytest.raises(InputError, match=f"the teacher has {name}={sizes[name]}, the student {SMALL[name]}"):
        check_pair(MobileBertConfig(**sizes), MobileBertConfig(**SMALL))
    check_pair(MobileBertConfig(**TEACHER), MobileBertConfig(**SMALL))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"strategy": "all"}, "`strategy=all`: expected one of progressive, joint, auxiliary"),
        ({"transfer_steps": -1}, "`transfer_steps=-1`: expected 0 or more"),
        ({"lower_rate": 1.5}, "`lower_rate=1.5`: expected a number from 0 to 1"),
        ({"transfer_rate": 0.0}, "`transfer_rate=0`: expected a number"),
        ({"weights": TransferWeights(0, 0, 0, 0)}, "nothing is transferred: all weights are 0"),
    ],
)
def test_settings_that_make_no_sense_are_named(changes, said):
    with pytest.raises(InputError, match=said):
        Transfer(**changes)
    loss = TransferLoss(Teacher(None), Transfer(), L)
    with pytest.raises(InputError, match="`transfer_steps=2`: fewer than the model's 3 layers"):
        stages_of(loss, Transfer(transfer_steps=2), SCHEDULE, L)


def test_dropout_is_off_while_a_student_looks_at_its_teacher(batch):
    student = model({**SMALL, "attention_probs_dropout_prob": 0.5, "hidden_dropout_prob": 0.3}, 3)
    student.train()
    noisy = [student.mobilebert(**inputs(batch)).last_hidden_state.numpy() for _ in range(2)]
    assert not np.array_equal(*noisy)
    without_dropout(student)
    quiet = [student.mobilebert(**inputs(batch)).last_hidden_state.numpy() for _ in range(2)]
    np.testing.assert_array_equal(*quiet)
    assert student.config.attention_probs_dropout_prob == 0.5


class Counting(Teacher):
    """Counts the rows that the model itself was asked for."""

    asked = 0

    def _run(self, batch, wanted):
        self.asked += len(batch["input_ids"])
        return super()._run(batch, wanted)


@pytest.fixture
def kept(tmp_path):
    """A teacher with a cache, and how to open it again."""
    teacher, rows = model(TEACHER, 1, "float32"), Rows(40)
    words = teacher.get_input_embeddings().weight
    words.set_value(np.concatenate([np.zeros([1, words.shape[1]], "float32"), words.numpy()[1:]]))
    wanted = [Wanted(0, 1, True, False), Wanted(0, -1, False, True)]
    shapes = cache_shapes(teacher.config, rows.max_seq_length, 8, wanted)

    def reopen(**key):
        return Counting(teacher, OutputCache(tmp_path, {"teacher": "a" * 64, "data": "b", **key}, len(rows), shapes))

    def batch_of(*indices):
        index = np.array(indices)
        return {name: paddle.to_tensor(value) for name, value in {**rows.batch(index), ROWS: index}.items()}

    return reopen, batch_of, wanted, tmp_path


def test_a_kept_output_is_the_teachers_whatever_stands_beside_it(kept):
    reopen, batch_of, wanted, _ = kept
    teacher = reopen()
    teacher.look(batch_of(1, 2, 3), wanted[0])
    assert teacher.asked == 3
    teacher = reopen()
    mixed = batch_of(9, 2, 5, 1)
    found, expected = teacher.look(mixed, wanted[0]), Teacher(teacher.model).look(mixed, wanted[0])
    assert teacher.asked == 4  # all, for 9 and 5
    mask = mixed["attention_mask"].numpy()
    for ours, theirs in zip(found.layers, expected.layers, strict=True):
        np.testing.assert_allclose(ours[0].numpy()[mask == 1], theirs[0].numpy()[mask == 1], rtol=1e-4, atol=1e-5)
        rows = np.broadcast_to(mask[:, None, :, None], theirs[1].shape) == 1
        np.testing.assert_allclose(ours[1].numpy()[rows], theirs[1].numpy()[rows], rtol=1e-4, atol=1e-6)
    # What is read a second time is the same to the last bit, and another kind of output is not taken for it.
    again = teacher.look(mixed, wanted[0])
    np.testing.assert_array_equal(again.layers[1][0].numpy(), found.layers[1][0].numpy())
    teacher.look(mixed, wanted[1])
    assert teacher.asked == 8
    np.testing.assert_allclose(
        teacher.look(mixed, wanted[1]).masked.numpy(), Teacher(teacher.model).look(mixed, wanted[1]).masked.numpy(),
        rtol=1e-4, atol=1e-5,
    )  # fmt: skip


def test_a_damaged_row_and_another_teacher_or_data_are_computed_again(kept):
    reopen, batch_of, wanted, folder = kept
    first = reopen().look(batch_of(1, 2), wanted[0])
    (path,) = folder.glob("teacher-*/map1.float32")
    content = bytearray(path.read_bytes())
    content[2 * len(content) // 40 + 5] ^= 1  # in row 2
    path.write_bytes(content)
    teacher = reopen()
    second = teacher.look(batch_of(1, 2), wanted[0])
    assert teacher.asked == 2
    # To the last bit: computed beside the same rows.
    np.testing.assert_array_equal(second.layers[1][0].numpy(), first.layers[1][0].numpy())
    for key in ({"teacher": "c" * 64}, {"data": "d"}, {"amp": "bf16"}):
        teacher = reopen(**key)
        teacher.look(batch_of(1, 2), wanted[0])
        assert teacher.asked == 2


def test_a_cache_without_room_is_refused(kept, monkeypatch):
    reopen, _, _, _ = kept
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1 << 10}))
    with pytest.raises(InputError, match=r"the teacher's outputs need 0\.0 GiB more, 0\.0 are free"):
        reopen()


def test_padding_of_a_row_is_nothing_that_is_kept(kept):
    reopen, batch_of, wanted, _ = kept
    teacher = reopen()
    teacher.look(batch_of(4), wanted[0])  # alone, so as long as the row
    longest = int(np.argmax(Rows(40).lengths))
    both = teacher.look(batch_of(4, longest), wanted[0])
    mask = batch_of(4, longest)["attention_mask"].numpy()
    assert not both.layers[0][0].numpy()[0][mask[0] == 0].any()
    assert teacher.asked == 3 and replace(wanted[0], last=0) != wanted[0]


def test_maps_that_do_not_count_are_neither_asked_for_nor_kept(pair, batch):
    teacher, student = pair
    transfer = Transfer("auxiliary", 0, TransferWeights(0, 0, 0, 2.0))
    loss = TransferLoss(Teacher(teacher), transfer, L)
    assert not loss.wanted.maps and loss.wanted.attentions
    shapes = cache_shapes(teacher.config, 24, 8, [loss.wanted])
    assert sorted(shapes) == ["attention0", "attention1", "attention2", "masked"]
    assert all(hidden is None for hidden, _ in loss.teacher.look(batch, loss.wanted).layers)
    found = dict(zip(loss.names, loss(student, batch).numpy(), strict=True))
    both = TransferLoss(Teacher(teacher), Transfer("auxiliary", 0, TransferWeights(1.0, 0, 0, 2.0)), L)
    expected = dict(zip(both.names, both(student, batch).numpy(), strict=True))
    assert found == pytest.approx({name: expected[name] for name in found}, rel=1e-9) and found["attention"] > 0
