"""Files of weights and of trainings: any header, any pickle, any state gives a value or one line."""

import json
import pickle
import resource
from collections import OrderedDict
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import paddle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save
from support.strategies import almost, as_json, damaged, files, json_values, outcome

from mobilebert.base.files import file_digest
from mobilebert.model import tensor_files
from mobilebert.train import checkpoint, parallel
from mobilebert.train.optim import LossScaler, build_optimizer
from mobilebert.train.settings import TrainSettings
from mobilebert.train.state import RunState

WEIGHTS = {
    "mobilebert.pooler.dense.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "mobilebert.pooler.dense.bias": np.arange(3, dtype=np.float16),
}
INDEX = {"metadata": {"total_size": 30}, "weight_map": dict.fromkeys(WEIGHTS, "model-1.safetensors")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("files")


@contextmanager
def bounded_memory(mebibytes: int = 512):
    """What asks for more memory than that, whatever the machine has, gets a MemoryError."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (mebibytes << 20), limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def as_safetensors(header, data: bytes = bytes(range(64))) -> bytes:
    """A file with this header, whatever it is."""
    text = as_json(header).encode("utf-8", "surrogatepass")
    return len(text).to_bytes(8, "little") + text + data


def header_of(content: bytes) -> dict:
    return json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])


VALID = save(WEIGHTS, {"format": "pd"})
safetensors = st.one_of(
    st.just(VALID),
    damaged(VALID),
    almost(header_of(VALID)).map(as_safetensors),
    almost(
        header_of(VALID), others=st.sampled_from([0, 1, -1, 12, 2**63, "BF16", "F8_E4M3", "I64", [2, 3], [], [0]])
    ).map(lambda header: as_safetensors(header, VALID[8 + int.from_bytes(VALID[:8], "little") :])),
    json_values.map(as_safetensors),
    st.binary(max_size=40),
)


@settings(max_examples=80)
@given(safetensors, st.one_of(st.none(), files(INDEX)))
def test_safetensors(folder, content, index):
    here = folder / "weights"
    here.mkdir(exist_ok=True)
    for path in here.iterdir():
        path.unlink()
    (here / ("model.safetensors" if index is None else "model-1.safetensors")).write_bytes(content)
    if index is not None:
        (here / tensor_files.SAFETENSORS_INDEX).write_bytes(index)
    read = outcome(lambda: tensor_files.read_state(here))
    if read is not None:
        state, layout = read
        assert layout in ("pd", "pt")
        assert all(value.dtype.name in tensor_files.FLOAT_TYPES for value in state.values())
    outcome(lambda: tensor_files.safetensors_layout(here))


def pickles() -> list[bytes]:
    """State dicts as ``paddle.save`` and others write them."""
    named = {key: (key, value) for key, value in WEIGHTS.items()}
    table = {"StructuredToParameterName@@": {key: f"p{n}" for n, key in enumerate(WEIGHTS)}}
    contents = [WEIGHTS, named | table, {"state_dict": OrderedDict(WEIGHTS), "epoch": 3}, {"a": np.float32(1)}, [], 3]
    return [pickle.dumps(content, protocol) for content in contents for protocol in (2, 4)]


@settings(max_examples=100)
@given(st.one_of(st.sampled_from(pickles()).flatmap(damaged), st.sampled_from(pickles()), st.binary(max_size=40)))
def test_pickles(folder, content):
    path = folder / tensor_files.PDPARAMS
    path.write_bytes(content)
    with bounded_memory():
        state = outcome(lambda: tensor_files.read_pdparams(path))
    assert state is None or all(value.dtype.name in tensor_files.FLOAT_TYPES for value in state.values())


# ---- checkpoints of a training ----

SETTINGS = TrainSettings()
ARRAYS = ("model.safetensors", "optimizer.safetensors")


def make_run() -> RunState:
    """A run at its beginning."""
    paddle.seed(0)
    model = paddle.nn.Linear(2, 1)
    identity = {"seed": 1, "lengths": "ab"}
    return RunState(model, build_optimizer(model, SETTINGS), LossScaler(False), identity, parallel.World(0, 1))


def step(run: RunState) -> list:
    """Train once; gives the weights."""
    run.model(paddle.ones([1, 2])).sum().backward()
    run.optimizer.step()
    run.optimizer.clear_grad()
    return [parameter.numpy().tolist() for parameter in run.parameters]


@pytest.fixture(scope="module")
def saved(folder) -> tuple[Path, list]:
    """A whole checkpoint of one step, and the weights after the next."""
    run = make_run()
    step(run)
    run.save(folder / "run", keep=1)
    return next((folder / "run" / checkpoint.FOLDER).iterdir()), step(run)


def go_on(folder: Path) -> list:
    """Take a checkpoint over and train once."""
    run = make_run()
    run.restore(checkpoint.verify(folder))
    return step(run)


@st.composite
def other_arrays(draw, content: bytes) -> bytes:
    """A file whose arrays have other shapes or types."""
    arrays = load(content)
    for key in draw(st.sets(st.sampled_from(sorted(arrays)), min_size=1, max_size=2)):
        shape = draw(st.sampled_from([(), (0,), (1,), (2,), (1, 2), (2, 1), (3, 3)]))
        arrays[key] = np.ones(shape, draw(st.sampled_from(["float16", "float32", "float64", "uint16", "int64"])))
    return save(arrays)


@settings(max_examples=50)
@given(st.data())
def test_checkpoint(saved, data):
    """One of its files is another; the manifest says so, or not."""
    folder, after = saved
    contents = {path.name: path.read_bytes() for path in folder.iterdir()}
    state, manifest = json.loads(contents["state.json"]), json.loads(contents["manifest.json"])
    changed = {
        "state.json": files(state),
        "manifest.json": files(manifest),
        **{name: st.one_of(damaged(contents[name]), safetensors, other_arrays(contents[name])) for name in ARRAYS},
    }
    name = data.draw(st.sampled_from([*changed, "state.json"]))
    try:
        (folder / name).write_bytes(data.draw(changed[name]))
        if name != "manifest.json":
            is_same = contents[name] == (folder / name).read_bytes()
            assert outcome(lambda: go_on(folder)) == (after if is_same else None)
            manifest["files"][name] = {"bytes": (folder / name).stat().st_size, "sha256": file_digest(folder / name)}
            (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
        outcome(lambda: go_on(folder))
    finally:
        for name, content in contents.items():
            (folder / name).write_bytes(content)
    assert outcome(lambda: go_on(folder)) == after  # nothing of the other is left
