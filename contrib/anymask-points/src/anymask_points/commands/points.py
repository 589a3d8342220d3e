"""`anymask points`: segment an object in a point cloud from points in 3D."""

from __future__ import annotations

import argparse
from pathlib import Path

from anymask.base import PromptError, need_packages, say
from anymask.cli import Argument, Command, Settings, numbers, read_model
from anymask.jobs import ModelSettings
from anymask_points.clicks import load_point_model
from anymask_points.cloud import check_written, read_points

SHAPE = "X,Y,Z"
OF_MODEL = ("model", "weights", "device")
POINT_MODEL = "point_sam_l"


def run(args: argparse.Namespace) -> None:
    """Segment the object, write the mask and report. Raises AnymaskError for user errors."""
    if not args.point:
        raise PromptError(f"No prompt was passed. Add --point {SHAPE}.")
    need_packages(("torch",), "torch", "a model for point clouds")

    check_written(args.output)
    clicks = [numbers(text, f"--point {SHAPE}", 3) for text in args.point]
    clicks += [numbers(text, f"--negative {SHAPE}", 3) for text in args.negative]
    labels = [1] * len(args.point) + [0] * len(args.negative)
    cloud = read_points(args.cloud)
    if cloud.skipped:
        say(f"{args.cloud}: skipped {cloud.skipped} points whose coordinates are not finite")
    choice = read_model(args, model=args.model or POINT_MODEL)
    model = load_point_model(choice.model, choice.weights, choice.device)
    answer = model.segment(cloud, clicks, labels)
    answer.save(args.output)
    count, total = int(answer.mask.sum()), len(answer.mask)
    say(f"{count} of {total} points, predicted IoU {answer.scores[0]:.2f}; wrote {args.output}")


# fmt: off
COMMAND = Command(run, (
    Argument("cloud", metavar="CLOUD", type=Path, reads=True,
        help=".ply, .npz with the arrays points and colors, or .npy, .xyz, .txt, .csv or .pts "
             "with 3 or 6 columns"),
    Argument("--point", metavar=SHAPE, action="append", default=[],
        help="point on the object, in the coordinates of the cloud; repeatable"),
    Argument("--negative", metavar=SHAPE, action="append", default=[],
        help="point on the background; repeatable"),
    Argument("-o --output", metavar="FILE", type=Path, required=True,
        help="all points with their mask: .ply (property mask, 0 or 1) or .npz (array mask)"),
    Settings(ModelSettings, "model options", only=OF_MODEL, defaults={"model": POINT_MODEL}),
))
# fmt: on
