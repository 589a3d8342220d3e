"""`anymask everything`: automatic mask generation, as SA-1B JSON and images."""

from __future__ import annotations

import argparse

from anymask.cli.command import Argument, Command, Settings
from anymask.cli.everything_files import process_files
from anymask.cli.folders import FOLDER_OPTIONS
from anymask.cli.options import (
    IMAGES,
    MODEL,
    OVERLAY,
    map_options,
    read_images,
    read_model,
    read_options,
    sources,
    wants_map,
)
from anymask.jobs import EverythingTask, NamesSettings, TilingSettings
from anymask.segment import Grid, MaskFilter


def run(args: argparse.Namespace) -> None:
    """Process all images. Raises DataError at the end if some failed."""
    task = EverythingTask(
        read_model(args), read_images(args), read_options(args, Grid),
        read_options(args, MaskFilter), TilingSettings(**read_options(args, TilingSettings)),
        NamesSettings(**read_options(args, NamesSettings)), args.overlay,
    )  # fmt: skip
    if wants_map(args):
        from anymask.cli.maps import search_map

        search_map(args, task)
    else:
        process_files(args, task, "No mask passed the filters. Lower --score or --stability.")


# fmt: off
COMMAND = Command(run, (
    *sources("IMAGE|FOLDER", "; or folders, including subfolders"),
    Argument("-o --output", metavar="DIR|FILE", action="append", dest="outputs", default=[],
        help="folder for one .json (SA-1B records) and one .png (the image with its masks) per "
             "image; existing results of the same pixels, model and settings are skipped. For one "
             "image also files: .json, an image (a cut-out of each mask with {n} or {label} in "
             "its name), .csv measurements, .svg, .geojson, .xml, .txt, .npy, or - for the "
             "records on standard output. For a map a layer: .gpkg, .fgb, .shp, .geojson, "
             ".tif; repeatable (default: IMAGE.everything.json and .png in the current folder, "
             "FOLDER-everything/ for a folder)"),
    OVERLAY,
    Settings(Grid, "grid options", common=("mode", "grid", "score"), omit=(
        "decoder_precision", "memory_limit", "points_per_batch", "stability_score_offset",
        "crop_nms_thresh", "crop_overlap_ratio", "crop_n_points_downscale_factor",
        "min_mask_region_area",
    )),
    Settings(MaskFilter, "filter options", common=("dominant_kind", "layout")),
    Settings(NamesSettings, "naming options", common=("names",)),
    Settings(TilingSettings, "options for large images", common=("tile",)),
    map_options(tile=False),
    FOLDER_OPTIONS,
    IMAGES,
    MODEL,
), stdout=True)
# fmt: on
