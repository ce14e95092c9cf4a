"""What the campaigns run: every command that writes, small; and what must hold wherever it was broken off."""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "campaigns")]

import kill  # noqa: E402

from mobilebert.base import outputs  # noqa: E402
from mobilebert.tasks.run import RESULTS  # noqa: E402
from mobilebert.train import checkpoint  # noqa: E402

# Files with times or measurements in them, which differ from run to run.
VOLATILE = ("run.log", "train.jsonl", "args.json", "logs", "curves.png", "checkpoints")
READ = ["--max_seq_length", "64", "--doc_stride", "16"]


@dataclass(frozen=True)
class Command:
    """A command that writes.

    Attributes:
        name: for the report.
        words: the script and its arguments; ``{data}`` and ``{out}`` stand for folders.
        before: what makes an older output in the same place; empty for none.
        again: added where it is run again.
        whole: whether the output is replaced as a whole; else each file of it.
    """

    name: str
    words: Sequence[str]
    before: Sequence[str] = ()
    again: Sequence[str] = ()
    whole: bool = False

    @property
    def trains(self) -> bool:
        """Whether it resumes from checkpoints."""
        return "--do_train" in self.words

    def arguments(self, data: Path, out: Path, words: Sequence[str] | None = None) -> list[str]:
        """The words with folders in them."""
        return [word.format(data=data, out=out) for word in words or self.words]


_SQUAD = ["run_squad.py", "--output_dir", "{out}/o", "--cache_dir", "{out}/cache", *READ]
_DEV = ["--dev_file", "{data}/squad.json", "--do_eval"]
_STEPS = ["--max_steps", "6", "--batch_size", "2", "--save_steps", "2", "--eval_steps", "3", "--log_steps", "1"]
_EXPORT = ["export.py", "--model", "{data}/qa", "--out", "{out}/o", "--max_seq_length", "64"]
_PREDICT = ["predict.py", "qa", "--model", "{data}/qa", "--output", "{out}/o.jsonl", "--input"]
_GLUE = ["run_glue.py", "--model_name_or_path", "{data}/sst2", "--output_dir", "{out}/o", "--cache_dir", "{out}/cache"]
COMMANDS = (
    Command(
        "train", [*_SQUAD, *_DEV, "--model_name_or_path", "{data}/qa", "--do_train", "--train_file",
                  "{data}/squad.json", *_STEPS],
    ),
    Command("evaluate", [*_SQUAD, *_DEV, "--model_name_or_path", "{data}/qa"]),
    Command("convert", ["convert.py", "--src", "{data}/torch", "--dst", "{out}/o"],
            ["convert.py", "--src", "{data}/older", "--dst", "{out}/o"]),
    Command("export", [*_EXPORT, "--format", "all", "--force"], [*_EXPORT], whole=True),
    Command("picture", [*_EXPORT, "--force", "--evaluation", "{data}/squad.json", "--plot", "{out}/p.png"]),
    Command("predict", [*_PREDICT, "{data}/squad.json"]),
    Command(
        "classify", [*_GLUE, "--task_name", "SST-2", "--train_file", "{data}/sst2.tsv", "--dev_file",
                     "{data}/sst2.tsv", "--do_train", "--do_eval", "--max_seq_length", "32", *_STEPS],
    ),
)  # fmt: skip


def make_data(folder: Path) -> None:
    """Small checkpoints and texts, of which the commands read."""
    program = (
        "import sys; from pathlib import Path; from support.models import save_checkpoint, save_checkpoints_and_text; "
        "from mobilebert import convert; data = Path(sys.argv[1]); save_checkpoints_and_text(data); "
        "save_checkpoint(data / 'older_paddle', 'question-answering', num_hidden_layers=1); "
        "convert(data / 'qa', data / 'torch', reverse=True); "
        "convert(data / 'older_paddle', data / 'older', reverse=True)"
    )
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    environment = {**os.environ, "PYTHONPATH": paths, "MOBILEBERT_QUIET": "1"}
    subprocess.run([sys.executable, "-c", program, str(folder)], cwd=ROOT, env=environment, check=True)


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of each file whose content is the same in every run, by its path."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    names = {str(path.relative_to(folder)): path for path in paths}
    return {
        name: hashlib.sha256(_content(path)).hexdigest()
        for name, path in sorted(names.items())
        if not any(part in VOLATILE or part.startswith(".") for part in Path(name).parts) and "cache" not in name
    }


