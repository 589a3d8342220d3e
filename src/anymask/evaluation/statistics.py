"""Statistics of a dataset: counts and histograms of its masks.

The quantities are those by which the Segment Anything paper describes SA-1B (section 5, figures 5
and 6; groups: section 6).

All values are counted in fixed bins, so memory use does not depend on the size of the dataset.
Crowds and ignored pixels are counted separately and not measured.

Letters: B bins, N masks of an image, G the side of the map of centers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anymask.base import Floats, IntArray, brief
from anymask.formats import AnnotatedImage
from anymask.masks import (
    Mask,
    Origin,
    Rle,
    measure,
    pairwise_box_iou,
    rle_area,
    rle_box_xywh,
    rle_iou,
    rle_merge,
)

COCO_SIZES = (32**2, 96**2)  # upper limits in pixels of small and medium
DUPLICATE_IOU = 0.95
CENTER_SIDE = 32
SIZE_BINS = 20  # bins of the relative size, to compare concavities at equal sizes
PER_IMAGE_BINS = (0, 1, 11, 51, 101, 201)  # start of each bin; those of the paper, and none

GroupOf = Callable[[AnnotatedImage, Mask], str | None]


@brief
@dataclass
class Histogram:
    """Incremental histogram with exact mean, minimum and maximum."""

    edges: Floats  # (B + 1,) edges; values outside count in the first or the last bin
    counts: IntArray = field(init=False)  # (B,) counts
    n: int = 0
    total: float = 0.0
    least: float = np.inf
    most: float = -np.inf

    def __post_init__(self) -> None:
        self.counts = np.zeros(len(self.edges) - 1, np.int64)

    def add(self, values: ArrayLike) -> None:
        """Add values of any shape."""
        flat = np.asarray(values, np.float64).reshape(-1)
        if not len(flat):
            return
        last = len(self.counts) - 1
        bins = np.clip(np.searchsorted(self.edges, flat, side="right") - 1, 0, last)
        self.counts += np.bincount(bins, minlength=last + 1)
        self.n += len(flat)
        self.total += float(flat.sum())
        self.least = min(self.least, float(flat.min()))
        self.most = max(self.most, float(flat.max()))

    @property
    def mean(self) -> float:
        """Mean; NaN without values."""
        return self.total / self.n if self.n else float("nan")

    def quantile(self, q: float) -> float:
        """Approximate quantile q, up to a bin width. NaN without values."""
        if not self.n:
            return float("nan")
        below = np.concatenate([[0], np.cumsum(self.counts)])
        value = float(np.interp(q * self.n, below, self.edges))
        return min(max(value, self.least), self.most)

    @property
    def shares(self) -> Floats:
        """(B,) fraction of all values in each bin, 0 without values."""
        return np.asarray(self.counts / max(self.n, 1))


def _unit_histogram() -> Histogram:
    return Histogram(np.linspace(0, 1, 101))


def _count_histogram(most: int) -> Callable[[], Histogram]:
    return lambda: Histogram(np.arange(most + 2, dtype=np.float64) - 0.5)


@dataclass
class GroupCount:
    """Counts of one group: images with it, masks, their relative sizes."""

    images: int = 0
    masks: int = 0
    size: Histogram = field(default_factory=_unit_histogram)


@brief
@dataclass(kw_only=True)
class SetStatistics:
    """Statistics of one dataset."""

    name: str
    format: str = ""
    images: int = 0
    bare: int = 0
    masks: int = 0
    empty: int = 0
    crowds: int = 0
    pairs: int = 0  # Pairs of masks of one image with an IoU above DUPLICATE_IOU
    paired_images: int = 0
    # Number of masks per image
    per_image: Histogram = field(default_factory=_count_histogram(5000))
    # Image size
    megapixels: Histogram = field(default_factory=lambda: Histogram(np.logspace(-4, 4, 161)))
    width: Histogram = field(default_factory=lambda: Histogram(np.logspace(0, 5, 501)))
    height: Histogram = field(default_factory=lambda: Histogram(np.logspace(0, 5, 501)))
    # Fraction of an image's pixels covered by any mask
    coverage: Histogram = field(default_factory=_unit_histogram)
    # Fraction of the covered pixels that a second mask covers as well, 0 without masks
    overlap: Histogram = field(default_factory=_unit_histogram)
    # Square root of mask area over image area (the paper's relative mask size)
    size: Histogram = field(default_factory=_unit_histogram)
    # 1 - area / area of the convex hull
    concavity: Histogram = field(default_factory=_unit_histogram)
    # Binary logarithm of width over height of the box
    aspect: Histogram = field(default_factory=lambda: Histogram(np.linspace(-5, 5, 101)))
    parts: Histogram = field(default_factory=_count_histogram(100))  # Number of parts of a mask
    holes: Histogram = field(default_factory=_count_histogram(100))  # Number of holes of a mask
    # (G, G) number of masks by relative position of their center, rows down
    centers: IntArray = field(
        default_factory=lambda: np.zeros((CENTER_SIDE, CENTER_SIDE), np.int64)
    )
    # (SIZE_BINS, B) histogram of the concavity at each relative size
    concave_by_size: IntArray = field(default_factory=lambda: np.zeros((SIZE_BINS, 100), np.int64))
    # Number of small, medium and large masks
    coco_sizes: IntArray = field(default_factory=lambda: np.zeros(3, np.int64))
    labels: Counter[str] = field(default_factory=Counter)
    # Number of masks by the model that created them, if declared
    origins: Counter[Origin] = field(default_factory=Counter)
    groups: dict[str, GroupCount] = field(default_factory=dict)
    unread: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def per_image_bins(self) -> IntArray:
        """Return the number of images with 0, 1-10, 11-50, 51-100, 101-200 and more masks."""
        return np.asarray(np.add.reduceat(self.per_image.counts, PER_IMAGE_BINS))


def collect_statistics(
    images: Iterable[AnnotatedImage], name: str, group_of: GroupOf | None = None
) -> SetStatistics:
    """Count the masks of a dataset.

    Args:
        group_of: Function that returns the group of a mask, or None. Omit it to count no groups.
    """
    counts = SetStatistics(name=name)
    for image in images:
        height, width = image.hw
        masks = [mask for mask in image.masks if not mask.crowd]
        counts.images += 1
        counts.crowds += len(image.masks) - len(masks)
        counts.masks += len(masks)
        counts.bare += not masks
        counts.per_image.add(len(masks))
        counts.megapixels.add(height * width / 1e6)
        counts.width.add(width)
        counts.height.add(height)
        counts.origins.update(mask.origin for mask in masks if mask.origin is not None)
        counts.labels.update(mask.label for mask in masks if mask.label is not None)
        shapes = [measure.measure_shape(mask.rle) for mask in masks]
        filled = [shape for shape in shapes if shape.area]
        counts.empty += len(masks) - len(filled)
        if filled:
            areas = np.array([shape.area for shape in filled])
            sizes = np.sqrt(areas / (height * width))
            concavities = np.array([shape.concavity for shape in filled])
            boxes = np.array([shape.box for shape in filled])
            counts.size.add(sizes)
            counts.concavity.add(concavities)
            counts.aspect.add(np.log2((boxes[:, 2] - boxes[:, 0]) / (boxes[:, 3] - boxes[:, 1])))
            counts.parts.add([shape.parts for shape in filled])
            counts.holes.add([shape.holes for shape in filled])
            classes = np.searchsorted(COCO_SIZES, areas, side="right")
            counts.coco_sizes += np.bincount(classes, minlength=3)
            centers = np.array([shape.center for shape in filled]) / (width, height)
            x, y = np.clip((centers * CENTER_SIDE).astype(np.int64), 0, CENTER_SIDE - 1).T
            np.add.at(counts.centers, (y, x), 1)
            rows = np.clip((sizes * SIZE_BINS).astype(np.int64), 0, SIZE_BINS - 1)
            bins = counts.concave_by_size.shape[1]
            columns = np.clip((concavities * bins).astype(np.int64), 0, bins - 1)
            np.add.at(counts.concave_by_size, (rows, columns), 1)

        rles = [m.rle for m, s in zip(masks, shapes, strict=True) if s.area]
        covered = rle_area(rle_merge(rles)) if rles else 0
        counts.coverage.add(covered / (height * width))
        if rles:
            twice = sum(shape.area for shape in filled) - covered
            counts.overlap.add(min(twice / covered, 1))
        pairs = find_duplicates(rles)
        counts.pairs += len(pairs)
        counts.paired_images += bool(len(pairs))

        visited = set()
        for mask, shape in zip(masks, shapes, strict=True):
            whose = group_of(image, mask) if group_of else None
            if whose is None:
                continue
            group = counts.groups.setdefault(whose, GroupCount())
            group.masks += 1
            group.images += whose not in visited
            visited.add(whose)
            if shape.area:
                group.size.add(np.sqrt(shape.area / (height * width)))
    return counts


def find_duplicates(
    rles: list[Rle], threshold: float = DUPLICATE_IOU
) -> NDArray[np.int64]:  # N -> (P, 2)
    """Find pairs of masks of one image with an IoU above `threshold`, the earlier one first.

    Only pairs whose areas and boxes allow it are compared.
    """
    if len(rles) < 2:
        return np.zeros((0, 2), np.int64)
    boxes = np.array([rle_box_xywh(rle) for rle in rles], np.float64)
    boxes[:, 2:] += boxes[:, :2]
    areas = np.array([rle_area(rle) for rle in rles], np.float64)
    least, most = np.minimum.outer(areas, areas), np.maximum.outer(areas, areas)
    possible = (least > threshold * most) & (pairwise_box_iou(boxes, boxes) > 0)
    first, second = np.nonzero(np.triu(possible, 1))
    pairs = [
        (one, int(other))
        for one in np.unique(first).tolist()
        for other in second[first == one]
        if rle_iou([rles[one]], [rles[int(other)]])[0, 0] > threshold
    ]
    return np.array(pairs, np.int64).reshape(-1, 2)


def reweight_concavity(sets: list[SetStatistics]) -> list[Floats]:  # -> (B,) each
    """Return concavity histograms for a common distribution of relative sizes.

    Complex shapes are mostly large, so datasets of different sizes are not comparable: the paper
    samples the same number of masks of each size from every dataset. Here the histogram of each
    size is weighted by the mean fraction of that size, over the sizes that occur in every dataset.
    """
    tables = [dataset.concave_by_size for dataset in sets]
    at_size = np.array([table.sum(axis=1) for table in tables], np.float64)
    there = (at_size > 0).all(axis=0)
    shares = (at_size / np.maximum(at_size.sum(axis=1, keepdims=True), 1)).mean(axis=0) * there
    shares = shares / max(shares.sum(), 1e-12)
    return [
        (table * (shares / np.maximum(rows, 1))[:, None]).sum(axis=0)
        for table, rows in zip(tables, at_size, strict=True)
    ]
