"""What all tests share."""

import os
from pathlib import Path

import pytest


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
