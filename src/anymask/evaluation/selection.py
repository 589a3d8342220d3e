"""Selection of the masks of a dataset that are evaluated.

Letters: N masks.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal

import numpy as np

from anymask.base import (
    BoolArray,
    InputError,
    IntArray,
    Setting,
    UintImage,
    brief,
    describe_settings,
)
from anymask.evaluation.protocols import Segmenter, TruthMask
from anymask.formats import AnnotatedImage, ReadSettings, SetInfo
from anymask.masks import rle_area, rle_to_mask

DEFAULT_MEASURES = ("clicks", "box")


def _parse_limit(text: str) -> int | None:
    """Parse a whole number, or "all" as None. Raises InputError."""
    if text == "all":
        return None
    if text.isdecimal() and int(text):
        return int(text)
    raise InputError(f'Invalid number {text!r}. Use a whole number of at least 1, or "all".')


@describe_settings
@dataclass(frozen=True, kw_only=True)
class EvalSettings:
    """Settings of an evaluation run. Raises InputError for values out of range."""

    clicks: Annotated[int, Setting("clicks per mask", ge=1, metavar="K")] = 3
    min_area: Annotated[
        int, Setting("area in pixels below which masks are reported separately")
    ] = 64
    limit: Annotated[
        int | None, Setting("maximum number of masks per set", ge=1, default="all", metavar="N")
    ] = None
    per_image: Annotated[
        int | None, Setting("maximum number of masks per image", ge=1, default="all", metavar="N")
    ] = None
    slow: Annotated[
        int | None,
        Setting(
            "maximum number of masks per set for slow methods, or \"all\"",
            ge=1, option="--slow-limit", metavar="N", parse=_parse_limit,
        ),
    ] = 100  # fmt: skip
    grid: Annotated[
        int,
        Setting(
            "points per side of the grid for automatic mask generation (Segment Anything uses 64)",
            ge=1,
            metavar="N",
        ),
    ] = 16
    crop_n_layers: Annotated[
        int,
        Setting(
            "number of crop layers for automatic mask generation; layer n adds 2^n x 2^n "
            "crops, each with the same grid",
            le=6, metavar="N",
        ),
    ] = 0  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class SetPlan:
    """Evaluation plan of one dataset."""

    name: str  # Name of the dataset
    groups: tuple[str, ...] = ()  # Groups whose means include it
    measures: tuple[str, ...] = DEFAULT_MEASURES  # Names of `measures.MEASURES`
    # For images with several annotators: masks of the "first", or "all"
    annotators: Literal["first", "all"] = "first"


@brief
@dataclass(frozen=True)
class EvalSet:
    """Dataset with its plan."""

    plan: SetPlan  # Evaluation plan
    info: SetInfo  # Description of the dataset
    samples: list[AnnotatedImage]  # Annotated images
    # Handling of invalid records. None raises an error for the first one.
    reading: ReadSettings | None = None


@dataclass(frozen=True)
class ChosenMasks:
    """Selected masks of a dataset, (N,) each."""

    image: IntArray  # Index of the image
    mask: IntArray  # Index of the mask in the image
    area: IntArray  # Area in pixels
    rank: IntArray  # Rank in the random selection; a limit of n selects ranks below n


def choose_masks(
    plan: SetPlan,
    samples: Sequence[AnnotatedImage],
    limit: int | None = None,
    per_image: int | None = None,
) -> ChosenMasks:
    """Select at most `per_image` masks of each image and `limit` masks of the dataset.

    Empty masks are excluded. The selection is random but reproducible, and a smaller limit selects
    a subset of that of a larger one.
    """
    rng = np.random.default_rng(zlib.crc32(plan.name.encode()))
    rows: list[tuple[int, int, int]] = []
    for image, sample in enumerate(samples):
        masks = [
            (image, mask, area)
            for mask, rle in enumerate(sample.rles)
            if (area := rle_area(rle)) and _counts(plan, sample, mask)
        ]
        order = rng.permutation(len(masks))
        rows += [masks[n] for n in sorted(order[:per_image])]
    rank = rng.permutation(len(rows)).tolist()
    drawn = [
        (*row, position)
        for row, position in zip(rows, rank, strict=True)
        if limit is None or position < limit
    ]
    return ChosenMasks(*np.array(drawn, np.int64).reshape(-1, 4).T)


def _counts(plan: SetPlan, sample: AnnotatedImage, mask: int) -> bool:
    """Return whether the masks of this annotator are evaluated."""
    who = sample.objects[mask].annotator
    if plan.annotators == "all" or who is None:
        return True
    return who == min(record.annotator for record in sample.objects if record.annotator is not None)


@brief
@dataclass(frozen=True, eq=False)
class EvalImage:
    """Image of a dataset with selected masks."""

    place: int  # Index of the image in the dataset
    sample: AnnotatedImage  # Annotated image
    masks: IntArray  # (N,) indices of selected masks in `sample.objects`

    @cached_property
    def image(self) -> UintImage:
        """(H, W, 3) pixels, loaded on first use."""
        return self.sample.image()

    @cached_property
    def ignore(self) -> BoolArray | None:
        """(H, W) ignored pixels."""
        return None if self.sample.ignore is None else rle_to_mask(self.sample.ignore)

    def truths(self, some: IntArray | None = None) -> list[TruthMask]:
        """Return the selected masks, or `some` of them by index in `sample.objects`."""
        masks = self.masks if some is None else some
        return [TruthMask(rle_to_mask(self.sample.rles[int(n)]), self.ignore) for n in masks]


def mask_limit(method: Segmenter, settings: EvalSettings) -> float:
    """Return the maximum number of masks of a dataset for this method."""
    slow = getattr(method, "slow", False)
    return settings.slow if slow and settings.slow is not None else math.inf
