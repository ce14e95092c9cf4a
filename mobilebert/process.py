"""What must be set before Paddle starts: threads, the math library's path, memory.

Paddle reads these settings once, while it loads; left alone it takes one thread, and on AMD CPUs the slow path of its
bundled math library. So whoever imports anything of this package has ``setup`` called just before Paddle is imported
(``watch``), and not earlier. What the user has set in the environment is never changed, a GPU build with a visible GPU
is left alone, and ``MOBILEBERT_SETUP=0`` leaves everything alone. Measurements: docs/performance-notes.md.
"""

import contextlib
import ctypes
import io
import os
import platform
import re
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import ModuleType

from mobilebert.base import cli, extras, interrupt
from mobilebert.base.errors import InputError

_STRIDE_FLAG = "FLAGS_use_stride_kernel"
_AMD_VENDORS = ("AuthenticAMD", "HygonGenuine")
_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1  # mallopt's M_MMAP_THRESHOLD and M_TRIM_THRESHOLD
# What Paddle and its libraries take as whole numbers, ``OMP_NUM_THREADS`` also as a list of them -> the largest that is
# let through: of a word Paddle's import makes a traceback, of a million threads a crash.
_NUMBERS = {"OMP_NUM_THREADS": 1024, "PADDLE_TRAINER_ID": 1 << 20, "PADDLE_TRAINERS_NUM": 1 << 20}
_REUSED_BYTES = 1 << 30  # a freed block below this size serves the next step instead of going back to the system
_CHECK_SECONDS = 0.1
_CHECK_SIZE = 384  # rows and columns of the self-check's product: 0.1 GFLOP
_POOR_SHARE = 0.3  # below this part of the nominal rate the math library is on a wrong path, not just busy


@dataclass(frozen=True)
class Cpu:
    """The CPU as this process may use it.

    Attributes:
        vendor: ``GenuineIntel``, ``AuthenticAMD``, ...; empty where unknown.
        flags: instruction sets, as /proc/cpuinfo names them.
        cores: physical cores among the processors that the process may run on.
        ghz: the clock, GHz; 2.0 where unknown.
    """

    vendor: str
    flags: frozenset[str]
    cores: int
    ghz: float = 2.0


@dataclass(frozen=True)
class Setup:
    """What to set, and the line that says so.

    Attributes:
        settings: environment variables to set; none that the user has set.
        keep_memory: whether malloc shall keep large blocks.
        threads: threads of a matrix product.
        line: one line for the user.
    """

    settings: dict[str, str] = field(default_factory=dict)
    keep_memory: bool = False
    threads: int = 1
    line: str = ""


def read_cpu(cpuinfo: str, allowed: frozenset[int] | None = None) -> Cpu:
    """Read the text of /proc/cpuinfo.

    Args:
        cpuinfo: the text; empty where the system has none.
        allowed: the processors that the process may run on; None is all.
    """
    processors = []
    for block in cpuinfo.split("\n\n"):
        pairs = (line.split(":", 1) for line in block.splitlines() if ":" in line)
        entry = {key.strip(): value.strip() for key, value in pairs}
        if entry.get("processor", "").isdigit():
            processors.append(entry)
    usable = [entry for entry in processors if allowed is None or int(entry["processor"]) in allowed]
    # Two hyper-threads of a core share its arithmetic unit, so cores are counted. Virtual machines and ARM may not
    # number their cores; there each processor counts.
    cores = {(entry.get("physical id", ""), entry.get("core id", "cpu" + entry["processor"])) for entry in usable}
    first = processors[0] if processors else {}
    fallback = len(allowed) if allowed else os.cpu_count() or 1
    return Cpu(
        vendor=first.get("vendor_id", ""),
        flags=frozenset(first.get("flags", first.get("Features", "")).split()),
        cores=len(cores) or fallback,
        ghz=float(first.get("cpu MHz", 2000)) / 1000,
    )


def read_quota(root: Path = Path("/")) -> float | None:
    """The CPU quota of this process's control group and those above it, in CPUs; None where there is none.

    Args:
        root: the root of the file system, for tests.
    """
    mount = root / "sys/fs/cgroup"
    quotas = []
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, group = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        base = mount if not controllers else mount / "cpu"
        # Inside a container the path may be the host's; the mount point then is the container's own group.
        for folder in (base, *_descend(base, group)):
            limit = _read(folder / "cpu.max").split() or [
                _read(folder / "cpu.cfs_quota_us").strip(),
                _read(folder / "cpu.cfs_period_us").strip(),
            ]
            if len(limit) == 2 and all(number.isdigit() for number in limit) and int(limit[1]) > 0:
                quotas.append(int(limit[0]) / int(limit[1]))  # microseconds of CPU time / of real time
    return min(quotas, default=None)


