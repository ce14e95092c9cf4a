"""What the evaluation of a classification leaves besides its scores: confused classes, and which rows were dev."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mobilebert.base import extras, outputs, plots
from mobilebert.base.errors import InputError
from mobilebert.base.files import write_json, write_text
from mobilebert.base.records import read_record
from mobilebert.data.classify.balance import LISTED
from mobilebert.data.classify.report import Report, report_text

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

    reports: Mapping[str, Report]
    dev_rows: Mapping[str, Any] | None

    def write(self, folder: Path) -> None:
        """Write those of ``FILES`` that there is something for, and note them in the folder's record."""
        if self.reports:
            outputs.record(folder, [CLASSES, CONFUSION])
            write_json(folder / CLASSES, self.reports, indent=None)
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
    if not (folder / CLASSES).exists():  # of a run that an earlier version began
        return
    reports = _read(folder / CLASSES)
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


def _read(path: Path) -> dict[str, Report]:
    advice = "evaluate again to write it anew"
    reports = read_record(path, dict[str, Report], advice)
    if not reports:
        raise InputError(f"{path}: has no dev set; {advice}")
    for split, report in reports.items():
        names, rows = report["classes"], report["confusion"]
        width = 4 if report["is_multi_label"] else len(names)
        if not names or len(rows) != len(names) or any(len(row) != width for row in rows):
            raise InputError(f"{path}: $.{split}.confusion: expected {len(names)} rows of {width} numbers; {advice}")
    return reports


def _text(reports: Mapping[str, Report]) -> str:
    return "\n\n".join(report_text(split, report) for split, report in reports.items())


def _draw(reports: Mapping[str, Report], path: Path) -> None:
    """The confusion matrices; of several labels a text, each label's precision, recall and F1."""
    first = next(iter(reports.values()))
    if not first["is_multi_label"]:
        panels = [(split, list(report["classes"]), report["confusion"]) for split, report in reports.items()]
        plots.confusion(panels, path, LISTED)
        return
    series: dict[str, Sequence[float]] = {
        score: [values[score] for values in first["classes"].values()] for score in ("precision", "recall", "f1")
    }
    plots.bars(path, list(first["classes"]), [("percent", series)])
