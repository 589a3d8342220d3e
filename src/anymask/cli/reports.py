"""Options of the commands that write a report, and how they write it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from anymask.cli.command import Argument, Group

if TYPE_CHECKING:
    from anymask.evaluation.report import Report

# fmt: off
JSON = Argument("--json", dest="report", metavar="FILE", type=Path,
    help="write the report to this file: .json (all data), .csv (metrics), .md (tables) or .html")
REPORT_OPTIONS = Group("report options", (
    JSON,
    Argument("--html", metavar="FILE", type=Path,
        help="write an HTML report with tables, plots and images"),
))
# fmt: on


def write_report(report: Report, args: argparse.Namespace) -> None:
    """Save a report to the files given by options, then print it."""
    if args.report is not None:
        report.save(args.report, report_form(args.report))
    if (page := vars(args).get("html")) is not None:
        report.save(page, "html")
    print(report, end="")


def report_form(path: Path) -> str:
    """Return the form of the report in a file of `--json`."""
    return {".html": "html", ".csv": "csv", ".md": "md"}.get(path.suffix.lower(), "json")
