"""Let the disk be full at many places of every command that writes, and look at what is left.

A limit on a file's size (RLIMIT_FSIZE) takes everybody; as root a small file system of its own (tmpfs) is filled up to
a few bytes too. Each time the command must end with one line and exit code 2, older outputs must be as they were,
nothing temporary may be left, and the same command, run again with space, must end as one that never was in need.

    python tests/campaigns/full_disk.py --points 8
    python tests/campaigns/full_disk.py --only train export --points 30
"""

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path

from commands import COMMANDS, Campaign, make_data, parser

from mobilebert.base import cli, extras

KIB = 1 << 10


def main() -> int:
    args = parser(__doc__)
    args.add_argument("--points", type=int, default=8, help="limits tried for each command and each way")
    args = args.parse_args()
    os.environ["MOBILEBERT_QUIET"] = "1"
    tried = broken = faulty = 0
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="full_disk_")))
        make_data(work / "data")
        import_libraries()
        for command in COMMANDS:
            if args.only and command.name not in args.only:
                continue
            for way, place in ways(work / command.name, stack):
                campaign = Campaign(command, work / "data", place, lambda words: run(words, lambda: None))
                sizes = [path.stat().st_size for path in campaign.peaceful.rglob("*") if path.is_file()]
                most = max(sizes) if way == "limit" else sum(sizes)
                for point in range(args.points):
                    size = most * point // args.points
                    campaign.renew()
                    if way == "limit":
                        code, errors = run(campaign.words, lambda size=size: limit_files(size))
                    else:
                        fill(place, size)
                        code, errors = run(campaign.words, lambda: None)
                        (place / "ballast").unlink()
                    faults = campaign.faults(errors)
                    said = [line for line in errors.splitlines() if line.startswith("error: ")]
                    if code not in (0, 2) or (code == 2 and len(said) != 1):
                        faults.append(f"exit code {code}, {len(said)} lines of error\n{errors[-2000:]}")
                    tried, broken, faulty = tried + 1, broken + (code == 2), faulty + bool(faults)
                    print(f"{command.name}, {way} of {size}: exit code {code} {said} {faults or 'ok'}", flush=True)
    print(f"{tried} points, {broken} of them broken off by a full disk; {faulty} with faults")
    return 1 if faulty else 0


def ways(folder: Path, stack: ExitStack) -> list[tuple[str, Path]]:
    """How the disk can be full here, and where the output then goes."""
    found = [("limit", folder / "limit")]
    place = folder / "space"
    place.mkdir(parents=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(place)], capture_output=True).returncode:
        print("no file system of its own can be mounted here (needs root): limits on the size of files only")
        return found
    stack.callback(subprocess.run, ["umount", "-l", str(place)])
    return [*found, ("space", place)]


def limit_files(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def fill(place: Path, size: int) -> None:
    """Leave so many bytes free."""
    status = os.statvfs(place)
    with open(place / "ballast", "wb") as handle:
        os.posix_fallocate(handle.fileno(), 0, max(status.f_bavail * status.f_bsize - size, 1))


def import_libraries() -> None:
    """Once for all runs, which are forks of this process: it never computes, so no threads are lost."""
    for name in ("convert", "export", "predict", "run_squad", "run_glue"):
        import_module(name)
    import paddle  # noqa: F401

    for name in (
        "mobilebert.tasks.qa",
        "mobilebert.tasks.run",
        "mobilebert.export.export",
        "mobilebert.convert.convert",
    ):
        import_module(name)
    for name in ("onnx", "onnxruntime", "visualdl", "matplotlib.figure"):
        extras.load(name)


def run(words: list[str], prepare: Callable[[], None]) -> tuple[int, str]:
    """Run a command in a fork of this process, prepared.

    Returns:
        Exit code and standard error.
    """
    sys.stdout.flush()
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(write_end, 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.close(read_end)
        os.close(write_end)
        sys.argv = words
        code = 1
        try:
            prepare()
            cli.run(import_module(Path(words[0]).stem).main)
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1
        except BaseException:  # what Python would print
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stderr.flush()
            os._exit(code or 0)
    os.close(write_end)
    with open(read_end, encoding="utf-8", errors="replace") as handle:
        errors = handle.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), errors


if __name__ == "__main__":
    sys.exit(main())
