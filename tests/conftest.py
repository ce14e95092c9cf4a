"""What all tests share."""

import importlib
import logging
import os
import sys
from pathlib import Path

import pytest

from mobilebert.base import cli

ROOT = Path(__file__).parents[1]
MARK_OF_FIXTURE = {"data_folder": "real_data", "browser": "browser", "page": "browser"}


@pytest.hookimpl(tryfirst=True)  # before pytest selects by mark
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that read the real data sets, and those that open a browser, by the fixtures they use."""
    for item in items:
        for fixture, mark in MARK_OF_FIXTURE.items():
            if fixture in getattr(item, "fixturenames", ()):
                item.add_marker(mark)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of the real data sets, from ``MOBILEBERT_DATA``; without it the test is skipped."""
    named = os.environ.get("MOBILEBERT_DATA")
    if not named:
        pytest.skip("reads the real data sets: set MOBILEBERT_DATA to their folder")
    folder = Path(named).resolve()
    if not folder.is_dir():
        pytest.fail(f"MOBILEBERT_DATA={named}: no such folder")
    return folder


@pytest.fixture
def run_script(monkeypatch, capfd):
    """Run a script of the top folder in this process: ``run_script("convert", "--src", ...)``.

    Returns:
        A function giving exit code, standard output, and standard error without the line of ``runtime``.
    """
    logger = logging.getLogger("mobilebert")
    before = logger.handlers[:], logger.level, logger.propagate
    monkeypatch.syspath_prepend(str(ROOT))

    def run(script: str, *arguments) -> tuple[int, str, str]:
        logger.handlers = []  # an earlier test's handler writes to that test's output
        monkeypatch.setattr(sys, "argv", [f"{script}.py", *map(str, arguments)])
        main = importlib.import_module(script).main
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.run(main)
        output, errors = capfd.readouterr()
        lines = [line for line in errors.splitlines(keepends=True) if not line.startswith("runtime: ")]
        return ended.value.code, output, "".join(lines)

    yield run
    logger.handlers, logger.level, logger.propagate = before
