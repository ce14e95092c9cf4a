"""Run mutmut on a seeded sample of mutants, group by group; started by scripts/mutants.sh, in mutmut's environment.

mutmut changes one thing in one function: an operator, a number, a text, an argument, an assigned value, a condition. It
leaves alone what is outside of functions, annotations, docstrings and decorated functions, and here also the words of
errors and log lines (``_WORDS``): whether a message is worded well is no question for a test.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mobilebert.base import cli
from mobilebert.base.errors import InputError

EXAMPLES = """\
  bash scripts/mutants.sh                            # 100 mutants of each group
  bash scripts/mutants.sh --seed 7 --sample 40 fold  # 40 others of one group"""
ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / ".cache" / "mutants"
LEAST = 90.0  # percent killed
# Group -> the modules that are mutated, and the tests that must notice.
GROUPS = {
    "conversion": (
        ["mobilebert/convert/*", "mobilebert/model/weights.py", "mobilebert/model/tensor_files.py"],
        [
            "tests/unit/test_weights.py",
            "tests/unit/test_weights_heads.py",
            "tests/parity/test_convert.py",
            "tests/parity/test_convert_refused.py",
            "tests/parity/test_convert_strangers.py",
        ],
    ),
    "answers": (
        ["mobilebert/data/qa/spans.py", "mobilebert/data/qa/answers.py"],
        ["tests/unit/test_squad_postprocess.py", "tests/parity/test_squad_parity.py"],
    ),
    "metrics": (
        ["mobilebert/data/qa/metrics.py", "mobilebert/data/classify/metrics.py"],
        ["tests/unit/test_squad_metrics.py", "tests/unit/test_glue_metrics.py", "tests/parity/test_squad_parity.py"],
    ),
    "fold": (
        ["mobilebert/export/fold/*"],
        ["tests/unit/test_fold.py", "tests/unit/test_export_graph.py"],
    ),
}
# An expression that begins on such a line is not mutated, nor is anything in it.
_WORDS = (r"(raise|return) \w+Error\(", r"_log\.\w+\(")
# Loaded before a mutant's process is forked; the tests import it where they need it, which takes seconds each time.
_PRELOADED = "import onnx, scipy.stats, sklearn.metrics, transformers.models.mobilebert.modeling_mobilebert"
_COPIED = ("tests", "samples", "requirements.txt", *(path.name for path in ROOT.glob("*.py")))
_SETTINGS = """[mutmut]
source_paths=mobilebert
only_mutate={modules}
do_not_mutate_patterns={words}
also_copy={copied}
pytest_add_cli_args_test_selection={tests}
pytest_add_cli_args=-mnot slow
process_isolation=forkserver
timeout_multiplier=4
timeout_constant=30
use_git_change_detection=false
"""


def prepare(group: str) -> Path:
    """Copy the code for a group, with mutmut's settings."""
    modules, tests = GROUPS[group]
    folder = WORK / group
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in ("mobilebert", "pyproject.toml", *_COPIED):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        copy(ROOT / name, folder / name)
    with open(folder / "tests" / "conftest.py", "a", encoding="utf-8") as file:
        file.write(f"{_PRELOADED}\n")
    lists = {"modules": modules, "words": _WORDS, "copied": _COPIED, "tests": tests}
    lines = {name: "".join(f"\n    {value}" for value in values) for name, values in lists.items()}
    (folder / "setup.cfg").write_text(_SETTINGS.format(**lines))
    return folder


def all_mutants() -> list[str]:
    """Names of all mutants of the group in the working folder."""
    from mutmut.configuration import reset_config
    from mutmut.mutation.file_mutation import mutate_file_contents
    from mutmut.utils.file_utils import walk_mutatable_files
    from mutmut.utils.format_utils import get_mutant_name

    reset_config()
    files = sorted(walk_mutatable_files())
    return [
        get_mutant_name(path, name)
        for path in files
        for name in mutate_file_contents(str(path), path.read_text(encoding="utf-8")).mutant_names
    ]


def run(group: str, sample: int, seed: int) -> tuple[int, Counter, list[str], float]:
    """Try a sample of a group's mutants.

    Returns:
        How many mutants there are, how many of the sample ended in which way, those not noticed, and seconds.
    """
    from mutmut.stats import status_by_exit_code

    start = time.perf_counter()
    folder = prepare(group)
    os.chdir(folder)
    names = all_mutants()
    chosen = random.Random(seed).sample(names, min(sample, len(names)))
    with open("log.txt", "w", encoding="utf-8") as log:
        command = [Path(sys.executable).with_name("mutmut"), "run", "--max-children", "2", *chosen]
        ended = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT)
    if ended.returncode:
        raise InputError(f"mutmut ended with {ended.returncode}; see {folder / 'log.txt'}")
    codes: dict[str, int | None] = {}
    for path in Path("mutants").rglob("*.meta"):
        codes |= json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"]
    status = {name: status_by_exit_code[codes[name]] for name in chosen}
    alive = sorted(name for name in chosen if status[name] not in ("killed", "timeout"))
    return len(names), Counter(status.values()), alive, time.perf_counter() - start


def show(name: str) -> str:
    """A mutant as a difference of the code."""
    command = [Path(sys.executable).with_name("mutmut"), "show", name]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def main() -> int:
    """Run the groups and print a table, then the mutants that were not noticed."""
    parser = cli.ArgumentParser(__doc__, EXAMPLES, prog="bash scripts/mutants.sh")
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"of {', '.join(GROUPS)}; none = all")
    parser.add_argument("--seed", type=int, default=0, help="of the samples")
    parser.add_argument("--sample", type=int, default=100, help="mutants a group, or all of one that has fewer")
    arguments = parser.parse_args()
    if unknown := set(arguments.groups) - set(GROUPS):
        raise InputError(f"no group {unknown.pop()}; choose from {', '.join(GROUPS)}")
    row = "{:<12} {:>8} {:>8} {:>8} {:>9} {:>8} {:>8} {:>8}".format
    print(row("group", "mutants", "tried", "killed", "survived", "timeout", "percent", "seconds"))
    enough, differences = True, []
    for group in arguments.groups or GROUPS:
        total, ends, alive, seconds = run(group, arguments.sample, arguments.seed)
        tried = ends.total()
        percent = 100 * (tried - len(alive)) / tried
        enough &= percent >= LEAST
        counts = (total, tried, ends["killed"], len(alive), ends["timeout"])
        print(row(group, *counts, f"{percent:.1f}", f"{seconds:.0f}"), flush=True)
        differences += [show(name) for name in alive]
    print("", *differences, sep="\n")
    return 0 if enough else 1


if __name__ == "__main__":
    cli.run(main)