def _content(path: Path) -> bytes:
    return re.sub(rb'"seconds": [0-9.]+', b"", path.read_bytes()) if path.name == RESULTS else path.read_bytes()


class Campaign:
    """Breaks commands off in a folder and looks at what is left.

    Args:
        command: which.
        data: of ``make_data``.
        place: where ``{out}`` is made.
        run: runs words to their end -> exit code and standard error.
    """

    def __init__(self, command: Command, data: Path, place: Path, run: Callable[[list[str]], tuple[int, str]]):
        self.command, self.data, self.out, self._run = command, data, place / "out", run
        self.older = place / "older"
        self.peaceful = place / "peaceful"
        self.renew()
        shutil.copytree(self.out, self.older)
        self.run_again()
        shutil.copytree(self.out, self.peaceful)
        self.ends = [digests(self.older), digests(self.peaceful)]

    @property
    def words(self) -> list[str]:
        """What is broken off."""
        return self.command.arguments(self.data, self.out)

    def renew(self) -> None:
        """Begin in the folder as an older run left it."""
        shutil.rmtree(self.out, ignore_errors=True)
        if self.older.exists():
            shutil.copytree(self.older, self.out)
            return
        self.out.mkdir(parents=True)
        if self.command.before:
            self._to_end(self.command.arguments(self.data, self.out, self.command.before))

    def run_again(self) -> None:
        """Run it in peace; a training goes on from its checkpoint."""
        words = self.words
        if self.command.trains:
            words.append("--resume" if checkpoint.steps_on_disk(self.out / "o") else "--overwrite_output_dir")
        self._to_end(words)

    def _to_end(self, words: list[str]) -> None:
        code, errors = self._run(words)
        if code:
            raise SystemExit(f"{' '.join(words)}\nexit code {code}\n{errors[-3000:]}")

    def faults(self, errors: str) -> list[str]:
        """What is wrong after a run that was broken off; then it is run again, and compared with the peaceful one."""
        found = [
            f"says {word}"
            for word in ("Traceback", "Exception ignored", "terminate called", "FatalError")
            if word in errors
        ]
        found += [f"left {path.relative_to(self.out)}" for path in self.out.rglob(".*") if path.name != outputs.RECORD]
        found += self._half_written()
        self.run_again()
        found += self._differences()
        return found

    def _half_written(self) -> list[str]:
        now, (old, new) = digests(self.out), self.ends
        if self.command.whole:
            return [] if now in (old, new) else ["neither the old output nor the new one"]
        found = [
            f"{name} is neither old nor new"
            for name, digest in now.items()
            if digest not in (old.get(name), new.get(name)) and not self._may_grow(name)
        ]
        found += [f"{name} is gone" for name in old if name not in now]
        for step in checkpoint.steps_on_disk(self.out / "o"):
            checkpoint.verify(self.out / "o" / checkpoint.FOLDER / f"step_{step:08d}")
        return found

    def _may_grow(self, name: str) -> bool:
        """Whether a file is one that grows, and a part of the whole."""
        whole = (self.peaceful / name).read_bytes() if (self.peaceful / name).exists() else b""
        grows = name.endswith(".jsonl") or (self.command.trains and "/best/" not in f"/{name}")
        return grows and (self.command.trains or whole.startswith((self.out / name).read_bytes()))

    def _differences(self) -> list[str]:
        now, new = digests(self.out), self.ends[1]
        found = [f"{name} differs at the end" for name in {*now, *new} if now.get(name) != new.get(name)]
        if self.command.trains:
            found += kill.compare(self.peaceful / "o", self.out / "o")
        return found


def parser(description: str, **further) -> argparse.ArgumentParser:
    """What the campaigns have in common on the command line."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, **further
    )
    made.add_argument("--only", nargs="+", choices=[command.name for command in COMMANDS], help="these commands only")
    return made
