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

_API = "for the segment-anything API"
_PREDICTOR = f"segment(image, points=...), or anymask.sam.SamPredictor(model) {_API}"
_LOAD = 'anymask.load(name, device="cuda")'
OTHER_METHODS = {
    "set_image": (
        f"encode(image) and segment(features, ...), or anymask.sam.SamPredictor(model) {_API}"
    ),
    "predict": _PREDICTOR,
    "predict_torch": _PREDICTOR,
    "generate": f"everything(image), or anymask.sam.SamAutomaticMaskGenerator(model) {_API}",
    "to": _LOAD,
    "cpu": _LOAD,
    "cuda": _LOAD,
    "half": 'anymask.load(name, precision="fp16")',
    "eval": "no call is required, because models are always in inference mode",
    "add_new_points_or_box": "track(video) and the prompts of its session",
    "propagate_in_video": "track(video) and the masks of its session",
}


def each_image(images: Iterable[T], progress: Progress) -> Iterator[T]:
    """Iterate over images, by default with a progress bar on a terminal."""
    callback = sys.stderr.isatty() if progress is None else progress
    return report_progress(images, callback, "photos")
