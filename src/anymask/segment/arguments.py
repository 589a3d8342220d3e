"""Arguments of the methods of `Model`: keywords, and one or several images."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from PIL import Image

from anymask.base import Progress, check_keywords, report_progress
from anymask.images import is_address
from anymask.masks import Features
from anymask.segment.settings import SegmentSettings, SegmentSettingsDict, SourceDict

T = TypeVar("T")

SOURCE_WORDS = tuple(sorted(SourceDict.__optional_keys__))
PROMPT_WORDS = (
    "points", "point_labels", "box", "boxes", "names", "mask", "text", "prompts", "previous",
    "detector", "scribble", "lasso", "on_error", "progress",
)  # fmt: skip
DEFAULT_SETTINGS = SegmentSettings()


def split_source(given: Mapping[str, Any]) -> tuple[SourceDict, dict[str, Any]]:
    """Split keywords into image options and the rest."""
    source = {name: value for name, value in given.items() if name in SOURCE_WORDS}
    rest = {name: value for name, value in given.items() if name not in SOURCE_WORDS}
    return cast(SourceDict, source), rest


def split_segment(
    given: Mapping[str, Any], also: Sequence[str]
) -> tuple[SourceDict, SegmentSettings]:
    """Split keywords into image options and settings; messages also list the arguments `also`.

    Raises InputError for an unknown keyword or an invalid value.
    """
    if not given:
        return {}, DEFAULT_SETTINGS
    source, rest = split_source(given)
    own = sorted(SegmentSettingsDict.__optional_keys__)
    check_keywords(rest, [*also, *own, *SOURCE_WORDS])
    return source, SegmentSettings(**rest)


def is_several(image: object) -> bool:
    """Whether a source is a list or an iterator of images; lists of numbers are one array."""
    if isinstance(image, list | tuple | set | frozenset):
        if not image:
            return True
        first = next(iter(image))
        alone = str, Path, bytes, Image.Image, Features  # items that are images, not numbers
        return isinstance(first, alone) or getattr(first, "ndim", 0) > 1
    return isinstance(image, Iterator) and not hasattr(image, "read")  # files are single images


def each_image(images: Iterable[T], progress: Progress) -> Iterator[T]:
    """Iterate over images, by default with a progress bar on a terminal."""
    told = sys.stderr.isatty() if progress is None else progress
    return report_progress(images, told, "photos")


def describe_several(image: object) -> str:
    """Describe a source of more than one image, or return "" for one image."""
    if is_several(image):
        return "a list"
    if not isinstance(image, str | Path) or is_address(image):
        return ""
    path = Path(image)
    try:
        is_file, is_folder = path.is_file(), path.is_dir()
    except (OSError, ValueError):  # not a valid file name
        return ""
    if is_folder:
        return f"the folder {str(path)!r}"
    is_pattern = not is_file and set(str(path)) & set("*?[")  # a file may be named [1].jpg
    return f"the pattern {str(path)!r}" if is_pattern else ""
