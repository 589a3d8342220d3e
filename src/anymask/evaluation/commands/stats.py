"""`anymask stats`: what data sets hold, side by side, as tables and plots."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from anymask.base import DataError, InputError, follow
from anymask.cli import read_count

if TYPE_CHECKING:
    from anymask.evaluation.statistics import GroupOf, SetStatistics
    from anymask.formats import AnnotatedImage, Dataset
    from anymask.masks import Mask

SUMMARY = "describe data sets: masks an image, sizes, places, shapes, groups"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add = parser.add_argument
    add("sources", metavar="DATASET", nargs="+", type=Path,
        help="a file or folder of annotations in any format or layout of `anymask convert`; "
        "several are compared")  # fmt: skip
    add("--from", dest="origin", metavar="FORMAT",
        help="the data sets' format; recognised when left out")  # fmt: skip
    add("--split", metavar="NAME", help="of a published data set, such as val")
    add("--images", metavar="DIR", type=Path,
        help="where the pictures lie, for formats that do not say their sizes")  # fmt: skip
    add(
        "--limit",
        metavar="N",
        type=read_count,
        help="pictures of a data set at most (default: all)",
    )
    add("--group-by", metavar="KEY",
        help="count groups: label, annotator, group, or any key that the format keeps with a mask "
        "or a picture")  # fmt: skip
    add("--groups", metavar="FILE.csv", type=Path,
        help="count groups of pictures: a table with the columns image and group")  # fmt: skip
    add("--json", metavar="FILE", type=Path, help="write every count and histogram there")
    add("--html", metavar="FILE", type=Path, help="write a page with tables and plots there")


def run(args: argparse.Namespace) -> None:
    """Count and print. Raises DataError or InputError before anything is written."""
    from anymask.base import write_json, write_whole
    from anymask.evaluation.statistics_report import (
        statistics_to_html,
        statistics_to_json,
        statistics_to_markdown,
    )
    from anymask.formats import read

    if args.group_by and args.groups:
        raise InputError("groups come from one place; give --group-by or --groups, not both")
    group_of = None
    if args.groups:
        group_of = table_groups(args.groups)
    elif args.group_by:
        group_of = key_groups(args.group_by)
    streams = [read(source, args.origin, args.images, args.split) for source in args.sources]
    found = [count(stream, args.limit, group_of) for stream in streams]
    if group_of is not None and not any(one.groups for one in found):
        raise InputError(
            f"no mask has a group by {args.group_by or str(args.groups)!r}; name another key or "
            "check the table's names of images"
        )
    name_apart(found)
    if args.json:
        write_json(args.json, statistics_to_json(found))
    if args.html:
        shown = "anymask stats " + " ".join(str(source) for source in args.sources)
        write_whole(args.html, statistics_to_html(found, shown))
    print(statistics_to_markdown(found), end="")


def count(stream: Dataset, limit: int | None, group_of: GroupOf | None) -> SetStatistics:
    """The statistics of one data set, with progress. Raises DataError where it has no picture."""
    from anymask.evaluation.statistics import collect_statistics

    total = stream.length()
    if limit is not None:
        total = limit if total is None else min(total, limit)
    images: Iterator[AnnotatedImage] = islice(stream, limit)
    found = collect_statistics(follow(images, stream.name, total), stream.name, group_of)
    found.form, found.unread = stream.form, stream.unread
    if not found.images:
        raise DataError(
            f"{stream.source}: wanted a data set with pictures, the {stream.form} there has none"
        )
    if not found.masks + found.crowds:
        raise DataError(
            f"{stream.source}: {found.images} pictures and not one mask; is the format "
            f"{stream.form!r} right? --from FORMAT says another"
        )
    return found


def name_apart(found: list[SetStatistics]) -> None:
    """Give data sets of one name a number."""
    names = [one.name for one in found]
    for place, one in enumerate(found):
        if names.count(one.name) > 1:
            one.name = f"{one.name} ({place + 1})"


def key_groups(key: str) -> GroupOf:
    """A mask's group is its label, its group number, or a key of the mask or of its picture."""

    def group_of(image: AnnotatedImage, mask: Mask) -> str | None:
        known = {"label": mask.label, "group": mask.id, "annotator": mask.annotator}
        value = known.get(key)
        if value is None and key not in ("label", "group"):
            value = mask.extra.get(key, image.extra.get(key))
        return None if value is None else str(value)

    return group_of


def table_groups(path: Path) -> GroupOf:
    """A picture's group, from a table with the columns `image` and `group`.

    The name of an image is that in the data set, or the end of it without folders. Raises DataError
    for a file that is no such table.
    """
    from anymask.formats import read_groups

    groups = read_groups(path)

    def group_of(image: AnnotatedImage, mask: Mask) -> str | None:
        return groups.get(image.file_name, groups.get(image.file_name.rpartition("/")[2]))

    return group_of
