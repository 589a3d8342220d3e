"""`anymask boxes`: masks for the boxes of a data set for detection, as SA-1B JSON and pictures."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from anymask.base import DataError
from anymask.cli.folders import add_folder_options, read_job, run_folder
from anymask.cli.options import add_model_options, add_options, read_model, read_options
from anymask.cli.outputs import new_folder
from anymask.cli.streams import say
from anymask.formats import ReadSettings


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add = parser.add_argument
    # fmt: off
    add("source", metavar="LABELS", type=Path,
        help="a file or folder of labels with boxes: COCO, YOLO, PASCAL VOC, or rectangles of "
        "CVAT, labelme, Label Studio; masks that are no rectangles stay as they are")
    add("-o", "--output", metavar="DIR", type=new_folder,
        help="where a .json (SA-1B records with the labels) and a .png (the photo with its masks) "
        "go for each photo; the same command goes on where it stopped; `anymask convert DIR` makes "
        "any other format of them (default: NAME-masks in the working folder)")
    add("--from", dest="origin", metavar="FORMAT", help="the format; recognised when left out")
    add("--images", metavar="DIR", type=Path, help="where the pictures lie")
    add("--overlay", action=argparse.BooleanOptionalAction, default=True,
        help="draw the .png (default), or write the records only")
    # fmt: on
    add_options(parser, ReadSettings)
    add_folder_options(parser)
    add_model_options(parser)


def run(args: argparse.Namespace) -> None:
    """Work through the photos. Raises DataError at the end when some failed or are not there."""
    from anymask.formats import read
    from anymask.jobs import BoxesTask, BoxLabels
    from anymask.masks import counted

    model = read_model(args)
    settings = read_options(args, ReadSettings)
    stream = read(args.source, args.origin, args.images, boxes=True, **settings)
    stream = stream.with_sizes_checked()
    labels = BoxLabels.read(stream)
    for line in stream.unread_lines():
        say(line)
    output = args.output or Path(f"{labels.name}-masks")
    job = replace(read_job(args, [], [str(output)], ("", "")), source=labels.placed)
    say(f"boxes: {labels.boxes}, photos: {len(labels.photos)}")
    run_folder(job, BoxesTask(model, labels, args.overlay), args.json)
    say(f"masks are in {output}; other formats: anymask convert {output} OUT --to FORMAT")
    if labels.lost:
        raise DataError(f"{counted(len(labels.lost), 'photo')} not found, first: {labels.lost[0]}")
