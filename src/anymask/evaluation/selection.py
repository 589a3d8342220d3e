"""Which masks of a set are measured: a plan and limits in, the chosen masks photo by photo out.

Letters: N masks.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal

import numpy as np

from anymask.base import (
    BoolArray,
    InputError,
    IntArray,
    OnProgress,
    Setting,
    UintImage,
    brief,
    check_settings,
    describe_settings,
)
from anymask.evaluation.protocols import NotMeasured, Segmenter, TruthMask
from anymask.formats import AnnotatedImage, ReadSettings, SetInfo
from anymask.masks import rle_area, rle_to_mask

DEFAULT_MEASURES = ("clicks", "box")

Annotators = Literal["first", "all"]


def _parse_limit(text: str) -> int | None:
    """A whole number, or None for `all`. Raises InputError."""
    if text == "all":
        return None
    if text.isdecimal() and int(text):
        return int(text)
    raise InputError(f'Invalid number {text!r}. Use a whole number of at least 1, or "all".')


@describe_settings
@dataclass(frozen=True, kw_only=True)
class EvalSettings:
    """What holds for a whole run. Raises InputError for values out of range."""

    clicks: Annotated[int, Setting("clicks per mask", least=1, form="K")] = 3
    min_area: Annotated[
        int, Setting("area in pixels below which masks are reported separately")
    ] = 64
    limit: Annotated[
        int | None, Setting("maximum number of masks per set", least=1, default="all", form="N")
    ] = None
    per_image: Annotated[
        int | None, Setting("maximum number of masks per image", least=1, default="all", form="N")
    ] = None
    slow: Annotated[
        int | None,
        Setting(
            "maximum number of masks per set for slow methods, or \"all\"",
            least=1, option="--slow-limit", form="N", parse=_parse_limit,
        ),
    ] = 100  # fmt: skip
    grid: Annotated[
        int,
        Setting(
            "points per side of the grid for automatic mask generation (Segment Anything uses 64)",
            least=1,
            form="N",
        ),
    ] = 16
    crop_n_layers: Annotated[
        int,
        Setting(
            "number of crop layers for automatic mask generation; layer n adds 2^n x 2^n "
            "crops, each with the same grid",
            most=6, form="N",
        ),
    ] = 0  # fmt: skip

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True, kw_only=True)
class SetPlan:
    """How one set is measured.

    Attributes:
        name: Its folder under the data folder.
        groups: The means that it belongs to.
        measures: What is measured: names of `measures.MEASURES`.
        annotators: Where several people drew a photo: the first one's masks, or all.
        layout: How its publisher laid it out; "set" for a set of our own.
        folder: Where it lies under the data folder; "" means `name`.
        split: Which part is measured; None leaves it to the layout.
    """

    name: str
    groups: tuple[str, ...] = ()
    measures: tuple[str, ...] = DEFAULT_MEASURES
    annotators: Annotators = "first"
    layout: str = "set"
    folder: str = ""
    split: str | None = None

    @property
    def place(self) -> str:
        """Where it lies under the data folder."""
        return self.folder or self.name


@brief
@dataclass(frozen=True)
class EvalSet:
    """A plan and what was read for it.

    Attributes:
        reading: How invalid records are read; None: the first one is an error.
    """

    plan: SetPlan
    info: SetInfo
    samples: list[AnnotatedImage]
    reading: ReadSettings | None = None


@dataclass(frozen=True)
class ChosenMasks:
    """The masks of a set that are measured, (N,) each.

    Attributes:
        image: Index of the photo.
        mask: Index among the photo's masks.
        area: Pixels.
        rank: Place in the draw: those below n are what a limit of n draws.
    """

    image: IntArray
    mask: IntArray
    area: IntArray
    rank: IntArray


def choose_masks(
    plan: SetPlan,
    samples: Sequence[AnnotatedImage],
    limit: int | None = None,
    per_image: int | None = None,
) -> ChosenMasks:
    """The masks to measure: at most `per_image` of a photo and `limit` of the set.

    Masks without a pixel are left out. A limit draws at random but the same ones every time, and a
    smaller limit draws a part of what a larger one draws.
    """
    rng = np.random.default_rng(zlib.crc32(plan.name.encode()))
    rows: list[tuple[int, int, int]] = []
    for image, sample in enumerate(samples):
        found = [
            (image, mask, area)
            for mask, rle in enumerate(sample.rles)
            if (area := rle_area(rle)) and _counts(plan, sample, mask)
        ]
        order = rng.permutation(len(found))
        rows += [found[n] for n in sorted(order[:per_image])]
    rank = rng.permutation(len(rows))
    drawn = [(*row, int(place)) for row, place in zip(rows, rank, strict=True)]
    if limit is not None:
        drawn = [row for row in drawn if row[3] < limit]
    table = np.array(drawn, np.int64).reshape(-1, 4)
    return ChosenMasks(*table.T)


def _counts(plan: SetPlan, sample: AnnotatedImage, mask: int) -> bool:
    """Whether this annotator's masks are measured."""
    who = sample.objects[mask].annotator
    if plan.annotators == "all" or who is None:
        return True
    return who == min(one.annotator for one in sample.objects if one.annotator is not None)


@brief
@dataclass(frozen=True, eq=False)
class EvalPhoto:
    """One photo of a set and some of its masks.

    Attributes:
        place: Its index in the set.
        sample: What the set says of it.
        masks: (N,) indices of the masks that are asked for, in `sample.objects`.
    """

    place: int
    sample: AnnotatedImage
    masks: IntArray

    @cached_property
    def image(self) -> UintImage:
        """(H, W, 3), opened when first looked at."""
        return self.sample.image()

    @cached_property
    def ignore(self) -> BoolArray | None:
        """(H, W) pixels that do not count."""
        return None if self.sample.ignore is None else rle_to_mask(self.sample.ignore)

    def truths(self, some: IntArray | None = None) -> list[TruthMask]:
        """The masks, or `some` of them by their indices in `sample.objects`."""
        masks = self.masks if some is None else some
        return [TruthMask(rle_to_mask(self.sample.rles[int(n)]), self.ignore) for n in masks]


def mask_limit(method: Segmenter, settings: EvalSettings) -> float:
    """How many masks of a set this method is asked for."""
    slow = getattr(method, "slow", False)
    return settings.slow if slow and settings.slow is not None else math.inf


def iterate_photos(
    method: Segmenter, one: EvalSet, settings: EvalSettings, told: OnProgress | None = None
) -> Iterator[EvalPhoto]:
    """The photos with masks that count: the run's limits, and none that is too small.

    Raises NotMeasured when no mask is left.

    Args:
        told: Called with the photos done and in all.
    """
    chosen = choose_masks(one.plan, one.samples, settings.limit, settings.per_image)
    keep = (chosen.area >= settings.min_area) & (chosen.rank < mask_limit(method, settings))
    places = np.unique(chosen.image[keep])
    if not len(places):
        raise NotMeasured(f"{one.plan.name} has no mask of at least {settings.min_area} pixels.")
    for done, place in enumerate(places, start=1):
        masks = chosen.mask[keep & (chosen.image == place)]
        yield EvalPhoto(int(place), one.samples[int(place)], masks)
        if told:
            told(done, len(places))
