"""`anymask stats`: compare statistics of data sets in tables and plots."""

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
        help=(
            "annotation file or folder in any format that `anymask convert` reads; several "
            "datasets are compared"
        ))
    add("--from", dest="form", metavar="FORMAT",
        help="format of the datasets (default: detected)")
    add("--split", metavar="NAME", help="split of a published dataset, such as val")
    add("--images", metavar="DIR", type=Path,
        help="folder or archive of the images, for formats without image sizes")
    add("--limit", metavar="N", type=read_count,
        help="maximum number of images per dataset (default: all)")
    add("--group-by", metavar="KEY",
        help=(
            "group masks by label, annotator, group, or any key that the format stores for a mask "
            "or an image"
        ))
    add("--groups", metavar="FILE.csv", type=Path,
        help="group images by this table, which has the columns image and group")
    # fmt: on
    add_options(parser, ReadSettings)
    add_report_options(parser)


def run(args: argparse.Namespace) -> None:
    """Compute, save and print statistics. Raises as `anymask.stats`."""
    from anymask.evaluation.statistics_report import stats

    if args.group_by and args.groups:
        raise InputError("--group-by and --groups cannot be combined. Use one of them.")
    report = stats(
        args.sources, form=args.form, split=args.split, images=args.images, limit=args.limit,
        groups=args.groups or args.group_by, **read_options(args, ReadSettings),
    )  # fmt: skip
    write_report(report, args)
