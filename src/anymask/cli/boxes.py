"""`anymask boxes`: convert the boxes of a detection dataset to masks, as SA-1B JSON and images."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from anymask.base import DataError, say
from anymask.cli.command import Argument, Command, Settings
from anymask.cli.folders import FOLDER_OPTIONS, read_job, run_folder
from anymask.cli.options import MODEL, OVERLAY, SPLIT, read_model, read_options
from anymask.cli.outputs import new_folder
from anymask.formats import ReadSettings


def run(args: argparse.Namespace) -> None:
    """Process all images. Raises DataError at the end if some failed or are missing."""
    from anymask.formats import read
    from anymask.jobs import BoxesTask, BoxLabels
    from anymask.masks import counted

    model = read_model(args)
    stream = read(
        args.source, args.origin, args.images, args.split, boxes=True,
        **read_options(args, ReadSettings),
    ).with_sizes_checked()  # fmt: skip
    labels = BoxLabels.read(stream)
    for line in stream.unread_lines():
        say(line)
    output = args.output or Path(f"{labels.name}-masks")
    job = replace(read_job(args, [], [str(output)], ("", "")), source=labels.placed)
    say(f"boxes: {labels.boxes}, images: {len(labels.image_paths)}")
    run_folder(job, BoxesTask(model, labels, args.overlay), args.json)
    say(f"The masks are in {output}. To convert them: anymask convert {output} OUT --to FORMAT")
    if labels.lost:
        raise DataError(f"{counted(len(labels.lost), 'image')} not found, first: {labels.lost[0]}")


# fmt: off
COMMAND = Command(run, (
    Argument("source", metavar="LABELS", type=Path,
        help="file or folder of labels with boxes: COCO, YOLO, PASCAL VOC, or rectangles of CVAT, "
             "labelme or Label Studio. Masks that are not rectangles stay unchanged"),
    Argument("-o --output", metavar="DIR", type=new_folder,
        help="folder for two files per image: a .json (SA-1B records with the labels) and a .png "
             "(the image with its masks drawn on it). The same command resumes an interrupted "
             "run; `anymask convert DIR` converts the results to other formats (default: "
             "NAME-masks in the current folder)"),
    Argument("--from", dest="origin", metavar="FORMAT",
        help="format of the labels (default: detected)"),
    Argument("--images", metavar="DIR", type=Path,
        help="folder or archive with the images that the labels refer to"),
    SPLIT,
    OVERLAY,
    Settings(ReadSettings),
    FOLDER_OPTIONS,
    MODEL,
))
# fmt: on
