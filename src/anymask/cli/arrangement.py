"""How large photos are looked at and what becomes of the masks, on the command line."""

from __future__ import annotations

import argparse
from dataclasses import fields
from typing import TYPE_CHECKING, Any, cast

from anymask.jobs.choices import ArrangementChoice
from anymask.primitives.errors import InputError

if TYPE_CHECKING:
    from anymask.predictors.arrangement import ArrangementDict
    from anymask.predictors.large import Tile

_HELP = {
    "mask_nms_thresh": "of two masks that overlap with a larger IoU, keep the better; 1 keeps all "
    "and is the default of --mode exact; adaptive: 0.9",
    "min_mask_area": "drop masks of fewer pixels",
    "min_island_area": "remove parts of a mask of fewer pixels",
    "max_hole_area": "fill holes of fewer pixels",
    "granularity": "whole: masks that are part of no other; part: masks that have no parts",
    "layout": "partition: each pixel in at most one mask, parts before wholes; tree: the records "
    "say which mask is part of which",
}

_DEFAULTS_TOLD = ("mask_nms_thresh",)


def add_arrangement_options(parser: argparse.ArgumentParser) -> None:
    """The options of `ArrangementChoice`."""
    from anymask.predictors.arrangement import LAYOUTS, Arrangement
    from anymask.predictors.granularity import LEVELS
    from anymask.predictors.large import AUTO_PIXELS, AUTO_SIDE

    words = {"granularity": LEVELS, "layout": LAYOUTS}
    group = parser.add_argument_group("what becomes of the masks")
    for setting in fields(Arrangement):
        name, default = setting.name, setting.default
        group.add_argument(
            f"--{name.replace('_', '-')}",
            metavar=None if name in words else "X",
            type=str if name in words else float,
            choices=words.get(name),
            help=_HELP[name] + ("" if name in _DEFAULTS_TOLD else f" (default: {default})"),
        )
    looks = parser.add_argument_group("large photos and masks of low quality")
    looks.add_argument(
        "--tile", metavar="PIXELS", default="auto",
        help="look at overlapping tiles of this side and at the whole; none: never; auto: tiles of "
        f"{AUTO_SIDE} for photos of more than {AUTO_PIXELS // 1_000_000} megapixels (default)",
    )  # fmt: skip
    looks.add_argument(
        "--retry", metavar="SECONDS", type=float, default=0.0,
        help="ask again for masks of low quality, so long for each photo (default: 0, never)",
    )  # fmt: skip
    looks.add_argument(
        "--retry-quality", metavar="X", type=float, help="which quality is low: less than this"
    )
    looks.add_argument(
        "--retry-model", metavar="NAME", help="a larger model to ask as well, with --retry"
    )


def read_arrangement(args: argparse.Namespace) -> ArrangementChoice:
    """What was chosen. Raises InputError, before anything is opened."""
    from anymask.predictors.arrangement import Arrangement

    names = [one.name for one in fields(Arrangement) if getattr(args, one.name) is not None]
    given = cast("ArrangementDict", {name: getattr(args, name) for name in names})
    if not args.retry and (args.retry_quality is not None or args.retry_model is not None):
        raise InputError("--retry-quality and --retry-model need a time; add --retry SECONDS")
    return ArrangementChoice(
        given, read_tile(args.tile), args.retry, args.retry_quality, args.retry_model
    )


def read_tile(text: str) -> Tile:
    """A side in pixels, "auto", or None for "none". Raises InputError."""
    from anymask.predictors.large import tile_side

    tile: Any = None if text == "none" else int(text) if text.isdecimal() else text
    try:
        tile_side(tile, (1, 1))
    except InputError as error:
        raise InputError(
            f"wanted --tile auto, none or a side in pixels, got {text!r} ({error})"
        ) from error
    return cast("Tile", tile)
