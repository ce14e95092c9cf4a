"""What this machine and this installation are, on one screen: where something is slow or missing, and to paste."""

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

from mobilebert import __version__, process
from mobilebert.base import cli, extras
from mobilebert.base.errors import InputError

EXAMPLES = """\
  %(prog)s > doctor.txt   (to attach to a question)
"""
# Module -> the distributions that bring it, where their names differ.
_DISTRIBUTIONS = {"paddle": ("paddlepaddle", "paddlepaddle-gpu"), "sklearn": ("scikit-learn",)}
_LIBRARIES = ("numpy", "tokenizers", "safetensors", "huggingface_hub", "msgspec")
# Variables that change what happens here; HF_TOKEN is nobody's business.
_VARIABLES = ("MOBILEBERT_", "OMP_", "MKL_", "FLAGS_", "CUDA_VISIBLE", "HF_HOME", "HF_ENDPOINT", "XDG_CACHE", "MALLOC_")


def parse_args() -> argparse.Namespace:
    """The command line: nothing but ``--help`` and ``--version``."""
    return cli.ArgumentParser(__doc__, EXAMPLES).parse_args()


def main() -> int:
    """Print what is there. Returns 1 where Paddle cannot be used, which all but exported models need."""
    parse_args()
    given = {name: value for name, value in os.environ.items() if name.startswith(_VARIABLES)}
    os.environ["MOBILEBERT_QUIET"] = "1"  # what its line says is said below
    for name, value in _machine():
        _print(name, value)
    paddle_works = find_spec("paddle") is not None
    for name, value in _paddle() if paddle_works else [("paddle", str(extras.missing("paddle")))]:
        _print(name, value)
    _print("libraries", ", ".join(f"{name} {_version(name)}" for name in _LIBRARIES))
    for extra, modules in extras.EXTRAS.items():
        _print(f"extra [{extra}]", ", ".join(f"{module} {_version(module)}" for module in modules))
    for name, value in _places():
        _print(name, value)
    _print("environment", ", ".join(f"{name}={value}" for name, value in sorted(given.items())) or "nothing set")
    return int(not paddle_works)


def _print(name: str, value: str) -> None:
    home = os.path.expanduser("~")
    print(f"{name:18} {value.replace(home, '~') if len(home) > 1 else value}", flush=True)


def _machine() -> Iterator[tuple[str, str]]:
    yield "mobilebert", f"{__version__}{_commit()}, {Path(__file__).resolve().parents[2]}"
    yield "python", f"{platform.python_version()}, {sys.executable}"
    libc = " ".join(platform.libc_ver())
    yield "system", f"{platform.system()} {platform.release()} {platform.machine()}, {libc or 'unknown libc'}"
    cpu = process.this_cpu()
    sets = [
        name for name in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "asimd") if name in cpu.flags
    ]
    quota = process.read_quota()
    limit = f", limited to {quota:g} CPUs" if quota else ""
    name = process.cpu_name() or cpu.vendor or "unknown"
    yield "processor", f"{name}, {cpu.cores} cores{limit}, {' '.join(sets) or 'no vector sets known'}"
    if hasattr(os, "sysconf") and "SC_AVPHYS_PAGES" in os.sysconf_names:
        page = os.sysconf("SC_PAGE_SIZE") / 2**30
        free, total = os.sysconf("SC_AVPHYS_PAGES") * page, os.sysconf("SC_PHYS_PAGES") * page
        yield "memory", f"{free:.1f} of {total:.1f} GiB unused"


def _commit() -> str:
    """The commit where this is a checkout with git at hand."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists() or shutil.which("git") is None:
        return ""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--exclude=*"]
    done = subprocess.run(command, capture_output=True, text=True)
    return f" ({done.stdout.strip()})" if done.returncode == 0 else ""


def _paddle() -> Iterator[tuple[str, str]]:
    import paddle

    build = f"CUDA {paddle.version.cuda()}" if paddle.device.is_compiled_with_cuda() else "for the CPU"
    yield "paddle", f"{paddle.__version__} {build}, device {paddle.device.get_device()}"
    chosen = process.setup()
    yield "set for it", chosen.line.removeprefix("runtime: ")
    rate = process.check_speed()
    if rate is not None:
        nominal = process.nominal_rate(process.this_cpu(), chosen.threads)
        yield "matrix products", f"{rate:.0f} GFLOP/s of about {nominal:.0f} (float32, {chosen.threads} threads)"

    from mobilebert.accel import native
    from mobilebert.native_engine import library

    yield "encoder layer", native.describe()
    try:
        yield "native engine", ", ".join(library.kernel_sets())
    except InputError as error:
        yield "native engine", str(error)


def _version(module: str) -> str:
    """A module's version; ``-`` where it is not installed. Imports nothing, since some libraries report on imports."""
    for name in _DISTRIBUTIONS.get(module, (module,)):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return "-"


def _places() -> Iterator[tuple[str, str]]:
    """Where things are written unless told otherwise, and whether that works."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    for name, folder in (("working folder", Path.cwd()), ("cache", cache), ("temporary files", Path(_temporary()))):
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        can = "writable" if os.access(existing, os.W_OK | os.X_OK) else "NOT writable"
        yield name, f"{folder}: {can}, {shutil.disk_usage(existing).free / 2**30:.1f} GiB free"


def _temporary() -> str:
    try:
        return tempfile.gettempdir()
    except FileNotFoundError:  # none that can be written
        return os.environ.get("TMPDIR", "/tmp")


def run() -> NoReturn:
    """The console command."""
    cli.run(main)


if __name__ == "__main__":
    run()
