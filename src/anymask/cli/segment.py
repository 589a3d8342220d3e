"""`anymask segment`: segment objects from point, box or mask prompts."""

from __future__ import annotations

import argparse

from anymask.cli.maps import add_map_options, segment_map, wants_map
from anymask.cli.options import add_model_options, add_options, add_picture_options
from anymask.cli.prompts import add_prompt_options
from anymask.cli.segment_photos import read_settings, segment_photos
from anymask.cli.sources import add_sources, open_sources
from anymask.jobs import NamesChoice


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    from anymask.segment import SegmentSettings

    add_sources(parser, "PHOTO", "; or an .npz file of `anymask encode`")
    add_prompt_options(parser)
    parser.add_argument(
        "--semantic", action="store_true",
        help=("without prompts: predict the class of every pixel with a semantic "
            "segmentation model. -o is .png (class numbers), .overlay.png or .npy "
            "(default: PHOTO.classes.png)"),
    )  # fmt: skip
    answer = parser.add_argument_group("the answer")
    answer.add_argument(
        "-o", "--output", metavar="FILE", action="append", dest="outputs", default=[],
        help=(".png cut-out (.overlay.png, .mask.png: see below; .jpg on white, .webp, "
            ".tif, ...), .json SA-1B record, .csv measurements, .svg or .geojson outline, "
            ".txt YOLO, .npy array, a folder, or - for standard output (-.json: in that "
            "format); {name} is replaced by the image name, {n} by the object number; "
            "repeatable (default: PHOTO.cut.png in the current folder; standard output "
            "for an image from standard input)"),
    )  # fmt: skip
    png = answer.add_mutually_exclusive_group()
    png.add_argument(
        "--overlay", action="store_const", const="overlay", dest="png", default="cutout",
        help="a .png output shows the image with the mask drawn on it",
    )  # fmt: skip
    png.add_argument(
        "--mask-png", action="store_const", const="mask", dest="png",
        help="a .png output is the mask, white on black",
    )  # fmt: skip
    add_options(answer, SegmentSettings)
    answer.add_argument(
        "--single", action="store_const", const=False, dest="multimask",
        help="predict one mask instead of the best of three: --multimask no",
    )  # fmt: skip
    add_options(answer, NamesChoice)
    add_map_options(parser, prompts=True)
    add_picture_options(parser)
    add_model_options(parser)
    parser.set_defaults(stdout=True)


def run(args: argparse.Namespace) -> None:
    """Segment the prompts and write all outputs. Raises AnymaskError for user errors."""
    if not args.semantic and wants_map(args):
        segment_map(args, dict(read_settings(args)))
        return
    with open_sources(args.sources, allow_url=args.allow_url) as sources:
        segment_photos(args, sources)
