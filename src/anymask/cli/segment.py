"""`anymask segment`: segment objects from point, box or mask prompts."""

from __future__ import annotations

import argparse

from anymask.base import InputError
from anymask.cli.command import Argument, Command, Group, Settings
from anymask.cli.options import MODEL, PICTURES, map_options, wants_map
from anymask.cli.prompts import PROMPTS
from anymask.cli.segment_photos import read_settings, segment_photos
from anymask.cli.sources import open_sources, sources
from anymask.jobs import NamesChoice
from anymask.segment import PartSettings, SegmentSettings


def run(args: argparse.Namespace) -> None:
    """Segment the prompts and write all outputs. Raises AnymaskError for user errors."""
    if not args.semantic and wants_map(args):
        if args.split:
            raise InputError("--parts does not support layers of maps. Use anymask everything.")
        from anymask.cli.maps import segment_map

        segment_map(args, dict(read_settings(args)))
        return
    with open_sources(args.sources, allow_url=args.allow_url) as paths:
        segment_photos(args, paths)


# fmt: off
COMMAND = Command(run, (
    *sources("PHOTO", "; or an .npz file of `anymask encode`"),
    PROMPTS,
    Argument("--semantic", action="store_true",
        help="without prompts: predict the class of every pixel with a semantic segmentation "
             "model. -o is .png (class numbers), .overlay.png or .npy (default: "
             "PHOTO.classes.png)"),
    Group("output options", (
        Argument("-o --output", metavar="FILE", action="append", dest="outputs", default=[],
            help=".png cut-out (.overlay.png: image with the mask drawn on it; .mask.png: mask, "
                 "white on black; .jpg on white, .webp, .tif, ...), "
                 ".json SA-1B record, .csv measurements, .svg or .geojson outline, .txt "
                 "YOLO, .npy array, a folder, or - for standard output (-.json: as JSON); "
                 "{name} is replaced by the image name, {n} by the object number; repeatable "
                 "(default: PHOTO.cut.png in the current folder; standard output for an image "
                 "from standard input)"),
        Settings(SegmentSettings, common=("multimask",), omit=("ranking",)),
        Settings(NamesChoice, common=("names",)),
    )),
    Group("parts", (
        Argument("--parts", action="store_true", dest="split",
            help="write the parts inside each predicted mask, best first, instead of the mask"),
        Settings(PartSettings, only=("max_parts",)),
    )),
    map_options(prompts=True),
    PICTURES,
    MODEL,
), stdout=True)
# fmt: on