def choose(
    environment: Mapping[str, str], cpu: Cpu, quota: float | None, gpu: bool, glibc: bool, late: bool = False
) -> Setup:
    """Choose what to set; touches nothing.

    Args:
        environment: the environment variables.
        cpu: the processor.
        quota: the control group's limit, in CPUs.
        gpu: whether Paddle is a GPU build and sees a GPU.
        glibc: whether malloc is glibc's, which has ``mallopt``.
        late: whether Paddle has been imported: its threads then stay as they are.
    """
    if environment.get("MOBILEBERT_SETUP") == "0":
        return Setup(threads=cpu.cores, line="runtime: nothing set (MOBILEBERT_SETUP=0)")
    if gpu:
        return Setup(line="runtime: GPU build with a visible GPU; nothing changed")
    settings: dict[str, str] = {}
    notes = []

    threads = min(cpu.cores, max(1, int(quota))) if quota else cpu.cores
    if late:
        first = f"Paddle was imported before mobilebert; the other way round it has {threads}"
        threads = int(environment.get("OMP_NUM_THREADS", "1"))  # Paddle itself has set it where nobody had
        notes.append(f"OMP_NUM_THREADS={threads} ({first})")
    elif set_by_user := environment.get("OMP_NUM_THREADS"):
        threads = int(set_by_user) if set_by_user.isdigit() else threads
        notes.append(f"OMP_NUM_THREADS={set_by_user} (yours)")
    else:
        settings["OMP_NUM_THREADS"] = str(threads)
        limit = f", limited to {quota:g} CPUs" if quota and quota < cpu.cores else ""
        notes.append(f"OMP_NUM_THREADS={threads} ({cpu.cores} physical cores{limit})")

    if "MKL_DEBUG_CPU_TYPE" in environment:
        notes.append(f"MKL_DEBUG_CPU_TYPE={environment['MKL_DEBUG_CPU_TYPE']} (yours)")
    elif path := _math_path(cpu):
        settings["MKL_DEBUG_CPU_TYPE"] = path
        in_time = "; in time where nothing has been computed yet" if late else ""
        notes.append(f"MKL_DEBUG_CPU_TYPE={path} (AMD with {'AVX-512' if path == '7' else 'AVX2'}{in_time})")

    if _STRIDE_FLAG in environment:
        notes.append(f"{_STRIDE_FLAG}={environment[_STRIDE_FLAG]} (yours)")
    else:
        settings[_STRIDE_FLAG] = "False"
        notes.append(f"{_STRIDE_FLAG}=False (contiguous copies are faster)")

    user_malloc = any(name in environment for name in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"))
    user_malloc = user_malloc or "glibc.malloc" in environment.get("GLIBC_TUNABLES", "")
    keep_memory = glibc and not user_malloc
    if keep_memory:
        notes.append("malloc keeps freed memory (fewer page faults)")
    return Setup(settings, keep_memory, threads, "runtime: " + ", ".join(notes))


def check_numbers(environment: Mapping[str, str]) -> None:
    """Refuse environment variables on which Paddle would end without a message that helps.

    Raises:
        InputError: one is no number, or too large; it is named.
    """
    for name, most in _NUMBERS.items():
        value = environment.get(name, "")
        if value and not all(re.fullmatch(r" *[0-9]{1,9} *", part) and int(part) <= most for part in value.split(",")):
            raise InputError(f"{name}={value} in the environment: expected a whole number up to {most}; or unset it")


def watch() -> None:
    """Have ``setup`` called as soon as Paddle is imported; where it is already, at once."""
    if "paddle" in sys.modules:
        setup()
    else:
        sys.meta_path.insert(0, _AtImport("paddle", _set_up_and_load))


@lru_cache(maxsize=1)
def setup() -> Setup:
    """Set what ``choose`` says for this machine and print its line on standard error; a second call changes nothing.

    ``MOBILEBERT_QUIET=1`` hides the line; worker processes print none.

    Raises:
        InputError: see ``check_numbers``.
    """
    check_numbers(os.environ)
    paddle = sys.modules.get("paddle")
    late = hasattr(paddle, "__version__")  # while Paddle is being imported it has none yet
    glibc = platform.libc_ver()[0] == "glibc"
    chosen = choose(os.environ, this_cpu(), read_quota(), _visible_gpu(), glibc, late)
    os.environ.update(chosen.settings)
    if late and _STRIDE_FLAG in chosen.settings:
        paddle.set_flags({_STRIDE_FLAG: False})  # the environment is read no more
    if "OMP_NUM_THREADS" in chosen.settings:
        sys.meta_path.insert(0, _AtImport("paddle.base", _load_quietly))
    if os.environ.get("MOBILEBERT_SETUP") != "0":
        warnings.filterwarnings("ignore", message="No ccache found")
    if chosen.keep_memory:
        libc = ctypes.CDLL(None)
        libc.mallopt(_MMAP_THRESHOLD, _REUSED_BYTES)
        libc.mallopt(_TRIM_THRESHOLD, _REUSED_BYTES)
    cli.notice(chosen.line)
    return chosen


def nominal_rate(cpu: Cpu, threads: int) -> float:
    """What a CPU's float32 products can reach, GFLOP/s: two fused multiply-adds a cycle, each of a register's width."""
    per_cycle = 64 if "avx512f" in cpu.flags else 32 if "avx2" in cpu.flags else 8
    return per_cycle * cpu.ghz * min(threads, cpu.cores)


def judge(gflops: float, cpu: Cpu, threads: int, math_type: str | None) -> str | None:
    """Say what is wrong if matrix products run far below the CPU's rate; None if they do not.

    Args:
        gflops: the measured rate of a float32 product, GFLOP/s.
        cpu: the processor.
        threads: the threads that took part.
        math_type: the value of ``MKL_DEBUG_CPU_TYPE`` while they ran.
    """
    nominal = nominal_rate(cpu, threads)
    if gflops >= _POOR_SHARE * nominal:
        return None
    advice = "is the machine busy? else set OMP_NUM_THREADS to its physical cores"
    path = _math_path(cpu)
    if path and path != math_type:
        advice = f"set MKL_DEBUG_CPU_TYPE={path} in the environment, and OMP_NUM_THREADS to the physical cores"
    return f"warning: matrix products run at {gflops:.0f} GFLOP/s of about {nominal:.0f} ({threads} threads); {advice}"


def check_speed() -> float | None:
    """Time a small float32 product in Paddle, at most 0.2 s, and warn on standard error if it is far too slow.

    Returns:
        The rate in GFLOP/s; None on a GPU.
    """
    import paddle

    if not paddle.device.get_device().startswith("cpu"):
        return None
    matrix = paddle.ones([_CHECK_SIZE, _CHECK_SIZE], dtype="float32")
    fastest = float("inf")
    end = time.perf_counter() + _CHECK_SECONDS
    while (start := time.perf_counter()) < end:
        paddle.matmul(matrix, matrix)
        fastest = min(fastest, time.perf_counter() - start)
    gflops = 2 * _CHECK_SIZE**3 / fastest / 1e9
    if warning := judge(gflops, this_cpu(), setup().threads, os.environ.get("MKL_DEBUG_CPU_TYPE")):
        cli.notice(warning)
    return gflops


Load = Callable[[ModuleType], None]


class _AtImport:
    """Import hook: the first import of a module calls ``run`` with the module's own loading and the module.

    Looking for the module without importing it, as ``importlib.util.find_spec`` does, runs nothing.
    """

    def __init__(self, name: str, run: Callable[[Load, ModuleType], None]):
        self.name, self.run = name, run

    def find_spec(self, name, path=None, target=None):
        """The specification that the other finders have, with the loading wrapped."""
        if name != self.name:
            return None
        finders = (finder for finder in sys.meta_path if finder is not self and hasattr(finder, "find_spec"))
        spec = next(filter(None, (finder.find_spec(name, path, target) for finder in finders)), None)
        if spec is None or spec.loader is None:  # a mere folder of that name has no loader
            return spec
        load = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            with contextlib.suppress(ValueError):
                sys.meta_path.remove(self)
            self.run(load, module)

        spec.loader.exec_module = exec_module
        return spec


def _set_up_and_load(load: Load, module: ModuleType) -> None:
    setup()
    if not interrupt.is_ours():  # somebody else's program may want Paddle's data sets where they always are
        load(module)
        return
    with extras.own_home():
        load(module)
    interrupt.renew()


def _load_quietly(load: Load, module: ModuleType) -> None:
    """Drop Paddle's note on ``OMP_NUM_THREADS``, which is printed although MKL uses the threads."""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed):
            load(module)
    finally:
        lines = printed.getvalue().splitlines(keepends=True)
        sys.stderr.writelines(line for line in lines if "OMP_NUM_THREADS" not in line)


