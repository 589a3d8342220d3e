"""Options of projects: words that the engine's commands share in, an open project out.

Report page of a project.
"""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anymask.base import InputError

if TYPE_CHECKING:
    from anymask.studio.figures import Figures, Share
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


def figures_to_html(figures: Figures, rounds: Sequence[dict[str, Any]] = ()) -> str:
    """A self-contained page of tables and plots.

    rounds  of training, as `Project.rounds` tells them
    """
    from anymask.evaluation import html_page, html_table, section, sheets
    from anymask.studio.figures import summary, tables

    parts = [section(title, html_table(header, rows)) for title, header, rows in tables(figures)]
    plots = [*_paces(figures), *_rounds(rounds), *_coverage("labels", figures.labels)]
    plots += _coverage("groups", figures.groups)
    if plots:
        parts.insert(0, sheets(*plots))
    if rounds:
        header = ["round", "masks", "before", "after", "gain", "95 %", "leads"]
        rows = [
            [str(row["round"]), str(row["train_masks"]), f"{row['before']:.3f}",
             f"{row['after']:.3f}", f"{row['gain']:+.3f}",
             f"{row['low']:+.3f} to {row['high']:+.3f}", "yes" if row["promoted"] else "no"]
            for row in rounds
        ]  # fmt: skip
        parts.append(section("Rounds of training", html_table(header, rows)))
    return html_page(figures.name, summary(figures), parts)


def _paces(figures: Figures) -> list[tuple[str, str]]:
    """Seconds a mask as shares of the slowest way."""
    from anymask.evaluation import Series, bar_plot

    known = [pace for pace in figures.paces if pace.masks and pace.seconds]
    if not known:
        return []
    slowest = max(pace.seconds_a_mask for pace in known)
    names = [
        f"{'no model' if p.arm == 'control' else p.stage} {p.seconds_a_mask:.1f} s" for p in known
    ]
    values = np.array([pace.seconds_a_mask / slowest for pace in known])
    plot = bar_plot(names, [Series("seconds a mask", values)], "seconds a mask, of the slowest way")
    return [("Time", plot)]


def _rounds(rounds: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    from anymask.evaluation import Points, curve_plot, legend

    if not rounds:
        return []
    x = np.array([float(row["round"]) for row in rounds])
    curves = [
        Points(name, x, np.array([float(row[key]) for row in rounds]))
        for name, key in (("leading model", "before"), ("new model", "after"))
    ]
    plot = curve_plot(curves, "round") + legend([curve.name for curve in curves])
    return [("mIoU on held-out photos", plot)]


def _coverage(what: str, shares: Sequence[Share]) -> list[tuple[str, str]]:
    from anymask.evaluation import Series, bar_plot

    if len(shares) < 2:
        return []
    total = sum(share.masks for share in shares)
    values = np.array([share.masks / total for share in shares])
    plot = bar_plot([share.name for share in shares], [Series("masks", values)], what)
    return [(f"Masks by {what}", plot)]
