"""Damage files of every kind that commands read, thousands of times, and count how the readers end.

A reader may load what it is given or refuse it in one line. Any other exception, a crash of the process, too much time
or too much memory is a failure; exit code 1 where there is one. The readers run in forked children, after all imports.

    python tests/campaigns/mutate_files.py --mutations 20000
    python tests/campaigns/mutate_files.py --mutations 500 --seed 7 --only config --only squad
    python tests/campaigns/mutate_files.py --only run --first 123 --mutations 1 --show     one of them again
"""

import argparse
import json
import os
import random
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "MOBILEBERT_QUIET": "1"}
ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from file_kinds import KINDS, Kind  # noqa: E402
from mutations import damage_for  # noqa: E402

from mobilebert.base.errors import InputError  # noqa: E402

COLUMNS = ("equal", "loaded", "refused", "exception", "crash", "slow", "memory")
FAILURES = COLUMNS[3:]
CHUNK = 200  # mutations a child


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutations", type=int, default=2000, help="in all, shared among the kinds (2000)")
    parser.add_argument("--seed", type=int, default=0, help="of the damage (0)")
    parser.add_argument("--only", action="append", choices=KINDS, help="this kind; may be given several times")
    parser.add_argument("--first", type=int, default=0, help="number of the first mutation of each kind (0)")
    parser.add_argument("--seconds", type=float, default=20.0, help="that a reader may take (20)")
    parser.add_argument("--mib", type=int, default=600, help="that a reader may add to the memory (600)")
    parser.add_argument("--show", action="store_true", help="print how each ends")
    args = parser.parse_args()
    kinds = args.only or list(KINDS)
    shares = [KINDS[name].share for name in kinds]
    totals: dict[str, Counter] = {name: Counter() for name in kinds}
    failures: list[str] = []
    with tempfile.TemporaryDirectory(prefix="mutate_files_") as scratch:
        for place, name in enumerate(kinds):
            low, high = (args.mutations * sum(shares[:end]) // sum(shares) for end in (place, place + 1))
            started = time.monotonic()
            campaign = Campaign(name, KINDS[name], Path(scratch, name), args)
            for number, outcome, detail in campaign.run(range(args.first, args.first + high - low)):
                totals[name][outcome] += 1
                if outcome in FAILURES:
                    failures.append(f"{name} {number}: {outcome}: {detail}")
                if args.show or outcome in FAILURES:
                    print(f"{name} {number}: {outcome}: {detail}", flush=True)
            totals[name]["seconds"] = round(time.monotonic() - started)
    print("".join(f"{title:>10}" for title in (" " * 16, "mutations", *COLUMNS, "seconds")))
    for name, counts in {**totals, "all": sum(totals.values(), Counter())}.items():
        tried = sum(counts[column] for column in COLUMNS)
        print(f"{name:<16}{tried:>10}" + "".join(f"{counts[column]:>10}" for column in (*COLUMNS, "seconds")))
    print(f"seed {args.seed}, {len(failures)} failures")
    return 1 if failures else 0


class Campaign:
    """All mutations of one kind."""

    def __init__(self, name: str, kind: Kind, scratch: Path, args: argparse.Namespace):
        self.name, self.kind, self.scratch, self.args = name, kind, scratch, args
        self.pristine, self.work = scratch / "pristine", scratch / "work"
        self.pristine.mkdir(parents=True)
        made = _fork(lambda _: kind.make(self.pristine), scratch / "make.log")
        if _wait(made) != 0:
            raise SystemExit(f"{name}: could not be made\n{(scratch / 'make.log').read_text()[-2000:]}")
        self.files = sorted({path for pattern in kind.files for path in self.pristine.glob(pattern)})

    def run(self, numbers: range):
        """Yields (number, outcome, detail) of each."""
        waiting = list(numbers)
        while waiting:
            chunk, waiting = waiting[:CHUNK], waiting[CHUNK:]
            done = yield from self._child(chunk)
            waiting = [number for number in chunk if number not in done] + waiting

    def _child(self, chunk: list[int]):
        """Try some mutations in one child, up to the first that ends it; returns their numbers."""
        reading, writing = os.pipe()

        def work(_):
            os.close(reading)
            with os.fdopen(writing, "w") as pipe:
                self._try_all(chunk, pipe)

        child = _fork(work, self.scratch / "read.log")
        os.close(writing)
        done, current, buffer = [], None, b""
        outcome, detail = "crash", ""
        while True:
            ready, _, _ = select.select([reading], [], [], 2 * self.args.seconds + 60)
            if not ready:
                os.kill(child, signal.SIGKILL)
                outcome, detail = "slow", f"more than {2 * self.args.seconds + 60:.0f} s, killed"
                break
            data = os.read(reading, 65536)
            if not data:
                break
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                number, *result = json.loads(line)
                current = number if not result else None
                if result:
                    done.append(number)
                    yield number, *result
        os.close(reading)
        status = _wait(child)
        if len(done) < len(chunk):
            if current is None:
                raise SystemExit(f"{self.name}: no reading began\n{(self.scratch / 'read.log').read_text()[-2000:]}")
            done.append(current)
            yield current, outcome, detail or f"status {status}: {(self.scratch / 'read.log').read_text()[-300:]!r}"
        return done

    def _try_all(self, chunk, pipe) -> None:
        # Twice: the first time warms up what is built once.
        self._copy()
        self.kind.read(self.work)
        self._copy()
        expected = self.kind.read(self.work)
        # Against harm to the machine; what is counted is the peak of resident memory.
        limit = 6 * 2**30 + _status("VmSize")
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        for number in chunk:
            self._copy()
            rng = random.Random(f"{self.args.seed} {self.name} {number}")
            path = rng.choice(self.files)
            target = self.work / path.relative_to(self.pristine)
            damage = rng.choice(damage_for(path.name))
            target.write_bytes(damage(path.read_bytes(), rng))
            print(json.dumps([number]), file=pipe, flush=True)
            result = self._try(expected)
            if result[0] in FAILURES or self.args.show:
                result = result[0], f"{damage.__name__} of {path.name}: {result[1]}"
            print(json.dumps([number, *result]), file=pipe, flush=True)

    def _try(self, expected) -> tuple[str, str]:
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak
        before, began = _status("VmRSS"), time.monotonic()
        signal.signal(signal.SIGALRM, _too_slow)
        signal.setitimer(signal.ITIMER_REAL, 2 * self.args.seconds)
        try:
            found = self.kind.read(self.work)
            outcome, detail = ("equal" if found == expected else "loaded"), ""
        except InputError as error:
            detail = str(error)
            outcome = "refused" if "\n" not in detail and detail else "exception"
        except BaseException as error:  # SystemExit and the panics of Rust too
            last = traceback.extract_tb(error.__traceback__)[-1]
            outcome, detail = "exception", f"{type(error).__name__}: {str(error)[:200]} ({last.filename}:{last.lineno})"
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        seconds, added = time.monotonic() - began, (_status("VmHWM") - before) >> 20
        if seconds > self.args.seconds:
            return "slow", f"{seconds:.1f} s ({detail})"
        if added > self.args.mib:
            return "memory", f"{added} MiB ({detail})"
        return outcome, detail

    def _copy(self) -> None:
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.copytree(self.pristine, self.work)


def _too_slow(*_) -> None:
    raise TimeoutError("too slow")


def _fork(work, log: Path) -> int:
    """Run ``work`` in a child, whose output goes into a file."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        work(None)
        code = 0
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(code)


def _wait(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _status(name: str) -> int:
    """A size from /proc/self/status, in bytes."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) << 10


if __name__ == "__main__":
    sys.exit(main())
