"""Task distillation: its loss for every head against NumPy, students with fewer layers, teachers that do not fit."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import paddle
import pytest
from support.models import CHECKPOINT_SIZES, SIZES, randomise, save_checkpoint
from support.texts import CHECKPOINT_VOCABULARY, make_tokenizer

from mobilebert.base.errors import InputError
from mobilebert.distill.layers import layer_map
from mobilebert.model.config import MobileBertConfig
from mobilebert.model.heads import HEADS
from mobilebert.tasks.plan import RunPlan
from mobilebert.tasks.teacher import check_teacher, digest_of, load_teacher, shortened, weights_digest, with_teacher

LENGTHS = np.array([11, 6, 2])
rng = np.random.default_rng(0)
MASK = (np.arange(11) < LENGTHS[:, None]).astype("int64")
BATCH = {
    "input_ids": rng.integers(1, 90, MASK.shape) * MASK,
    "attention_mask": MASK,
    "token_type_ids": np.zeros_like(MASK),
}
TAGS = np.where(MASK == 1, rng.integers(0, 3, MASK.shape), -100)
TAGS[:, 0] = -100
CASES = {
    "classes": ("sequence-classification", {"num_labels": 3}, {"labels": np.array([0, 2, 1])}),
    "labels": (
        "sequence-classification",
        {"num_labels": 3, "problem_type": "multi_label_classification"},
        {"labels": rng.integers(0, 2, [3, 3]).astype("float64")},
    ),
    "number": (
        "sequence-classification",
        {"num_labels": 1, "problem_type": "regression"},
        {"labels": np.array([0.5, -1.0, 2.0])},
    ),
    "tags": ("token-classification", {"num_labels": 3}, {"labels": TAGS}),
    "answers": (
        "question-answering",
        {},
        {"start_positions": np.array([1, 2, 0]), "end_positions": np.array([4, 3, 1])},
    ),
}
PLAN = RunPlan(Path("out"), do_train=True, teacher="teacher", temperature=2.0, alpha=0.25)


def model(head, seed, **changes):
    return randomise(HEADS[head](MobileBertConfig(**{**SIZES, **changes})).to(dtype="float64"), seed)


def softmax(x):
    exp = np.exp(x - x.max(axis=-1, keepdims=True))
    return exp / exp.sum(axis=-1, keepdims=True)


def divergence(theirs, ours, temperature):
    p, q = softmax(theirs / temperature), softmax(ours / temperature)
    return (p * np.log(p / q)).sum(axis=-1) * temperature**2


def expected_soft(case, theirs, ours, temperature):
    if case == "number":
        return ((theirs - ours) ** 2).mean()
    if case == "labels":
        two = [np.stack([x, np.zeros_like(x)], -1) for x in (theirs, ours)]
        return divergence(*two, temperature).mean()
    if case == "tags":
        return divergence(theirs, ours, temperature)[TAGS != -100].mean()
    if case == "answers":
        rows = [divergence(theirs[row, :n], ours[row, :n], temperature) for row, n in enumerate(LENGTHS)]
        return np.mean(rows)
    return divergence(theirs, ours, temperature).mean()


def fields(case):
    return ("start_logits", "end_logits") if case == "answers" else ("logits",)


@pytest.mark.parametrize("case", CASES)
def test_the_loss_is_the_heads_own_and_the_distance_to_the_teachers_answers(case):
    head, changes, labels = CASES[case]
    teacher, student = model(head, 1, **changes), model(head, 2, num_feedforward_networks=2, **changes)
    batch = {name: paddle.to_tensor(value) for name, value in {**BATCH, **labels}.items()}
    inputs = {name: batch[name] for name in BATCH}
    theirs, ours = teacher(**inputs), student(**batch)
    soft = np.mean(
        [expected_soft(case, theirs[name].numpy(), ours[name].numpy(), PLAN.temperature) for name in fields(case)]
    )
    found = with_teacher(teacher, fields(case), PLAN)(student, batch)
    np.testing.assert_allclose(float(found), 0.25 * float(ours.loss) + 0.75 * soft, rtol=1e-9)
    found.backward()
    assert all(p.grad is None for p in teacher.parameters())
    assert any(p.grad is not None for p in student.parameters())
    # What must not be equal: another temperature, another share, the student as its own teacher.
    for other in (replace(PLAN, temperature=1.0), replace(PLAN, alpha=0.5)):
        value = float(with_teacher(teacher, fields(case), other)(student, batch))
        assert (case == "number" and other.alpha == 0.25) or not np.isclose(value, float(found), rtol=1e-6)
    alone = float(with_teacher(student, fields(case), PLAN)(student, batch))
    np.testing.assert_allclose(alone, 0.25 * float(ours.loss), rtol=1e-9)


def test_hidden_states_are_compared_layer_by_layer_over_tokens_only():
    teacher = model("sequence-classification", 1, num_hidden_layers=4)
    student = model("sequence-classification", 2)
    batch = {name: paddle.to_tensor(value) for name, value in {**BATCH, "labels": np.array([0, 1, 1])}.items()}
    inputs = {name: batch[name] for name in BATCH}
    maps = [net(**inputs, output_hidden_states=True).hidden_states for net in (teacher, student)]

    def normal(x):
        x = x - x.mean(-1, keepdims=True)
        return x / np.sqrt(x.var(-1, keepdims=True) + 1e-12)

    distances = []
    for at, number in ((2, 1), (4, 2)):
        squares = ((normal(maps[0][at].numpy()) - normal(maps[1][number].numpy())) ** 2).mean(-1)
        distances.append(np.mean([squares[row, :n].mean() for row, n in enumerate(LENGTHS)]))
    losses = [
        float(with_teacher(teacher, ("logits",), replace(PLAN, hidden_weight=w))(student, batch)) for w in (0.0, 3.0)
    ]
    np.testing.assert_allclose(losses[1] - losses[0], 3 * np.mean(distances), rtol=1e-9)


def test_layers_are_spread_evenly_and_the_last_is_the_last():
    assert layer_map(12, 24) == list(range(2, 25, 2)) and layer_map(4, 6) == [2, 3, 4, 6]
    assert layer_map(3, 3) == [1, 2, 3] and layer_map(1, 24) == [24]


def test_a_student_with_fewer_layers_begins_as_the_teacher():
    teacher = model("question-answering", 1, num_hidden_layers=4).to(dtype="float32")
    student = shortened(teacher, 2)
    theirs, ours = (dict(net.named_parameters()) for net in (teacher, student))
    assert student.config.num_hidden_layers == 2 and len(ours) < len(theirs)
    for name, value in ours.items():
        source = name.replace("encoder.layer.1.", "encoder.layer.3.").replace("encoder.layer.0.", "encoder.layer.1.")
        np.testing.assert_array_equal(value.numpy(), theirs[source].numpy())
    whole = shortened(teacher, 4)
    inputs = {name: paddle.to_tensor(value) for name, value in BATCH.items()}
    np.testing.assert_array_equal(whole(**inputs).start_logits.numpy(), teacher(**inputs).start_logits.numpy())
    for number in (0, 5):
        with pytest.raises(InputError, match=f"`student_layers={number}`: the teacher has 4; expected 1 to 4"):
            shortened(teacher, number)


@pytest.fixture(scope="module")
def sst2(tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher") / "sst2"
    return save_checkpoint(folder, "sequence-classification", id2label={0: "negative", 1: "positive"})


def test_a_teacher_that_does_not_fit_is_refused(sst2, tmp_path):
    teacher = load_teacher(str(sst2), "sequence-classification", "classifier")
    tokenizer, plan = make_tokenizer(CHECKPOINT_VOCABULARY), replace(PLAN, teacher=str(sst2))
    check_teacher(teacher, teacher.config, tokenizer, plan, 64)
    other = make_tokenizer([*CHECKPOINT_VOCABULARY[:-2], *reversed(CHECKPOINT_VOCABULARY[-2:])])
    turned = replace(teacher.config, id2label={0: "positive", 1: "negative"})
    wide, hidden = (
        replace(teacher.config, hidden_size=2 * CHECKPOINT_SIZES["hidden_size"]),
        replace(plan, hidden_weight=1),
    )
    for config, words, told, length, said in (
        (teacher.config, other, plan, 64, "its tokenizer is not the student's"),
        (turned, tokenizer, plan, 64, "its classes are negative, positive, the student's positive, negative; expected"),
        (teacher.config, tokenizer, plan, 65, "`max_seq_length=65`: expected 4 to 64 tokens"),
        (wide, tokenizer, hidden, 64, "the teacher's layers are 96 wide, the student's 192; only layers"),
    ):
        with pytest.raises(InputError, match=said):
            check_teacher(teacher, config, words, told, length)
    deep = replace(teacher.config, num_hidden_layers=1 + teacher.config.num_hidden_layers)
    with pytest.raises(InputError, match=f"the teacher has {teacher.config.num_hidden_layers} layers, the student "):
        check_teacher(teacher, deep, tokenizer, hidden, 64)
    for other in (wide, deep):  # logits alone ask for no width and depth
        check_teacher(teacher, other, tokenizer, plan, 64)
    save_checkpoint(tmp_path / "headless", "model")
    with pytest.raises(InputError, match="headless: has no classifier; a teacher is fine-tuned on the task first"):
        load_teacher(str(tmp_path / "headless"), "sequence-classification", "classifier")


def test_another_teacher_or_temperature_is_another_run(sst2, tmp_path):
    plan = replace(PLAN, teacher=str(sst2))
    other = shutil.copytree(sst2, tmp_path / "other")
    assert digest_of(plan) == digest_of(plan) == digest_of(replace(plan, teacher=str(other)))
    eps = shutil.copytree(sst2, tmp_path / "eps")  # the same weights, and another function of them
    (eps / "config.json").write_text(json.dumps({**json.loads((eps / "config.json").read_text()), "layer_norm_eps": 1}))
    weights = load_teacher(str(other), "sequence-classification", "classifier")
    weights.classifier.bias.set_value(weights.classifier.bias + 1)
    weights.save_pretrained(other)
    plans = [plan, replace(plan, temperature=3.0), replace(plan, alpha=0.0), replace(plan, teacher=str(other))]
    assert len({digest_of(one) for one in [*plans, replace(plan, teacher=str(eps))]}) == 5


def test_weights_of_every_kind_of_file_count(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="found no weights"):
        weights_digest(str(tmp_path))
    found = set()
    for name in ("model.safetensors", "model_state.pdparams", "pytorch_model.bin", "pytorch_model-00001-of-00002.bin"):
        for content in ("one", "other"):
            (tmp_path / name).write_text(content)
            found.add(weights_digest(str(tmp_path)))
        (tmp_path / name).unlink()
    assert len(found) == 8


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"temperature": 0.0}, "`temperature=0`: expected a number above 0"),
        ({"alpha": 1.5}, "`alpha=1.5`: expected a share, 0 to 1"),
        ({"hidden_weight": -1.0}, "`hidden_weight=-1`: expected a number of at least 0"),
        ({"teacher": None, "student_layers": 2}, "`student_layers=2`: of which `teacher`?"),
        ({"student_layers": 2, "init_from": "x"}, "give no other source"),
        ({"do_train": False, "do_eval": True}, "only a training .`do_train`. learns from one"),
    ],
)
def test_flags_that_make_no_sense_are_named(changes, said):
    with pytest.raises(InputError, match=said.replace("?", "[?]")):
        replace(PLAN, **changes).check("to answer")
