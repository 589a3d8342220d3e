"""Worst cases: the scores of a method in, small pictures of truth and answer out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from anymask.base import BoolArray, UintImage
from anymask.evaluation.pages import jpeg_bytes
from anymask.evaluation.protocols import Segmenter, tight_box
from anymask.evaluation.report import SetScores
from anymask.evaluation.selection import EvalPhoto, EvalSet
from anymask.masks import Prompt, centre_click, contours, iou

TRUTH, ANSWER = (40, 200, 80), (240, 60, 180)
PICTURE_SIDE = 220
PICTURE_MARGIN = 0.35  # of the object's longer side, around object and answer
JPEG_QUALITY = 80
SHOWN_PROMPTS = ("1 click", "box")


@dataclass(frozen=True)
class CasePicture:
    """One case as a JPEG, and the words below it."""

    jpeg: bytes
    caption: str


def draw_worst_cases(
    method: Segmenter, one: EvalSet, scores: SetScores, min_area: int, count: int = 3
) -> list[CasePicture]:
    """The `count` lowest scores of a set by one click, and by the box, asked for again.

    Of one photo only its worst mask is shown.
    """
    return [
        _draw_case(method, one, scores, row, way)
        for way in SHOWN_PROMPTS
        for row in _find_lowest(scores, method.spec.name, way, min_area, count)
    ]


def _find_lowest(scores: SetScores, method: str, way: str, min_area: int, count: int) -> list[int]:
    values = scores.values(method, way)
    if values is None:
        return []
    photos: dict[int, int] = {}
    for row in np.argsort(values, kind="stable"):
        if scores.area[row] >= min_area and not np.isnan(values[row]):
            photos.setdefault(int(scores.image[row]), int(row))
    return list(photos.values())[:count]


def _draw_case(
    method: Segmenter, one: EvalSet, scores: SetScores, row: int, way: str
) -> CasePicture:
    place, mask = int(scores.image[row]), int(scores.mask[row])
    photo = EvalPhoto(place, one.samples[place], scores.mask[row : row + 1])
    (truth,) = photo.truths()
    clicks = way == "1 click"
    prompt = (
        Prompt.of(points=[centre_click(truth.mask)])
        if clicks
        else Prompt(box=tight_box(truth.mask))
    )
    embedding = method.encode(photo.image)
    (answer,) = method.segment(embedding, prompts=[prompt], multimask=clicks)
    found = answer.masks[0]
    points = [(round(x), round(y)) for x, y in np.asarray(prompt.points)] if clicks else []
    fit = iou(found, truth.mask, truth.ignore)
    name = photo.sample.name
    label = photo.sample.objects[mask].label
    return CasePicture(
        _case_to_jpeg(photo.image, truth.mask, found, points),
        f"{way}: IoU {fit:.2f}, {name}, mask {mask}{f' ({label})' if label else ''}",
    )


def _case_to_jpeg(
    image: UintImage, truth: BoolArray, found: BoolArray, clicks: Sequence[tuple[int, int]]
) -> bytes:
    """The photo around the object, PICTURE_SIDE pixels long, with both outlines and the click."""
    x0, y0, x1, y1 = tight_box(truth)
    room = PICTURE_MARGIN * max(x1 - x0, y1 - y0) + 8
    left, top = (max(int(v - room), 0) for v in (x0, y0))
    window = (slice(top, int(y1 + room)), slice(left, int(x1 + room)))
    part = image[window]
    scale = PICTURE_SIDE / max(part.shape[:2])
    size = (max(round(part.shape[1] * scale), 1), max(round(part.shape[0] * scale), 1))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    small = np.asarray(cv2.resize(part, size, interpolation=way), np.uint8)
    both = [
        cv2.resize(mask[window].astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
        for mask in (truth, found)
    ]
    drawn = contours(small, np.stack(both), palette=[TRUTH, ANSWER], width=2)
    for x, y in clicks:
        at = (round((x + 0.5 - left) * scale), round((y + 0.5 - top) * scale))
        cv2.circle(drawn, at, 4, (255, 255, 255), cv2.FILLED, cv2.LINE_AA)
        cv2.circle(drawn, at, 3, (220, 30, 30), cv2.FILLED, cv2.LINE_AA)
    return jpeg_bytes(drawn, JPEG_QUALITY)
