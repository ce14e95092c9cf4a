"""requirements.lock against requirements.txt, against what is installed, and against docs/licences.md."""

import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
ENTRY = re.compile(r"([\w.-]+)==([^ ;]+)(; python_version .+?)?(?: \\\n    --hash=sha256:[0-9a-f]{64})+\n")
LOCK = (ROOT / "requirements.lock").read_text()
# What torch's build for CUDA needs beyond the lock.
GPU_ONLY = re.compile(r"nvidia-|cuda-|triton$")
# Name, version and marker of each entry, as requirements.txt writes them.
ENTRIES = {match.group(1, 2, 3) for match in ENTRY.finditer(LOCK)}


def versions_of(python: str) -> dict[str, str]:
    """What the lock installs under a Python."""
    environment = {**default_environment(), "python_version": python, "python_full_version": f"{python}.1"}
    found: dict[str, str] = {}
    for name, version, marker in ENTRIES:
        required = Requirement(name + (marker or ""))
        if required.marker is None or required.marker.evaluate(environment):
            assert name not in found, f"{name} twice under {python}"
            found[name] = version
    return found


def test_the_lock_is_entries_with_hashes_and_nothing_else():
    rest = ENTRY.sub("", LOCK)
    assert all(line.startswith("#") for line in rest.splitlines()), rest
    assert "://" not in LOCK and len(ENTRIES) == len(re.findall("==", LOCK))


def test_the_top_level_is_in_the_lock():
    lines = re.findall(r"^([\w.-]+)==([^ ;\n]+)(; .+)?$", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert len(lines) > 30
    missing = {(canonicalize_name(name), version, marker or None) for name, version, marker in lines} - ENTRIES
    assert not missing, "bash scripts/lock.sh"


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13"])
def test_every_python_gets_one_version_of_each_and_no_gpu_libraries(python):
    names = versions_of(python).keys()
    assert {"paddlepaddle", "torch", "numpy", "transformers"} <= names
    assert not [name for name in names if GPU_ONLY.match(name)]


def test_what_is_installed_is_what_the_lock_says_and_the_lock_is_all_it_needs():
    """setup.sh installs without looking for dependencies: the lock must have them all."""
    versions = versions_of(f"3.{sys.version_info.minor}")
    # The first of a name is what is imported; setuptools adds its own copies at the end of the path.
    packages = reversed(list(metadata.distributions()))
    installed = {canonicalize_name(package.metadata["Name"]): package for package in packages}
    assert versions.keys() - installed.keys() <= {"paddlepaddle"}  # which is paddlepaddle-gpu where there is a GPU
    for name in versions.keys() & installed.keys():
        assert installed[name].version.split("+")[0] == versions[name], name
        for line in installed[name].requires or []:
            required = Requirement(line)
            applies = required.marker is None or required.marker.evaluate({"extra": ""})
            if applies and not GPU_ONLY.match(required.name):
                version = versions.get(canonicalize_name(required.name))
                assert version and required.specifier.contains(version, prereleases=True), f"{name} needs {line}"


def test_every_package_has_its_licence():
    table = re.findall(
        r"^\| ([\w-]+) \| ([^|]+) \| ([^|]+) \| .+ \|$", (ROOT / "docs/licences.md").read_text(), re.MULTILINE
    )
    listed = {(name, version) for name, versions, licence in table[2:] for version in versions.split(", ")}
    assert listed == {entry[:2] for entry in ENTRIES}, "bash scripts/licences.sh"
    assert not [name for name, _, licence in table if "not stated" in licence]


FINE = {"name": "a", "version": "1", "vulns": []}
SKIPPED = {"name": "b", "skip_reason": "not found"}
BAD = {"name": "c", "version": "2", "vulns": [{"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["3"]}]}


@pytest.mark.parametrize(
    ("packages", "code", "said"),
    [
        ([FINE], 0, "1 of 1 checked, 0 advisories"),
        ([FINE, BAD], 1, "c 2: PYSEC-1 CVE-1; fixed in 3"),
        ([FINE, SKIPPED], 3, "not checked: 1 of 2, the first: not found"),
        ([BAD, SKIPPED], 1, "not checked: 1 of 2"),
    ],
)
def test_what_pip_audit_could_not_check_is_no_success(tmp_path, packages, code, said):
    (tmp_path / "1.json").write_text(json.dumps({"dependencies": packages, "fixes": []}))
    command = [sys.executable, ROOT / "scripts/advisories.py", tmp_path / "1.json"]
    outcome = subprocess.run(command, capture_output=True, text=True)
    assert outcome.returncode == code and said in outcome.stdout + outcome.stderr
