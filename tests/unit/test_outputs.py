"""Whose an output is: locks, records, and what is never deleted."""

import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mobilebert.base import outputs
from mobilebert.base.errors import InputError

ROOT = Path(__file__).parents[2]
HOLD = (
    "import sys, time; from pathlib import Path; from mobilebert.base import outputs\n"
    "{}\n    print('held', flush=True); {}"
)


def holder(folder: Path, then: str = "time.sleep(60)") -> subprocess.Popen:
    """A process of its own that holds the lock of ``folder``."""
    code = HOLD.format(f"with outputs.lock_folder(Path({str(folder)!r})):", then)
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    return process


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.name != outputs.RECORD)


def fill(folder: Path, *files: str) -> None:
    for name in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


# Locks.


def test_the_other_process_is_named_and_a_crash_leaves_no_lock(tmp_path):
    folder = tmp_path / "made" / "out"
    process = holder(folder)
    with (
        pytest.raises(
            InputError, match=rf"out: another run is writing it; .*host \S+, pid {process.pid}, since 2\d\d\d-"
        ),
        outputs.lock_folder(folder),
    ):
        pytest.fail("let in")
    process.send_signal(signal.SIGKILL)
    process.wait()
    with outputs.lock_folder(folder):
        assert f"pid {os.getpid()}," in (folder / outputs.LOCK).read_text()
    assert not (folder / outputs.LOCK).exists()


def test_nothing_is_left_but_what_was_written(tmp_path):
    with outputs.lock_folder(tmp_path / "a" / "b"), outputs.lock_beside(tmp_path / "c" / "d"):
        pass
    assert os.listdir(tmp_path) == []
    with outputs.lock_folder(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "kept").touch()
    assert names(tmp_path) == ["a", "a/b", "a/b/kept"]


def test_a_place_that_cannot_be_locked_is_named_and_nothing_is_left(tmp_path):
    out = tmp_path / "made" / (250 * "x")
    with pytest.raises(OSError, match="File name too long") as failed, outputs.lock_beside(out):
        pytest.fail("let in")
    assert failed.value.filename == str(out) and os.listdir(tmp_path) == []


def test_a_thread_goes_in_twice_and_two_threads_do_not(tmp_path):
    refused = []

    def go_in():
        try:
            with outputs.lock_folder(tmp_path):
                refused.append(False)
        except InputError:
            refused.append(True)

    with outputs.lock_folder(tmp_path), outputs.lock_folder(tmp_path):
        other = threading.Thread(target=go_in)
        other.start()
        other.join()
    go_in()
    assert refused == [True, False]


def count_alone(folder: Path, result) -> None:
    """Go in often; read and write a number that only one at a time may."""
    done = 0
    while done < 100:
        try:
            with outputs.lock_beside(folder / "number"):
                number = int((folder / "number").read_text())
                (folder / "number").write_text(str(number + 1))
                done += 1
        except InputError:
            continue
    result.put(done)


def test_the_lock_is_taken_by_one_at_a_time_although_its_file_comes_and_goes(tmp_path):
    (tmp_path / "number").write_text("0")
    context = multiprocessing.get_context("spawn")
    result = context.Queue()
    processes = [context.Process(target=count_alone, args=(tmp_path, result)) for _ in range(4)]
    for process in processes:
        process.start()
    assert [result.get(timeout=60) for _ in processes] == [100] * 4
    assert (tmp_path / "number").read_text() == "400"


# Records.


def test_only_what_is_recorded_is_removed(tmp_path):
    fill(tmp_path, "run.log", "notes.txt", "best/weights", "best/notes.txt", "logs/vdl1.log", "step/step_1/a", "mine/b")
    outputs.record(tmp_path, ["run.log", "best/weights", "logs/vdl*.log", "step/step_*", "never_written"])
    outputs.record(tmp_path, ["run.log"])
    outputs.remove(tmp_path, ["logs"])
    assert "logs" not in names(tmp_path) and "run.log" in names(tmp_path)
    outputs.remove(tmp_path)
    assert names(tmp_path) == ["best", "best/notes.txt", "mine", "mine/b", "notes.txt"]


def test_links_are_removed_and_not_followed(tmp_path):
    fill(tmp_path, "elsewhere/weights", "out/a")
    (tmp_path / "out" / "best").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "out" / "tree").symlink_to(tmp_path / "elsewhere")
    outputs.record(tmp_path / "out", ["best/weights", "tree", "a"])
    outputs.remove(tmp_path / "out")
    assert names(tmp_path) == ["elsewhere", "elsewhere/weights", "out", "out/best"]


def test_somebody_elses_files_are_refused(tmp_path):
    outputs.check(tmp_path / "missing", ["best", "x*.npz"])
    fill(tmp_path, "ours/a", "x1.npz", "theirs/b")
    (tmp_path / "empty").mkdir()
    outputs.record(tmp_path, ["ours/a", "x*.npz"])
    outputs.check(tmp_path, ["ours", "empty", "x*.npz", "missing"])
    with pytest.raises(
        InputError, match=rf"theirs: is there already, and not as the output of a run \({re.escape(outputs.RECORD)} "
    ):
        outputs.check(tmp_path, ["ours", "theirs"])
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    with pytest.raises(InputError, match="link: is there already"):
        outputs.check(tmp_path, ["link"])


@pytest.mark.parametrize("content", ["[]", '{"entries": ["../x"]}', '{"entries": ["/x"]}', '{"entries": [1]}', "{"])
def test_a_damaged_record_deletes_nothing(tmp_path, content):
    fill(tmp_path / "out", "a")
    fill(tmp_path, "x")
    (tmp_path / "out" / outputs.RECORD).write_text(content)
    for call in (outputs.remove, outputs.recorded, lambda folder: outputs.check(folder, ["a"])):
        with pytest.raises(InputError, match=re.escape(outputs.RECORD)):
            call(tmp_path / "out")
    assert names(tmp_path) == ["out", "out/a", "x"]


def test_a_replaced_folder_keeps_what_others_put_into_it(tmp_path):
    fill(tmp_path, "best/weights", "best/old", "best/notes.txt", "best/onnx/model", "new/weights")
    outputs.record(tmp_path, ["best/weights", "best/old"])
    outputs.copy_others(tmp_path, "best", tmp_path / "new")
    assert names(tmp_path / "new") == ["notes.txt", "onnx", "onnx/model", "weights"]
    assert (tmp_path / "new" / "weights").read_text() == "new/weights"


def test_the_record_says_what_it_is(tmp_path):
    outputs.record(tmp_path, ["b", "a"])
    content = json.loads((tmp_path / outputs.RECORD).read_text())
    assert content["entries"] == ["a", "b"] and "mobilebert" in content["about"]
