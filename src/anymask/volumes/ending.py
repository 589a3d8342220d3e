"""Detect where an object in a scan ends, and stop tracking it there.

Slices are processed as frames, but objects in a scan do not reappear: every mask after the end is
wrong. Video trackers continue with the last mask (over-propagation). Each predicted mask is
therefore compared with the previous masks of the object:

- Area: compared with the median area of the last accepted slices.
- Contrast: mean gray value inside minus that of a ring around the mask. It is compared with the
  last prompted slice, if the object stands out there, and with the last accepted slice, because
  contrast can fade slowly within an object, in thick slices or far from a coil.
- Mean gray value: compared with the last accepted slice, if the contrast changes as much, because a
  whole slice can be brighter than the previous one.

A rejected slice is empty and is not added to the memory. END_SLICES consecutive rejected slices end
the object. The first of them and its reason are reported.

Letters: H W a slice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, Literal

import cv2
import numpy as np

from anymask.base import BoolArray, UintImage, brief
from anymask.masks import Prompt, Rle, empty_rle, rle_to_mask
from anymask.track import FramePrediction, StateArrays, Tracker, TrackMoment

END_SLICES = 2  # number of consecutive rejected slices that end an object
MIN_AREA = 0.15  # minimum area, relative to the median of the last areas
MIN_CONTRAST = 0.5  # minimum contrast, relative to the prompted slice, unless it fades slowly
MIN_FADING = 0.4  # minimum contrast of slow fading, relative to the last accepted slice
MIN_FADED_CONTRAST = 0.2  # minimum contrast of slow fading, relative to the prompted slice
MIN_PROMPTED_CONTRAST = 1.0  # to evaluate it, in standard deviations of the inside
GRAY_JUMP = 1.5  # maximum change of mean and contrast, in standard deviations of the inside
MIN_DEVIATION = 6.0  # lower limit of the standard deviation, of 255
RING_WIDTH = 0.35  # ring width, relative to the radius of a disk with the area of the mask
PAST_AREAS = 5  # number of previous areas to keep


@dataclass(frozen=True)
class MaskStatistics:
    """Statistics of a mask on its slice: area, mean inside and around it, deviation inside."""

    area: int
    inside: float
    around: float
    deviation: float

    @property
    def contrast(self) -> float:
        """Mean gray value inside minus that around."""
        return self.inside - self.around


EndReason = Literal["empty", "area", "contrast", "grey"]
END_REASONS: tuple[EndReason, ...] = ("empty", "area", "contrast", "grey")


@brief
@dataclass(frozen=True)
class FailedSlice:
    """First of consecutive rejected slices: its index, the reason, and the remaining share of the
    area or contrast."""

    slice: int
    reason: EndReason
    left: float = 0.0

    def describe(self) -> str:
        """Reason, as the end of a sentence."""
        return {
            "empty": "no mask was found",
            "area": f"the area is {self.left:.0%} of the previous area",
            "contrast": f"the contrast is {self.left:.0%} of the contrast on the prompted slice",
            "grey": "the gray value changes abruptly",
        }[self.reason]


@brief
@dataclass(frozen=True)
class Past:
    """History of an object: statistics on the prompted slice, last areas, mean and contrast on the
    last accepted slice, number of consecutive rejected slices, and the first of them."""

    prompted: MaskStatistics
    areas: tuple[int, ...]
    inside: float
    contrast: float
    failed: int = 0
    first: FailedSlice | None = None


@dataclass(frozen=True, eq=False)
class EncodedSlice:
    """Frame encoded by the inner tracker, and the grayscale slice (H, W)."""

    inner: Any
    gray: UintImage


@dataclass(frozen=True, eq=False)
class SliceState:
    """State, or for one slice the memory data, of the inner tracker, and the object's history."""

    inner: Any
    past: Past


def measure_mask(mask: BoolArray, gray: UintImage) -> MaskStatistics:  # (H, W), (H, W)
    """Gray value statistics of a mask and the ring around it; zeros for an empty mask."""
    if not (area := int(mask.sum())):
        return MaskStatistics(0, 0.0, 0.0, 0.0)
    width = max(2, round(RING_WIDTH * np.sqrt(area / np.pi)))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * width + 1, 2 * width + 1))
    pixels = mask.view(np.uint8)
    square = np.ones((3, 3), np.uint8)  # border pixels are mixed
    ring = (cv2.dilate(pixels, kernel) > 0) & (cv2.dilate(pixels, square) == 0)
    core = cv2.erode(pixels, square) > 0
    core = core if core.any() else mask
    values = gray[core].astype(np.float64)
    around = float(gray[ring].mean()) if ring.any() else float(values.mean())
    return MaskStatistics(area, float(values.mean()), around, float(values.std()))


