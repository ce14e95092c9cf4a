"""The part that needs Ray: machines, a pool of workers on them, blocks handed out by Ray Data.

Ray Data distributes the list of blocks and not their rows: with its own readers a block is another after a restart, and
a second run adds to the files of the first.
"""

import logging
import os
import secrets
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

from tqdm import tqdm

from mobilebert import process
from mobilebert.base import extras, interrupt
from mobilebert.base.errors import InputError, first_line
from mobilebert.base.files import temporary_beside
from mobilebert.commands.bulk.job import Block, Job, Worker
from mobilebert.data import slices
from mobilebert.data.slices import Slice

# Before Ray is imported. Its servers obey whoever reaches them, so on this machine alone they listen on 127.0.0.1: that
# is what the first does, whose name is of the systems on which it is the default. The second asks for a password too.
_ALONE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token"}
_QUIET = {"RAY_BACKEND_LOG_LEVEL": "fatal", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
_PACKAGE = Path(__file__).parents[2]
_STORE_BYTES = 100 << 20  # of shared memory: only the list of blocks is in it
_LONGEST_FOLDER = 40  # characters: below it are sockets, whose paths may have 107
_MOST_TASKS = 10_000  # parts of the list of blocks


@contextmanager
def cluster(address: str | None, cores: int | None) -> Iterator[Any]:
    """Yield the module ``ray``, connected.

    Args:
        address: of a cluster; None starts Ray on this machine, and stops it again.
        cores: of this machine that are used; None: all.

    Raises:
        InputError: Ray is not installed, or cannot be reached.
    """
    os.environ.update({name: value for name, value in _QUIET.items() if name not in os.environ})
    with ExitStack() as stack:
        # The machines have what this package needs, and get the package itself, so that it is the same on all.
        settings: dict[str, Any] = {"address": address, "runtime_env": {"py_modules": [str(_PACKAGE)]}}
        if address is None:
            os.environ.update({**_ALONE, "RAY_AUTH_TOKEN": secrets.token_hex(32)})
            # What a killed run has left is removed first.
            folder = stack.enter_context(temporary_beside(_temporary() / "mb", folder=True))
            stack.enter_context(_own_home(folder / "home"))
            settings = {
                "address": "local",
                "num_cpus": cores or process.usable_cores(),
                "num_gpus": 0,
                "include_dashboard": False,
                "object_store_memory": _STORE_BYTES,
                "_temp_dir": str(folder),
            }
        ray = _quiet_ray()
        stack.enter_context(interrupt.cleaning(ray.shutdown))
        stack.enter_context(redirect_stdout(sys.stderr))  # where Ray says that a machine was lost
        handlers = {int(number): signal.getsignal(number) for number in interrupt.SIGNALS}
        try:
            with _silent_errors():  # Ray says there that it is told to be quiet
                ray.init(**settings, log_to_driver=False, logging_level=logging.ERROR)
        except SystemExit:  # Ray's own handler of SIGTERM, which is in force until here
            interrupt.give_back(handlers)
            signal.raise_signal(signal.SIGTERM)
        except Exception as error:  # what it raises where a process does not start has no other base class
            where = "on this machine" if address is None else f"at {address}"
            raise InputError(f"Ray {where}: {first_line(error)}; is it running, and of the same version?") from None
        interrupt.give_back(handlers)
        try:
            yield ray
        except ray.exceptions.RayError as error:
            if "failed to import" in str(error):
                last = str(error).strip().splitlines()[-1]
                raise InputError(f"Ray: {last} on a machine; install there what this package needs") from None
            if isinstance(error, ray.exceptions.RayTaskError):  # a mistake of our own
                raise
            raise InputError(f"Ray: {first_line(error)}; run it again, what is finished stays") from None


def _quiet_ray() -> Any:
    ray = extras.load("ray")
    data = extras.load("ray.data")
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    data.DataContext.get_current().enable_progress_bars = False
    return ray


def cut_files(
    ray: ModuleType, files: Mapping[str, Path], most_rows: int, columns: Sequence[str]
) -> dict[str, list[Slice]]:
    """``slices.cut`` of all files, on all machines; of one alone here, which is sooner.

    Raises:
        InputError: of the first file that cannot be read.
    """
    if len(files) == 1:
        return {name: slices.cut(file, most_rows, columns) for name, file in files.items()}
    remote = ray.remote(num_cpus=1)(_cut)
    tasks = {name: remote.remote(str(file), most_rows, columns) for name, file in files.items()}
    found = {}
    for name, task in tasks.items():
        found[name], error = ray.get(task)
        if error:
            raise InputError(error)
    return found


def _cut(path: str, most_rows: int, columns: Sequence[str]) -> tuple[list[Slice], str]:
    try:
        return slices.cut(path, most_rows, columns), ""
    except InputError as error:
        return [], str(error)


class _Actor(Worker):
    """A worker as Ray Data calls it."""

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:  # type: ignore[override]
        failed, error = super().__call__(row["item"])
        return {"rows": row["item"].piece.rows, "failed": failed, "error": error}


def count_workers(ray: ModuleType, threads: int) -> int:
    """How many workers of so many threads the machines have cores for."""
    cores = [node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]]
    return max(1, sum(int(count // threads) for count in cores))


def answer_blocks(ray: ModuleType, job: Job, blocks: Sequence[Block], workers: int, threads: int, bar: tqdm) -> None:
    """Do blocks on a pool of workers.

    Args:
        ray: the module, connected.
        job: what to do.
        blocks: which; a few hundred thousand at most at once in memory, as they are small.
        workers: how many at most; where there is no place for all, there are fewer.
        threads: of each, and the cores that it claims.
        bar: moved on by rows.

    Raises:
        InputError: a worker says what is wrong.
    """
    plan = job, list(blocks), workers, threads
    for result in _from_afar(ray, *plan) if ray.util.client.ray.is_connected() else _results(*plan):
        if result["error"]:
            raise InputError(result["error"])
        bar.update(result["rows"])


def _results(job: Job, blocks: Sequence[Block], workers: int, threads: int) -> Iterator[dict[str, Any]]:
    """What the workers reply, as it comes."""
    ray = _quiet_ray()
    pool = ray.data.ActorPoolStrategy(min_size=1, max_size=workers, initial_size=workers)
    data = ray.data.from_items(blocks, override_num_blocks=min(len(blocks), _MOST_TASKS))
    yield from data.map(_Actor, fn_constructor_args=(job, threads), compute=pool, num_cpus=threads).iter_rows()


class _Steward:
    """A process within the cluster that has Ray Data do the blocks: it cannot be told from outside (ray://)."""

    def __init__(self, *plan):
        self.results = _results(*plan)

    def next(self) -> list[dict[str, Any]]:
        """The next reply; none at the end."""
        return list(islice(self.results, 1))


def _from_afar(ray, *plan) -> Iterator[dict[str, Any]]:
    steward = ray.remote(num_cpus=0)(_Steward).remote(*plan)
    while replies := ray.get(steward.next.remote()):
        yield from replies


@contextmanager
def _own_home(folder: Path) -> Iterator[None]:
    """Within, what is started has a home folder with the file in which Ray looks for the cloud that it runs in.

    Where it finds none, Ray (2.60) asks the addresses of three clouds' services, with its reports switched off too.
    """
    folder.mkdir()
    (folder / "ray_bootstrap_config.yaml").write_text("{}\n")
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    with extras.environment(HOME=str(folder), XDG_CACHE_HOME=cache):
        yield


@contextmanager
def _silent_errors() -> Iterator[None]:
    """Within, nothing comes out of standard error, by whatever language it is written."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _temporary() -> Path:
    folder = Path(tempfile.gettempdir())
    return folder if len(str(folder)) <= _LONGEST_FOLDER else Path("/tmp")
