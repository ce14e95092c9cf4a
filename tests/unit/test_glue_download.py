"""GLUE's archives: unpacked into GLUE's folders, verified, not fetched twice. From files: no network is needed."""

import hashlib
import zipfile
from pathlib import Path

import pytest

from mobilebert.base.errors import InputError
from mobilebert.data.download import RemoteFile
from mobilebert.data.glue import download as glue_download
from mobilebert.data.glue.download import FILES, fetch_task
from mobilebert.data.glue.files import read_split
from mobilebert.data.glue.tasks import TASKS

SAMPLES = Path(__file__).parents[2] / "samples" / "glue"


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """RTE.zip of the samples, in the place of the official one."""
    path = tmp_path / "served" / "RTE.zip"
    path.parent.mkdir()
    publish(path, ("train.tsv", "dev.tsv", "test.tsv"), monkeypatch)
    return path


def publish(path, names, monkeypatch, sha256=None):
    with zipfile.ZipFile(path, "w") as bundle:
        for name in names:
            bundle.write(SAMPLES / "RTE" / name, f"RTE/{name}")
    sha256 = sha256 or hashlib.sha256(path.read_bytes()).hexdigest()
    file = RemoteFile("RTE.zip", (path.as_uri(),), f"sha256:{sha256}", path.stat().st_size)
    monkeypatch.setattr(glue_download, "FILES", {**FILES, "rte": (file,)})


def test_an_archive_is_unpacked_into_glues_folder(archive, tmp_path):
    folder = fetch_task(TASKS["rte"], tmp_path / "glue", progress=False)
    assert sorted(path.name for path in folder.iterdir()) == ["dev.tsv", "test.tsv", "train.tsv"]
    assert len(read_split(TASKS["rte"], tmp_path / "glue", "train")) == 40

    archive.unlink()  # nothing is fetched where everything is there
    assert fetch_task(TASKS["rte"], tmp_path / "glue", progress=False) == folder


def test_what_is_missing_is_fetched_and_what_is_there_stays(archive, tmp_path):
    (tmp_path / "glue" / "RTE").mkdir(parents=True)
    (tmp_path / "glue" / "RTE" / "dev.tsv").write_text("mine")
    folder = fetch_task(TASKS["rte"], tmp_path / "glue", progress=False)
    assert (folder / "dev.tsv").read_text() == "mine" and (folder / "train.tsv").exists()


def test_a_wrong_checksum_is_refused(archive, tmp_path, monkeypatch):
    publish(archive, ("train.tsv", "dev.tsv", "test.tsv"), monkeypatch, sha256="0" * 64)
    with pytest.raises(InputError, match=r"sha256 is .*, expected 0000"):
        fetch_task(TASKS["rte"], tmp_path / "glue", progress=False)
    assert not list((tmp_path / "glue").rglob("*.tsv"))


def test_an_archive_without_a_file_is_refused(archive, tmp_path, monkeypatch):
    publish(archive, ("train.tsv", "dev.tsv"), monkeypatch)
    with pytest.raises(InputError, match=r"RTE.zip: has no member RTE/test.tsv"):
        fetch_task(TASKS["rte"], tmp_path / "glue", progress=False)


def test_every_task_has_addresses_sizes_and_checksums():
    assert set(FILES) == set(TASKS)
    for name, files in FILES.items():
        for file in files:
            assert file.urls[0].startswith("https://dl.fbaipublicfiles.com/") and file.urls[0].endswith(file.name)
            assert file.size and len(file.digest) == len("sha256:") + 64, name


def test_the_published_checksums_are_those_of_the_files_at_hand(data_folder):
    for name, path in (("ax", "AX/diagnostic.tsv"), ("mrpc", "MRPC/dev_ids.tsv")):
        content = (data_folder / "glue" / path).read_bytes()
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        assert (digest, len(content)) in [(file.digest, file.size) for file in FILES[name]]
