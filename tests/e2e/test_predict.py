"""predict.py as a user runs it: pipes, a terminal, a kill in the middle, real passages."""

import errno
import fcntl
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from support.models import CHECKPOINT_SIZES, save_checkpoint

from mobilebert.base.files import read_json, write_json
from mobilebert.export.export import ExportPlan, export
from mobilebert.model.config import MobileBertConfig
from mobilebert.text.tokenizer import MobileBertTokenizer

ROOT = Path(__file__).parents[2]
CONTEXT = "The engine was in it. Ada Lovelace wrote the notes in 1843. It is a program?"
# One thread: the machine runs other tests too.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "TERM": "xterm"}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Exported models and a passage."""
    folder = tmp_path_factory.mktemp("predict")
    for name, head in (("qa", "question-answering"), ("classes", "sequence-classification")):
        export(ExportPlan(str(save_checkpoint(folder / "checkpoint" / name, head)), folder / name))
    (folder / "passage.txt").write_text(CONTEXT)
    return folder


def command(*arguments) -> list[str]:
    return [sys.executable, "predict.py", *map(str, arguments)]


def predict(*arguments, stdin: str | bytes = "", **options) -> subprocess.CompletedProcess:
    done = subprocess.run(
        command(*arguments),
        cwd=ROOT,
        env=ENVIRONMENT,
        input=stdin if isinstance(stdin, bytes) else stdin.encode(),
        capture_output=True,
        timeout=120,
        **options,
    )
    done.stdout, done.stderr = done.stdout.decode(), done.stderr.decode()
    return done


def test_a_passage_from_a_pipe(place):
    question = ("qa", "--model", place / "qa", "--question", "Who wrote it?", "--context")
    piped = predict(*question, "-", "--json", stdin="\ufeff" + CONTEXT)
    assert (piped.returncode, piped.stderr) == (0, "")
    assert piped.stdout == predict(*question, place / "passage.txt", "--json").stdout
    document = json.loads(piped.stdout)
    assert document["answer"] in CONTEXT
    shown = predict(*question, "-", stdin=CONTEXT).stdout
    assert f"**{document['answer']}**" in shown
    broken = predict(*question, "-", stdin=b"\x89PNG\r\n")
    assert (broken.returncode, broken.stderr) == (2, "error: standard input: not UTF-8 text (byte 0)\n")


def test_a_checkpoint_says_nothing_beside_the_answer(place):
    done = predict("classify", "--model", place / "checkpoint" / "classes", "--text", "good film", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert set(json.loads(done.stdout)["scores"]) == {"LABEL_0", "LABEL_1"}


def test_questions_from_a_pipe(place):
    arguments = ("qa", "--model", place / "qa", "--context", place / "passage.txt")
    other = place / "other.txt"
    other.write_text("Charles met her in 1833.")
    questions = f"Who wrote it?\n\n  When?\r\n:context {other}\nWhen?"
    done = predict(*arguments, "--json", stdin=questions)
    assert (done.returncode, done.stderr) == (0, "")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["question"] for row in rows] == ["Who wrote it?", "When?", "When?"]
    assert [row["windows"] for row in rows] == [[[0, len(CONTEXT)]], [[0, len(CONTEXT)]], [[0, 24]]]
    shown = predict(*arguments, stdin="Who wrote it?\nWhen?\n").stdout
    assert shown.startswith("> Who wrote it?\n") and "\n\n> When?\n" in shown
    done = predict(*arguments, "--json", stdin="Who?\n:contxt x\nWhen?\n")
    assert done.returncode == 2 and done.stdout.count("\n") == 1
    assert done.stderr == "error: standard input, line 2: :contxt: no such command; :help lists them\n"
    done = predict(*arguments, "--json", stdin=b"Who?\nWh\xe9n?\n")
    assert done.returncode == 2 and done.stdout.count("\n") == 1
    assert done.stderr == "error: standard input, line 2: question 0: has an invalid character at 2\n"


