"""What the evaluation of a classification leaves besides its scores: confused classes, and which rows were dev."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mobilebert.base import extras, outputs, plots
from mobilebert.base.files import read_json, write_json, write_text
from mobilebert.data.classify.balance import LISTED
from mobilebert.data.classify.report import report_text

_log = logging.getLogger(__name__)

CLASSES, CONFUSION, PICTURE = "classes.json", "confusion.txt", "confusion.png"
DEV_ROWS = "dev_rows.json"
FILES = (CLASSES, CONFUSION, DEV_ROWS)


@dataclass(frozen=True)
class ClassAnswers:
    """The files of one evaluation.

    Attributes:
        reports: dev set -> ``report.make_report``; empty for regression.
        dev_rows: see ``split.record_of``; None where the dev set is a file.
    """

    reports: Mapping[str, Any]
    dev_rows: Mapping[str, Any] | None

    def write(self, folder: Path) -> None:
        """Write those of ``FILES`` that there is something for, and note them in the folder's record."""
        if self.reports:
            outputs.record(folder, [CLASSES, CONFUSION])
            write_json(folder / CLASSES, self.reports)
            write_text(folder / CONFUSION, _text(self.reports) + "\n")
        if self.dev_rows is not None:
            outputs.record(folder, [DEV_ROWS])
            write_json(folder / DEV_ROWS, self.dev_rows, indent=None)


def show(folder: Path, in_log: bool) -> None:
    """Draw ``CLASSES`` of a folder as ``PICTURE``.

    Args:
        folder: where ``ClassAnswers.write`` has written.
        in_log: say the report in the log too, unless there are more than ``LISTED`` classes.
    """
    reports = read_json(folder / CLASSES)
    if in_log and all(len(report["classes"]) <= LISTED for report in reports.values()):
        for line in _text(reports).splitlines():
            _log.info("%s", line)
    outputs.record(folder, [PICTURE])
    try:
        _draw(reports, folder / PICTURE)
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        _log.info("no picture of the classes: %s", extras.missing("matplotlib"))


def _text(reports: Mapping[str, Any]) -> str:
    return "\n\n".join(report_text(split, report) for split, report in reports.items())


def _draw(reports: Mapping[str, Any], path: Path) -> None:
    """The confusion matrices; of several labels a text, each label's precision, recall and F1."""
    first = next(iter(reports.values()))
    if not isinstance(first["confusion"][0][0], list):
        panels = [(split, list(report["classes"]), report["confusion"]) for split, report in reports.items()]
        plots.confusion(panels, path, LISTED)
        return
    series: dict[str, Sequence[float]] = {
        score: [values[score] for values in first["classes"].values()] for score in ("precision", "recall", "f1")
    }
    plots.bars(path, list(first["classes"]), [("percent", series)])
