"""Binary masks (H, W): overlap, stability, small regions, suppression.

Minimum region sizes are given in pixels or as a share of the mask:

    50             pixels of the image
    0.05, "5%"     share of the mask's area
    0              no minimum

Letters: H W the image, h w logits, N M masks. Regions are 8-connected.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from anymask.base import BoolArray, FloatArray, InputError, IntArray
from anymask.masks.answer import MIN_REGION, Shapes
from anymask.masks.rle import Rle, crop_to_rle, rle_area, rle_box_xyxy, rle_crop, rle_intersection

RegionSize = float | str
CLEAN = f"{MIN_REGION:.0%}"  # default minimum size of holes and islands


@dataclass(frozen=True)
class MinArea:
    """Minimum area of a region."""

    pixels: float = 0.0  # Image pixels, or 0
    share: float = 0.0  # Share of the mask's area, 0..1, or 0. At least one of the two is 0.

    def of(self, area: float) -> float:
        """Minimum area in pixels for a mask of `area` pixels."""
        return self.pixels + self.share * area


def parse_region_size(given: object, name: str) -> MinArea:
    """Parse a minimum region size.

    Raises:
        InputError: The size is invalid. The message has the name of the setting.
    """
    if isinstance(given, str) and given.strip().endswith("%"):
        return MinArea(share=_number(given.strip()[:-1], given, name, below=100) / 100)
    number = _number(given, given, name)
    return MinArea(share=number) if number < 1 else MinArea(pixels=number)


def _number(text: object, given: object, name: str, below: float = math.inf) -> float:
    number = math.nan
    if not isinstance(text, bool) and isinstance(text, Real | str):
        with suppress(ValueError):
            number = float(text)
    if not 0 <= number < below:
        raise InputError(
            f"Invalid {name} {given!r}. Use a number of pixels (1 or more), a share of the mask "
            '(0.05 or "5%", less than "100%") or 0 for none.'
        )
    return number


_EXACT = 1 << 22  # largest count that float32 products represent exactly, with a margin


RegionMode = Literal["holes", "islands"]


def iou(first: BoolArray, second: BoolArray, ignore: BoolArray | None = None) -> float:
    """Intersection over union of two (H, W) masks, without the pixels of `ignore`.

    Two empty masks have an IoU of 1.0. `mask_iou` and `rle_iou`, which compare lists of masks,
    return 0 for them as pycocotools does, so that no empty mask duplicates another.
    """
    common, either = first & second, first | second
    if ignore is not None:
        common &= ~ignore
        either &= ~ignore
    total = int(np.count_nonzero(either))
    return int(np.count_nonzero(common)) / total if total else 1.0


def mask_iou(
    first: NDArray[Any], second: NDArray[Any]
) -> NDArray[np.float64]:  # (N, H, W), (M, H, W) -> (N, M)
    """Intersection over union of every pair; 0 if both are empty (unlike `iou`).

    Raises:
        InputError: The masks differ in size.
    """
    if first.ndim != 3 or second.ndim != 3 or first.shape[1:] != second.shape[1:]:
        raise InputError(
            f"The masks have the shapes {first.shape} and {second.shape}. Pass masks (N, H, W) "
            "and (M, H, W) of the same size."
        )
    areas = (np.count_nonzero(masks, axis=(1, 2)) for masks in (first, second))
    a, b = (
        np.asarray(masks, np.bool_).reshape(len(masks), int(np.prod(first.shape[1:])))
        for masks in (first, second)
    )
    common = np.zeros((len(a), len(b)))
    for start in range(0, a.shape[1], _EXACT):
        part = slice(start, start + _EXACT)
        common += a[:, part].astype(np.float32) @ b[:, part].astype(np.float32).T
    return np.asarray(common / np.maximum(np.add.outer(*areas) - common, 1))


def stability_score(
    logits: NDArray[Any], threshold: float = 0.0, offset: float = 1.0
) -> NDArray[np.float64]:  # (..., h, w) -> (...)
    """IoU of the masks at threshold + offset and threshold - offset; 0 if both are empty.

    From the Segment Anything paper (appendix B), which has NaN if both are empty.
    """
    inner = (logits > threshold + offset).sum(axis=(-2, -1))
    outer = (logits > threshold - offset).sum(axis=(-2, -1))
    return np.asarray(inner / np.maximum(outer, 1), np.float64)


def remove_small_regions(
    mask: NDArray[Any], area: float, mode: RegionMode
) -> tuple[BoolArray, bool]:  # (H, W)
    """Fill background regions ("holes") or drop object regions ("islands") below `area` pixels.

    The rules of segment-anything (utils/amg.py): background that touches the border counts as a
    hole, and the largest island always stays.

    Returns:
        The mask, and whether it changed.
    """
    boolean = np.ascontiguousarray(mask, np.bool_)
    if not boolean.size:
        return boolean, False
    labels, sizes = _regions(~boolean if mode == "holes" else boolean)
    small = sizes < area
    small[0] = False
    if not small.any():
        return boolean, False
    if mode == "islands" and small[1:].all():
        small[1 + int(np.argmax(sizes[1:]))] = False
    return boolean ^ small.take(labels), True


def clean_mask(
    mask: NDArray[Any], max_hole_area: RegionSize = 0, min_island_area: RegionSize = 0
) -> BoolArray:  # (H, W)
    """Fill holes below `max_hole_area`, then drop islands below `min_island_area`.

    Both are pixels or a share of the mask (`parse_region_size`). A hole is enclosed background:
    unlike in `remove_small_regions`, background at the border is not filled. The largest island
    stays.
    """
    boolean = np.ascontiguousarray(mask, np.bool_)
    if not (area := int(np.count_nonzero(boolean))):
        return boolean
    holes = parse_region_size(max_hole_area, "max_hole_area").of(area)
    islands = parse_region_size(min_island_area, "min_island_area").of(area)
    if holes:
        labels, sizes = _regions(~boolean)
        small = sizes < holes
        for outside in (0, labels[0], labels[-1], labels[:, 0], labels[:, -1]):
            small[outside] = False
        boolean = boolean ^ small.take(labels)
    return remove_small_regions(boolean, islands, "islands")[0] if islands else boolean


def _regions(mask: BoolArray) -> tuple[NDArray[np.int32], IntArray]:  # (H, W) -> (H, W), (N,)
    """Region number of each pixel, 0 for the background, and the areas of the regions.

    Three times as fast as `cv2.connectedComponentsWithStats`.
    """
    count, labels = cv2.connectedComponents(mask.view(np.uint8), connectivity=8)
    return np.asarray(labels, np.int32), np.bincount(labels.ravel(), minlength=count)


def mask_nms(
    rles: Sequence[Rle],
    scores: ArrayLike,
    threshold: float,
    share_of: Literal["union", "smaller"] = "union",
    weaker: float = 1.0,
) -> IntArray:
    """Non-maximum suppression by mask overlap: kept indices, best score first.

    Only masks whose boxes and areas permit such an overlap are compared.

    Args:
        rles: N masks.
        scores: Scores (N,). Ties keep their order.
        threshold: Maximum overlap with a kept mask. Two empty masks do not overlap.
        share_of: Denominator of the overlap: the union (IoU) or the area of the smaller mask.
        weaker: Drop a mask only if its score is below this share of the kept mask's score.
            1 to always drop it.
    """
    score = np.asarray(scores, np.float64)
    order = np.argsort(-score, kind="stable")
    boxes = np.array([rle_box_xyxy(rle) for rle in rles], np.int64).reshape(-1, 4)
    areas = np.array([rle_area(rle) for rle in rles], np.int64)
    kept: list[int] = []
    while len(order):
        best, order = int(order[0]), order[1:]
        kept.append(best)
        low = np.maximum(boxes[best, :2], boxes[order, :2])
        high = np.minimum(boxes[best, 2:], boxes[order, 2:])
        shared = np.prod(np.maximum(high - low + 1, 0), axis=1)  # pixels of both boxes
        most = np.minimum(np.minimum(areas[order], areas[best]), shared)
        possible = most / _whole(areas[order], areas[best], most, share_of) > threshold
        if weaker < 1:
            possible &= score[order] < weaker * score[best]
        close = order[possible]
        if not len(close):
            continue
        common = rle_intersection([rles[index] for index in close], [rles[best]])[:, 0]
        whole = _whole(areas[close], areas[best], common, share_of)
        possible[possible] = common / whole > threshold
        order = order[~possible]
    return np.array(kept, np.int64)


def _whole(some: IntArray, one: IntArray, common: IntArray, share_of: str) -> IntArray:
    """Denominator of the overlap, at least 1."""
    return np.maximum(np.minimum(some, one) if share_of == "smaller" else some + one - common, 1)


def _parts(mask: BoolArray, connectivity: int) -> NDArray[Any]:
    return cv2.connectedComponents(mask.view(np.uint8), connectivity=connectivity)[1]


def _depths(mask: BoolArray) -> FloatArray:
    depth = cv2.distanceTransform(np.pad(mask.astype(np.uint8), 1), cv2.DIST_L2, cv2.DIST_MASK_5)
    return depth[1:-1, 1:-1].astype(np.float32, copy=False)


OPENCV = Shapes(_parts, _depths)  # faster equivalents of the functions in `masks.shapes`


def clean_rle(rle: Rle, max_hole_area: RegionSize = 0, min_island_area: RegionSize = 0) -> Rle:
    """`masks.clean_mask` on a run-length encoding, within the mask's box."""
    if len(rle.counts) < 2 or not (max_hole_area or min_island_area):
        return rle
    mask, window = rle_crop(rle, margin=1)
    cleaned = clean_mask(mask, max_hole_area, min_island_area)
    return rle if np.array_equal(cleaned, mask) else crop_to_rle(cleaned, window, rle.size)
