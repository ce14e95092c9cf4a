"""The files around the code agree with each other: pins, versions, what continuous integration calls."""

import re
from pathlib import Path

import pytest

import mobilebert

ROOT = Path(__file__).parents[2]


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("tool", ["ruff", "mypy"])
def test_a_tool_has_one_version(tool):
    pinned = re.search(rf"^{tool}==(\S+)$", read("requirements.txt"), re.MULTILINE)[1]
    assert f'"{tool}=={pinned}"' in read("pyproject.toml")
    if tool == "ruff":
        assert f"rev: v{pinned} " in read(".pre-commit-config.yaml")


def test_the_version_is_the_same_everywhere():
    assert f"\nversion: {mobilebert.__version__}\n" in read("CITATION.cff")
    assert re.search(rf"^## \[?{re.escape(mobilebert.__version__)}\b", read("CHANGELOG.md"), re.MULTILINE)


def test_the_hosted_run_is_the_local_one():
    assert re.findall(r"- run: (.*)", read(".github/workflows/ci.yml")) == ["bash .ci/run"]


def test_each_finding_is_listed():
    scripts = sorted(path.name for path in (ROOT / "findings").glob("*.sh"))
    assert scripts == sorted(set(re.findall(r"\]\((\w+\.sh)\)", read("findings/README.md"))))
