import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EPYC_9004 = {"vendor_id": "AuthenticAMD", "flags": "fpu avx avx2 fma avx512f avx512bw", "cpu MHz": "2600.000"}
EPYC_7002 = {"vendor_id": "AuthenticAMD", "flags": "fpu avx avx2 fma", "cpu MHz": "2250.000"}
OPTERON = {"vendor_id": "AuthenticAMD", "flags": "fpu avx", "cpu MHz": "2300.000"}
XEON = {"vendor_id": "GenuineIntel", "flags": "fpu avx avx2 fma avx512f", "cpu MHz": "2300.000"}
ARM = {"Features": "fp asimd evtstrm"}

# Importing the module acts on this process; the tests look at its pure parts and at child processes instead.
KEPT = dict(os.environ)
os.environ["MOBILEBERT_QUIET"] = "1"
from mobilebert import process  # noqa: E402

os.environ.clear()
os.environ.update(KEPT)


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
    return process.plan(environment or {}, process.read_cpu(cpuinfo(model, cores)), quota, gpu, glibc)


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
    ("model", "gflops", "advice"),
    [
        (EPYC_9004, 30, "set MKL_DEBUG_CPU_TYPE=7"),
        (EPYC_9004, 300, None),
        (EPYC_7002, 30, "set MKL_DEBUG_CPU_TYPE=5"),
        (EPYC_7002, 120, None),
        (XEON, 5, "is the machine busy?"),
        (XEON, 320, None),
    ],
)
def test_a_slow_math_library_is_noticed(model, gflops, advice):
    said = process.judge(gflops, process.read_cpu(cpuinfo(model, 2)), threads=2)
    assert (said is None) == (advice is None)
    assert advice is None or advice in said


def child(program: str, **environment: str) -> subprocess.CompletedProcess:
    settings = ("OMP_NUM_THREADS", "MKL_DEBUG_CPU_TYPE", "FLAGS_use_stride_kernel", "MOBILEBERT_QUIET")
    clean = {key: value for key, value in os.environ.items() if key not in settings}
    return subprocess.run(
        [sys.executable, "-c", program], env=clean | environment, cwd=ROOT, capture_output=True, text=True, timeout=300
    )


def test_the_import_is_enough_and_prints_one_line():
    program = (
        "import sys, os; from mobilebert import process; process.setup();"
        "print('paddle' in sys.modules, os.environ['OMP_NUM_THREADS'])"
    )
    outcome = child(program)
    assert outcome.returncode == 0
    assert (
        outcome.stdout == f"False {process.plan({}, process._this_cpu(), process.read_quota(), False, True).threads}\n"
    )
    assert outcome.stderr.startswith("runtime: OMP_NUM_THREADS=")
    assert outcome.stderr.count("\n") == 1
    assert child(program, MOBILEBERT_QUIET="1").stderr == ""
    assert "OMP_NUM_THREADS=1 (yours)" in child(program, OMP_NUM_THREADS="1").stderr


def test_paddle_sees_the_settings_and_starts_quietly():
    program = """
import os
from mobilebert import process
import paddle
print(os.environ["OMP_NUM_THREADS"], process.setup().threads, paddle.get_flags("FLAGS_use_stride_kernel"))
print(process.check_speed() > 0)
"""
    outcome = child(program, MOBILEBERT_QUIET="1")
    threads = process._this_cpu().cores
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stdout.splitlines()[0].endswith("{'FLAGS_use_stride_kernel': False}")
    assert outcome.stdout.splitlines()[1] == "True"
    assert "WISELY" not in outcome.stderr
    assert "ccache" not in outcome.stderr
    assert threads == 1 or "WISELY" in child("import paddle", OMP_NUM_THREADS="2").stderr


def test_too_late_is_said():
    program = "import paddle; from mobilebert import process"
    assert "Paddle was imported before mobilebert" in child(program).stderr
