import importlib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mobilebert import process

ROOT = Path(__file__).parents[2]
STRIDE = "FLAGS_use_stride_kernel"
EPYC_9004 = {"vendor_id": "AuthenticAMD", "flags": "fpu avx avx2 fma avx512f avx512bw", "cpu MHz": "2600.000"}
EPYC_7002 = {"vendor_id": "AuthenticAMD", "flags": "fpu avx avx2 fma", "cpu MHz": "2250.000"}
OPTERON = {"vendor_id": "AuthenticAMD", "flags": "fpu avx", "cpu MHz": "2300.000"}
XEON = {"vendor_id": "GenuineIntel", "flags": "fpu avx avx2 fma avx512f", "cpu MHz": "2300.000"}
ARM = {"Features": "fp asimd evtstrm"}


def cpuinfo(model: dict, processors: int, threads_per_core: int = 1, numbered: bool = True) -> str:
    """A /proc/cpuinfo text as Linux writes it: hyper-threads of a core share its ``core id``."""
    blocks = []
    for number in range(processors):
        lines = [f"processor\t: {number}", *(f"{key}\t: {value}" for key, value in model.items())]
        if numbered:
            lines += ["physical id\t: 0", f"core id\t\t: {number % (processors // threads_per_core)}"]
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def decide(model: dict, environment: dict | None = None, cores: int = 4, quota=None, gpu=False, glibc=True):
    return process.choose(environment or {}, process.read_cpu(cpuinfo(model, cores)), quota, gpu, glibc)


@pytest.mark.parametrize(
    ("model", "path"), [(EPYC_9004, "7"), (EPYC_7002, "5"), (OPTERON, None), (XEON, None), (ARM, None)]
)
def test_math_path_by_processor(model, path):
    decided = decide(model)
    assert decided.settings.get("MKL_DEBUG_CPU_TYPE") == path
    assert ("MKL_DEBUG_CPU_TYPE" in decided.line) == (path is not None)


def test_what_the_user_set_is_kept():
    mine = {
        "OMP_NUM_THREADS": "3",
        "MKL_DEBUG_CPU_TYPE": "4",
        "FLAGS_use_stride_kernel": "True",
        "MALLOC_TRIM_THRESHOLD_": "1",
    }
    decided = decide(EPYC_9004, mine)
    assert decided.settings == {}
    assert not decided.keep_memory
    assert decided.threads == 3
    assert "OMP_NUM_THREADS=3 (yours)" in decided.line
    assert "MKL_DEBUG_CPU_TYPE=4 (yours)" in decided.line
    assert decide(EPYC_9004, {"GLIBC_TUNABLES": "glibc.malloc.trim_threshold=1"}).keep_memory is False


def test_a_gpu_is_left_alone():
    decided = decide(EPYC_9004, gpu=True)
    assert decided.settings == {}
    assert not decided.keep_memory
    assert "GPU" in decided.line


def test_memory_is_kept_only_by_glibc():
    assert decide(XEON).keep_memory
    assert not decide(XEON, glibc=False).keep_memory


def test_physical_cores_are_counted():
    assert process.read_cpu(cpuinfo(XEON, 8, threads_per_core=2)).cores == 4
    assert process.read_cpu(cpuinfo(XEON, 8)).cores == 8
    assert process.read_cpu(cpuinfo(ARM, 6, numbered=False)).cores == 6


def test_affinity_is_honoured():
    text = cpuinfo(XEON, 8, threads_per_core=2)  # processors 1 and 5 are one core
    assert process.read_cpu(text, frozenset({1, 5})).cores == 1
    assert process.read_cpu(text, frozenset({1, 2, 5})).cores == 2
    assert process.read_cpu("", frozenset({0, 1, 2})).cores == 3


