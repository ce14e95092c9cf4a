"""Absurd input: pipes and devices as files, archives that unpack to too much, endless texts, a million threads."""

import gzip
import os
import signal
import socket
import zipfile

import pytest

from mobilebert.base import files
from mobilebert.base.errors import InputError
from mobilebert.commands.predict.batch import read_questions
from mobilebert.convert.formats import hf
from mobilebert.data import texts
from mobilebert.data.classify.examples import read_examples, read_lines
from mobilebert.data.download import extract
from mobilebert.data.glue.files import zip_submissions
from mobilebert.data.packed import PackedRows
from mobilebert.data.qa.squad_json import read_squad
from mobilebert.inference import engines
from mobilebert.model import tensor_files
from mobilebert.process import check_numbers
from mobilebert.train import checkpoint, runlog


@pytest.fixture(autouse=True)
def _in_time():
    """A reader that waits for a pipe is broken off."""

    def stop(*_):
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


READERS = {
    "text": lambda folder: files.read_text(folder / "x"),
    "gzip": lambda folder: files.read_text(folder / "x.gz"),
    "JSON": lambda folder: files.read_json(folder / "x.json"),
    "digest": lambda folder: files.file_digest(folder / "x"),
    "log": lambda folder: runlog.read_records(folder / "train.jsonl"),
    "SQuAD": lambda folder: read_squad(folder / "x.json"),
    "table": lambda folder: read_examples(folder / "x.tsv", ["sentence"], None, None),
    "lines": lambda folder: read_lines(folder / "x"),
    "safetensors": tensor_files.read_safetensors,
    "pickle": hf.read,
    "pdparams": tensor_files.read_state,
    "checkpoint": lambda folder: checkpoint.load(folder),
    "cache": lambda folder: PackedRows.load(folder / "x.safetensors"),
    "archive": lambda folder: extract(folder / "x.zip", "a", folder / "out"),
}
NAMES = {
    "gzip": "x.gz",
    "JSON": "x.json",
    "log": "train.jsonl",
    "SQuAD": "x.json",
    "table": "x.tsv",
    "safetensors": "model.safetensors",
    "pickle": "pytorch_model.bin",
    "pdparams": "model_state.pdparams",
    "checkpoint": "optimizer.safetensors",
    "cache": "x.safetensors",
    "archive": "x.zip",
}


@pytest.mark.parametrize("reader", READERS)
def test_no_reader_waits_for_a_pipe(reader, tmp_path):
    os.mkfifo(tmp_path / NAMES.get(reader, "x"))
    with pytest.raises(ValueError, match="a pipe, but a file is expected"):
        READERS[reader](tmp_path)


def test_devices_sockets_folders_and_impossible_names_are_no_files(tmp_path, monkeypatch):
    (tmp_path / "zero").symlink_to("/dev/zero")
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("listener")
        for path, kind in (("zero", "a device"), ("listener", "a socket"), (".", "a folder")):
            with pytest.raises(InputError, match=f"{kind}, but a file is expected"):
                files.read_text(path)
    with pytest.raises(InputError, match="holds a zero byte"):
        files.read_text("a\0b")
    (tmp_path / "link").symlink_to(__file__)
    assert files.regular("link").name == "link" and files.regular("missing").name == "missing"


def test_an_engine_does_not_open_a_pipe(tmp_path):
    from support.models import save_checkpoint

    source = save_checkpoint(tmp_path / "qa", "question-answering")
    os.mkfifo(source / "model_state.pdparams")
    with pytest.raises(InputError, match="a pipe, but a file is expected"):
        engines.load(source)


def test_gzip_is_broken_off_where_it_unpacks_to_too_much(tmp_path, monkeypatch):
    path = tmp_path / "x.txt.gz"
    path.write_bytes(gzip.compress(b"a" * 3_000_000))  # 1000 times
    assert len(files.read_text(path)) == 3_000_000  # below the floor that is nobody's harm
    monkeypatch.setattr(files, "_FLOOR_BYTES", 1 << 20)
    with pytest.raises(InputError, match=r"unpacks from [\d,]+ to more than 1,048,576 bytes"):
        files.read_text(path)
    path.write_bytes(gzip.compress(os.urandom(20_000).hex().encode() * 50))  # as good as real text, and more than that
    assert len(files.read_text(path)) == 2_000_000
    monkeypatch.setattr(files, "MOST_BYTES", 1_500_000)
    with pytest.raises(InputError, match="to more than 1,500,000 bytes"):
        files.read_text(path)


