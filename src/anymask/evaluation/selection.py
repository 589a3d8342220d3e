"""What is asked of a method on one set, photo by photo: the photo, opened once, and its masks.

Letters: N masks of a photo.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from anymask.data.sets import Sample
from anymask.evaluation.baselines import FromFunction
from anymask.evaluation.protocols import Segmenter, Truth
from anymask.evaluation.set_results import NotMeasured
from anymask.evaluation.suite import EvalSet, Settings, choose_masks
from anymask.primitives.rle import rle_to_mask
from anymask.primitives.types import BoolArray, IntArray, UintImage

CHUNK = 64  # prompts in one decode: enough to be fast, few enough for big masks


@dataclass(frozen=True, eq=False)
class Photo:
    """One photo of a set and some of its masks.

    place   its index in the set
    sample  what the set says of it
    masks   (N,) indices of the masks that are asked for
    """

    place: int
    sample: Sample
    masks: IntArray

    @cached_property
    def image(self) -> UintImage:
        """(H, W, 3), opened when first looked at."""
        return self.sample.image()

    @cached_property
    def ignore(self) -> BoolArray | None:
        """(H, W) pixels that do not count."""
        return None if self.sample.ignore is None else rle_to_mask(self.sample.ignore)

    def truths(self, some: IntArray | None = None) -> list[Truth]:
        """The masks, or `some` of them by their indices in the sample."""
        masks = self.masks if some is None else some
        return [Truth(rle_to_mask(self.sample.masks[int(n)]), self.ignore) for n in masks]


def mask_limit(method: Segmenter, settings: Settings) -> float:
    """How many masks of a set this method is asked for."""
    slow = isinstance(method, FromFunction) and method.slow
    return settings.slow if slow and settings.slow is not None else math.inf


def asked_photos(
    method: Segmenter,
    one: EvalSet,
    settings: Settings,
    told: Callable[[int, int], None] | None = None,
) -> Iterator[Photo]:
    """The photos with masks that count: the run's limits, and none that is too small.

    told  called with the photos done and in all

    Raises NotMeasured when no mask is left.
    """
    chosen = choose_masks(one.plan, one.samples, settings.limit, settings.per_image)
    keep = (chosen.area >= settings.min_area) & (chosen.rank < mask_limit(method, settings))
    places = np.unique(chosen.image[keep])
    if not len(places):
        raise NotMeasured(f"{one.plan.name} has no mask of {settings.min_area} pixels or more")
    for done, place in enumerate(places, start=1):
        masks = chosen.mask[keep & (chosen.image == place)]
        yield Photo(int(place), one.samples[int(place)], masks)
        if told:
            told(done, len(places))
