"""The keyword arguments of `Model`: what a caller gave in; how photos are read and settings out."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, TypedDict, cast

from numpy.typing import ArrayLike

from anymask.predictors.settings import SegmentSettings, SegmentSettingsDict
from anymask.primitives.keywords import check_keywords


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
PROMPT_WORDS = ("points", "labels", "box", "boxes", "mask", "prompts")
_SEGMENT_WORDS = tuple(SegmentSettingsDict.__optional_keys__)

_PREDICTOR = "segment(photo, points=...); segment-anything's own: anymask.sam.SamPredictor(model)"
_LOAD = 'anymask.load(name, device="cuda")'
OTHER_METHODS = {
    "set_image": "embed(photo), then segment(embedding, ...); segment-anything's own: "
    "anymask.sam.SamPredictor(model)",
    "predict": _PREDICTOR,
    "predict_torch": _PREDICTOR,
    "generate": "everything(photo); segment-anything's own: "
    "anymask.sam.SamAutomaticMaskGenerator(model)",
    "to": _LOAD,
    "cpu": _LOAD,
    "cuda": _LOAD,
    "half": 'anymask.load(name, precision="fp16")',
    "eval": "nothing: a model is always ready to answer",
    "add_new_points_or_box": "track(video), then its session's prompts",
    "propagate_in_video": "track(video), then its session's masks",
}


NOT_CALLED = (
    "a Model is not called itself, for there are two questions to ask: model.segment(photo, "
    "points=[(x, y)]) or box=(x0, y0, x1, y1) for one object, model.everything(photo) for all "
    "masks; segment-anything's own: anymask.sam"
)


def no_method(name: str) -> str:
    """What to tell of a method that a Model lacks: also what to call here instead of it."""
    here = f"; here it is {OTHER_METHODS[name]}" if name in OTHER_METHODS else ""
    return f"a Model has no {name!r}{here}"


def read_source(given: Mapping[str, Any], also: Collection[str] = ()) -> SourceDict:
    """The keyword arguments of a call that takes nothing else. Raises InputError.

    also  the arguments that it has beside these, for the hint
    """
    check_keywords(given, [*also, *sorted(SOURCE_WORDS)])
    return cast(SourceDict, given)


def split_segment(
    given: Mapping[str, Any], also: Collection[str] = ()
) -> tuple[SourceDict, SegmentSettings]:
    """What a call was given beside the prompt: how the photo is read, and the settings.

    also  the arguments that the call has beside these, for the hint

    Raises InputError for a name that nobody knows, or a value out of range.
    """
    source, rest = split_source(given)
    check_keywords(rest, [*also, *sorted(_SEGMENT_WORDS), *sorted(SOURCE_WORDS)])
    return source, SegmentSettings(**rest)


def split_source(given: Mapping[str, Any]) -> tuple[SourceDict, dict[str, Any]]:
    """How the photo is read, and the rest."""
    source = {name: value for name, value in given.items() if name in SOURCE_WORDS}
    rest = {name: value for name, value in given.items() if name not in SOURCE_WORDS}
    return cast(SourceDict, source), rest
