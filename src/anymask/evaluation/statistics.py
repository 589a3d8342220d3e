"""Statistics of a data set: annotated images in, counts and histograms of their masks out.

The quantities are those by which the Segment Anything paper describes SA-1B (section 5, figures 5
and 6; groups: section 6).

Everything is counted into fixed bins as the pictures go by, so memory does not grow with the data.
Crowds and pixels that do not count are counted apart and measured nowhere.

Letters: B bins, N masks of a picture, G the side of the map of centres.
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
    MaskShape,
    Origin,
    Rle,
    measure_shape,
    pairwise_box_iou,
    rle_area,
    rle_box_xywh,
    rle_iou,
    rle_merge,
)

COCO_SIZES = (32**2, 96**2)  # pixels: below the first small, below the second medium, else large
DUPLICATE_IOU = 0.95
CENTRE_SIDE = 32
SIZE_BINS = 20  # of the relative size, to compare concavities at equal sizes
PER_IMAGE_BINS = (0, 1, 11, 51, 101, 201)  # the first of each; the paper's, and none apart

GroupOf = Callable[[AnnotatedImage, Mask], str | None]


@brief
@dataclass
class Histogram:
    """A histogram that grows, with its exact mean and extremes.

    Attributes:
        edges: (B + 1,); values outside count in the first or the last bin.
        counts: (B,).
    """

    edges: Floats
    counts: IntArray = field(init=False)
    n: int = 0
    total: float = 0.0
    least: float = np.inf
    most: float = -np.inf

    def __post_init__(self) -> None:
        self.counts = np.zeros(len(self.edges) - 1, np.int64)

    def add(self, values: ArrayLike) -> None:
        """Count values of any shape."""
        flat = np.asarray(values, np.float64).reshape(-1)
        if not len(flat):
            return
        last = len(self.counts) - 1
        bins = np.clip(np.searchsorted(self.edges, flat, side="right") - 1, 0, last)
        self.counts += np.bincount(bins, minlength=last + 1)
        self.n += len(flat)
        self.total += float(flat.sum())
        self.least, self.most = (
            min(self.least, float(flat.min())),
            max(self.most, float(flat.max())),
        )

    @property
    def mean(self) -> float:
        """NaN where nothing was counted."""
        return self.total / self.n if self.n else float("nan")

    def quantile(self, q: float) -> float:
        """About the value with a share q below it, right to a bin. NaN where there is none."""
        if not self.n:
            return float("nan")
        below = np.concatenate([[0], np.cumsum(self.counts)])
        value = float(np.interp(q * self.n, below, self.edges))
        return min(max(value, self.least), self.most)

    @property
    def shares(self) -> Floats:
        """(B,) of all values, 0 where nothing was counted."""
        shares: Floats = self.counts / max(self.n, 1)
        return shares


def _unit_histogram() -> Histogram:
    return Histogram(np.linspace(0, 1, 101))


def _power_edges(least: float, most: float, count: int) -> Floats:
    powers: Floats = 10.0 ** np.linspace(least, most, count)
    return powers


def _count_histogram(most: int) -> Callable[[], Histogram]:
    return lambda: Histogram(np.arange(most + 2, dtype=np.float64) - 0.5)


@dataclass
class GroupCount:
    """One group's share: pictures with it, masks, their relative sizes."""

    images: int = 0
    masks: int = 0
    size: Histogram = field(default_factory=_unit_histogram)


