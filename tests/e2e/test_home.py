"""A home folder that nobody can write, and what is written into one that can be."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.models import save_checkpoint
from support.texts import write_long_squad

ROOT = Path(__file__).parents[2]
TRAIN = (
    "--do_train", "--do_eval", "--max_seq_length", "64", "--doc_stride", "16", "--batch_size", "2", "--max_steps", "2",
    "--save_steps", "1", "--log_steps", "1", "--cache_dir", "",
)  # fmt: skip
EXPORT = ("--format", "all", "--max_seq_length", "64", "--plot")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    save_checkpoint(folder / "qa", "question-answering")
    write_long_squad(folder / "squad.json")
    return folder


def run(home: Path | str, *words) -> subprocess.CompletedProcess:
    environment = {name: value for name, value in os.environ.items() if name not in ("XDG_CACHE_HOME", "MPLCONFIGDIR")}
    environment |= {"HOME": str(home), "MOBILEBERT_QUIET": "1", "MOBILEBERT_NATIVE": "0"}
    return subprocess.run([sys.executable, *map(str, words)], cwd=ROOT, env=environment, capture_output=True, text=True)


def test_training_needs_no_home(place, tmp_path):
    squad = place / "squad.json"
    done = run(
        "/proc", "run_squad.py", "--model", place / "qa", "--out", tmp_path / "out", "--train_file", squad,
        "--dev_file", squad, *TRAIN,
    )  # fmt: skip
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert (tmp_path / "out" / "curves.png").exists() and list((tmp_path / "out" / "logs").glob("vdlrecords*"))


def test_an_export_writes_into_our_cache_alone(place, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    picture = tmp_path / "picture.png"
    done = run(
        home, "export.py", "--model", place / "qa", "--out", tmp_path / "out", "--evaluation", place / "squad.json",
        *EXPORT, picture,
    )  # fmt: skip
    assert done.returncode == 0 and picture.exists(), done.stderr
    assert os.listdir(home) == [".cache"] and os.listdir(home / ".cache") == ["mobilebert"]
