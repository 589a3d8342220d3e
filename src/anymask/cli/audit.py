"""`anymask audit`: score the masks of a data set, list suspicious ones, propose corrections."""

from __future__ import annotations

import argparse
from pathlib import Path

from anymask.cli.command import Argument, Command, Settings
from anymask.cli.options import read_default_model, read_options
from anymask.cli.outputs import new_folder
from anymask.cli.reports import JSON, write_report
from anymask.evaluation.audit_options import AuditOptions
from anymask.formats import ReadSettings
from anymask.jobs import ModelSettings
from anymask.models.rules import DEFAULT_VIDEO_MODEL

SEARCH = ("format", "split", "images", "limit", "below", "top", "grid")


def run(args: argparse.Namespace) -> None:
    """Audit one data set and print. Raises as `anymask.audit`."""
    from anymask.evaluation.auditing import NotAudited, audit

    settings = read_options(args, AuditOptions)
    try:
        report = audit(args.data, read_default_model(args), out=args.output, **settings)
    except NotAudited as error:
        write_report(error.report, args)
        raise
    write_report(report, args)


# fmt: off
COMMAND = Command(run, (
    Argument("data", metavar="DATASET", type=Path,
        help="annotation file or folder in any format that `anymask convert` reads"),
    Argument("-o --output", metavar="DIR", type=new_folder, required=True,
        help="output folder for the report; run the same command to resume"),
    JSON,
    Settings(AuditOptions, only=SEARCH, common=SEARCH),
    Settings(AuditOptions, "corrections", only=("proposals", "to", "accept"),
             common=("proposals", "to")),
    Settings(AuditOptions, "grading", only=("grades",)),
    Settings(ReadSettings),
    Settings(ModelSettings, "model options", common=("model",),
             defaults={"model": DEFAULT_VIDEO_MODEL}),
))
# fmt: on