@brief
@dataclass(kw_only=True)
class SetStatistics:
    """Everything that was counted of one data set.

    Attributes:
        per_image: Masks of a picture.
        megapixels: Of a picture.
        coverage: Share of a picture's pixels that some mask covers.
        overlap: Share of its covered pixels that a second mask covers as well, 0 without a
            mask.
        size: Square root of mask area over picture area (the paper's relative mask size).
        concavity: 1 - area / area of the convex hull.
        aspect: Binary logarithm of the box's width over its height.
        parts: Of a mask.
        holes: Of a mask.
        centres: (G, G) masks by the place of their centre, rows down, over the picture's size.
        concave_by_size: (SIZE_BINS, B) the concavity's histogram at each relative size.
        coco_sizes: Small, medium, large.
        origins: Masks by the model that made them, where the data set says so.
        pairs: Pairs of masks of one picture with an IoU over DUPLICATE_IOU.
    """

    name: str
    form: str = ""
    images: int = 0
    bare: int = 0
    masks: int = 0
    empty: int = 0
    crowds: int = 0
    pairs: int = 0
    paired_images: int = 0
    per_image: Histogram = field(default_factory=_count_histogram(5000))
    megapixels: Histogram = field(default_factory=lambda: Histogram(_power_edges(-4, 4, 161)))
    width: Histogram = field(default_factory=lambda: Histogram(_power_edges(0, 5, 501)))
    height: Histogram = field(default_factory=lambda: Histogram(_power_edges(0, 5, 501)))
    coverage: Histogram = field(default_factory=_unit_histogram)
    overlap: Histogram = field(default_factory=_unit_histogram)
    size: Histogram = field(default_factory=_unit_histogram)
    concavity: Histogram = field(default_factory=_unit_histogram)
    aspect: Histogram = field(default_factory=lambda: Histogram(np.linspace(-5, 5, 101)))
    parts: Histogram = field(default_factory=_count_histogram(100))
    holes: Histogram = field(default_factory=_count_histogram(100))
    centres: IntArray = field(
        default_factory=lambda: np.zeros((CENTRE_SIDE, CENTRE_SIDE), np.int64)
    )
    concave_by_size: IntArray = field(default_factory=lambda: np.zeros((SIZE_BINS, 100), np.int64))
    coco_sizes: IntArray = field(default_factory=lambda: np.zeros(3, np.int64))
    labels: Counter[str] = field(default_factory=Counter)
    origins: Counter[Origin] = field(default_factory=Counter)
    groups: dict[str, GroupCount] = field(default_factory=dict)
    unread: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def per_image_bins(self) -> IntArray:
        """Pictures with none, 1-10, 11-50, 51-100, 101-200 and more masks."""
        bins: IntArray = np.add.reduceat(self.per_image.counts, PER_IMAGE_BINS)
        return bins


def collect_statistics(
    images: Iterable[AnnotatedImage], name: str, group_of: GroupOf | None = None
) -> SetStatistics:
    """Count a data set, picture by picture.

    Args:
        group_of: The group of a mask, None for none; no groups are counted when left out.
    """
    found = SetStatistics(name=name)
    for image in images:
        _count_image(found, image, group_of)
    return found


def _count_image(found: SetStatistics, image: AnnotatedImage, group_of: GroupOf | None) -> None:
    height, width = image.hw
    masks = [mask for mask in image.masks if not mask.crowd]
    found.images += 1
    found.crowds += len(image.masks) - len(masks)
    found.masks += len(masks)
    found.bare += not masks
    found.per_image.add(len(masks))
    found.megapixels.add(height * width / 1e6)
    found.width.add(width)
    found.height.add(height)
    found.origins.update(mask.origin for mask in masks if mask.origin is not None)
    found.labels.update(mask.label for mask in masks if mask.label is not None)
    shapes = [measure_shape(mask.rle) for mask in masks]
    filled = [shape for shape in shapes if shape.area]
    found.empty += len(masks) - len(filled)
    if filled:
        _count_shapes(found, filled, image.hw)
    _count_overlaps(found, [m.rle for m, s in zip(masks, shapes, strict=True) if s.area], filled)
    if group_of is not None:
        _count_groups(found, image, zip(masks, shapes, strict=True), group_of)