def test_a_file_of_more_than_the_limit_is_not_read(tmp_path):
    with open(tmp_path / "x.json", "wb") as file:
        file.truncate(files.MOST_BYTES + 1)
    with pytest.raises(InputError, match=r"has 2,147,483,649 bytes, more than 2,147,483,648; cut it"):
        files.read_json(tmp_path / "x.json")


def archive(path, local, central, value):
    """A zip archive of one member, two bytes of its headers changed."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr("model/da\x1bta.pkl", b"a" * 3_000_000)
    raw = bytearray(path.read_bytes())
    for mark, at in ((b"PK\3\4", local), (b"PK\1\2", central)):
        start = raw.index(mark) + at
        raw[start : start + 2] = value
    path.write_bytes(raw)


@pytest.mark.parametrize(
    "read", [hf.read, lambda folder: extract(folder / hf.PICKLE, "model/da\x1bta.pkl", folder / "x")]
)
@pytest.mark.parametrize(
    ("header", "said"),
    [
        ((6, 8, b"\1\0"), r"its member 'model/da\\x1bta.pkl' is encrypted"),
        ((8, 10, b"\x63\0"), r"its member 'model/da\\x1bta.pkl' is compressed by method 99"),
        ((8, 10, b"\x08\0"), r"unpacks to 3,000,000 bytes, more than 1,048,576"),
    ],
    ids=["encrypted", "method", "size"],
)
def test_members_that_cannot_or_should_not_be_unpacked(tmp_path, monkeypatch, read, header, said):
    monkeypatch.setattr(files, "_FLOOR_BYTES", 1 << 20)
    archive(tmp_path / hf.PICKLE, *header)
    with pytest.raises(InputError, match=said):
        read(tmp_path)
    assert not (tmp_path / "x").exists()


def test_a_submission_does_not_wait_for_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "out.zip")
    with pytest.raises(InputError):
        zip_submissions(tmp_path, tmp_path / "out.zip")


def test_texts_beyond_the_limit_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(texts, "LONGEST_TEXT", 20)
    long = "word " * 5
    (tmp_path / "x.jsonl").write_text(f'{{"question": "Who?", "context": "{long}"}}\n')
    (tmp_path / "x.tsv").write_text(f"sentence\ngood\n{long}\n")
    (tmp_path / "x.txt").write_text(f"good\n{long}\n")
    (tmp_path / "x.json").write_text(
        f'{{"data": [{{"paragraphs": [{{"context": "{long}", "qas": [{{"id": "a", "question": "Who?"}}]}}]}}]}}'
    )
    said = "has 25 characters, and 20 at most are read; cut it"
    for read, place in (
        (lambda: read_questions(tmp_path / "x.jsonl"), "x.jsonl:1: 'context'"),
        (lambda: read_examples(tmp_path / "x.tsv", ["sentence"], None, None), "x.tsv:3: 'sentence'"),
        (lambda: read_lines(tmp_path / "x.txt"), "x.txt:2:"),
        (lambda: read_squad(tmp_path / "x.json", purpose="answer"), r"x.json: data\[0\].paragraphs\[0\].context"),
    ):
        with pytest.raises(InputError, match=f"{place} {said}"):
            read()


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "PADDLE_TRAINER_ID", "PADDLE_TRAINERS_NUM"])
def test_numbers_of_the_environment_on_which_paddle_ends_badly_are_refused(name):
    for value in ("abc", "-1", "1e9", "10000000", "4,x", "9" * 200):
        with pytest.raises(InputError, match=f"^{name}={value} in the environment: expected a whole number"):
            check_numbers({name: value})
    for value in ("", "1", "64"):
        check_numbers({name: value})
    check_numbers({"OMP_NUM_THREADS": "4, 2"})


def test_a_million_threads_are_as_many_as_there_are_processors(tmp_path, monkeypatch, caplog):
    from support.models import save_checkpoint

    class Engine(engines.DygraphEngine):
        def __init__(self, folder, head, outputs, options):
            self.options = options

    monkeypatch.setitem(engines.ENGINES, "dygraph", Engine)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    source = save_checkpoint(tmp_path / "qa", "question-answering")
    assert engines.load(source, threads=3).options.threads == 3 and caplog.text == ""
    assert engines.load(source, threads=1_000_000).options.threads == 4
    assert "threads: 1000000 are more than this machine's processors; 4 are used" in caplog.text