def _math_path(cpu: Cpu) -> str | None:
    """MKL's code path for an AMD CPU: 7 is AVX-512, 5 is AVX2; a type that the CPU lacks is an illegal instruction."""
    if cpu.vendor not in _AMD_VENDORS:
        return None
    return "7" if "avx512f" in cpu.flags else "5" if "avx2" in cpu.flags else None


def this_cpu() -> Cpu:
    """This machine's processor, as the process may use it."""
    allowed = frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    return read_cpu(_read(Path("/proc/cpuinfo")), allowed)


def usable_cores() -> int:
    """How many processes, or threads, of this one's work at once: its physical cores, or its quota of them."""
    return max(1, int(min(this_cpu().cores, read_quota() or float("inf"))))


def cpu_name() -> str:
    """The processor's name as it calls itself; empty where unknown."""
    lines = _read(Path("/proc/cpuinfo")).splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")


def _visible_gpu() -> bool:
    """Whether the installed Paddle is a GPU build and a GPU can be seen, found out without importing Paddle."""
    from importlib import metadata  # takes a while

    try:
        metadata.version("paddlepaddle-gpu")
    except metadata.PackageNotFoundError:
        return False
    return os.environ.get("CUDA_VISIBLE_DEVICES", "all") not in ("", "-1") and Path("/dev/nvidiactl").exists()


def _descend(base: Path, group: str) -> list[Path]:
    """The folders from ``base`` down to the control group ``/a/b``: ``base/a``, ``base/a/b``."""
    parts = [part for part in group.split("/") if part not in ("", "..")]
    return [base.joinpath(*parts[: depth + 1]) for depth in range(len(parts))]


def _read(path: Path) -> str:
    """The file's text; empty where it cannot be read."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
