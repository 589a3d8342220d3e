"""`anymask convert`: convert annotations between formats and report losses."""

from __future__ import annotations

import argparse
from pathlib import Path

from anymask.base import say, write_json
from anymask.cli.command import Argument, Command, Settings
from anymask.cli.options import SPLIT, read_options
from anymask.formats import Policy, ReadSettings, all_formats, all_layouts
from anymask.masks import counted


def run(args: argparse.Namespace) -> None:
    """Convert and report. Raises DataError if something is lost with `--strict`."""
    from anymask.formats import LossError, convert

    refused: LossError | None = None
    try:
        report = convert(
            args.source, args.target, args.to, format=args.origin, images=args.images,
            split=args.split, policy=Policy(**read_options(args, Policy)),
            copy_images=args.copy_images, strict=args.strict,
            **read_options(args, ReadSettings),
        )  # fmt: skip
    except LossError as error:
        refused, report = error, error.report
    for line in report.lines():
        say(line)
    if args.json is not None:
        write_json(args.json, report.to_json())
    if refused is not None:
        raise refused
    say(
        f"Converted {counted(report.images, 'image')} ({counted(report.masks, 'mask')}) from "
        f"{report.format} to {report.target_format}{'' if report else ' without losses'}: "
        f"{args.target}"
    )


def list_formats() -> str:
    """Return the formats and layouts with their descriptions."""
    formats, layouts = all_formats(), all_layouts()
    width = max(map(len, [*formats, *layouts]))
    rows, more = (
        [f"  {name:<{width}}  {entry.about}" for name, entry in every.items()]
        for every in (formats, layouts)
    )
    about = "options for an IN that has the layout of a published dataset:"
    return "\n".join(["formats:", *rows, "", about, *more])


# fmt: off
COMMAND = Command(run, (
    Argument("source", metavar="IN", type=Path,
        help="file, folder, or archive of them (.zip, .tar, .tar.gz, .json.gz)"),
    Argument("target", metavar="OUT", type=Path, help="file or folder"),
    Argument("--to", metavar="FORMAT",
        help="format of OUT (default: by the suffix of OUT, such as .json for COCO, .xml for "
             "CVAT, .png, .svg, .geojson or .csv; or by the name of its folder, such as yolo/)"),
    Argument("--from", dest="origin", metavar="FORMAT",
        help="format of IN (default: detected)"),
    SPLIT,
    Argument("--images", metavar="DIR", type=Path,
        help="folder or archive of the images; required by formats that do not store image sizes "
             "or names"),
    Settings(ReadSettings),
    Settings(Policy, common=("holes", "classes")),
    Argument("--copy-images", action="store_true",
        help="copy the images into the output, so that the dataset can be used for training and "
             "evaluation (formats set and yolo)"),
    Argument("--strict", action="store_true",
        help="write no output if any annotation would be lost or skipped"),
    Argument("--json", metavar="FILE", type=Path,
        help="write a report of every lost or changed annotation as JSON"),
), epilog=list_formats)
# fmt: on
