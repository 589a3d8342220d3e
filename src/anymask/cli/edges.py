"""`anymask edges`: detect the edges of an image from the masks of a grid of clicks."""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np

from anymask.base import InputError, say, write_whole
from anymask.cli.command import Argument, Command
from anymask.cli.options import (
    IMAGES,
    MODEL,
    open_sources,
    read_count,
    read_images,
    read_model,
    report_pages,
)

MAX_GRID_SIDE = 64  # clicks of a side


def run(args: argparse.Namespace) -> None:
    """Write the edge map. Raises AnymaskError for user errors."""
    suffix = args.output.suffix.lower()
    if suffix not in (".png", ".npy"):
        raise InputError(
            f"Unsupported suffix of {str(args.output)!r}. Edge maps are written as .png or .npy."
        )
    if args.grid > MAX_GRID_SIDE:
        raise InputError(f"--grid is at most {MAX_GRID_SIDE}, got {args.grid}.")
    from PIL import Image

    from anymask.segment.edge_maps import find_edges, suppress

    model, image_settings = read_model(args), read_images(args)
    with open_sources([args.image], allow_url=args.allow_url) as paths:
        if image_settings.page == 0:
            report_pages(paths[0], say, model)
        image = image_settings.load(paths[0])
    edges = find_edges(model.load(), image, args.grid)
    if args.thin:
        edges = suppress(edges)
    made = io.BytesIO()
    if suffix == ".png":
        Image.fromarray(np.rint(edges * 255).astype(np.uint8)).save(made, "PNG")
    else:
        np.save(made, edges)
    write_whole(args.output, made.getvalue())
    say(f"wrote {args.output}")


# fmt: off
COMMAND = Command(run, (
    Argument("image", metavar="IMAGE", help="image, or sample:coffee, a sample image"),
    Argument("-o --output", metavar="FILE", type=Path, required=True,
        help=".png (8-bit gray, strong edges are white) or .npy (32-bit numbers in 0..1)"),
    Argument("--thin", action="store_true",
        help="thin the edges by non-maximum suppression, as the benchmark BSDS500 requires"),
    Argument("--grid", metavar="N", type=read_count, default=16,
        help="clicks along each side of the image (default: 16)"),
    Argument("--allow-url", action="store_true",
        help="download an image that is passed as an http or https URL (off by default)"),
    IMAGES,
    MODEL,
))
# fmt: on
