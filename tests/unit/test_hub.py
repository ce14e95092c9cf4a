"""The hub room against a server on loopback that answers as a Hugging Face hub does."""

import hashlib
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.hub_server import serving

from mobilebert.base import hub, transfer
from mobilebert.base.errors import InputError

ROOT = Path(__file__).parents[2]
NAME = "someone/mobilebert-small"
FILES = {
    "config.json": b'{"model_type": "mobilebert"}',
    "vocab.txt": b"[PAD]\n[UNK]\n",
    "pytorch_model.bin": b"pickle" * 1000,
    "tf_model.h5": b"tensorflow",
    "README.md": b"# model",
}
SAFE = os.urandom(1 << 20) * 24  # more than one of the client's chunks of 10 MB


@pytest.fixture
def server(monkeypatch, tmp_path):
    with serving(monkeypatch, tmp_path / "cache", {NAME: dict(FILES)}) as served:
        yield served


ALL = (*hub.CONFIG_FILES, *hub.TOKENIZER_FILES, *hub.WEIGHT_FILES)


def test_only_what_is_needed_is_fetched_and_only_once(server, tmp_path):
    folder = tmp_path / "torch"
    fetched = hub.fetch_repo(NAME, ALL, folder)
    assert [path.name for path in fetched] == ["config.json", "pytorch_model.bin", "vocab.txt"]
    assert all(path.read_bytes() == FILES[path.name] for path in fetched)
    sent = len(server.bodies_sent())
    assert sent == 3
    assert hub.fetch_repo(NAME, ALL, folder) == fetched
    assert len(server.bodies_sent()) == sent


