"""`anymask change`: detect changes between two maps, as a layer with areas."""

from __future__ import annotations

import argparse

import numpy as np

from anymask.base import InputError, need_packages, say
from anymask.cli.command import Argument, Command, Settings
from anymask.cli.maps import open_scene, read_map, write_survey
from anymask.cli.options import IMAGES, MODEL, OF_MAPS, map_options, read_model, read_options
from anymask.jobs import EverythingTask, TilingSettings
from anymask.segment import Grid


def run(args: argparse.Namespace) -> None:
    """Compare the maps. Raises AnymaskError for user errors."""
    need_packages(OF_MAPS, "maps", "a map")
    from anymask.maps import MIN_CHANGED_SHARE, ChangeProcessor, aligned

    settings = read_map(args)
    task = EverythingTask(read_model(args), grid=read_options(args, Grid))
    with (
        open_scene(args, [args.before], settings) as first,
        open_scene(args, [args.after], settings) as other,
        aligned(other, first, register=not args.no_register) as second,
    ):
        if transform := second.about.get("registered"):
            (height, width), move = first.image_hw, np.array(transform)
            center = np.array([width / 2, height / 2])
            x, y = move[:, :2] @ center + move[:, 2] - center
            say(f"registered {second.name}: its content is displaced by {x:.1f}, {y:.1f} pixels")
        if first.view.bands != second.view.bands:
            raise InputError(
                "Both maps must have the same bands: add --bands, such as --bands 1,2,3."
            )
        work = task.open()
        processor = ChangeProcessor(
            first, second, work.model, work.segment_tile, about=work.about,
            tile=TilingSettings(**read_options(args, TilingSettings, ("tile",))).tile,
            least=MIN_CHANGED_SHARE if args.share is None else args.share,
        )  # fmt: skip
        write_survey(args, first, processor, settings)


# fmt: off
COMMAND = Command(run, (
    Argument("before", metavar="BEFORE", reads=True,
        help="map of the earlier date: a file or a folder of tiles"),
    Argument("after", metavar="AFTER", reads=True,
        help="map of the later date; its grid and CRS may differ from those of the earlier map"),
    Argument("-o --output", metavar="FILE", action="append", dest="outputs", required=True,
        help="output file: a vector layer (.gpkg, .fgb, .shp, or .geojson in WGS 84) or a "
             "label raster (.tif). Each object has the attributes label (appeared, vanished or "
             "changed), score (share of its pixels that changed) and area_m2; repeatable"),
    Argument("--share", metavar="X", type=float,
        help="minimum share of an object's pixels that must have changed, 0 to 1 (default: 0.5)"),
    Argument("--no-register", action="store_true",
        help="do not correct a displacement of the later map of a few pixels"),
    Settings(Grid, "grid options", only=("grid", "score", "stability"), common=("grid", "score")),
    map_options(),
    IMAGES,
    MODEL,
))
# fmt: on
