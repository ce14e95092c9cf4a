import gzip
import hashlib
import json
import os

import pytest

from mobilebert.base import files
from mobilebert.base.errors import InputError


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
