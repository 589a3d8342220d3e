"""`anymask stats`: compare statistics of data sets in tables and plots."""

from __future__ import annotations

import argparse
from pathlib import Path

from anymask.cli.command import Argument, Command, Settings
from anymask.cli.options import SPLIT, read_count, read_options
from anymask.cli.reports import REPORT_OPTIONS, write_report
from anymask.evaluation.report import Report
from anymask.formats import ReadSettings


def run(args: argparse.Namespace) -> Report:
    """Compute statistics. Raises as `anymask.stats`."""
    from anymask.evaluation.statistics_report import stats

    return stats(
        args.sources, format=args.format, split=args.split, images=args.images, limit=args.limit,
        groups=args.group_by, **read_options(args, ReadSettings),
    )  # fmt: skip


# fmt: off
COMMAND = Command(run, (
    Argument("sources", metavar="DATASET", nargs="+", type=Path,
        help="annotation file or folder in any format that `anymask convert` reads; several "
             "datasets are compared"),
    Argument("--from", dest="format", metavar="FORMAT",
        help="format of the datasets (default: detected)"),
    SPLIT,
    Argument("--images", metavar="DIR", type=Path,
        help="folder or archive of the images, for formats without image sizes"),
    Argument("--limit", metavar="N", type=read_count,
        help="maximum number of images per dataset (default: all)"),
    Argument("--group-by", metavar="KEY",
        help="group masks by label, annotator, group, any key that the format stores for a mask "
             "or an image, or a table FILE.csv with the columns image and group"),
    Settings(ReadSettings),
    REPORT_OPTIONS,
), report=write_report)
# fmt: on
