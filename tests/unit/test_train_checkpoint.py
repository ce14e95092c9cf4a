"""Checkpoints: whole or absent, verified, pruned; random states; folders put in place at once."""

import errno
import json
import os
import random
import resource

import numpy as np
import paddle
import pytest
import safetensors.paddle

from mobilebert.base.errors import InputError
from mobilebert.train import checkpoint, randomness
from mobilebert.train.checkpoint import Checkpoint
from mobilebert.train.state import _load_model


def content(step):
    return Checkpoint(
        {"weight": np.full((3, 2), step, np.float32)},
        {"weight/beta1_pow": np.array([0.9**step])},
        {"progress": {"step": step, "train_loss": 0.1 + 0.2}},
    )


def test_a_checkpoint_comes_back_bit_for_bit(tmp_path):
    folder = checkpoint.save(tmp_path, 7, content(7), keep=2)
    assert folder.name == "step_00000007"
    found = checkpoint.load(checkpoint.verify(folder))
    assert np.array_equal(found.model["weight"], content(7).model["weight"])
    assert found.optimizer["weight/beta1_pow"].tobytes() == content(7).optimizer["weight/beta1_pow"].tobytes()
    assert found.state == content(7).state


def test_a_full_disk_leaves_the_older_checkpoints_and_nothing_else(tmp_path):
    older = checkpoint.save(tmp_path, 1, content(1), keep=2)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        with pytest.raises(OSError) as full:
            checkpoint.save(tmp_path, 2, content(2), keep=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (full.value.errno, full.value.filename) == (errno.EFBIG, str(older.with_name("step_00000002")))
    assert os.listdir(older.parent) == [checkpoint.verify(older).name]


def test_an_optimizers_state_is_floating_point_numbers(tmp_path):
    bits = np.array([0x3F80, 0x4000], np.uint16)  # bfloat16, as Paddle hands it over: 1 and 2
    right = Checkpoint({"weight": bits}, {"weight/moment1": bits, "weight/moment2": np.ones(2, np.float16)}, {})
    found = checkpoint.load(checkpoint.save(tmp_path, 1, right, keep=2))
    assert paddle.to_tensor(found.optimizer["weight/moment1"]).astype("float32").tolist() == [1, 2]
    wrong = Checkpoint({}, {"weight/moment1": np.ones(2, np.int8)}, {})
    with pytest.raises(InputError, match=r"optimizer.safetensors: weight/moment1 is int8, but an optimizer's state is"):
        checkpoint.load(checkpoint.save(tmp_path, 2, wrong, keep=2))


def test_a_type_that_numpy_lacks_is_one_line(tmp_path):
    folder = checkpoint.save(tmp_path, 1, content(1), keep=2)
    values = {"weight": paddle.ones([2]).astype("bfloat16")}
    safetensors.paddle.save_file(values, str(folder / "model.safetensors"))
    for _ in range(2):
        with pytest.raises(InputError, match=r"model.safetensors: .*resume from another checkpoint") as refused:
            checkpoint.load(folder)
        assert "\n" not in str(refused.value)
        import onnx  # noqa: F401 (it imports ml_dtypes, which has the type)


@pytest.mark.parametrize("dtype", ["float16", "float64", "bfloat16", "int32"])
def test_a_resumed_model_keeps_its_types(dtype):
    model = paddle.nn.Linear(3, 2)
    with pytest.raises(InputError, match=rf"checkpoint of another model \(weight is {dtype} there, float32 here\)"):
        _load_model(model, {n: v.astype(dtype).numpy() for n, v in model.state_dict().items()}, "here")
    if dtype != "int32":
        model.to(dtype=dtype)
        arrays = {name: (value * 2).numpy() for name, value in model.state_dict().items()}
        doubled = (model.weight * 2).astype("float64").numpy()
        _load_model(model, arrays, "here")
        assert model.weight.dtype == getattr(paddle, dtype)
        np.testing.assert_array_equal(model.weight.astype("float64").numpy(), doubled)


def test_only_the_newest_are_kept_and_leftovers_of_kills_removed(tmp_path):
    for step in (2, 4, 11):
        checkpoint.save(tmp_path, step, content(step), keep=2)
    root = tmp_path / "checkpoints"
    (root / ".step_00000020.new").mkdir()
    (root / ".step_00000001.trash").mkdir()
    assert checkpoint.steps_on_disk(tmp_path) == [4, 11]
    checkpoint.save(tmp_path, 21, content(21), keep=2)
    assert sorted(path.name for path in root.iterdir()) == ["step_00000011", "step_00000021"]


def damage_size(folder):
    os.truncate(folder / "model.safetensors", 50)


def damage_byte(folder):
    raw = bytearray((folder / "optimizer.safetensors").read_bytes())
    raw[-1] ^= 1
    (folder / "optimizer.safetensors").write_bytes(raw)


def damage_missing(folder):
    (folder / "state.json").unlink()


def damage_manifest(folder):
    (folder / "manifest.json").write_text('{"step": 4', encoding="utf-8")


def damage_list(folder):
    (folder / "manifest.json").write_text("[]", encoding="utf-8")


@pytest.mark.parametrize(
    "damage, words",
    [
        (damage_size, "model.safetensors has 50 bytes instead of"),
        (damage_byte, "optimizer.safetensors has another sha256"),
        (damage_missing, "state.json is missing"),
        (damage_manifest, "broken JSON"),
        (damage_list, "its table of files is damaged"),
    ],
)
def test_a_damaged_newest_is_reported_and_passed_over_only_when_asked(tmp_path, damage, words):
    for step in (2, 4):
        checkpoint.save(tmp_path, step, content(step), keep=2)
    damage(tmp_path / "checkpoints" / "step_00000004")
    with pytest.raises(InputError, match=words) as error:
        checkpoint.find(tmp_path, "latest", fallback=False, report=pytest.fail)
    assert "step_00000004" in str(error.value) and "`resume_fallback` resumes from step 2" in str(error.value)
    assert "\n" not in str(error.value)
    notes = []
    found = checkpoint.find(tmp_path, "latest", fallback=True, report=notes.append)
    assert found.name == "step_00000002" and len(notes) == 1 and words in notes[0]
    assert (tmp_path / "checkpoints" / "step_00000004.damaged").is_dir()
    assert checkpoint.find(tmp_path, "latest", fallback=False, report=pytest.fail) == found


def test_nothing_to_resume_from_is_an_error_not_a_fresh_start(tmp_path):
    with pytest.raises(InputError, match="no checkpoint to resume from; start without `resume`"):
        checkpoint.find(tmp_path, "latest", fallback=True, report=pytest.fail)
    with pytest.raises(InputError, match="nowhere: no such checkpoint folder"):
        checkpoint.find(tmp_path, tmp_path / "nowhere", fallback=True, report=pytest.fail)
    damage_missing(checkpoint.save(tmp_path, 2, content(2), keep=1))
    with pytest.raises(InputError, match="there is no other checkpoint"):
        checkpoint.find(tmp_path, "latest", fallback=True, report=pytest.fail)


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path):
    best = tmp_path / "best"
    checkpoint.write_folder(best, lambda folder: (folder / "a").write_text("one"))

    def fail(folder):
        (folder / "a").write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        checkpoint.write_folder(best, fail)
    assert (best / "a").read_text() == "one"
    checkpoint.write_folder(best, lambda folder: (folder / "b").write_text("two"))
    assert [path.name for path in best.iterdir()] == ["b"] and os.listdir(tmp_path) == ["best"]
    os.rename(best, tmp_path / ".best.old")  # killed between the two renames
    checkpoint.recover_folder(best)
    assert (best / "b").read_text() == "two"


def test_random_states_continue_after_a_trip_through_json():
    def draws():
        noise = paddle.nn.functional.dropout(paddle.ones([50]), 0.5).tolist()
        return random.random(), random.gauss(0, 1), np.random.normal(), paddle.rand([3]).tolist(), noise

    randomness.seed_all(3)
    random.gauss(0, 1), np.random.normal()  # both keep the second of a pair for later
    states = json.loads(json.dumps(randomness.capture()))
    first = draws()
    assert draws() != first
    randomness.restore(states)
    assert draws() == first
