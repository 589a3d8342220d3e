"""Options with which a project is begun, shared by `anymask project init` and `annotate`."""

from __future__ import annotations

import argparse
import getpass
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anymask.base import InputError

if TYPE_CHECKING:
    from anymask.studio.project import Project


def login() -> str:
    """Who works, as the system knows it."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "annotator"


def add_init_options(parser: argparse.ArgumentParser) -> None:
    """What a project is begun with."""
    group = parser.add_argument_group("the project")
    group.add_argument("--name", help="(default: the folder's)")
    group.add_argument(
        "--label", dest="labels", metavar="NAME", action="append", default=[],
        help="a class that the page offers; may be given several times",
    )  # fmt: skip
    group.add_argument(
        "--database", metavar="URL",
        help="postgresql://USER@HOST/NAME (default: a SQLite file beside the photos)",
    )  # fmt: skip
    group.add_argument(
        "--set", dest="settings", metavar="NAME=VALUE", action="append", default=[],
        help="a setting, such as good_iou=0.9, good_share=0.9, sample=20, batch=50, confident=0.7",
    )  # fmt: skip
    group.add_argument(
        "--groups", metavar="FILE.csv", type=Path,
        help="groups of photos for the report: a table with the columns image and group",
    )  # fmt: skip


def read_settings(words: list[str]) -> dict[str, Any]:
    """NAME=VALUE words as settings. Raises InputError."""
    settings: dict[str, Any] = {}
    for word in words:
        name, sign, value = word.partition("=")
        try:
            settings[name] = int(value) if value.lstrip("-").isdigit() else float(value)
        except ValueError:
            sign = ""
        if not sign:
            raise InputError(f"--set takes NAME=NUMBER, got {word!r}; for example batch=50")
    return settings


def make_project(args: argparse.Namespace) -> Project:
    """The project of a folder, begun where it is none; says which pictures cannot be read.

    Raises InputError, also for a folder without a picture; StoreError.
    """
    from anymask.studio.project import create_project

    settings = read_settings(args.settings)
    check_photos(args.folder)
    project = create_project(
        args.folder, name=args.name, labels=args.labels, database=args.database, settings=settings,
        failed=lambda name, why: print(f"passed over {name}: {why}", file=sys.stderr),
    )  # fmt: skip
    if settings:
        project.change(settings=settings)
    for label in args.labels:
        project.labels.add(label)
    if args.groups:
        from anymask.formats import read_groups

        project.store.group_images(read_groups(args.groups))
    return project


def check_photos(folder: Path) -> None:
    """Raises InputError for a folder that would be a project without a photo or a video."""
    from anymask.images import SUFFIXES, VIDEO_SUFFIXES, find_images
    from anymask.studio.project import FOLDER

    if not folder.is_dir() or (folder / FOLDER).is_dir():
        return
    if next(find_images(folder, suffixes=SUFFIXES | VIDEO_SUFFIXES), None) is None:
        raise InputError(
            f"wanted a folder of photos or videos, {folder} holds no picture and no video; put "
            "some there, or name another"
        )
