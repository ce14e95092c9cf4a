"""Kill a training run with ``kill -9`` again and again, resume it each time, and compare it with one left in peace.

Two kills in five fall while it trains, two while a checkpoint is being written, one anywhere, start-up too. At the end
the logged loss, learning rate and gradient norm of every step, the evaluations, all weights, AdamW's state, the random
states and the best model must be equal to the last bit. Exit code 1 where they are not.

    python tests/campaigns/kill.py --kills 20
    python tests/campaigns/kill.py --kills 20 -- python run_squad.py --do_train ... --output_dir {output_dir}

A command of one's own contains {output_dir}, accepts --resume, and saves more often than it is killed.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

SMALL_TRAINING = str(Path(__file__).resolve().parents[2] / "benchmarks" / "small_training.py")
SMALL_SETTINGS = {"max_steps": 400, "save_steps": 4, "eval_steps": 30}
LOGGED = ("step", "loss", "lr", "grad_norm", "skipped_steps")  # the other keys are times and memory


def main() -> int:
    cut = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="number of kill -9")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    args = parser.parse_args(sys.argv[1:cut])
    small = [sys.executable, SMALL_TRAINING, "{output_dir}", "--settings", json.dumps(SMALL_SETTINGS)]
    command, rng = sys.argv[cut + 1 :] or small, random.Random(args.seed)

    with tempfile.TemporaryDirectory(prefix="kill_campaign_") as folder:
        peaceful = Path(folder, "peaceful")
        began = time.monotonic()
        run_to_end(command, peaceful)
        seconds = time.monotonic() - began
        print(
            f"the run left in peace: {len(records(peaceful, 'train.jsonl'))} log records in {seconds:.1f} s", flush=True
        )

        kills = rounds = saving = lost = 0
        while kills < args.kills or rounds == 0:
            rounds += 1
            killed = Path(folder, f"killed{rounds}")
            while kills < args.kills:
                aim = ("anywhere", "running", "saving", "running", "saving")[kills % 5]
                moment = kill_somewhere(command, killed, rng, 1.5 * seconds / args.kills, aim)
                if moment is None:
                    break  # it came to its end before the moment: compare, and go on with a new one
                kills += 1
                saving += moment == "saving"
                print(f"kill {kills}: {moment}, newest checkpoint {newest(killed)}", flush=True)
            run_to_end(command, killed)
            differences = compare(peaceful, killed)
            lost += bool(differences)
            print(f"run {rounds}: {'; '.join(differences) or 'equal to the last bit'}", flush=True)
    print(f"{kills} kills ({saving} while a checkpoint was being written) in {rounds} runs; {lost} runs differ")
    return 1 if lost else 0


def run_to_end(command: list[str], output_dir: Path) -> None:
    """Start or resume the run and wait for its end."""
    done = subprocess.run(arguments(command, output_dir), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(done.args)}\nexit code {done.returncode}\n{done.stdout[-3000:]}")


def kill_somewhere(command: list[str], output_dir: Path, rng: random.Random, seconds: float, aim: str) -> str | None:
    """Start or resume the run and kill it.

    Args:
        command: see ``main``.
        output_dir: of the run.
        rng: of the moment.
        seconds: the moment is at most so long after the start of the process, or of the training in it.
        aim: ``anywhere`` (start-up included), ``running``, or ``saving``: when the next checkpoint after the moment is
            being written.

    Returns:
        What the run was doing, from what lies on its disk; None where it ended before.
    """
    began = time.time()
    process = subprocess.Popen(arguments(command, output_dir), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(process, lambda: aim == "anywhere" or training(output_dir, began))
    end = time.monotonic() + rng.uniform(0, 10 if aim == "anywhere" else seconds)
    wait_until(process, lambda: time.monotonic() > end and (aim != "saving" or half_written(output_dir, began)))
    if aim == "saving":
        time.sleep(rng.uniform(0, 0.01))
    process.kill()
    if process.wait() >= 0:
        if process.returncode:
            raise SystemExit(f"{' '.join(process.args)}: exit code {process.returncode}")
        return None
    if half_written(output_dir, began):
        return "saving"
    return "running" if training(output_dir, began) else "starting"


def wait_until(process: subprocess.Popen, condition: Callable[[], bool]) -> None:
    """Wait until it is so, or the process has ended."""
    while process.poll() is None and not condition():
        time.sleep(0.0005)


def training(output_dir: Path, since: float) -> bool:
    """Whether the run has begun to train: it has opened its logs."""
    log = output_dir / "run.log"
    return log.exists() and log.stat().st_mtime > since


def arguments(command: list[str], output_dir: Path) -> list[str]:
    """The command for this folder; it resumes where there is something to resume."""
    resume = ["--resume"] if newest(output_dir) != "none" else []
    return [part.replace("{output_dir}", str(output_dir)) for part in command] + resume


def newest(output_dir: Path) -> str:
    """Name of the newest complete checkpoint."""
    return max((path.name for path in (output_dir / "checkpoints").glob("step_*")), default="none")


def state(output_dir: Path) -> dict:
    """``state.json`` of the newest checkpoint."""
    return json.loads((output_dir / "checkpoints" / newest(output_dir) / "state.json").read_text(encoding="utf-8"))


def half_written(output_dir: Path, since: float) -> bool:
    """Whether a checkpoint is (or was, when the process died) being written or removed, begun after ``since``."""
    try:
        return any(path.stat().st_ctime > since for path in (output_dir / "checkpoints").glob(".step_*"))
    except FileNotFoundError:  # renamed between the look and the question
        return False


def records(output_dir: Path, name: str) -> list[dict]:
    return [json.loads(line) for line in (output_dir / name).read_text(encoding="utf-8").splitlines()]


def compare(peaceful: Path, killed: Path) -> list[str]:
    """What differs between two finished runs; empty where nothing does."""
    differences = []
    logs = [
        [{key: record[key] for key in LOGGED} for record in records(path, "train.jsonl")] for path in (peaceful, killed)
    ]
    if logs[0] != logs[1]:
        first = next((a["step"] for a, b in zip(*logs, strict=False) if a != b), "the end")
        differences.append(f"train.jsonl differs from step {first} ({len(logs[0])} and {len(logs[1])} records)")
    if records(peaceful, "eval.jsonl") != records(killed, "eval.jsonl"):
        differences.append("eval.jsonl differs")
    last = [path / "checkpoints" / newest(path) for path in (peaceful, killed)]
    pairs = [(last[0] / name, last[1] / name) for name in ("model.safetensors", "optimizer.safetensors")]
    pairs += [(path, killed / path.relative_to(peaceful)) for path in (peaceful / "best").rglob("*") if path.is_file()]
    for one, other in pairs:
        if not other.is_file() or one.read_bytes() != other.read_bytes():
            differences.append(f"{one.relative_to(peaceful)} differs")
    if state(peaceful)["random"] != state(killed)["random"]:
        differences.append("random states differ")
    return differences


if __name__ == "__main__":
    sys.exit(main())
