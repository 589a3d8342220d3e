"""Names of arguments of the methods of `Model`, and iteration over several images."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from anymask.base import Progress, report_progress
from anymask.segment.settings import SourceDict

T = TypeVar("T")

SOURCE_WORDS = tuple(sorted(SourceDict.__optional_keys__))
PROMPT_WORDS = (
    "points", "point_labels", "box", "boxes", "names", "mask", "text", "prompts", "previous",
    "detector", "scribble", "lasso", "on_error", "progress",
)  # fmt: skip


def each_image(images: Iterable[T], progress: Progress) -> Iterator[T]:
    """Iterate over images, by default with a progress bar on a terminal."""
    callback = sys.stderr.isatty() if progress is None else progress
    return report_progress(images, callback, "photos")
