"""PyTorch's pickles without torch: what ``torch.load`` reads of the same files; strangers' are refused, not run."""

import io
import pickle
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from support.models import torch_model

from mobilebert.base.errors import InputError
from mobilebert.model import tensor_files, torch_pickle
from mobilebert.model.heads import HEADS

ROOT = Path(__file__).parents[2]
_NUMBERS = torch.arange(24, dtype=torch.float32)
STATES = {
    "plain": {"a.b": _NUMBERS.reshape(4, 6), "a.c": torch.tensor(2.5), "a.d": torch.empty(0, 3)},
    "views": {"a.b": _NUMBERS.reshape(4, 6).T, "a.c": _NUMBERS[3:20:2], "a.d": _NUMBERS.reshape(2, 3, 4)[:, 1:, ::3]},
    "types": {f"a.{dtype}": _NUMBERS.to(dtype) for dtype in (torch.float16, torch.float64, torch.bfloat16)},
    "parameters": OrderedDict({"a.b": torch.nn.Parameter(_NUMBERS), "a.c": torch.nn.Parameter(_NUMBERS[2:4])}),
    "a training's": {
        "epoch": 3,
        "optimizer": {"state": {0: {"step": torch.ones(2, dtype=torch.int64)}}},
        "model": {"a.b": _NUMBERS},
    },
}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "old"])
@pytest.mark.parametrize("name", STATES)
def test_what_torch_loads_is_read(name, zipped, tmp_path):
    path = tmp_path / "x.bin"
    torch.save(STATES[name], path, _use_new_zipfile_serialization=zipped)
    loaded = torch.load(path, weights_only=True)
    loaded = loaded.get("model", loaded)
    read = torch_pickle.read(path)
    assert list(read) == list(loaded) == list(torch_pickle.read(path, only_names=True))
    for key, tensor in loaded.items():
        assert read[key].shape == tuple(tensor.shape)
        bits = tensor.detach().contiguous()
        if tensor.dtype == torch.bfloat16:
            np.testing.assert_array_equal(read[key].view(np.uint16), bits.view(torch.int16).numpy().view(np.uint16))
        else:
            assert read[key].dtype == bits.numpy().dtype
            np.testing.assert_array_equal(read[key], bits.numpy())


def _save(path, offset=0, sizes=(2, 3), strides=(3, 1), numbers=6, key="0"):
    """A file of torch's whose one tensor says whatever a stranger likes."""

    class Storage:
        pass

    class Tensor:
        def __reduce__(self):
            return torch._utils._rebuild_tensor_v2, (Storage(), offset, sizes, strides, False, OrderedDict())

    class Pickler(pickle.Pickler):
        def persistent_id(self, thing):
            return ("storage", torch.FloatStorage, key, "cpu", 6) if isinstance(thing, Storage) else None

    data = io.BytesIO()
    Pickler(data, protocol=2).dump({"a.b": Tensor()})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", data.getvalue())
        archive.writestr("x/data/0", np.arange(numbers, dtype="<f4").tobytes())
    return path


def test_a_view_that_fits_is_read(tmp_path):
    np.testing.assert_array_equal(torch_pickle.read(_save(tmp_path / "x.bin"))["a.b"], np.arange(6).reshape(2, 3))


@pytest.mark.parametrize(
    "lie",
    [
        {"offset": 1},
        {"offset": -1},
        {"sizes": (3, 3)},
        {"strides": (4, 1)},
        {"strides": (-3, 1)},
        {"strides": (3,)},
        {"sizes": (1 << 40, 1 << 40), "strides": (0, 0)},
        {"numbers": 5},
        {"key": "../../x"},
        {"offset": "0"},
        {"sizes": None},
    ],
)
def test_a_view_of_what_is_not_there_is_refused(lie, tmp_path):
    path = _save(tmp_path / "x.bin", **lie)
    with pytest.raises(InputError, match=r"^.*x.bin: refused, it is damaged or holds more than tensors \(.+\)$"):
        torch_pickle.read(path)


@pytest.mark.parametrize("change", [b"\x81", b"\x92", b"R", b"b"])
def test_a_pickle_changes_nothing_of_ours(change, tmp_path):
    """It names _rebuild_parameter, then comes NEWOBJ, NEWOBJ_EX, REDUCE or BUILD of it."""
    program = (
        b"\x80\x02ctorch._utils\n_rebuild_parameter\n"
        + {
            b"\x81": b")\x81.",
            b"\x92": b")}\x92.",
            b"R": b")R.",
            b"b": b"N}X\t\x00\x00\x00_functionK\x01s\x86b.",
        }[change]
    )
    with zipfile.ZipFile(tmp_path / "x.bin", "w") as archive:
        archive.writestr("x/data.pkl", program)
    before = dict(torch_pickle._PARTS)
    function = before["torch._utils", "_rebuild_parameter"]._function
    with pytest.raises(InputError, match="refused, it is damaged or holds more than tensors"):
        torch_pickle.read(tmp_path / "x.bin")
    assert before == torch_pickle._PARTS and before["torch._utils", "_rebuild_parameter"]._function is function


