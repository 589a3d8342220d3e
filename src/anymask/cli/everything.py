"""`anymask everything`: automatic mask generation, as SA-1B JSON and images."""

from __future__ import annotations

import argparse

from anymask.base import list_settings
from anymask.cli.everything_files import process_files
from anymask.cli.folders import add_folder_options
from anymask.cli.maps import add_map_options, search_map, wants_map
from anymask.cli.options import (
    add_model_options,
    add_options,
    add_picture_options,
    read_model,
    read_options,
    read_pictures,
)
from anymask.cli.sources import add_sources
from anymask.jobs import EverythingTask, LookChoice, NamesChoice

NOTHING = "No mask passed the filters. Lower --score or --stability."


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options; names and defaults follow segment-anything."""
    from anymask.models.rules import BUNDLED_MODELS, default_grid
    from anymask.segment import Arrangement, Grid

    add_sources(parser, "PHOTO|FOLDER", "; or folders, including subfolders")
    parser.add_argument(
        "-o", "--output", metavar="DIR|FILE", action="append", dest="outputs", default=[],
        help="folder for one .json (SA-1B records) and one .png (the image with its masks) "
            "per image; existing results of the same pixels, model and settings are "
            "skipped. For one image also files: .json, an image (a cut-out of each mask "
            "with {n} or {label} in its name), .csv measurements, .svg, .geojson, .xml, "
            ".txt, .npy, or - for the records on standard output. For a map a layer: "
            ".gpkg, .fgb, .shp, .kml, .geojson, .tif; repeatable (default: "
            "PHOTO.everything.json and .png in the current folder, FOLDER-everything/ for "
            "a folder)",
    )  # fmt: skip
    parser.add_argument(
        "--overlay", action=argparse.BooleanOptionalAction, default=True,
        help="also write the .png images (default), or only the .json records",
    )  # fmt: skip
    own = default_grid()
    others = {
        setting.name: f"{setting.default_in_words}; {' and '.join(BUNDLED_MODELS)}: {value}"
        for setting in list_settings(Grid)
        if (value := getattr(own, setting.name, setting.default)) != setting.default
    }
    add_options(parser.add_argument_group("the grid"), Grid, defaults=others)
    add_options(
        parser.add_argument_group("options for filtering and arranging the masks"), Arrangement
    )
    add_options(parser.add_argument_group("names"), NamesChoice)
    add_options(parser.add_argument_group("large photos"), LookChoice)
    add_map_options(parser, tile=False)
    add_folder_options(parser)
    add_picture_options(parser)
    add_model_options(parser)
    parser.set_defaults(stdout=True)


def run(args: argparse.Namespace) -> None:
    """Process all images. Raises DataError at the end if some failed."""
    from anymask.segment import Arrangement, Grid

    task = EverythingTask(
        read_model(args), read_pictures(args), read_options(args, Grid),
        read_options(args, Arrangement), LookChoice(**read_options(args, LookChoice)),
        NamesChoice(**read_options(args, NamesChoice)), args.overlay,
    )  # fmt: skip
    if wants_map(args):
        search_map(args, task)
    else:
        process_files(args, task, NOTHING)