def test_how_much_comes_is_said_before(server, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("MOBILEBERT_QUIET", "0")
    server.files["model.safetensors"] = b"w" * 2_540_000
    hub.fetch_repo(NAME, ALL, tmp_path / "torch")
    said = f"fetching 3 files of {NAME}, 2.5 MB, into {tmp_path / 'torch'}\n"
    assert capsys.readouterr().err.startswith(said)
    hub.resolve(NAME, ALL)
    assert said.rpartition(" into ")[0] in capsys.readouterr().err
    hub.fetch_repo(NAME, ALL, tmp_path / "torch")
    hub.resolve(NAME, ALL)
    assert "fetching" not in capsys.readouterr().err  # nothing comes


def test_safetensors_are_preferred_to_pickles(server, tmp_path):
    server.files["model.safetensors"] = SAFE
    fetched = hub.fetch_repo(NAME, ALL, tmp_path / "torch")
    assert [path.name for path in fetched] == ["config.json", "model.safetensors", "vocab.txt"]


def test_a_broken_download_goes_on_where_it_stopped(server, tmp_path):
    server.files["model.safetensors"] = SAFE
    server.cut_once = "model.safetensors"
    hub.fetch_repo(NAME, ALL, tmp_path / "torch")
    assert (tmp_path / "torch/model.safetensors").read_bytes() == SAFE
    ranges = [span for verb, path, span in server.requests if verb == "GET" and path.endswith("model.safetensors")]
    assert len(ranges) == 2
    assert ranges[1].startswith("bytes=") and ranges[1] != "bytes=0-"


def test_an_interrupted_download_goes_on_in_the_next_process(server, tmp_path):
    server.files["model.safetensors"] = SAFE
    folder = tmp_path / "torch"
    hub.fetch_repo(NAME, ALL, folder)
    sent = hashlib.sha256(SAFE).hexdigest()
    (folder / "model.safetensors").unlink()
    (folder / f".model.safetensors.{sent[:12]}.part").write_bytes(SAFE[:5000])
    (folder / ".model.safetensors.0123456789ab.part").write_bytes(b"of an older version")
    server.requests.clear()
    hub.fetch_repo(NAME, ALL, folder)
    assert (folder / "model.safetensors").read_bytes() == SAFE
    assert [span for verb, _, span in server.requests if verb == "GET" and span] == ["bytes=5000-"]
    assert sorted(os.listdir(folder)) == ["config.json", "model.safetensors", "vocab.txt"]


@pytest.mark.parametrize("into_cache", [False, True], ids=["folder", "cache"])
def test_a_download_that_drips_is_broken_off(server, tmp_path, monkeypatch, into_cache):
    monkeypatch.setattr(transfer, "WINDOW_SECONDS", 0.3)
    server.files["model.safetensors"] = SAFE
    server.dripping = "model.safetensors"
    folder = tmp_path / "torch"
    fetch = (lambda: hub.resolve(NAME, ALL)) if into_cache else (lambda: hub.fetch_repo(NAME, ALL, folder))
    with pytest.raises(InputError, match=r"^someone/mobilebert-small: the download broke off \(too slow, "):
        fetch()
    server.dripping = None
    server.requests.clear()
    fetched = fetch()
    assert (fetched if into_cache else folder).joinpath("model.safetensors").read_bytes() == SAFE
    if not into_cache:
        assert any(span.startswith("bytes=") and span != "bytes=0-" for _, _, span in server.requests)


def test_changed_and_damaged_files_are_fetched_again(server, tmp_path):
    folder = tmp_path / "torch"
    hub.fetch_repo(NAME, ALL, folder)
    server.files["config.json"] = FILES["config.json"].replace(b"mobilebert", b"mobileBERT")
    (folder / "pytorch_model.bin").write_bytes(FILES["pytorch_model.bin"].swapcase())
    server.requests.clear()
    hub.fetch_repo(NAME, ALL, folder)
    assert server.bodies_sent() == ["pytorch_model.bin", "config.json"]
    assert (folder / "config.json").read_bytes() == server.files["config.json"]
    assert (folder / "pytorch_model.bin").read_bytes() == FILES["pytorch_model.bin"]


def test_a_wrong_part_is_thrown_away(server, tmp_path):
    server.files["model.safetensors"] = SAFE
    folder = tmp_path / "torch"
    folder.mkdir()
    part = folder / f".model.safetensors.{hashlib.sha256(SAFE).hexdigest()[:12]}.part"
    part.write_bytes(b"something else")
    with pytest.raises(InputError, match=r"does not have its checksum.*; run again"):
        hub.fetch_repo(NAME, ALL, folder)
    assert not part.exists()
    assert not (folder / "config.json").exists()
    hub.fetch_repo(NAME, ALL, folder)
    assert (folder / "model.safetensors").read_bytes() == SAFE


def test_a_name_is_resolved_into_the_cache_and_found_there_without_a_network(server, monkeypatch):
    folder = hub.resolve(NAME, hub.CONFIG_FILES)
    assert (folder / "config.json").read_bytes() == FILES["config.json"]
    assert not (folder / "vocab.txt").exists()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    assert hub.resolve(NAME, hub.CONFIG_FILES) == folder


def test_a_cache_without_weights_is_no_model(server, monkeypatch):
    there = os.environ.get("HF_ENDPOINT")
    nowhere = f"http://127.0.0.1:{free_port()}"
    hub.resolve(NAME, hub.CONFIG_FILES + hub.TOKENIZER_FILES)
    monkeypatch.setenv("HF_ENDPOINT", nowhere)
    with pytest.raises(InputError, match="cannot be fetched"):
        hub.resolve(NAME, ALL)
    monkeypatch.setenv("HF_ENDPOINT", there)
    folder = hub.resolve(NAME, ALL)
    assert (folder / "pytorch_model.bin").exists()
    monkeypatch.setenv("HF_ENDPOINT", nowhere)
    assert hub.resolve(NAME, ALL) == folder


def test_a_folder_is_returned_as_it_is(tmp_path):
    assert hub.resolve(tmp_path, hub.CONFIG_FILES) == tmp_path
    assert hub.resolve(str(tmp_path), ()) == tmp_path


def test_a_path_is_not_looked_up_on_the_hub(server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weight").mkdir()
    (tmp_path / "file").touch()
    paths = "weight/paddle weight/a/b /nowhere ./x ../x outputs/foo/bar outputs/foo models/squad task/squadv1 out/x/"
    for path in (*paths.split(), "output_squad/best", "mine/best", "mine/checkpoint-500", "squad v1", "~/x"):
        with pytest.raises(InputError, match="no such folder; ") as caught:
            hub.resolve(path, hub.CONFIG_FILES)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="a file, but a folder is expected"):
        hub.resolve("file", hub.CONFIG_FILES)
    assert server.requests == []


@pytest.mark.parametrize(
    "name", ["modelscope/x", "databricks/x", "runwayml/best-mobilebert", "tasksource/x", "savasy/x"]
)
def test_names_that_only_begin_like_folders_are_looked_up(name, server):
    with pytest.raises(InputError, match="no such folder here and no such model on"):
        hub.resolve(name, hub.CONFIG_FILES)
    assert server.requests


def test_a_name_that_may_be_a_folders_is_told_so_where_there_is_no_network(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    for name in ("squad", "someone/squad"):
        with pytest.raises(InputError, match=f"^{name}: no such folder here, and cannot be fetched from http://127"):
            hub.resolve(name, hub.CONFIG_FILES)


def test_an_unknown_model_is_named(server, tmp_path):
    with pytest.raises(InputError) as caught:
        hub.fetch_repo("someone/else", ALL, tmp_path / "torch")
    assert str(caught.value).startswith("someone/else: no such folder here and no such model on http://127.0.0.1")
    assert not (tmp_path / "torch").exists()


def test_a_model_without_the_files_is_refused(server, tmp_path):
    with pytest.raises(InputError, match=r"has none of model_state\.pdparams"):
        hub.fetch_repo(NAME, ["model_state.pdparams"], tmp_path / "torch")


def test_a_hub_that_does_not_answer_is_given_up(monkeypatch, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(hub, "DEADLINE_SECONDS", 0.6)
        started = time.monotonic()
        with pytest.raises(InputError, match="cannot be fetched"):
            hub.fetch_repo(NAME, ALL, tmp_path / "torch")
        assert time.monotonic() - started < 5


def test_a_call_that_hangs_is_left_behind():
    with pytest.raises(TimeoutError, match=r"no answer within 0\.1 s"):
        hub._within(0.1, lambda: time.sleep(3))
    assert hub._within(1, lambda: 7) == 7
    with pytest.raises(KeyError):
        hub._within(1, lambda: {}["x"])


def test_the_command_ends_with_one_line_and_leaves_the_folder(tmp_path):
    (tmp_path / "config.json").write_text("mine")
    outcome = subprocess.run(
        [sys.executable, "-m", "mobilebert.base.hub", "google/mobilebert-uncased", str(tmp_path)],
        env=os.environ | {"HF_ENDPOINT": f"http://127.0.0.1:{free_port()}", "HF_HOME": str(tmp_path / "home")},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert outcome.returncode == 2
    assert outcome.stderr.count("\n") == 1
    assert outcome.stderr.startswith("error: google/mobilebert-uncased: cannot be fetched from http://127.0.0.1:")
    assert f"by hand into {tmp_path}" in outcome.stderr
    assert os.listdir(tmp_path) == ["config.json"]
    assert (tmp_path / "config.json").read_text() == "mine"


@pytest.mark.parametrize(("setting", "asked"), [({}, False), ({"HF_HUB_DISABLE_TELEMETRY": "0"}, True)])
def test_nothing_is_asked_that_is_not_for_the_files_unless_the_user_wants_it(server, tmp_path, setting, asked):
    """huggingface_hub asks for a list of programs, to report under which one it runs."""
    off = ("HF_HUB_DISABLE_TELEMETRY", "DISABLE_TELEMETRY", "DO_NOT_TRACK")
    environment = {name: value for name, value in os.environ.items() if name not in off}
    command = [sys.executable, "-m", "mobilebert.base.hub", NAME, str(tmp_path / "out")]
    environment |= {"HF_HOME": str(tmp_path / "home"), **setting}
    subprocess.run(command, env=environment, cwd=ROOT, check=True, capture_output=True, timeout=60)
    others = [path for _, path, _ in server.requests if NAME not in path]
    assert bool(others) == asked, others


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]
