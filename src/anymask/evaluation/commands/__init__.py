"""Commands that this room adds to `anymask`, each reached by its entry point; what they share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anymask.evaluation.report import Report

FORMS = {"json": "json", "csv": "csv", "markdown": "md", "html": "html"}  # option -> form


def add_report_options(parser: argparse.ArgumentParser) -> None:
    """Where a report is saved."""
    add = parser.add_argument_group("the report").add_argument
    add("--json", metavar="FILE", type=Path, help="write everything there")
    add("--csv", metavar="FILE", type=Path, help="write the figures there, a row each")
    add("--markdown", metavar="FILE", type=Path, help="write the tables there, too")
    add("--html", metavar="FILE", type=Path, help="write a page of tables, plots and pictures")


def write_report(report: Report, args: argparse.Namespace) -> None:
    """Save where the options say, then print."""
    for option, form in FORMS.items():
        if (path := vars(args).get(option)) is not None:
            report.save(path, form)
    print(report, end="")
