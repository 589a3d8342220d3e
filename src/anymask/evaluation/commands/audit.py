"""`anymask audit`: score the masks of a data set, list suspicious ones, propose corrections."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from anymask.base import InputError
from anymask.cli import (
    MODEL,
    SPLIT,
    Argument,
    Command,
    Group,
    Settings,
    new_folder,
    read_count,
    read_default_model,
    read_options,
)
from anymask.evaluation.commands import write_report
from anymask.formats import ReadKeywords, ReadSettings
from anymask.models.rules import DEFAULT_VIDEO_MODEL


def run(args: argparse.Namespace) -> None:
    """Audit one data set and print. Raises as `anymask.audit`."""
    if args.output is None:
        raise InputError("The output folder is missing. Set it with -o DIR.")
    from anymask.evaluation.auditing import AuditSettings, NotAudited, audit

    named = AuditSettings.__annotations__.keys() - ReadKeywords.__annotations__.keys()
    settings = {name: vars(args)[name] for name in named} | read_options(args, ReadSettings)
    try:
        report = audit(args.data, read_default_model(args), out=args.output, **settings)
    except NotAudited as error:
        write_report(error.report, args)
        raise
    write_report(report, args)


def _numbers(text: str) -> frozenset[int]:
    """Parse a list of numbers and ranges: 1,4-9 is 1, 4, 5, 6, 7, 8, 9."""
    found: set[int] = set()
    for part in text.split(","):
        low, dash, high = part.strip().partition("-")
        if not low.isdigit() or (dash and not high.isdigit()):
            raise argparse.ArgumentTypeError(f"Invalid numbers {text!r}; use a list such as 1,4-9")
        found.update(range(int(low), int(high or low) + 1))
    return frozenset(found)


# fmt: off
COMMAND = Command(
    run=run,
    arguments=(
        Argument("data", metavar="DATASET", type=Path,
            help="annotation file or folder in any format that `anymask convert` reads"),
        Argument("-o --output", metavar="DIR", type=new_folder,
            help="output folder for the report; run the same command to resume"),
        Argument("--json", metavar="FILE", type=Path, help="also write audit.json to this file"),
        Argument("--csv", metavar="FILE", type=Path,
            help="write one row per mask to this CSV file"),
        Argument("--from", dest="form", metavar="FORMAT",
            help="annotation format (default: detected)"),
        SPLIT,
        Argument("--images", metavar="DIR", type=Path, help="folder or archive of the images"),
        Argument("--limit", metavar="N", type=read_count,
            help="maximum number of images (default: all)"),
        Argument("--below", metavar="GRADE", type=float, default=0.5,
            help="report masks with a grade below this as suspects (default: 0.5)"),
        Argument("--top", metavar="N", type=read_count, default=20,
            help="maximum number of suspect masks, and of missing objects, in the report "
                 "(default: 20)"),
        Argument("--grid", metavar="N", type=partial(read_count, least=0), default=12,
            help="points per side of the prompt grid that searches for objects without a mask; 0 "
                 "disables the search (default: 12)"),
        Group("corrections", (
            Argument("--proposals", metavar="DIR", type=new_folder,
                help="write a corrected copy of the dataset and a list of the origin of each "
                     "proposal to this folder"),
            Argument("--to", metavar="FORMAT",
                help="format of --proposals (default: the input format, or coco)"),
            Argument("--accept", metavar="NUMBERS", type=_numbers,
                help="apply only the proposals for these suspects, for example 1,4-9 (default: "
                     "all)"),
        )),
        Group("grading", (
            Argument("--grades", metavar="FILE", type=Path,
                help=f"grader file (default: the built-in grader for {DEFAULT_VIDEO_MODEL})"),
        )),
        Settings(ReadSettings),
        MODEL,
    ),
)
# fmt: on
