"""Zip a folder of GLUE predictions: python scripts/glue_submission.py FOLDER ARCHIVE."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mobilebert.base import cli
from mobilebert.data.glue.files import zip_submissions


def main() -> None:
    """Check, zip, say what is in it."""
    folder, archive = sys.argv[1:]
    names = zip_submissions(folder, archive)
    print(f"{archive}: {len(names)} files ({', '.join(names)})")


if __name__ == "__main__":
    cli.run(main)
