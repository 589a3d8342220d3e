"""Keyword arguments by name: what a caller gave in; one clear error for a name that nobody knows.

Other tools have other words for the same: segment-anything, transformers, Ultralytics.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypedDict, cast

from numpy.typing import ArrayLike

from anymask.predictors.settings import SegmentSettings, SegmentSettingsDict
from anymask.primitives.errors import InputError


class SourceDict(TypedDict, total=False):
    """How a photo is read: see `data.images.load_image`."""

    bgr: bool
    allow_url: bool


class SegmentKeywords(SegmentSettingsDict, SourceDict, total=False):
    """The keyword arguments of `Model.segment` beside the prompt."""


class BatchKeywords(SegmentKeywords, total=False):
    """The same with boxes of several objects, (N, 4)."""

    boxes: ArrayLike | None


SOURCE_WORDS = frozenset(SourceDict.__optional_keys__)
_SEGMENT_NAMES = ("points", "labels", "box", "boxes", "mask", "prompts")
_SEGMENT_WORDS = tuple(SegmentSettingsDict.__optional_keys__)

# The words of other tools, and what to write here.
OTHER_WORDS = {
    "point_coords": "points=[(x, y), ...]",
    "input_points": "points=[(x, y), ...]",
    "point": "points=[(x, y)]",
    "point_labels": "labels=[1, 0, ...]",
    "input_labels": "labels=[1, 0, ...]",
    "bbox": "box=(x0, y0, x1, y1)",
    "bboxes": "boxes=[(x0, y0, x1, y1), ...]",
    "input_boxes": "boxes=[(x0, y0, x1, y1), ...]",
    "mask_input": "mask=answer.logits[0]",
    "input_masks": "mask=answer.logits[0]",
    "masks": "mask=, or refine(image, mask)",
    "multimask_output": 'multimask=True, False or "auto"',
    "return_logits": "answer.logits, which is always there",
    "output_mode": "records.to_sa1b(output_mode=...) on the answer",
    "conf": "pred_iou_thresh=, the least quality, or records.filter(min_quality=...)",
    "iou": "mask_nms_thresh=, or records.nms(...)",
    "imgsz": "nothing: a photo keeps its size",
    "image_format": "bgr=True for arrays as cv2.imread gives them",
    "device": "device= of anymask.load",
    "points_per_crop": "points_per_side=",
    "min_area": "min_mask_area=",
    "verbose": "progress=True",
}

_PREDICTOR = "segment(photo, points=...); segment-anything's own: anymask.sam.SamPredictor(model)"
OTHER_METHODS = {
    "set_image": "embed(photo), then segment(embedding, ...); segment-anything's own: "
    "anymask.sam.SamPredictor(model)",
    "predict": _PREDICTOR,
    "predict_torch": _PREDICTOR,
    "generate": "everything(photo); segment-anything's own: "
    "anymask.sam.SamAutomaticMaskGenerator(model)",
    "add_new_points_or_box": "track(video), then its session's prompts",
    "propagate_in_video": "track(video), then its session's masks",
}


NOT_CALLED = (
    "a Model is not called itself, for there are two questions to ask: model.segment(photo, "
    "points=[(x, y)]) or box=(x0, y0, x1, y1) for one object, model.everything(photo) for all "
    "masks; segment-anything's own: anymask.sam"
)


def other_method(name: str) -> str:
    """What to call here instead of another tool's method: the end of a sentence, or nothing."""
    return f"; here it is {OTHER_METHODS[name]}" if name in OTHER_METHODS else ""


def check_keywords(given: Iterable[str], known: Iterable[str]) -> None:
    """Raises InputError for the first name that is not known: what is meant, or the nearest."""
    names = list(known)
    for name in given:
        if name in names:
            continue
        if name in OTHER_WORDS:
            remedy = f"here it is {OTHER_WORDS[name]}"
        else:
            import difflib

            near = difflib.get_close_matches(name, names, 1)
            remedy = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}"
        raise InputError(f"there is no keyword {name!r}; {remedy}")


def read_source(given: Mapping[str, Any]) -> SourceDict:
    """The keyword arguments of a call that takes nothing else. Raises InputError."""
    check_keywords(given, sorted(SOURCE_WORDS))
    return cast(SourceDict, given)


def split_segment(given: Mapping[str, Any]) -> tuple[SourceDict, SegmentSettings]:
    """What `segment` was given beside the prompt: how the photo is read, and the settings.

    Raises InputError for a name that nobody knows, or a value out of range.
    """
    source, rest = split_source(given)
    check_keywords(rest, [*_SEGMENT_NAMES, *sorted(_SEGMENT_WORDS), *sorted(SOURCE_WORDS)])
    return source, SegmentSettings(**rest)


def split_source(given: Mapping[str, Any]) -> tuple[SourceDict, dict[str, Any]]:
    """How the photo is read, and the rest."""
    source = {name: value for name, value in given.items() if name in SOURCE_WORDS}
    rest = {name: value for name, value in given.items() if name not in SOURCE_WORDS}
    return cast(SourceDict, source), rest
