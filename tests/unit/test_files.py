import errno
import gzip
import hashlib
import json
import os
import resource
from contextlib import contextmanager

import pytest

from mobilebert.base import extras, files
from mobilebert.base.errors import InputError


@contextmanager
def limited(size: int):
    """No file may grow beyond so many bytes: what a full disk is, without one."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_written_text_and_json_come_back(tmp_path):
    files.write_text(tmp_path / "a/b.txt", "Käse\n")
    assert files.read_text(tmp_path / "a/b.txt") == "Käse\n"
    value = {"b": [1, None], "a": "日本"}
    files.write_json(tmp_path / "a/b.json", value)
    assert list(files.read_json(tmp_path / "a/b.json").items()) == list(value.items())
    assert "日本" in (tmp_path / "a/b.json").read_text(encoding="utf-8")
    assert sorted(os.listdir(tmp_path / "a")) == ["b.json", "b.txt"]


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.json"
    files.write_json(path, 1)
    with pytest.raises(TypeError):
        files.write_json(path, {"broken": object()})
    with pytest.raises(RuntimeError), files.atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert files.read_json(path) == 1
    assert os.listdir(tmp_path) == ["x.json"]


def test_the_new_file_appears_only_at_the_end(tmp_path):
    path = tmp_path / "x"
    with files.atomic_path(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    folder = tmp_path / "model"
    with pytest.raises(RuntimeError), files.atomic_folder(folder) as temporary:
        (temporary / "config.json").write_text("{}")
        raise RuntimeError
    assert os.listdir(tmp_path) == []
    with files.atomic_folder(folder) as temporary:
        (temporary / "config.json").write_text("1")
    with files.atomic_folder(folder) as temporary:
        (temporary / "sub").mkdir()
        (temporary / "sub/weights").write_text("2")
    assert (folder / "config.json").read_text() == "1"
    assert (folder / "sub/weights").read_text() == "2"
    assert os.listdir(tmp_path) == ["model"]


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path):
    dead = [tmp_path / f".{name}.0123456789abcdef.tmp" for name in ("x[1]", "model", "other")]
    dead[0].touch()
    (dead[1] / "sub").mkdir(parents=True)
    dead[2].touch()
    (tmp_path / ".x[1].notes.tmp").touch()
    with files.atomic_path(tmp_path / "x[1]") as first, files.atomic_folder(tmp_path / "model"):
        assert not dead[0].exists() and not dead[1].exists() and dead[2].exists()
        first.write_text("first")
        with files.atomic_path(tmp_path / "x[1]") as second:
            second.write_text("second")
        assert first.exists() and first != second
    assert (tmp_path / "x[1]").read_text() == "first"
    assert sorted(os.listdir(tmp_path)) == [dead[2].name, ".x[1].notes.tmp", "model", "x[1]"]


def test_a_full_disk_names_the_file_that_was_to_be_written(tmp_path):
    with limited(100), pytest.raises(OSError) as full:
        files.write_text(tmp_path / "x", 1000 * "x")
    assert (full.value.errno, full.value.filename) == (errno.EFBIG, str(tmp_path / "x"))
    with limited(100), pytest.raises(OSError) as full, files.atomic_folder(tmp_path / "model") as folder:
        files.write_text(folder / "weights", 1000 * "x")
    assert full.value.filename == str(tmp_path / "model")
    assert os.listdir(tmp_path) == []


def test_a_file_that_was_cut_by_a_full_disk_is_found_out(tmp_path):
    (tmp_path / "cut").write_bytes(bytes(100))
    with limited(100), pytest.raises(OSError, match=r"File too large: .*cut"):
        files.check_written(tmp_path / "cut")
    with limited(101):
        files.check_written(tmp_path / "cut")
    assert (tmp_path / "cut").read_bytes() == bytes(100)


def test_a_home_that_cannot_be_written_is_replaced_for_the_process(monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    files.cache_folder.cache_clear()
    try:
        for home in ("/proc", "/no/such/home"):
            monkeypatch.setenv("HOME", home)
            with extras.own_home():
                assert os.environ["HOME"] not in ("/proc", home) and os.access(os.environ["HOME"], os.W_OK)
            assert os.environ["HOME"] == home
    finally:
        files.cache_folder.cache_clear()


def test_gzip_and_byte_order_mark(tmp_path):
    path = tmp_path / "x.json.gz"
    path.write_bytes(gzip.compress("\ufeff[1]".encode()))
    assert files.read_json(path) == [1]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.json", None, "no such file"),
        ("x.json", b'{"a": 1,\n "b": }', "broken JSON at line 2 column 7"),
        ("x.json", b"ab\xff", "not UTF-8 text (byte 2); save it as UTF-8"),
        ("x.json.gz", b"plain", "cannot be read"),
        ("x.json.gz", gzip.compress(json.dumps(list(range(999))).encode())[:-20], "cannot be read"),
    ],
)
def test_unreadable_input_is_named(tmp_path, name, content, said):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        files.read_json(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_digest(tmp_path):
    content = os.urandom((1 << 20) + 7)
    (tmp_path / "x").write_bytes(content)
    assert files.file_digest(tmp_path / "x") == hashlib.sha256(content).hexdigest()
    assert files.file_digest(tmp_path / "x", "md5") == hashlib.md5(content).hexdigest()
