"""What of a picture is looked at, as the command line says it: bands, page, stretch."""

from __future__ import annotations

import argparse

from anymask.cli.options import add_options, read_options
from anymask.jobs.choices import PictureChoice


def add_picture_options(parser: argparse.ArgumentParser) -> None:
    """How photos of science and maps are read; shared by the commands that read photos."""
    add_options(parser.add_argument_group("the picture"), PictureChoice)


def read_pictures(args: argparse.Namespace) -> PictureChoice:
    """The options, checked before anything is opened. Raises InputError."""
    return PictureChoice(**read_options(args, PictureChoice))
