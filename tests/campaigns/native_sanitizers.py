"""The native engine under AddressSanitizer and UndefinedBehaviorSanitizer: every kernel set, every head, damaged files.

A program in C opens toy models of every precision, runs texts of 1 to 130 tokens, and opens copies whose bytes were
changed, moved, or cut off. A read outside a buffer, undefined behaviour or a leak ends it, and this with exit code 1.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "tests"))

from support.native import CASES, PRECISIONS, write_model  # noqa: E402

from mobilebert.base import cli  # noqa: E402
from mobilebert.model.heads import HEADS  # noqa: E402
from mobilebert.native_engine import build  # noqa: E402

SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-g")
EXAMPLES = """\
  python %(prog)s --seconds 60
"""


def main() -> int:
    """Build, run, fuzz."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60, help="of damaged files, over all precisions")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        program = build.build_program(
            "cc", Path(folder), build.FOLDER / "test" / "engine_test.c", ("-O1", "-DMB_IGNORE_CHECKSUM", *SANITIZERS)
        )
        models = {
            f"{case} {precision}": write_model(Path(folder), precision, **CASES[case])
            for case in CASES
            for precision in PRECISIONS
        }
        models |= {head: write_model(Path(folder), "float32", head) for head in HEADS}
        runs = 0
        for kernels in build.kernel_names():
            for name, path in models.items():
                done = _run(program, "run", path, kernels=kernels)
                if done.returncode == 6:  # MB_NO_KERNELS
                    cli.say(f"{kernels}: not of this machine")
                    break
                if done.returncode:
                    cli.say(f"{kernels}, {name}: {done.stderr}")
                    return 1
                runs += 1
        cli.say(f"{runs} runs of {len(models)} models, no finding")
        for number, precision in enumerate(PRECISIONS):
            path = models[f"mobilebert {precision}"]
            done = _run(program, "fuzz", path, str(args.seconds / len(PRECISIONS)), str(args.seed + number))
            cli.say(f"{precision}: {done.stdout.strip()}{done.stderr[-4000:]}")
            if done.returncode:
                return 1
    return 0


def _run(program: Path, *words: str | Path, kernels: str = "") -> subprocess.CompletedProcess:
    environment = {**os.environ, "MOBILEBERT_KERNELS": kernels}
    return subprocess.run([program, *words], capture_output=True, text=True, env=environment)


if __name__ == "__main__":
    sys.exit(main())
