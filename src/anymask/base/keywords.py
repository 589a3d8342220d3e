"""Keyword arguments by name: what a call was given in; one clear error for a name that it lacks.

Other tools have other words for the same: segment-anything, transformers, Ultralytics.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import wraps
from inspect import Parameter, isfunction, signature
from typing import Any, TypeVar

from anymask.base.errors import InputError

Called = TypeVar("Called", bound=Callable[..., Any])
Class = TypeVar("Class", bound=type)

# The words of other tools, and what to write here: each begins with our keyword.
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
    "conf": "pred_iou_thresh=, the least quality, or records.filter(min_quality=...)",
    "iou": "mask_nms_thresh=, or records.nms(...)",
    "image_format": "bgr=True for arrays as cv2.imread gives them",
    "points_per_crop": "points_per_side=",
    "min_area": "min_mask_area=",
    "verbose": "progress=True",
    "checkpoint": "weights=, a file",
    "model_type": "name=, as in `anymask models list`",
    "model": "name=, as in `anymask models list`",
    "half": 'precision="fp16"',
}
# Words of theirs that are no keyword of ours.
NO_KEYWORDS = {
    "return_logits": "answer.logits, which is always there",
    "output_mode": "records.to_sa1b(output_mode=...) on the answer",
    "imgsz": 'a part of the name: anymask.load("NAME@640")',
    "text": "no prompt yet; suggest_labels says what a mask may show",
    "texts": "no prompt yet; suggest_labels says what a mask may show",
}
# Who takes a keyword that is often given to another call.
TAKERS = {
    "segment": ("points", "labels", "box", "boxes", "mask", "prompts", "multimask", "zoom"),
    "everything": (
        "mode", "points_per_side", "pred_iou_thresh", "stability_score_thresh", "mask_nms_thresh",
        "min_mask_area", "layout", "tile", "progress",
    ),
    "suggest_labels": ("names", "top"),
    "anymask.load": ("weights", "device", "precision", "runtime", "name"),
}  # fmt: skip


def our_word(other: str) -> str:
    """Our keyword for another tool's word; "" where there is none."""
    return OTHER_WORDS.get(other, "").partition("=")[0]


def check_keywords(given: Iterable[str], known: Collection[str]) -> None:
    """Raises InputError for the first name that is not known: what is meant, or the nearest."""
    for name in given:
        if name not in known:
            raise InputError(f"there is no keyword {name!r}; {_remedy(name, known)}")


def _remedy(name: str, known: Collection[str]) -> str:
    ours = our_word(name) or name
    if ours in known:
        return f"here it is {OTHER_WORDS[name]}"
    if name in NO_KEYWORDS:
        return f"here it is {NO_KEYWORDS[name]}"
    for taker, words in TAKERS.items():
        if ours in words:
            return f"{taker} takes it" + (f", as {OTHER_WORDS[name]}" if ours != name else "")
    near = difflib.get_close_matches(name, known, 1)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"there are {', '.join(known)}" if known else "there are none"


def name_keywords(called: Called) -> Called:
    """The same function; a keyword that it lacks, or that was given twice, is an InputError."""
    taken = signature(called).parameters
    known = [name for name in taken if name not in ("self", "cls")]
    in_order = [name for name, one in taken.items() if one.kind is Parameter.POSITIONAL_OR_KEYWORD]
    open_ended = any(one.kind is Parameter.VAR_KEYWORD for one in taken.values())

    if not known:
        return called

    @wraps(called)
    def checked(*args: Any, **given: Any) -> Any:
        if given:
            _check_call(given, [] if open_ended else known, in_order[: len(args)])
        return called(*args, **given)

    return checked  # type: ignore[return-value]  # it has the signature of what it calls


def _check_call(given: Mapping[str, Any], known: Collection[str], filled: Collection[str]) -> None:
    for name in filled:
        if name in given:
            raise InputError(f"{name} was given twice, by its place and by its name; leave one out")
    if known:
        check_keywords(given, known)


def name_all_keywords(declared: Class) -> Class:
    """The same class; its constructor and its public methods are as by `name_keywords`."""
    for name, member in list(vars(declared).items()):
        if name.startswith("_") and name != "__init__":
            continue
        if isinstance(member, classmethod):
            setattr(declared, name, classmethod(name_keywords(member.__func__)))
        elif isfunction(member):
            setattr(declared, name, name_keywords(member))
    return declared
