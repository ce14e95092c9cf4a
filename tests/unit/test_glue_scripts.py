"""The GLUE scripts: help, wrong arguments, and the tables they print."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = (
    "train_mnli", "eval_mnli", "train_glue", "eval_glue", "glue_all", "glue_submission", "sst2_from_scratch",
    "multi_seed",
)  # fmt: skip


def run(*command):
    return subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_shows_how_it_is_called(name):
    result = run("bash", f"scripts/{name}.sh", "--help")
    assert result.returncode == 0 and f"bash scripts/{name}.sh" in result.stdout
    assert not result.stdout.startswith("#")


@pytest.mark.parametrize("name", SCRIPTS)
def test_arguments_reach_the_python_script(name):
    assert '"$@"' in (ROOT / "scripts" / f"{name}.sh").read_text()


def results(accuracy, accuracy_mm):
    return {
        "dev_selected": {"step": 1, "loss": 1.0, "accuracy": accuracy, "accuracy_mm": accuracy_mm},
        "final": {"step": 2, "loss": 1.0, "accuracy": accuracy - 1, "accuracy_mm": accuracy_mm - 1},
    }


def test_the_table_of_all_tasks(tmp_path):
    (tmp_path / "output_mnli").mkdir()
    (tmp_path / "output_mnli" / "eval_results.json").write_text(json.dumps(results(80.123, 79.5)))
    lines = run(sys.executable, "scripts/glue_table.py", tmp_path).stdout.splitlines()
    assert lines[0].endswith("paper, test server AIMET, dev")
    mnli = next(line.split() for line in lines if line.startswith("mnli"))
    assert mnli == ["mnli", "accuracy", "80.12/79.50", "79.12/78.50", "83.3/82.6", "83.54"]
    cola = next(line.split() for line in lines if line.startswith("cola"))
    assert cola == ["cola", "matthews_correlation", "-", "-", "50.5", "51.48"]
    assert len(lines) == 1 + 9 + 4  # header, nine tasks, four of them with a second metric


def test_the_table_of_seeds(tmp_path):
    for seed, accuracy in ((1, 80.0), (2, 82.0), (3, 84.0)):
        (tmp_path / f"seed_{seed}").mkdir()
        (tmp_path / f"seed_{seed}" / "eval_results.json").write_text(json.dumps(results(accuracy, accuracy)))
    lines = run(sys.executable, "scripts/seed_table.py", tmp_path, "scripts/train_mnli.sh").stdout.splitlines()
    assert lines[1].split() == ["dev_selected", "accuracy", "3", "82.00", "±", "2.00", "84.00", "83.3"]
    assert lines[3].split() == ["final", "accuracy", "3", "81.00", "±", "2.00", "83.00", "83.3"]
    assert lines[0].endswith("  paper, test server")  # not what stands beside it
    lines = run(sys.executable, "scripts/seed_table.py", tmp_path, "scripts/train_glue.sh", "sst2").stdout.splitlines()
    assert lines[0].endswith("  paper, test server") and lines[1].split()[-1] == "92.8"
    squad = {"dev_selected": {"step": 1, "exact_match": 82.0, "f1": 89.0}}
    (tmp_path / "squad" / "seed_1").mkdir(parents=True)
    (tmp_path / "squad" / "seed_1" / "eval_results.json").write_text(json.dumps(squad))
    for script in ("train_squadv1", "train_squadv1_google"):
        table = run(sys.executable, "scripts/seed_table.py", tmp_path / "squad", f"scripts/{script}.sh").stdout
        assert table.splitlines()[0].endswith("  paper, dev") and table.splitlines()[2].split()[-1] == "90.0"
    empty = run(sys.executable, "scripts/seed_table.py", tmp_path / "none", "scripts/train_mnli.sh")
    assert empty.returncode == 2 and "did the runs finish?" in empty.stderr


def test_multi_seed_says_what_it_wants():
    result = run("bash", "scripts/multi_seed.sh", "scripts/no_such.sh", "3")
    assert result.returncode == 2 and "expected a script and a number of seeds" in result.stderr
