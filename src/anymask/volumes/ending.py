"""Ends of things in a scan: a tracker that lets go of an object where the object is over.

Slices are frames, but a thing in a scan does not hide and come back: where it is over, every mask
after that is wrong. A tracker made for videos carries the last mask on (over-propagation). So each
mask that it finds is compared with what the object was until now:

- its area with the median area of the last slices that were believed;
- its contrast, the mean grey inside less that of a ring around it, with the contrast on the last
  prompted slice, where the object stands out there at all, and with that on the last slice that
  was believed: in thick slices, and away from a coil, it fades slowly while the object goes on;
- its mean grey with that on the last slice that was believed, where its contrast changes as much:
  a whole slice may be brighter than the one before it.

A slice that fails is empty, and nothing is learned from it; GAP of them in a row end the object.
The first of them and the reason are kept for the user.

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

GAP = 2  # slices in a row that end an object
MIN_AREA = 0.15  # of the median of the last areas
MIN_CONTRAST = 0.5  # of that on the prompted slice, unless it fades slowly
SLOWLY = 0.6  # of the contrast on the slice before, down to
FAINTEST = 0.2  # of that on the prompted slice
STANDS_OUT = 1.0  # contrast in standard deviations of the grey inside, from which on it counts
GREY_JUMP = 1.5  # of the mean grey and of the contrast, in deviations of the grey inside
MIN_DEVIATION = 6.0  # of 255: of greys without noise
RING = 0.35  # the ring's width, in radii of a disc of the mask's area
LAST = 5  # areas that are remembered


@dataclass(frozen=True)
class Look:
    """What a mask holds on its slice: pixels, mean grey inside and around, deviation inside."""

    area: int
    inside: float
    around: float
    deviation: float

    @property
    def contrast(self) -> float:
        """Grey inside less that around."""
        return self.inside - self.around


EndReason = Literal["empty", "area", "contrast", "grey"]
REASONS: tuple[EndReason, ...] = ("empty", "area", "contrast", "grey")


@brief
@dataclass(frozen=True)
class FailedSlice:
    """The first of some slices in a row that failed: its number, why, and the share of the area
    or the contrast that was left."""

    slice: int
    reason: EndReason
    left: float = 0.0

    def in_words(self) -> str:
        """Why, as the rest of a sentence."""
        return {
            "empty": "no mask was found",
            "area": f"the area is {self.left:.0%} of the previous area",
            "contrast": f"the contrast is {self.left:.0%} of the contrast on the prompted slice",
            "grey": "the gray value changes abruptly",
        }[self.reason]


@brief
@dataclass(frozen=True)
class Past:
    """What an object was until now: its look on the prompted slice, areas on the last slices, mean
    grey and contrast on the last one; slices in a row that failed, and the first of them."""

    prompted: Look
    areas: tuple[int, ...]
    inside: float
    contrast: float
    failed: int = 0
    first: FailedSlice | None = None

    @property
    def ended(self) -> bool:
        """Whether the object is over."""
        return self.failed >= GAP


@dataclass(frozen=True, eq=False)
class SeenSlice:
    """What the tracker inside sees, and the slice in grey (H, W)."""

    inner: Any
    grey: UintImage


@dataclass(frozen=True, eq=False)
class FollowedState:
    """The state of the tracker inside, and the object's past."""

    inner: Any
    past: Past


@dataclass(frozen=True, eq=False)
class _Judged:
    """What the tracker inside wants to remember, and the past after this slice."""

    inner: Any
    past: Past


def look_at(mask: BoolArray, grey: UintImage) -> Look:  # (H, W), (H, W)
    """The grey of a mask and of the ring around it; zeros of an empty mask."""
    area = int(mask.sum())
    if not area:
        return Look(0, 0.0, 0.0, 0.0)
    width = max(2, round(RING * np.sqrt(area / np.pi)))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * width + 1, 2 * width + 1))
    pixels = mask.view(np.uint8)
    near = cv2.dilate(pixels, np.ones((3, 3), np.uint8)) > 0  # mixed with what is around
    ring = (cv2.dilate(pixels, kernel) > 0) & ~near
    core = cv2.erode(pixels, np.ones((3, 3), np.uint8)) > 0
    core = core if core.any() else mask
    values = grey[core].astype(np.float64)
    around = float(grey[ring].mean()) if ring.any() else float(values.mean())
    return Look(area, float(values.mean()), around, float(values.std()))


