"""How large photos are looked at and what becomes of the masks, on the command line."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, cast

from anymask.cli.options import add_options, read_options
from anymask.jobs.choices import ArrangementChoice
from anymask.primitives.errors import InputError

if TYPE_CHECKING:
    from anymask.predictors.arrangement import ArrangementDict
    from anymask.predictors.large import Tile


def add_arrangement_options(parser: argparse.ArgumentParser) -> None:
    """The options of `ArrangementChoice`."""
    from anymask.predictors.arrangement import Arrangement
    from anymask.predictors.large import AUTO_PIXELS, AUTO_SIDE

    add_options(parser.add_argument_group("what becomes of the masks"), Arrangement)
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

    given = cast("ArrangementDict", read_options(args, Arrangement))
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
