"""Options of picture reading (bands, page, stretch): words in, a `PictureChoice` out."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from anymask.cli.options import add_options, read_options
from anymask.jobs.choices import ModelChoice, PictureChoice


def add_picture_options(parser: argparse.ArgumentParser) -> None:
    """How photos of science and maps are read; shared by the commands that read photos."""
    add_options(parser.add_argument_group("the picture"), PictureChoice)


def read_pictures(args: argparse.Namespace) -> PictureChoice:
    """The options, checked before anything is opened. Raises InputError."""
    return PictureChoice(**read_options(args, PictureChoice))


def report_pages(photo: Path, say: Callable[[str], None], model: ModelChoice) -> None:
    """Say which page was taken of a file that has several, unless the model takes all as one."""
    from anymask.data.pages import read_pages
    from anymask.families import DEFAULT_MODEL
    from anymask.runtimes.open import stated_channels

    pages = read_pages(photo)
    if pages.count == 1 or stated_channels(model.model or DEFAULT_MODEL, model.weights):
        return
    place = pages.place(0)
    say(
        f"{photo.name} has {pages.count} pages{pages.axes_in_words()}, took page 0"
        f"{f' ({place})' if place else ''}; --page N takes another one, --page all each"
    )
