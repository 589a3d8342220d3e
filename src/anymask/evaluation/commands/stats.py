"""`anymask stats`: what data sets hold, side by side, as tables and plots."""

from __future__ import annotations

import argparse
from pathlib import Path

from anymask.base import InputError
from anymask.cli import add_options, read_count, read_options
from anymask.evaluation.commands import add_report_options, write_report
from anymask.formats import ReadSettings


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add = parser.add_argument
    # fmt: off
    add("sources", metavar="DATASET", nargs="+", type=Path,
        help="a file or folder of annotations in any format or layout of `anymask convert`; "
        "several are compared")
    add("--from", dest="form", metavar="FORMAT",
        help="the data sets' format; recognised when left out")
    add("--split", metavar="NAME", help="of a published data set, such as val")
    add("--images", metavar="DIR", type=Path,
        help="where the pictures lie, for formats that do not say their sizes")
    add("--limit", metavar="N", type=read_count,
        help="pictures of a data set at most (default: all)")
    add("--group-by", metavar="KEY",
        help="count groups: label, annotator, group, or any key that the format keeps with a mask "
        "or a picture")
    add("--groups", metavar="FILE.csv", type=Path,
        help="count groups of pictures: a table with the columns image and group")
    # fmt: on
    add_options(parser, ReadSettings)
    add_report_options(parser)


def run(args: argparse.Namespace) -> None:
    """Count, save and print. Raises as `anymask.stats`."""
    from anymask.evaluation.statistics_report import stats

    if args.group_by and args.groups:
        raise InputError("groups come from one place; give --group-by or --groups, not both")
    report = stats(
        args.sources, form=args.form, split=args.split, images=args.images, limit=args.limit,
        groups=args.groups or args.group_by, **read_options(args, ReadSettings),
    )  # fmt: skip
    write_report(report, args)