@pytest.mark.parametrize(("quota", "threads"), [(None, 4), (8.0, 4), (4.0, 4), (2.5, 2), (0.5, 1)])
def test_quota_limits_the_threads(quota, threads):
    decided = decide(XEON, quota=quota)
    assert decided.threads == threads
    assert decided.settings["OMP_NUM_THREADS"] == str(threads)
    assert ("limited to" in decided.line) == (threads < 4)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_quota_of_control_groups_version_2(tmp_path):
    write(tmp_path / "proc/self/cgroup", "0::/user/job\n")
    group = tmp_path / "sys/fs/cgroup"
    assert process.read_quota(tmp_path) is None
    write(group / "user/job/cpu.max", "max 100000\n")
    assert process.read_quota(tmp_path) is None
    write(group / "user/cpu.max", "150000 100000\n")
    assert process.read_quota(tmp_path) == 1.5
    write(group / "user/job/cpu.max", "100000 100000\n")
    assert process.read_quota(tmp_path) == 1.0


def test_quota_of_control_groups_version_1(tmp_path):
    write(tmp_path / "proc/self/cgroup", "5:memory:/m\n4:cpu,cpuacct:/docker/abc\n0::/\n")
    # In a container the group's own folder is the mount point, whatever path the host names.
    write(tmp_path / "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n")
    write(tmp_path / "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n")
    assert process.read_quota(tmp_path) is None
    write(tmp_path / "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "300000\n")
    assert process.read_quota(tmp_path) == 3.0


@pytest.mark.parametrize(
    ("model", "gflops", "math_type", "advice"),
    [
        (EPYC_9004, 30, None, "set MKL_DEBUG_CPU_TYPE=7"),
        (EPYC_9004, 30, "5", "set MKL_DEBUG_CPU_TYPE=7"),
        (EPYC_9004, 30, "7", "is the machine busy?"),  # as it should be: that is not why it is slow
        (EPYC_9004, 300, None, None),
        (EPYC_7002, 30, None, "set MKL_DEBUG_CPU_TYPE=5"),
        (EPYC_7002, 30, "5", "is the machine busy?"),
        (EPYC_7002, 120, "5", None),
        (XEON, 5, None, "is the machine busy?"),
        (XEON, 320, None, None),
    ],
)
def test_a_slow_math_library_is_noticed(model, gflops, math_type, advice):
    warning = process.judge(gflops, process.read_cpu(cpuinfo(model, 2)), 2, math_type)
    assert (warning is None) == (advice is None)
    assert advice is None or advice in warning


def clean_environment() -> dict[str, str]:
    """This process's environment without what ``process`` may set or read."""
    names = ("OMP_NUM_THREADS", "MKL_DEBUG_CPU_TYPE", STRIDE, "MOBILEBERT_QUIET", "MOBILEBERT_SETUP")
    return {key: value for key, value in os.environ.items() if key not in names}


def child(program: str, **environment: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", program]
    settings = clean_environment() | environment
    return subprocess.run(command, env=settings, cwd=ROOT, capture_output=True, text=True, timeout=300)


def expected() -> process.Setup:
    """What is chosen on this machine where nobody has set anything."""
    return process.choose({}, process.this_cpu(), process.read_quota(), False, True)


def test_the_import_is_enough_and_prints_one_line():
    program = (
        "import sys, os; from mobilebert import process; process.setup();"
        "print('paddle' in sys.modules, os.environ['OMP_NUM_THREADS'])"
    )
    outcome = child(program)
    assert outcome.returncode == 0
    assert outcome.stdout == f"False {expected().threads}\n"
    assert outcome.stderr.startswith("runtime: OMP_NUM_THREADS=")
    assert outcome.stderr.count("\n") == 1
    assert child(program, MOBILEBERT_QUIET="1").stderr == ""
    assert "OMP_NUM_THREADS=1 (yours)" in child(program, OMP_NUM_THREADS="1").stderr


@pytest.mark.parametrize(("quota", "expected"), [(None, 4), (2.5, 2), (0.5, 1), (8.0, 4)])
def test_usable_cores_are_within_the_quota(monkeypatch, quota, expected):
    monkeypatch.setattr(process, "this_cpu", lambda: process.Cpu("", frozenset(), 4))
    monkeypatch.setattr(process, "read_quota", lambda: quota)
    assert process.usable_cores() == expected


def test_paddle_sees_the_settings_and_starts_quietly():
    program = """
import os
from mobilebert import process
import paddle
print(os.environ["OMP_NUM_THREADS"], process.setup().threads, paddle.get_flags("FLAGS_use_stride_kernel"))
print(process.check_speed() > 0)
"""
    outcome = child(program, MOBILEBERT_QUIET="1")
    threads = process.this_cpu().cores
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stdout.splitlines()[0].endswith("{'FLAGS_use_stride_kernel': False}")
    assert outcome.stdout.splitlines()[1] == "True"
    assert "WISELY" not in outcome.stderr
    assert "ccache" not in outcome.stderr
    assert threads == 1 or "WISELY" in child("import paddle", OMP_NUM_THREADS="2").stderr


# Prints a process's settings, the flag as Paddle has it, and the threads that a product may take.
STATE = """
import ctypes, json, os, pathlib, warnings, paddle
openmp = ctypes.CDLL(str(pathlib.Path(paddle.__file__).parent / "libs" / "libiomp5.so"))
print(json.dumps({
    "MKL_DEBUG_CPU_TYPE": os.environ.get("MKL_DEBUG_CPU_TYPE"),
    "FLAGS_use_stride_kernel": str(paddle.get_flags("FLAGS_use_stride_kernel")["FLAGS_use_stride_kernel"]),
    "threads": openmp.omp_get_max_threads(),
    "filters": sum("No ccache" in str(entry[1]) for entry in warnings.filters),
}))
"""
UNTOUCHED = {"MKL_DEBUG_CPU_TYPE": None, STRIDE: "True", "threads": 1, "filters": 0}


def set_up(**changes) -> dict:
    """The state of a process that is set up for this machine."""
    chosen = expected()
    path = chosen.settings.get("MKL_DEBUG_CPU_TYPE")
    return {"MKL_DEBUG_CPU_TYPE": path, STRIDE: "False", "threads": chosen.threads, "filters": 1, **changes}


def state(outcome: subprocess.CompletedProcess) -> dict:
    assert outcome.returncode == 0, outcome.stderr
    return json.loads(outcome.stdout.splitlines()[-1])


IMPORTS = [
    "from mobilebert import MobileBertModel",
    "from mobilebert.model.heads import MobileBertForQuestionAnswering",
    "from mobilebert.model import modeling",
    "import mobilebert.text.vocabulary, paddle",
    "import mobilebert; import paddle.nn.functional",
]


@pytest.mark.parametrize("imports", IMPORTS)
def test_whoever_imports_the_package_has_the_process_set_up(imports):
    outcome = child(imports + STATE)
    assert state(outcome) == set_up()
    assert outcome.stderr.count("runtime: ") == 1
    assert "Paddle was imported before" not in outcome.stderr


def test_without_the_package_nothing_is_set():
    assert state(child(STATE)) == UNTOUCHED != set_up()


@pytest.mark.parametrize("imports", IMPORTS[:2])
def test_switched_off_it_leaves_everything_alone_and_says_so(imports):
    outcome = child(imports + STATE, MOBILEBERT_SETUP="0")
    assert state(outcome) == UNTOUCHED
    assert "runtime: nothing set (MOBILEBERT_SETUP=0)" in outcome.stderr


def test_looking_for_paddle_sets_nothing():
    looking = """
import importlib.util, os, sys, mobilebert
before = dict(os.environ)
assert importlib.util.find_spec("paddle").loader
assert dict(os.environ) == before and "paddle" not in sys.modules
"""
    outcome = child(looking)
    assert outcome.returncode == 0 and outcome.stderr == ""
    outcome = child(looking + STATE)
    assert state(outcome) == set_up() and outcome.stderr.count("runtime: ") == 1


def test_too_late_is_said():
    program = "import paddle; from mobilebert import process"
    assert "Paddle was imported before mobilebert" in child(program).stderr


def test_after_paddle_what_still_can_be_set_is_set():
    program = "import paddle; from mobilebert import MobileBertModel" + STATE
    outcome = child(program)
    assert state(outcome) == set_up(threads=1)
    line = f"OMP_NUM_THREADS=1 (Paddle was imported before mobilebert; the other way round it has {expected().threads})"
    assert line in outcome.stderr
    assert "(yours)" not in outcome.stderr
    mine = {"OMP_NUM_THREADS": "2", STRIDE: "True"}
    assert state(child(program, **mine)) == set_up(threads=2, **{STRIDE: "True"})
    assert state(child(program, MOBILEBERT_SETUP="0")) == UNTOUCHED


WORKERS = """
import multiprocessing, sys

def look():
    import mobilebert.data.packed, state

if __name__ == "__main__":
    import mobilebert
    worker = multiprocessing.get_context(sys.argv[1]).Process(target=look)
    worker.start()
    worker.join()
    sys.exit(worker.exitcode)
"""


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_worker_processes_are_set_up_and_print_nothing(method, tmp_path):
    (tmp_path / "state.py").write_text(STATE)
    (tmp_path / "workers.py").write_text(WORKERS)
    command = [sys.executable, tmp_path / "workers.py", method]
    environment = clean_environment() | {"PYTHONPATH": str(ROOT)}
    outcome = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert state(outcome) == set_up()
    assert "runtime: " not in outcome.stderr


@pytest.mark.slow
def test_processes_of_a_launched_job_are_set_up(tmp_path):
    (tmp_path / "job.py").write_text("import mobilebert.model.heads" + STATE)
    launch = ["-m", "paddle.distributed.launch", "--nproc_per_node", "2", "--log_dir", tmp_path / "logs"]
    command = [sys.executable, *launch, tmp_path / "job.py"]
    environment = clean_environment() | {"PYTHONPATH": str(ROOT)}
    subprocess.run(command, env=environment, cwd=tmp_path, check=True, capture_output=True, timeout=300)
    logs = [path.read_text() for path in sorted((tmp_path / "logs").glob("workerlog.*"))]
    assert len(logs) == 2
    for log in logs:
        (line,) = [line for line in log.splitlines() if line.startswith("{")]
        # The launcher imports Paddle, which sets OMP_NUM_THREADS=1 where it is not set, and its processes inherit that.
        assert json.loads(line) == set_up(threads=1)


@pytest.fixture
def watched(tmp_path, monkeypatch):
    """A module ``watched_module`` with a hook. -> the list of what happened."""
    (tmp_path / "watched_module.py").write_text("import os\nloaded = os.environ['WATCHED']\n")
    events = []

    def run(load, module):
        events.append("before")
        monkeypatch.setenv("WATCHED", "set")
        load(module)
        events.append("after")

    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "meta_path", [process._AtImport("watched_module", run), *sys.meta_path])
    yield events
    sys.modules.pop("watched_module", None)


def test_the_hook_acts_at_the_first_import_only(watched):
    assert importlib.util.find_spec("watched_module") and watched == []
    module = importlib.import_module("watched_module")
    assert module.loaded == "set" and watched == ["before", "after"]
    assert "watched_module" not in [getattr(finder, "name", None) for finder in sys.meta_path]
    importlib.reload(module)
    assert watched == ["before", "after"]


def test_the_hook_leaves_a_mere_folder_and_what_is_missing_alone(watched, tmp_path):
    (tmp_path / "watched_module.py").unlink()
    importlib.invalidate_caches()
    with pytest.raises(ModuleNotFoundError, match="No module named 'watched_module'"):
        importlib.import_module("watched_module")
    (tmp_path / "watched_module").mkdir()
    importlib.invalidate_caches()
    assert importlib.import_module("watched_module").__file__ is None
    assert watched == []