class EndingTracker:
    """A tracker whose objects end. See the module; everything else is the tracker's inside."""

    def __init__(self, inner: Tracker) -> None:
        self._inner = inner

    @property
    def name(self) -> str:
        """See `Tracker`. States are other ones than those of a video."""
        return f"volume:{self._inner.name}"

    def see(self, image: UintImage, grey: UintImage) -> SeenSlice:
        return SeenSlice(self._inner.see(image, grey), np.ascontiguousarray(image[..., 0]))

    def answer(self, seen: SeenSlice, prompt: Prompt, earlier: Rle | None) -> FramePrediction:
        return self._inner.answer(seen.inner, prompt, earlier)

    def begin(
        self,
        seen: SeenSlice,
        at: TrackMoment,
        prediction: FramePrediction,
        known: FollowedState | None,
    ) -> FollowedState:
        before = None if known is None else known.inner
        look = look_at(rle_to_mask(prediction.rle), seen.grey)
        state = self._inner.begin(seen.inner, at, prediction, before)
        return FollowedState(state, Past(look, (look.area,), look.inside, look.contrast))

    def track(
        self, seen: SeenSlice, at: TrackMoment, states: Sequence[FollowedState]
    ) -> list[FramePrediction]:
        """See `Tracker`. An object that is over is not looked for."""
        alive = [place for place, state in enumerate(states) if not state.past.ended]
        inside = [states[place].inner for place in alive]
        found = self._inner.track(seen.inner, at, inside) if alive else []
        answers = dict(zip(alive, found, strict=True))
        nothing = empty_rle((seen.grey.shape[0], seen.grey.shape[1]))
        judged = []
        for place, state in enumerate(states):
            prediction = answers.get(place)
            if prediction is None:
                soft = _Judged(None, state.past)
                judged.append(FramePrediction(nothing, 0.0, 0.0, soft))
                continue
            past = judge(state.past, look_at(rle_to_mask(prediction.rle), seen.grey), at.frame)
            soft = _Judged(prediction.soft, past)
            rle = nothing if past.failed else prediction.rle
            score = 0.0 if past.failed else prediction.score
            judged.append(replace(prediction, rle=rle, score=score, soft=soft))
        return judged

    def remember(
        self,
        seen: SeenSlice,
        at: TrackMoment,
        state: FollowedState,
        prediction: FramePrediction,
        sure: bool,
    ) -> FollowedState:
        """See `Tracker`. Of a slice that failed nothing is kept, not even where its mask was."""
        judged: _Judged = prediction.soft
        if judged.past.failed:
            return replace(state, past=judged.past)
        found = replace(prediction, soft=judged.inner)
        after = self._inner.remember(seen.inner, at, state.inner, found, sure)
        return FollowedState(after, judged.past)

    def pack(self, state: FollowedState) -> StateArrays:
        look, past = state.past.prompted, state.past
        greys = look.inside, look.around, look.deviation
        numbers = [look.area, *greys, past.inside, past.failed, *past.areas]
        end = [past.contrast]
        if past.first is not None:
            end += [past.first.slice, REASONS.index(past.first.reason), past.first.left]
        return {
            **self._inner.pack(state.inner),
            "volume_past": np.array(numbers, np.float64),
            "volume_end": np.array(end, np.float64),
        }

    def unpack(self, arrays: StateArrays) -> FollowedState:
        inner = {name: one for name, one in arrays.items() if not name.startswith("volume_")}
        area, *greys, inside, failed = arrays["volume_past"][:6].tolist()
        areas = tuple(int(one) for one in arrays["volume_past"][6:])
        prompted, first = Look(int(area), *greys), None
        contrast, *end = arrays.get("volume_end", np.array([prompted.contrast])).tolist()
        if end:
            first = FailedSlice(int(end[0]), REASONS[int(end[1])], end[2])
        past = Past(prompted, areas, inside, contrast, int(failed), first)
        return FollowedState(self._inner.unpack(inner), past)


def judge(past: Past, look: Look, number: int) -> Past:
    """The past after a slice, by its number, on which a mask looks like this."""
    failure = _failure(past, look, number)
    if failure is not None:
        return replace(past, failed=past.failed + 1, first=past.first or failure)
    areas = (*past.areas[-(LAST - 1) :], look.area)
    return replace(
        past, areas=areas, inside=look.inside, contrast=look.contrast, failed=0, first=None
    )


def _failure(past: Past, look: Look, number: int) -> FailedSlice | None:
    """Why a mask is not believed: it vanished, stands out less than before, or holds another grey
    at once."""
    if look.area == 0:
        return FailedSlice(number, "empty")
    if (left := look.area / median(past.areas)) < MIN_AREA:
        return FailedSlice(number, "area", left)
    prompted = past.prompted
    deviation = max(prompted.deviation, MIN_DEVIATION)
    jumps = abs(look.inside - past.inside), abs(look.contrast - past.contrast)
    if min(jumps) > GREY_JUMP * deviation:
        return FailedSlice(number, "grey")
    if abs(prompted.contrast) < STANDS_OUT * deviation:
        return None
    left = look.contrast / prompted.contrast
    slowly = left >= FAINTEST and look.contrast / past.contrast >= SLOWLY
    return None if left >= MIN_CONTRAST or slowly else FailedSlice(number, "contrast", max(left, 0))
