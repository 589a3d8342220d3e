"""`anymask audit`: grade the masks of a data set, show the suspects, propose better ones."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from anymask.base import InputError
from anymask.cli import (
    add_model_options,
    add_options,
    new_folder,
    read_count,
    read_default_model,
    read_options,
)
from anymask.evaluation.commands import write_report
from anymask.formats import ReadKeywords, ReadSettings
from anymask.models.rules import DEFAULT_MODEL


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add = parser.add_argument
    # fmt: off
    add("data", metavar="DATASET", type=Path,
        help="a file or folder of annotations in any format or layout of `anymask convert`")
    add("-o", "--output", metavar="DIR", type=new_folder,
        help="where grades, pictures and a page go; the same command goes on where it stopped")
    add("--json", metavar="FILE", type=Path, help="also write audit.json there")
    add("--csv", metavar="FILE", type=Path, help="write the grades there, a row a mask")
    add("--from", dest="form", metavar="FORMAT", help="the format; recognised when left out")
    add("--split", metavar="NAME", help="of a published data set, such as val")
    add("--images", metavar="DIR", type=Path, help="where the pictures lie")
    add("--limit", metavar="N", type=read_count, help="pictures at most (default: all)")
    add("--below", metavar="GRADE", type=float, default=0.5,
        help="masks with a lower grade are suspects (default: 0.5)")
    add("--top", metavar="N", type=read_count, default=20,
        help="suspects in the table and as pictures, masks and missing objects each (default: 20)")
    add("--grid", metavar="N", type=partial(read_count, least=0), default=12,
        help="clicks along each side of the grid that looks for objects without a mask; 0: do not "
        "look (default: 12)")
    add = parser.add_argument_group("better masks").add_argument
    add("--proposals", metavar="DIR", type=new_folder,
        help="write the data set with the proposals in their place there, and where each is from")
    add("--to", metavar="FORMAT", help="of --proposals (default: as it was read, or coco)")
    add("--accept", metavar="NUMBERS", type=_numbers,
        help="only these suspects' proposals, for example 1,4-9 (default: all)")
    add = parser.add_argument_group("the grade").add_argument
    add("--grades", metavar="FILE", type=Path,
        help=f"a file of grades (default: what was fitted for {DEFAULT_MODEL})")
    # fmt: on
    add_options(parser, ReadSettings)
    add_model_options(parser)


def run(args: argparse.Namespace) -> None:
    """Audit one data set and print. Raises as `anymask.audit`."""
    if args.output is None:
        raise InputError("an audit needs a folder for what it finds; give -o DIR")
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
    """1,4-9 -> 1, 4, 5, 6, 7, 8, 9."""
    found: set[int] = set()
    for part in text.split(","):
        low, dash, high = part.strip().partition("-")
        if not low.isdigit() or (dash and not high.isdigit()):
            raise argparse.ArgumentTypeError(f"wanted numbers like 1,4-9, got {text!r}")
        found.update(range(int(low), int(high or low) + 1))
    return frozenset(found)
