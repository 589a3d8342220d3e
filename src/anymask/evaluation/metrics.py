"""Metrics: masks and scores in, boundary IoU, clicks needed, means and their intervals out.

The IoU itself is `masks.iou`. Letters: H W the photo, N masks, C clicks, I images.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from anymask.base import BoolArray, Floats, IntArray, brief
from anymask.masks import iou

NAN = float("nan")
RESAMPLES = 1000
RIM_SHARE = 0.02  # of the diagonal: the width of a rim


@dataclass(frozen=True)
class Mean:
    """A mean and its 95 % interval (percentile bootstrap); all NaN when nothing was measured."""

    value: float
    low: float
    high: float


@brief
@dataclass(frozen=True, eq=False)
class Shares:
    """What each photo gives to a ratio, (I,) each: the value of a set is sum(top) / sum(bottom).

    Attributes:
        count: How much the photo weighs in a set; over several sets, top and bottom are first
            divided by their set's count, so that a set counts as one whatever its size. Where
            the value is a plain mean, count is bottom.
    """

    top: Floats
    bottom: Floats
    count: Floats


def boundary_iou(
    prediction: BoolArray,
    truth: BoolArray,
    ignore: BoolArray | None = None,
    share: float = RIM_SHARE,
) -> float:
    """Boundary IoU: the IoU of the two masks' rims, without the pixels of `ignore`.

    How well the outline fits, whatever the mask's size (Cheng et al., CVPR 2021). The border of the
    photo counts as a border of the mask, as in the authors' code.

    Args:
        share: The rim's width as a share of the diagonal; at least one pixel wide.
    """
    width = max(1, round(share * float(np.hypot(*truth.shape))))
    return iou(inner_rim(prediction, width), inner_rim(truth, width), ignore)


def inner_rim(mask: BoolArray, width: int) -> BoolArray:  # (H, W) -> (H, W)
    """The mask's pixels with a pixel outside it within `width` rows and columns."""
    padded = np.pad(mask.astype(np.uint8), 1)
    core = cv2.erode(
        padded, np.ones((3, 3), np.uint8), iterations=width, borderType=cv2.BORDER_CONSTANT,
        borderValue=0,
    )  # fmt: skip
    rim: BoolArray = mask & (core[1:-1, 1:-1] == 0)
    return rim


def clicks_needed(ious: Floats, threshold: float) -> IntArray:  # (N, C) -> (N,)
    """NoC: the first click, from 1, whose IoU is at least `threshold`; C where none is.

    As Sofiiuk et al. (RITM, arXiv 2102.06583) count: a mask that never gets there costs all C.
    """
    reached = ious >= threshold
    first = reached.argmax(axis=1) + 1
    needed: IntArray = np.where(reached.any(axis=1), first, ious.shape[1])
    return needed


def cluster_mean(values: Floats, clusters: IntArray) -> Mean:  # (N,), (N,) -> Mean
    """The mean of all values; the interval resamples whole clusters (images), not values.

    Masks of one photo share its light, its scale and its annotator: drawing them one by one would
    make the interval too narrow.
    """
    return mean_of_means([(values, clusters)])


def mean_of_means(groups: list[tuple[Floats, IntArray]]) -> Mean:
    """The mean over groups (sets) of each group's mean, clusters resampled inside each group."""
    return mean_of_shares([sum_by_photo(image, values) for values, image in groups])


def sum_by_photo(image: IntArray, top: Floats, bottom: Floats | None = None) -> Shares:
    """The shares of photos from values (N,) of masks; `image` (N,) says whose they are.

    Args:
        bottom: (N,) of the ratio; without it the ratio is the mean of `top`.
    """
    _, member = np.unique(image, return_inverse=True)
    count = np.bincount(member).astype(np.float64)
    sums = [
        np.bincount(member, weights=values).astype(np.float64) if len(member) else count
        for values in (top, bottom)
        if values is not None
    ]
    return Shares(sums[0], sums[1] if bottom is not None else count, count)


def mean_of_shares(sets: list[Shares]) -> Mean:
    """The ratio over sets, photos resampled inside each set; NaN where no photo has a share."""
    filled = [_pick_photos(one, one.count > 0) for one in sets if (one.count > 0).any()]
    if not filled:
        return Mean(NAN, NAN, NAN)
    with np.errstate(divide="ignore", invalid="ignore"):
        tops, bottoms = (sum(part) for part in zip(*map(_resample, filled), strict=True))
        draws = tops / bottoms
        top = sum(one.top.sum() / one.count.sum() for one in filled)
        bottom = sum(one.bottom.sum() / one.count.sum() for one in filled)
        value = float(np.float64(top) / np.float64(bottom))
    known = draws[np.isfinite(draws)]
    if not len(known) or not np.isfinite(value):
        return Mean(NAN, NAN, NAN)
    low, high = np.quantile(known, (0.025, 0.975))
    return Mean(value, float(low), float(high))


def _pick_photos(shares: Shares, keep: BoolArray) -> Shares:
    return Shares(shares.top[keep], shares.bottom[keep], shares.count[keep])


def _resample(shares: Shares) -> tuple[Floats, Floats]:  # -> (R,), (R,)
    """Top and bottom of each draw of photos, divided by the count of the draw."""
    draws = draw_photos(len(shares.count))
    counts = draws @ shares.count
    return (draws @ shares.top) / counts, (draws @ shares.bottom) / counts


def draw_photos(photos: int) -> IntArray:  # -> (R, I)
    """How often each photo is in each of RESAMPLES draws with replacement; always the same ones."""
    even = np.full(photos, 1 / photos)
    return np.random.default_rng(0).multinomial(photos, even, size=RESAMPLES)