@pytest.mark.parametrize("part", torch_pickle._PARTS, ids=".".join)
def test_a_pickle_changes_no_part(part, tmp_path):
    """BUILD sets attributes of it, or hands them to its __setstate__, as a dtype has one."""
    assert not hasattr(torch_pickle._PARTS[part], "__setstate__")
    state = b"N}X\x04\x00\x00\x00nameK\x01s\x86b."
    with zipfile.ZipFile(tmp_path / "x.bin", "w") as archive:
        archive.writestr("x/data.pkl", b"\x80\x02c" + "\n".join(part).encode() + b"\n" + state)
    before = dict(torch_pickle._PARTS)
    with pytest.raises(InputError, match="refused, it is damaged or holds more than tensors"):
        torch_pickle.read(tmp_path / "x.bin")
    assert before == torch_pickle._PARTS


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "old"])
def test_what_is_held_in_many_places_is_looked_through_once(zipped, tmp_path):
    noted = {"x": 1}
    for _ in range(40):
        noted = {"a": noted, "b": noted}
    torch.save({"a.b": _NUMBERS, "noted": noted}, tmp_path / "x.bin", _use_new_zipfile_serialization=zipped)
    assert list(torch_pickle.read(tmp_path / "x.bin")) == ["a.b"]


def test_a_dict_that_holds_itself_is_refused(tmp_path):
    state = {"b": _NUMBERS}
    state["a"] = state
    torch.save(state, tmp_path / "x.bin")
    with pytest.raises(InputError, match=r"x.bin: holds a dict that holds itself"):
        torch_pickle.read(tmp_path / "x.bin")


def test_tied_tensors_are_one_and_overlapping_ones_are_counted(tmp_path):
    half = _NUMBERS.to(torch.bfloat16)
    torch.save({f"a.{number}": half for number in range(1000)}, tmp_path / "tied.bin")
    read = tensor_files.as_floats(torch_pickle.read(tmp_path / "tied.bin"), "pt", "here")
    assert len({id(value) for value in read.values()}) == 1 and len(read.widened) == 1000
    torch.save({f"a.{number}": half[number:] for number in range(16)}, tmp_path / "many.bin")
    with pytest.raises(InputError, match="many times as large as what they are stored in"):
        torch_pickle.read(tmp_path / "many.bin")


@pytest.mark.parametrize("write", [torch.save, lambda state, path: path.write_bytes(pickle.dumps(
    {key: value.numpy() for key, value in state.items()}, protocol=2))], ids=["torch", "paddle"])  # fmt: skip
def test_a_name_that_is_no_string_is_refused(write, tmp_path):
    write({"a.b": _NUMBERS, 3: _NUMBERS}, tmp_path / "x.bin")
    read = torch_pickle.read if write is torch.save else tensor_files.read_pdparams
    with pytest.raises(InputError, match=r"^.*x.bin: a tensor is called 3, no string; "):
        read(tmp_path / "x.bin")


def test_a_paddle_pickle_has_types_of_its_own():
    reader = tensor_files._TensorUnpickler(io.BytesIO())
    assert np.dtype("f4") is np.dtype("f4")
    assert reader.find_class("numpy", "dtype")("f4") is not np.dtype("f4")
    assert isinstance(reader.find_class("numpy.core.numeric", "_frombuffer"), tensor_files.Call)


@pytest.fixture
def checkpoint(tmp_path):
    """A checkpoint with nothing but a pickle."""
    model = torch_model("question-answering", "float32")
    model.save_pretrained(tmp_path / "torch")
    (tmp_path / "torch" / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "torch" / "pytorch_model.bin")
    return tmp_path / "torch", model


def test_a_checkpoint_of_a_pickle_alone_is_the_model_that_was_saved(checkpoint):
    folder, model = checkpoint
    loaded = HEADS["question-answering"].from_pretrained(folder)
    expected = {name: value.numpy() for name, value in model.state_dict().items()}
    assert not loaded.load_report.initialised
    for name, value in loaded.named_parameters():
        theirs = expected[name].T if name in loaded.load_report.transposed else expected[name]
        np.testing.assert_array_equal(value.numpy(), theirs)


def test_keys_are_read_without_weights(checkpoint, monkeypatch):
    folder, model = checkpoint
    monkeypatch.setattr(torch_pickle, "_array", lambda *_: pytest.fail("read"))
    assert set(tensor_files.read_keys(folder)) == set(model.state_dict())
    (folder / "pytorch_model.bin").unlink()
    model.save_pretrained(folder)
    monkeypatch.setattr(tensor_files, "_read_safetensors", lambda *_: pytest.fail("read"))
    assert set(tensor_files.read_keys(folder)) == set(model.state_dict())


def test_torch_is_not_needed(checkpoint):
    """Where torch cannot be imported, as in a minimal environment."""
    folder, _ = checkpoint
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path; from mobilebert.model.tensor_files import read_state\n"
        f"print(len(read_state(Path({str(folder)!r}))[0]))"
    )
    outcome = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert outcome.returncode == 0, outcome.stderr
    assert int(outcome.stdout) == len(torch.load(folder / "pytorch_model.bin"))