def test_texts_from_a_pipe(place):
    done = predict("classify", "--model", place / "classes", "--json", stdin="good film\ngood\tbad\nbad || good\n")
    assert (done.returncode, done.stderr) == (0, "")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["text"], row.get("text_pair")) for row in rows] == [
        ("good film", None),
        ("good", "bad"),
        ("bad", "good"),
    ]


def test_a_reader_that_has_enough(place):
    process = subprocess.Popen(
        command("qa", "--model", place / "qa", "--context", place / "passage.txt", "--json"),
        cwd=ROOT, env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    process.stdout.close()
    _, errors = process.communicate(b"Who?\n" * 50, timeout=60)
    assert (process.returncode, errors) == (141, b"")


def own_terminal() -> None:
    """In the child: standard input is its terminal, whose Ctrl-C reaches it."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Person:
    """Somebody at a terminal."""

    def __init__(self, *arguments, environment=ENVIRONMENT):
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            command(*arguments), cwd=ROOT, env=environment, stdin=slave, stdout=slave, stderr=slave,
            start_new_session=True, preexec_fn=own_terminal,
        )  # fmt: skip
        os.close(slave)
        self.seen = ""

    def reads(self, text: str) -> str:
        """Wait for ``text``; what was shown until then."""
        deadline = time.monotonic() + 60
        while text not in self.seen:
            assert time.monotonic() < deadline, f"waiting for {text!r}, saw {self.seen!r}"
            ready, _, _ = select.select([self.master], [], [], 1)
            if ready:
                try:
                    self.seen += os.read(self.master, 65536).decode(errors="replace")
                except OSError as error:
                    assert error.errno == errno.EIO and text == "", f"ended; waiting for {text!r}, saw {self.seen!r}"
                    break
        shown, _, self.seen = self.seen.partition(text) if text else (self.seen, "", "")
        return shown

    def types(self, text: str) -> None:
        os.write(self.master, text.encode())

    def leaves(self) -> int:
        """The exit code."""
        try:
            code = self.process.wait(timeout=30)
        finally:
            self.process.kill()
        ready, _, _ = select.select([self.master], [], [], 0)
        if ready:
            try:
                self.seen += os.read(self.master, 65536).decode(errors="replace")
            except OSError as error:
                assert error.errno == errno.EIO
        os.close(self.master)
        return code


def test_a_conversation(place):
    person = Person("qa", "--model", place / "qa", "--context", place / "passage.txt")
    person.reads("question> ")
    person.types("Who wrote it?\n")
    shown = person.reads("question> ")
    marked = re.search("\x1b\\[1;32m(.*?)\x1b\\[0m", shown)
    assert marked and marked[1] in CONTEXT
    person.types("\x1b[A\n")  # arrow up: the question again
    assert f"  1  {shown.split('  1  ')[1][:6]}" in person.reads("question> ")
    person.types(":context /nowhere.txt\n")
    assert "error: /nowhere.txt: no such file" in person.reads("question> ")
    person.types(":context\n")
    person.reads("passage> ")
    person.types("Charles met her.\n")
    person.reads("passage> ")
    person.types("\n")
    person.reads("question> ")
    person.types("Who met her?\n")
    assert "Ada" not in person.reads("question> ").replace("Who met her?", "")
    person.types(":help\n")
    assert ":context FILE" in person.reads("question> ")
    person.types("\n")
    assert person.leaves() == 0
    assert "Traceback" not in person.seen


@pytest.mark.parametrize(("keys", "code"), [("\x04", 0), ("\x03", 130), (":quit\n", 0)])
def test_ways_to_leave(place, keys, code):
    person = Person("classify", "--model", place / "classes", environment={**ENVIRONMENT, "NO_COLOR": "1"})
    person.reads("text> ")
    person.types("good film || bad film\n")
    assert "**LABEL_" in person.reads("text> ")
    time.sleep(0.3)  # Python misses a Ctrl-C that comes after the prompt and before it waits for keys
    person.types(keys)
    assert person.leaves() == code
    assert "Traceback" not in person.seen


def test_a_passage_that_is_typed(place):
    person = Person("qa", "--model", place / "qa")
    person.reads("passage> ")
    person.types(CONTEXT + "\n")
    person.reads("passage> ")
    person.types("\n")
    person.reads("question> ")
    person.types("Who?\n")
    assert "  1  " in person.reads("question> ")
    person.types("\x04")
    assert person.leaves() == 0


def test_killed_runs_end_with_the_same_file(place, tmp_path):
    rows = [
        {"question": f"Who wrote {number}?", "context": f"{CONTEXT} {'It is good. ' * (number % 7)}"}
        for number in range(1500)
    ]
    source = tmp_path / "in.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = ("qa", "--model", place / "qa", "--input", source, "--threads", 1, "--output")
    whole, out = tmp_path / "whole.jsonl", tmp_path / "out.jsonl"
    assert predict(*arguments, whole).returncode == 0
    assert whole.read_bytes().count(b"\n") == 1500
    sizes = []
    for share in (0.2, 0.6):
        process = subprocess.Popen(command(*arguments, out), cwd=ROOT, env=ENVIRONMENT, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while not out.exists() or out.stat().st_size < share * whole.stat().st_size:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        sizes.append(out.stat().st_size)
        with open(out, "ab") as handle:
            handle.write(b'{"id": "torn')
    assert 0 < sizes[0] < sizes[1] < whole.stat().st_size
    there = out.read_bytes().count(b"\n")
    done = predict(*arguments, out)
    assert done.stdout == f"{out}: 1500 answers, {there} of them were there already\n"
    assert out.read_bytes() == whole.read_bytes()


def test_real_passages(data_folder, tmp_path):
    """Every third question of two SQuAD articles, and passages with all sorts of characters."""
    from mobilebert.model.heads import MobileBertForQuestionAnswering

    tokenizer = MobileBertTokenizer(vocab_file=data_folder / "vocab.txt")
    sizes = {**CHECKPOINT_SIZES, "vocab_size": len(tokenizer), "max_position_embeddings": 128}
    config = MobileBertConfig.preset("mobilebert", **sizes)
    MobileBertForQuestionAnswering(config).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    articles = read_json(data_folder / "squad" / "dev-v1.1.json")["data"]
    longest = max(articles, key=lambda article: max(len(p["context"]) for p in article["paragraphs"]))
    strangest = max(articles, key=lambda article: sum(not p["context"].isascii() for p in article["paragraphs"]))
    for article in (longest, strangest):
        for paragraph in article["paragraphs"]:
            paragraph["qas"] = paragraph["qas"][::3]
    chosen = [longest] if longest is strangest else [longest, strangest]
    write_json(tmp_path / "in.json", {"version": "1.1", "data": chosen})
    contexts = {qa["id"]: p["context"] for article in chosen for p in article["paragraphs"] for qa in p["qas"]}
    out = tmp_path / "out.jsonl"
    done = predict("qa", "--model", tmp_path / "model", "--input", tmp_path / "in.json", "--output", out)
    assert (done.returncode, done.stderr) == (0, "")
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [row["id"] for row in rows] == list(contexts)
    assert any(not row["answer"].isascii() for row in rows) and max(len(row["windows"]) for row in rows) > 3
    for row in rows:
        context = contexts[row["id"]]
        for answer in row["answers"]:
            low, high = answer["sentence"]
            assert answer["text"] == context[answer["start"] : answer["end"]] != ""
            assert low <= answer["start"] < answer["end"] <= high
        covered = set().union(*(range(*window) for window in row["windows"]))
        assert all(context[place].isspace() for place in set(range(len(context))) - covered)
