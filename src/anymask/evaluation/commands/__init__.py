"""Evaluation commands of `anymask`, loaded by their entry points, and their shared options."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anymask.evaluation.report import Report

FORMS = {"json": "json", "csv": "csv", "markdown": "md", "html": "html"}  # option -> form


def add_report_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for saving a report."""
    add = parser.add_argument_group("the report").add_argument
    add(
        "--json",
        metavar="FILE",
        type=Path,
        help="write the full report to this file (.html, .json, .csv or .md)",
    )
    add("--csv", metavar="FILE", type=Path, help="write the metrics to this CSV file")
    add("--markdown", metavar="FILE", type=Path, help="also write the tables to this Markdown file")
    add(
        "--html",
        metavar="FILE",
        type=Path,
        help="write an HTML report with tables, plots and images",
    )


def write_report(report: Report, args: argparse.Namespace) -> None:
    """Save a report to the files given by options, then print it."""
    for option, form in FORMS.items():
        if (path := vars(args).get(option)) is not None:
            report.save(path, form)
    print(report, end="")