class EndingTracker:
    """Tracker that detects the end of objects; see the module. It wraps another tracker."""

    def __init__(self, inner: Tracker) -> None:
        self._inner = inner
        self.name = f"volume:{inner.name}"  # not the inner name: the states are incompatible

    def encode_frame(self, image: UintImage, gray: UintImage) -> EncodedSlice:
        return EncodedSlice(
            self._inner.encode_frame(image, gray), np.ascontiguousarray(image[..., 0])
        )

    def answer(
        self, features: EncodedSlice, prompt: Prompt, earlier: Rle | None
    ) -> FramePrediction:
        return self._inner.answer(features.inner, prompt, earlier)

    def begin(
        self,
        features: EncodedSlice,
        at: TrackMoment,
        prediction: FramePrediction,
        known: SliceState | None,
    ) -> SliceState:
        before = None if known is None else known.inner
        statistics = measure_mask(rle_to_mask(prediction.rle), features.gray)
        state = self._inner.begin(features.inner, at, prediction, before)
        return SliceState(
            state, Past(statistics, (statistics.area,), statistics.inside, statistics.contrast)
        )

    def track(
        self, features: EncodedSlice, at: TrackMoment, states: Sequence[SliceState]
    ) -> list[FramePrediction]:
        """Predict masks. Objects that have ended are not tracked."""
        alive = [index for index, state in enumerate(states) if state.past.failed < END_SLICES]
        inside = [states[index].inner for index in alive]
        predictions = self._inner.track(features.inner, at, inside) if alive else []
        answers = dict(zip(alive, predictions, strict=True))
        nothing = empty_rle((features.gray.shape[0], features.gray.shape[1]))
        judged = []
        for index, state in enumerate(states):
            prediction = answers.get(index)
            if prediction is None:
                judged.append(FramePrediction(nothing, 0.0, 0.0, SliceState(None, state.past)))
                continue
            statistics = measure_mask(rle_to_mask(prediction.rle), features.gray)
            past = judge(state.past, statistics, at.frame)
            updated = replace(prediction, soft=SliceState(prediction.soft, past))
            judged.append(replace(updated, rle=nothing, score=0.0) if past.failed else updated)
        return judged

    def remember(
        self,
        features: EncodedSlice,
        at: TrackMoment,
        state: SliceState,
        prediction: FramePrediction,
        sure: bool,
    ) -> SliceState:
        """Update a state. Nothing of a rejected slice is stored, not even the mask position."""
        judged: SliceState = prediction.soft
        if judged.past.failed:
            return replace(state, past=judged.past)
        inner = replace(prediction, soft=judged.inner)
        after = self._inner.remember(features.inner, at, state.inner, inner, sure)
        return SliceState(after, judged.past)

    def pack(self, state: SliceState) -> StateArrays:
        statistics, past = state.past.prompted, state.past
        grays = statistics.inside, statistics.around, statistics.deviation
        numbers = [statistics.area, *grays, past.inside, past.failed, *past.areas]
        end = [past.contrast]
        if past.first is not None:
            end += [past.first.slice, END_REASONS.index(past.first.reason), past.first.left]
        return {
            **self._inner.pack(state.inner),
            "volume_past": np.array(numbers, np.float64),
            "volume_end": np.array(end, np.float64),
        }

    def unpack(self, arrays: StateArrays) -> SliceState:
        inner = {name: array for name, array in arrays.items() if not name.startswith("volume_")}
        area, *grays, inside, failed = arrays["volume_past"][:6].tolist()
        areas = tuple(int(value) for value in arrays["volume_past"][6:])
        prompted, first = MaskStatistics(int(area), *grays), None
        contrast, *end = arrays.get("volume_end", np.array([prompted.contrast])).tolist()
        if end:
            first = FailedSlice(int(end[0]), END_REASONS[int(end[1])], end[2])
        past = Past(prompted, areas, inside, contrast, int(failed), first)
        return SliceState(self._inner.unpack(inner), past)


def judge(past: Past, statistics: MaskStatistics, number: int) -> Past:
    """Update the history with a mask on slice `number`."""
    if failure := _failure(past, statistics, number):
        return replace(past, failed=past.failed + 1, first=past.first or failure)
    areas = (*past.areas[-(PAST_AREAS - 1) :], statistics.area)
    return replace(
        past,
        areas=areas,
        inside=statistics.inside,
        contrast=statistics.contrast,
        failed=0,
        first=None,
    )


def _failure(past: Past, statistics: MaskStatistics, number: int) -> FailedSlice | None:
    """Reason to reject a mask: empty, small, low contrast or a sudden change of gray values."""
    if statistics.area == 0:
        return FailedSlice(number, "empty")
    if (left := statistics.area / median(past.areas)) < MIN_AREA:
        return FailedSlice(number, "area", left)
    prompted = past.prompted
    deviation = max(prompted.deviation, MIN_DEVIATION)
    jumps = abs(statistics.inside - past.inside), abs(statistics.contrast - past.contrast)
    if min(jumps) > GRAY_JUMP * deviation:
        return FailedSlice(number, "grey")
    if abs(prompted.contrast) < MIN_PROMPTED_CONTRAST * deviation:
        return None
    left = statistics.contrast / prompted.contrast
    slowly = left >= MIN_FADED_CONTRAST and statistics.contrast / past.contrast >= MIN_FADING
    return None if left >= MIN_CONTRAST or slowly else FailedSlice(number, "contrast", max(left, 0))
