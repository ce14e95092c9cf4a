"""What the checks in Python share; they run in environments of their own, so only the standard library is used."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHROMIUM = "/usr/bin/chromium"
CHROMIUM_FLAGS = (  # no name is looked up, so that nothing leaves this machine
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)  # fmt: skip
ROUNDS = 6
RUNS = 5  # of each side in a round
SETTLE_SECONDS = 0.05  # threads of what just ran spin a little before they sleep


def read(work: Path, model: str) -> list[dict[str, Any]]:
    """The rows of ``reference/MODEL.json``."""
    return json.loads((work / "reference" / f"{model}.json").read_text(encoding="utf-8"))


def ratio(run: Callable[[], Any], work: Path, model: str, milliseconds: Callable[[Any], float] | None = None) -> float:
    """A client's time for one row of 128 tokens over that of our ONNX float32: the fastest of runs that take turns.

    Args:
        run: what is timed; called ``ROUNDS`` x ``RUNS`` times, and once before.
        work: the folder of models and exports.
        model: ``"big-reader"`` or ``"big-classifier"``.
        milliseconds: of what ``run`` gives, where it has timed itself (in a browser); None takes the time here.
    """
    python = os.environ["MOBILEBERT_PYTHON"]
    command = [python, Path(__file__).with_name("baseline.py"), work / "exports" / f"{model}-onnx"]
    theirs, ours = [], []
    with subprocess.Popen([*map(str, command)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        run()
        for _ in range(ROUNDS):
            for _ in range(RUNS):
                start = time.perf_counter()
                given = run()
                theirs.append(milliseconds(given) if milliseconds else (time.perf_counter() - start) * 1e3)
            time.sleep(SETTLE_SECONDS)
            print(RUNS, file=child.stdin, flush=True)
            ours += json.loads(child.stdout.readline())
            time.sleep(SETTLE_SECONDS)
        child.stdin.close()
    return min(theirs) / min(ours)


def snippet(folder: Path, first: str) -> str:
    """The block of Python in an export's card (``README.md``) that begins with the line ``first``."""
    blocks = (folder / "README.md").read_text(encoding="utf-8").split("```python\n")[1:]
    (found,) = (block.partition("```")[0] for block in blocks if block.startswith(f"{first}\n"))
    return found


def run_snippet(code: str) -> dict[str, Any]:
    """What a block defines when it is pasted into a program; what it prints goes to standard error."""
    names: dict[str, Any] = {}
    with contextlib.redirect_stdout(sys.stderr):
        exec(compile(code, "card", "exec"), names)
    return names


def report(client: str, version: str, tested: str, equal: int, total: int, **more: Any) -> None:
    """Print a row of the table; ``ratio``, ``megabytes`` and ``note`` where they are known."""
    row = {"client": client, "version": version, "tested": tested, "equal": equal, "total": total, **more}
    print(json.dumps(row), flush=True)
