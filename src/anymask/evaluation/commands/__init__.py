"""Evaluation commands of `anymask`, loaded by their entry points, and their shared options."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from anymask.cli import Argument, Group

if TYPE_CHECKING:
    from anymask.evaluation.report import Report

FORMS = {"json": "json", "csv": "csv", "markdown": "md", "html": "html"}  # option -> form


SPLIT = Argument("--split", metavar="NAME", help="split of a published dataset, such as val")
# fmt: off
REPORT = Group("the report", (
    Argument("--json", metavar="FILE", type=Path,
        help="write the full report to this file (.html, .json, .csv or .md)"),
    Argument("--csv", metavar="FILE", type=Path, help="write the metrics to this CSV file"),
    Argument("--markdown", metavar="FILE", type=Path,
        help="also write the tables to this Markdown file"),
    Argument("--html", metavar="FILE", type=Path,
        help="write an HTML report with tables, plots and images"),
))
# fmt: on


def write_report(report: Report, args: argparse.Namespace) -> None:
    """Save a report to the files given by options, then print it."""
    for option, form in FORMS.items():
        if (path := vars(args).get(option)) is not None:
            report.save(path, form)
    print(report, end="")
