"""Metrics and confidence intervals: boundary IoU, number of clicks, bootstrap means.

The IoU itself is `masks.iou`. Letters: H W the image, N masks, C clicks, I images.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from anymask.base import BoolArray, Floats, IntArray, brief
from anymask.masks import iou

NAN = float("nan")
RESAMPLES = 1000
RIM_SHARE = 0.02  # width of a rim, relative to the image diagonal


@dataclass(frozen=True)
class Mean:
    """Mean and its 95 % interval (percentile bootstrap); all NaN without values."""

    value: float
    low: float
    high: float


@brief
@dataclass(frozen=True, eq=False)
class Shares:
    """Contributions of images to a ratio: a dataset's value is sum(top) / sum(bottom)."""

    top: Floats  # Numerators, (I,)
    bottom: Floats  # Denominators, (I,)
    # Weight of each image. Over several datasets, top and bottom are first divided by the total
    # count, so that each dataset has the same weight. For a plain mean, count is bottom.
    count: Floats


def boundary_iou(
    prediction: BoolArray,
    truth: BoolArray,
    ignore: BoolArray | None = None,
    share: float = RIM_SHARE,
) -> float:
    """Boundary IoU: IoU of the rims of two masks, without the pixels of `ignore`.

    It measures how well the outline fits, independent of the mask's size (Cheng et al., CVPR 2021).
    The image border counts as a mask border, as in the authors' code.

    Args:
        share: Width of the rim relative to the image diagonal; at least one pixel.
    """
    width = max(1, round(share * float(np.hypot(*truth.shape))))
    return iou(inner_rim(prediction, width), inner_rim(truth, width), ignore)


def inner_rim(mask: BoolArray, width: int) -> BoolArray:  # (H, W) -> (H, W)
    """Return the mask's pixels within `width` rows and columns of a pixel outside."""
    padded = np.pad(mask.astype(np.uint8), 1)
    core = cv2.erode(
        padded, np.ones((3, 3), np.uint8), iterations=width, borderType=cv2.BORDER_CONSTANT,
        borderValue=0,
    )  # fmt: skip
    return np.asarray(mask & (core[1:-1, 1:-1] == 0))


def clicks_needed(ious: Floats, threshold: float) -> IntArray:  # (N, C) -> (N,)
    """NoC: the first click, from 1, whose IoU is at least `threshold`, or C if there is none.

    As in Sofiiuk et al. (RITM, arXiv 2102.06583), masks that never reach it count as C clicks.
    """
    reached = ious >= threshold
    return np.where(reached.any(axis=1), reached.argmax(axis=1) + 1, ious.shape[1])


def cluster_mean(values: Floats, clusters: IntArray) -> Mean:  # (N,), (N,) -> Mean
    """Mean of all values, with an interval that resamples whole clusters (images).

    Masks of one image share lighting, scale and annotator, so resampling single masks would make
    the interval too narrow.
    """
    return mean_of_means([(values, clusters)])


def mean_of_means(groups: list[tuple[Floats, IntArray]]) -> Mean:
    """Mean over groups (datasets) of their means, with clusters resampled inside each group."""
    return mean_of_shares([sum_by_image(image, values) for values, image in groups])


def sum_by_image(image: IntArray, top: Floats, bottom: Floats | None = None) -> Shares:
    """Sum the values (N,) of masks by image; `image` (N,) is the image of each mask.

    Args:
        bottom: (N,) denominators of the ratio. Defaults to 1, which gives the mean of `top`.
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
    """Ratio over datasets, with images resampled inside each; NaN if there are no values."""
    keeps = [(shares, shares.count > 0) for shares in sets]
    filled = [
        Shares(shares.top[keep], shares.bottom[keep], shares.count[keep])
        for shares, keep in keeps
        if keep.any()
    ]
    if not filled:
        return Mean(NAN, NAN, NAN)
    with np.errstate(divide="ignore", invalid="ignore"):
        tops, bottoms = (sum(part) for part in zip(*map(_resample, filled), strict=True))
        draws = tops / bottoms
        top = sum(shares.top.sum() / shares.count.sum() for shares in filled)
        bottom = sum(shares.bottom.sum() / shares.count.sum() for shares in filled)
        value = float(np.float64(top) / np.float64(bottom))
    finite = draws[np.isfinite(draws)]
    if not len(finite) or not np.isfinite(value):
        return Mean(NAN, NAN, NAN)
    low, high = np.quantile(finite, (0.025, 0.975))
    return Mean(value, float(low), float(high))


def _resample(shares: Shares) -> tuple[Floats, Floats]:  # -> (R,), (R,)
    """Return top and bottom of each resample, divided by its count."""
    draws = draw_images(len(shares.count))
    counts = draws @ shares.count
    return (draws @ shares.top) / counts, (draws @ shares.bottom) / counts


def draw_images(images: int) -> IntArray:  # -> (R, I)
    """Return how often each image occurs in each of RESAMPLES fixed bootstrap resamples."""
    rng = np.random.default_rng(0)
    return rng.multinomial(images, np.full(images, 1 / images), size=RESAMPLES)
