"""Baselines without a learned model: a photo and a prompt in, a mask (or edges) out.

    grabcut            OpenCV's GrabCut (Rother et al. 2004), from the box or from clicks
    filled box         the box itself
    flood              flood fill from the clicks, by colour
    superpixel         the Felzenszwalb region under the click
    sobel, canny       the grey gradient, and Canny at all thresholds, for edges

The superpixel needs scikit-image, and is skipped without. Each is a `Segmenter`, so it is asked and
scored exactly like a model. Letters: H W the photo, N prompts.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from anymask.base import BoolArray, UintImage
from anymask.evaluation import FromFunction
from anymask.evaluation.protocols import BOX_KINDS, CLICK, CLICK_KINDS, Segmenter
from anymask.masks import Prompt
from research.paper.edges import EDGE_BASELINES

GRABCUT_ROUNDS = 5
GRABCUT_CLICK_SIDE = 320  # a click's GrabCut looks at the whole photo: half a second at 1024 px
FLOOD_TOLERANCE = 20
SEED_SHARE = 0.01


@dataclass(frozen=True)
class Baselines:
    """Those that can run here, and why the others cannot."""

    methods: tuple[Segmenter, ...]
    skipped: tuple[tuple[str, str], ...]


def list_baselines() -> Baselines:
    """All that can run with what is installed."""
    methods: list[Segmenter] = [
        *EDGE_BASELINES,
        FromFunction("grabcut", BOX_KINDS, grabcut_box, slow=True),
        FromFunction("filled box", BOX_KINDS, filled_box),
        # Without the JPEG noise that would stop a flood at every block
        FromFunction(
            "flood",
            CLICK_KINDS,
            flood_clicks,
            lambda image: np.asarray(cv2.GaussianBlur(image, (5, 5), 0), np.uint8),
        ),
        FromFunction("grabcut click", CLICK_KINDS, grabcut_clicks, slow=True),
    ]
    if find_spec("skimage"):
        methods.append(FromFunction("superpixel", CLICK, superpixel_click, _segment_image))
        return Baselines(tuple(methods), ())
    reason = "scikit-image is not installed (pip install scikit-image)"
    return Baselines(tuple(methods), (("superpixel", reason),))


# --- from a box


def filled_box(image: UintImage, prompt: Prompt) -> BoolArray:  # (H, W, 3) -> (H, W)
    """Every pixel whose centre lies in the box."""
    mask = np.zeros(image.shape[:2], np.bool_)
    x0, y0, x1, y1 = np.round(np.asarray(prompt.box)).astype(int).clip(0)
    mask[y0:y1, x0:x1] = True
    return mask


def grabcut_box(image: UintImage, prompt: Prompt) -> BoolArray:  # (H, W, 3) -> (H, W)
    """GrabCut on the whole photo: outside the box is background for sure, inside may be either."""
    inside = filled_box(image, prompt)
    hints = np.where(inside, cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
    if inside.all():  # the colour models need some background: take the photo's frame
        hints[0], hints[-1], hints[:, 0], hints[:, -1] = (cv2.GC_BGD,) * 4
    return _grabcut(image, hints)


# --- from clicks


def grabcut_clicks(image: UintImage, prompt: Prompt) -> BoolArray:  # (H, W, 3) -> (H, W)
    """GrabCut from discs: the clicked ones are sure, a tenth of the photo around may be object.

    Works on the photo scaled down to GRABCUT_CLICK_SIDE.
    """
    height, width = image.shape[:2]
    shrink = min(1.0, GRABCUT_CLICK_SIDE / max(height, width))
    small = cv2.resize(image, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    hints = np.full(small.shape[:2], cv2.GC_PR_BGD, np.uint8)
    side = min(small.shape[:2])
    seed, reach = max(1, round(SEED_SHARE * side)), max(2, round(side / 10))
    clicks = [(round(x * shrink), round(y * shrink), label) for x, y, label in _clicks(prompt)]
    for x, y, label in clicks:
        if label:
            cv2.circle(hints, (x, y), reach, int(cv2.GC_PR_FGD), cv2.FILLED)
    for x, y, label in clicks:
        cv2.circle(hints, (x, y), seed, int(cv2.GC_FGD if label else cv2.GC_BGD), cv2.FILLED)
    mask = _grabcut(np.ascontiguousarray(small), hints).astype(np.uint8)
    return cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST) > 0


def flood_clicks(image: UintImage, prompt: Prompt) -> BoolArray:  # (H, W, 3) -> (H, W)
    """Colours within FLOOD_TOLERANCE of a clicked one and joined to it; negative clicks last."""
    mask = np.zeros(image.shape[:2], np.bool_)
    for x, y, label in sorted(_clicks(prompt), key=lambda click: -click[2]):
        height, width = image.shape[:2]
        rim = np.zeros((height + 2, width + 2), np.uint8)
        flags = 4 | (1 << 8) | cv2.FLOODFILL_MASK_ONLY | cv2.FLOODFILL_FIXED_RANGE
        tolerance = (FLOOD_TOLERANCE,) * 3
        cv2.floodFill(image.copy(), rim, (x, y), (0, 0, 0), tolerance, tolerance, flags)
        mask[rim[1:-1, 1:-1] > 0] = bool(label)
    return mask


def superpixel_click(regions: NDArray[Any], prompt: Prompt) -> BoolArray:  # (H, W) -> (H, W)
    """The region under the last positive click."""
    x, y, _ = [click for click in _clicks(prompt) if click[2]][-1]
    inside: BoolArray = regions == regions[y, x]
    return inside


def _segment_image(image: UintImage) -> NDArray[Any]:  # (H, W, 3) -> (H, W)
    """Felzenszwalb and Huttenlocher's graph regions (IJCV 2004), coarse enough to be objects."""
    from skimage.segmentation import felzenszwalb

    regions: NDArray[Any] = felzenszwalb(image, scale=300, sigma=0.8, min_size=64)
    return regions


# --- shared


def _grabcut(image: UintImage, hints: NDArray[np.uint8]) -> BoolArray:
    """GrabCut from a map of hints; the possible object where its colour models cannot be made."""
    possible = _object(hints)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)  # it starts with k-means
    try:
        cv2.grabCut(image, hints, (0, 0, 1, 1), *models, GRABCUT_ROUNDS, cv2.GC_INIT_WITH_MASK)
    except cv2.error:  # fewer pixels of one kind than a mixture has colours
        return possible
    return _object(hints)


def _object(hints: NDArray[np.uint8]) -> BoolArray:
    found: BoolArray = (hints == cv2.GC_FGD) | (hints == cv2.GC_PR_FGD)
    return found


def _clicks(prompt: Prompt) -> list[tuple[int, int, int]]:
    """(x, y, label) of every click."""
    if prompt.points is None:
        return []
    points = np.asarray(prompt.points)
    labels = np.ones(len(points), int) if prompt.labels is None else np.asarray(prompt.labels)
    pairs = zip(points, labels, strict=True)
    return [(int(point[0]), int(point[1]), int(label)) for point, label in pairs]
