"""What of a picture is looked at, as the command line says it: bands, page, stretch."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TypeVar

from anymask.jobs.choices import PictureChoice
from anymask.primitives.errors import InputError

N = TypeVar("N", int, float)


def add_picture_options(parser: argparse.ArgumentParser) -> None:
    """How photos of science and maps are read; shared by the commands that read photos."""
    group = parser.add_argument_group("the picture")
    group.add_argument(
        "--bands", metavar="N[,N,N]",
        help="one band as grey, or three as red, green, blue, counted from 1",
    )  # fmt: skip
    group.add_argument(
        "--page", metavar="N", type=int, default=0,
        help="of a TIFF, or the frame of an animation, counted from 0 (default: 0)",
    )  # fmt: skip
    group.add_argument(
        "--stretch", metavar="LOW,HIGH",
        help="percentiles that become black and white, band by band, such as 2,98",
    )  # fmt: skip


def read_pictures(args: argparse.Namespace) -> PictureChoice:
    """The options, checked before anything is opened. Raises InputError."""
    from anymask.data.pixels import PictureView

    bands = None if args.bands is None else _numbers(args.bands, "--bands N[,N,N]", int)
    stretch = None if args.stretch is None else _numbers(args.stretch, "--stretch LOW,HIGH", float)
    view = PictureView.of(bands, args.page, stretch)
    return PictureChoice(view.bands, view.page, view.stretch)


def _numbers(text: str, option: str, kind: Callable[[str], N]) -> tuple[N, ...]:
    try:
        return tuple(kind(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"wanted {option} as numbers with commas, got {text!r}") from None