def _count_shapes(found: SetStatistics, shapes: list[MaskShape], hw: tuple[int, int]) -> None:
    height, width = hw
    areas = np.array([shape.area for shape in shapes])
    sizes = np.sqrt(areas / (height * width))
    concavities = np.array([shape.concavity for shape in shapes])
    boxes = np.array([shape.box for shape in shapes])
    found.size.add(sizes)
    found.concavity.add(concavities)
    found.aspect.add(np.log2((boxes[:, 2] - boxes[:, 0]) / (boxes[:, 3] - boxes[:, 1])))
    found.parts.add([shape.parts for shape in shapes])
    found.holes.add([shape.holes for shape in shapes])
    found.coco_sizes += np.bincount(np.searchsorted(COCO_SIZES, areas, side="right"), minlength=3)
    centres = np.array([shape.centre for shape in shapes]) / (width, height)
    x, y = np.clip((centres * CENTRE_SIDE).astype(np.int64), 0, CENTRE_SIDE - 1).T
    np.add.at(found.centres, (y, x), 1)
    rows = np.clip((sizes * SIZE_BINS).astype(np.int64), 0, SIZE_BINS - 1)
    bins = found.concave_by_size.shape[1]
    columns = np.clip((concavities * bins).astype(np.int64), 0, bins - 1)
    np.add.at(found.concave_by_size, (rows, columns), 1)


def _count_overlaps(found: SetStatistics, rles: list[Rle], shapes: list[MaskShape]) -> None:
    covered, twice = 0, 0
    if rles:
        covered = rle_area(rle_merge(rles))
        twice = sum(shape.area for shape in shapes) - covered
        height, width = rles[0].size
        found.overlap.add(min(twice / covered, 1))
        found.coverage.add(covered / (height * width))
    else:
        found.coverage.add(0)
    pairs = find_duplicates(rles)
    found.pairs += len(pairs)
    found.paired_images += bool(len(pairs))


def _count_groups(
    found: SetStatistics,
    image: AnnotatedImage,
    masks: Iterable[tuple[Mask, MaskShape]],
    group_of: GroupOf,
) -> None:
    height, width = image.hw
    seen = set()
    for mask, shape in masks:
        name = group_of(image, mask)
        if name is None:
            continue
        group = found.groups.setdefault(name, GroupCount())
        group.masks += 1
        group.images += name not in seen
        seen.add(name)
        if shape.area:
            group.size.add(np.sqrt(shape.area / (height * width)))


def find_duplicates(
    rles: list[Rle], threshold: float = DUPLICATE_IOU
) -> NDArray[np.int64]:  # N -> (P, 2)
    """Pairs of masks of one picture with an IoU over `threshold`, the earlier one first.

    Only pairs whose areas and boxes allow it are compared.
    """
    if len(rles) < 2:
        return np.zeros((0, 2), np.int64)
    boxes = np.array([_box(rle) for rle in rles], np.float64)
    areas = np.array([rle_area(rle) for rle in rles], np.float64)
    least, most = np.minimum.outer(areas, areas), np.maximum.outer(areas, areas)
    possible = (least > threshold * most) & (pairwise_box_iou(boxes, boxes) > 0)
    first, second = np.nonzero(np.triu(possible, 1))
    found = [
        (one, int(other))
        for one in np.unique(first).tolist()
        for other in second[first == one]
        if rle_iou([rles[one]], [rles[int(other)]])[0, 0] > threshold
    ]
    return np.array(found, np.int64).reshape(-1, 2)


def _box(rle: Rle) -> tuple[float, float, float, float]:
    """The box in pixel borders; zeros when empty."""
    x, y, width, height = rle_box_xywh(rle)
    return (x, y, x + width, y + height)


def reweight_concavity(sets: list[SetStatistics]) -> list[Floats]:  # -> (B,) each
    """Concavity histograms as if all sets had the same mix of relative sizes.

    Complex shapes are mostly large, so sets of different sizes do not compare: the paper draws the
    same number of masks of each size from every set. Here each set's histogram at a size is
    weighted by the mean share of that size, over the sizes at which every set has masks.
    """
    tables = [found.concave_by_size for found in sets]
    at_size = np.array([table.sum(axis=1) for table in tables], np.float64)
    there = (at_size > 0).all(axis=0)
    shares = (at_size / np.maximum(at_size.sum(axis=1, keepdims=True), 1)).mean(axis=0) * there
    shares = shares / max(shares.sum(), 1e-12)
    return [
        (table * (shares / np.maximum(rows, 1))[:, None]).sum(axis=0)
        for table, rows in zip(tables, at_size, strict=True)
    ]
