"""Volume sessions: prompt objects on slices of a scan and track them through the others.

Slices are processed as frames by the sessions of `track`, one for each axis with prompts. This
module adds 8-bit slices with one intensity window, end detection (`ending`), interpolation between
prompted slices, and label volumes.

If an object has prompts on several axes, each voxel uses the axis with the nearest prompted slice,
in mm, so that prompted slices keep their masks.

Letters: Z Y X the scan, H W a slice.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Unpack

import cv2
import numpy as np

from anymask.base import (
    BoolArray,
    FloatArray,
    InputError,
    Setting,
    UintImage,
    brief,
    check_keywords,
    describe_settings,
    explain_keywords,
    preview_html,
)
from anymask.masks import Prompt, overlay, preview_of, rle_iou
from anymask.segment import Model
from anymask.track import (
    Direction,
    ObjectMask,
    PromptKeywords,
    SessionFile,
    SessionStore,
    TrackerSetting,
    VideoSession,
    open_session,
    read_whole,
)
from anymask.volumes.ending import END_SLICES, EndingTracker, SliceState
from anymask.volumes.reading import read_volume
from anymask.volumes.volume import Color, Volume, check_axis, check_window, scaled_affine
from anymask.volumes.writing import LabelMeasure, label_volume, measure_labels, write_labels

if TYPE_CHECKING:
    from anymask.keywords import VolumeOptions

# Fill slices between known masks, and merge the masks of several axes.
#
# Signed distances to the outline, positive inside, are interpolated between two known slices; the
# mask is where the result is above 0. Both outlines are aligned by their centers first, so that the
# slices in between are not empty for an oblique object. Source of the idea: Raya & Udupa, IEEE TMI
# 1990 (shape-based interpolation); the alignment of centers is ours.
#
# Letters: D slices along an axis, H W a slice, Z Y X the scan.

Fill = Literal["auto", "always", "never"]
MAX_FILLED_GAP = 2  # maximum number of empty slices to fill between two tracked ones


def fill_slices(
    stack: BoolArray, drawn: Sequence[int], unsure: Sequence[int], way: Fill
) -> BoolArray:  # (D, H, W) -> (D, H, W), the same array
    """Fill slices of a stack of masks, in place.

    Args:
        drawn: Prompted slices, in order. They never change.
        unsure: Slices with low-confidence masks.
        way: "always": every slice between two prompted ones. "auto": of those, the empty and
            low-confidence ones, and up to MAX_FILLED_GAP empty ones between two masks. "never".
    """
    if way == "never":
        return stack
    full = np.asarray(stack.any(axis=(1, 2)), np.bool_)
    requested = np.zeros(len(stack), np.bool_)
    for index in {*range(min(drawn, default=0), max(drawn, default=0))} - {*drawn}:
        requested[index] = way == "always" or not full[index] or index in unsure
    known = np.flatnonzero(full & ~requested)
    if way == "auto":
        for first, last in pairwise(known.tolist()):
            if 1 < last - first <= MAX_FILLED_GAP + 1:
                requested[first + 1 : last] = True
    for index in np.flatnonzero(requested):
        position = int(np.searchsorted(known, index))
        before, after = int(known[position - 1]), int(known[position])
        part = (index - before) / (after - before)
        stack[index] = mix_masks(stack[before], stack[after], float(part))
    return stack


def mix_masks(first: BoolArray, last: BoolArray, part: float) -> BoolArray:  # (H, W), (H, W)
    """Interpolate two non-empty masks, from `part` 0 (first) to 1 (last)."""
    centers = np.array([np.argwhere(mask).mean(axis=0)[::-1] for mask in (first, last)])  # x, y
    middle = (1 - part) * centers[0] + part * centers[1]
    moved = []
    for mask, (x, y) in zip((first, last), middle - centers, strict=True):
        shift, size = np.array([[1, 0, x], [0, 1, y]], np.float32), mask.shape[::-1]
        flags, border = cv2.INTER_LINEAR, cv2.BORDER_REPLICATE
        moved.append(
            cv2.warpAffine(signed_distance(mask), shift, size, flags=flags, borderMode=border)
        )
    return np.asarray((1 - part) * moved[0] + part * moved[1] > 0, np.bool_)


def signed_distance(mask: BoolArray) -> FloatArray:  # (H, W) -> (H, W)
    """Distance to the outline in pixels, positive inside. The outline runs between pixels."""
    pixels = np.pad(mask, 1).view(np.uint8)  # objects end at the image border
    inside = cv2.distanceTransform(pixels, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    outside = cv2.distanceTransform(1 - pixels, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(np.where(pixels > 0, inside - 0.5, 0.5 - outside)[1:-1, 1:-1], np.float32)


# Tracks of objects along one axis of a scan, and the choice between them.
#
# Every prompted slice of an object is tracked on its own, in both directions. A new prompt leaves
# the other tracks as they are. A slice keeps the mask of an earlier track unless the confidence of
# a later one is higher by MIN_CONFIDENCE_GAIN. The confidence of a track is
#
# - on its own slice the trust in the prompted mask, by its predicted IoU, relative to the first one
# - on another prompted slice lower by the difference from the mask there, as far as that is trusted
# - in between interpolated by distance.
#
# Letters: H W a slice.

TRACK_STEP = 1 << 16  # a track is numbered object + TRACK_STEP * n, in the order of the prompts
MIN_CONFIDENCE_GAIN = 0.1  # minimum gain in confidence to replace the mask of an earlier track
UNTRUSTED_IOU, TRUSTED_IOU = 0.7, 0.84  # predicted IoU of the lowest and the highest trust
MIN_TRUST = 0.2


@dataclass(frozen=True, eq=False)
class ShownSlice:
    """Mask of an object on a slice, its track, and the confidence of the track there."""

    mask: ObjectMask
    track: int
    confidence: float


@dataclass(frozen=True, eq=False)
class AxisTracks:
    """Objects along one axis. A track of an older session file may have several prompted slices."""

    video: VideoSession

    @property
    def objects(self) -> list[int]:
        """Numbers of all objects."""
        return sorted({track % TRACK_STEP for track in self.video.objects})

    def tracks(self, number: int) -> dict[int, list[int]]:
        """Prompted slices of each track of an object."""
        (number,) = read_whole(id=number)
        tracks = [track for track in self.video.objects if track % TRACK_STEP == number]
        return {track: prompts for track in tracks if (prompts := self.video.prompts(track))}

    def prompts(self, number: int) -> list[int]:
        """Prompted slices of an object."""
        return sorted({index for prompts in self.tracks(number).values() for index in prompts})

    def track_at(self, number: int, index: int) -> int:
        """Number of the object's track with a prompt on a slice, or an unused number."""
        tracks = self.tracks(number)
        new = max(tracks, default=number) + TRACK_STEP
        return next((track for track, prompts in tracks.items() if index in prompts), new)

    def slices(self, number: int) -> list[int]:
        """Slices with masks of an object."""
        known = [self.video.frame_ranges(track) for track in self.tracks(number)]
        return sorted({i for runs in known for first, last in runs for i in range(first, last + 1)})

    def result(self, index: int) -> dict[int, ObjectMask]:
        """Shown masks of a slice, by object number."""
        objects = ((number, self.shown(number, [index])) for number in self.objects)
        return {number: best.mask for number, shown in objects for _, best in shown}

    def shown(
        self, number: int, indices: Iterable[int] | None = None
    ) -> Iterator[tuple[int, ShownSlice]]:
        """Shown masks of an object, by slice; of all slices, or of some."""
        tracks = self.tracks(number)
        known = self._known(tracks)
        for index in self.slices(number) if indices is None else indices:
            objects, best = self.video.result(index).objects, None
            for track in (track for track in tracks if track in objects):
                places, values = zip(*sorted(known[track].items()), strict=True)
                confidence = float(np.interp(index, places, values)) + (index in tracks[track])
                if best is None or confidence > best.confidence + MIN_CONFIDENCE_GAIN:
                    best = ShownSlice(objects[track], track, confidence)
            if best is not None:
                yield index, best

    def _known(self, tracks: dict[int, list[int]]) -> dict[int, dict[int, float]]:
        """Confidence of each track on the prompted slices of all."""
        owners = {index: owner for owner, prompts in tracks.items() for index in prompts}
        masks = {index: self.video.result(index).objects for index in owners}
        quality = [masks[index][owner].quality for index, owner in owners.items()]
        trust = np.interp(quality, (UNTRUSTED_IOU, TRUSTED_IOU), (MIN_TRUST, 1.0))
        trusted = dict(zip(owners, np.minimum(trust / trust[:1], 1.0).tolist(), strict=True))
        known: dict[int, dict[int, float]] = {track: {} for track in tracks}
        for index, owner in owners.items():
            for track in tracks.keys() & masks[index].keys():
                first, last = masks[index][track].rle, masks[index][owner].rle
                iou = 1.0 if first == last else float(rle_iou([first], [last])[0, 0])
                known[track][index] = trusted[tracks[track][0]] * (1 - trusted[index] * (1 - iou))
        return known


AXIS_LETTERS = "zyx"
KEPT_SCAN_BYTES = 512 << 20  # maximum size of a scan to keep in memory
WINDOW_SLICES = 24  # number of slices sampled for the default window
Window = tuple[float, float]
MIN_TRACK_CONFIDENCE = 0.6  # between prompted slices; below, interpolate


def _parse_window(text: str) -> Window:
    try:
        level, width = (float(part) for part in text.replace(",", " ").split())
    except ValueError:
        raise InputError(f"Invalid window {text!r}. Use LEVEL,WIDTH, such as 40,400.") from None
    return level, width


@describe_settings
@dataclass(frozen=True, kw_only=True)
class VolumeSettings:
    """Settings of volume tracking. Raises InputError if a value is out of range."""

    window: Annotated[
        Window | None,
        Setting(
            "intensity window as level and width in raw values, such as 40,400 "
            "for soft tissue in CT. By default, the range from the 0.5th to the "
            "99.5th percentile of the scan",
            check=check_window,
            parse=_parse_window,
            metavar="L,W",
            default="from the scan",
        ),
    ] = None
    stop: Annotated[
        bool,
        Setting(
            "stop tracking an object where its boundary fades; with 'no', track it to "
            "the last slice"
        ),
    ] = True
    fill: Annotated[
        Fill,
        Setting(
            "when to interpolate masks between prompted slices by signed distance: "
            '"auto" (where confidence is low), "always" or "never"'
        ),
    ] = "auto"
    tracker: TrackerSetting = "auto"
    refine_edges: Annotated[
        bool, Setting("snap mask boundaries to the edges in each slice (only with image models)")
    ] = False
    session: SessionFile = None


@brief
@dataclass(frozen=True)
class TrackedSlice:
    """Masks of one slice across an axis (0 is z, 1 is y, 2 is x), by object number."""

    axis: int
    index: int
    objects: Mapping[int, ObjectMask] = field(default_factory=dict)

    @property
    def masks(self) -> dict[int, BoolArray]:
        """Decoded masks (H, W) by object number, computed on each access."""
        return {number: mask.mask for number, mask in self.objects.items()}


@brief
@dataclass(frozen=True)
class SliceFrames:
    """Frame source of the slices across an axis, in 8 bits with one intensity window."""

    volume: Volume
    axis: int
    window: Window
    rate: float = 1.0
    error: str | None = None

    @property
    def length(self) -> int:
        return self.volume.shape[self.axis]

    def read(self, frame: int) -> UintImage | None:
        if not 0 <= frame < self.length:
            return None
        return np.repeat(self.volume.image(frame, self.axis, self.window)[..., None], 3, axis=2)

    def seconds(self, frame: int) -> float:
        """Slice index as time, because slices have no times."""
        return float(frame)

    def close(self) -> None:
        """Do nothing: no file is open."""


@explain_keywords
class VolumeSession:
    """Prompts and masks of objects in one scan. Created by `Model.volume`; use it in a `with`.

    Any thread may use it, but only one at a time.
    """

    def __init__(self, model: Model, volume: Volume, settings: VolumeSettings) -> None:
        self.volume, self.settings = volume, settings
        self.window = settings.window or usual_window(volume)
        self._model, self._closed = model, False
        self._axes: dict[int, AxisTracks] = {}
        try:
            for axis in range(3):
                path = self._path(axis)
                if path is not None and path.exists():
                    self._open(axis)
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"objects {self.objects}"
        return f"<VolumeSession on {self.volume!r}: {state}>"

    def _repr_html_(self) -> str:
        """Preview of the first prompted slice with its masks, and the ranges of each object."""
        if self._closed or not self.objects:
            return preview_html(repr(self), (), None)
        rows = [f"object {number}: {self.slice_ranges(number)}" for number in self.objects]
        return preview_html(repr(self), rows, preview_of(self._first_slice))

    def _first_slice(self) -> UintImage:
        axis, index = self.prompts(self.objects[0])[0]
        gray = self.volume.image(index, axis, self.window)
        masks = np.stack([*self.slice(index, axis).masks.values()])
        return overlay(np.repeat(gray[..., None], 3, axis=2), masks)

    def __enter__(self) -> VolumeSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[TrackedSlice]:
        return self.propagate()

    @property
    def objects(self) -> list[int]:
        """Numbers of all objects."""
        return sorted({number for tracks in self._axes.values() for number in tracks.objects})

    def add(
        self,
        slice: int,  # noqa: A002 - what everybody calls it
        id: int = 1,  # noqa: A002
        axis: int = 0,
        **prompt: Unpack[PromptKeywords],
    ) -> ObjectMask:
        """Prompt an object on a slice, or correct its mask there, and return the mask.

        Every prompted slice is tracked on its own along its axis. A further prompt changes the
        other slices only where its track agrees better with the prompted slices. Clicks and
        scribbles correct the mask of the object on the slice, as in `VideoSession.add`.

        Args:
            slice: Slice index along the axis, from 0.
            id: Number of the object from 1, its label value.
            axis: 0: slice (Y, X) across z; 1: (Z, X) across y; 2: (Z, Y) across x.
            prompt: `points`, `labels`, `box`, `mask`, `scribble`, `lasso` and `replace` as for
                `VideoSession.add`, in pixels of the slice; (x, y) is (column, row).

        Raises:
            PromptError: The prompt is invalid.
            InputError: The axis or slice does not exist.
        """
        check_keywords(prompt, PromptKeywords.__annotations__)
        check_axis(axis)
        slice, id = read_whole(slice=slice, id=id)  # noqa: A001
        if not 1 <= id < 2**16:
            raise InputError(f"Invalid id {id}. Use a label from 1 to 65535.")
        count = self.volume.shape[axis]
        if not 0 <= slice < count:
            raise InputError(
                f"Slice {slice} is out of range: this scan has slices 0 to {count - 1} across "
                f"{AXIS_LETTERS[axis]}."
            )
        tracks, exists = self._open(axis), id in self.objects
        corrects = not any(prompt.get(name) is not None for name in ("mask", "box", "lasso"))
        new = slice not in tracks.prompts(id)
        if not new and corrects and prompt.get("replace") and len(self.prompts(id)) > 1:
            given: Any = {name: value for name, value in prompt.items() if name != "replace"}
            Prompt.of(**given)  # an invalid one changes nothing
            self.remove_prompts(id, slice, axis)
            new = True
        if exists and new and corrects:
            mask = tracks.result(slice).get(id)  # else from the other axes
            known = np.take(self.mask(id), slice, axis=axis) if mask is None else mask.mask
            prompt["mask"] = known if known.any() else None
        return tracks.video.add(slice, tracks.track_at(id, slice), **prompt)

    def remove_prompts(self, id: int, slice: int, axis: int = 0) -> None:  # noqa: A002
        """Delete the prompt of an object on a slice. Raises InputError if it does not exist."""
        check_axis(axis)
        tracks = self._open(axis)
        id, slice = read_whole(id=id, slice=slice)  # noqa: A001
        if slice not in (prompted := tracks.prompts(id)):
            raise InputError(
                f"Object {id} has no prompt on slice {slice}. It has prompts on {prompted}."
            )
        tracks.video.remove_prompts(tracks.track_at(id, slice), slice)

    def remove(self, id: int) -> None:  # noqa: A002
        """Delete an object. Other objects do not change."""
        for tracks in self._axes.values():
            for track in tracks.tracks(id):
                tracks.video.remove(track)

    def prompts(self, id: int) -> list[tuple[int, int]]:  # noqa: A002
        """Prompted slices of an object, as (axis, slice)."""
        return [
            (axis, i) for axis, tracks in sorted(self._axes.items()) for i in tracks.prompts(id)
        ]

    def propagate(self, direction: Direction = "both") -> Iterator[TrackedSlice]:
        """Track the objects from slice to slice, along each axis with prompts.

        Tracking stops when all objects have ended. You can leave the loop and call it again to
        continue. Slices with results are not computed again. With "both", slices between two
        prompts of an object are returned again at the end, when both directions are known.

        Args:
            direction: "forward", to higher slices, "backward", or "both".

        Raises:
            InputError: No object has a prompt.
        """
        if direction not in ("forward", "backward", "both"):
            raise InputError(
                f'Invalid direction {direction!r}. Use "forward", "backward" or "both".'
            )
        prompted = [axis for axis, tracks in sorted(self._axes.items()) if tracks.objects]
        if not prompted:
            raise InputError(
                "No object has a prompt yet. Add one first: session.add(40, box=(x0, y0, x1, y1))"
            )
        for axis in prompted:
            if direction in ("forward", "both"):
                yield from self._pass(axis, backward=False)
            if direction in ("backward", "both"):
                yield from self._pass(axis, backward=True)
            if direction == "both":
                tracks = self._axes[axis]
                prompts = [own for own in map(tracks.prompts, tracks.objects) if own]
                for index in sorted({i for own in prompts for i in range(own[0] + 1, own[-1])}):
                    yield self.slice(index, axis)

    def follow(self, direction: Direction = "both") -> VolumeSession:
        """Run `propagate` to the end and return the session."""
        for _ in self.propagate(direction):
            pass
        return self

    def _pass(self, axis: int, *, backward: bool) -> Iterator[TrackedSlice]:
        video = self._axes[axis].video
        absent = dict.fromkeys(video.objects, 0)
        prompted = [index for number in absent for index in video.prompts(number)]
        for frame in video.propagate("backward" if backward else "forward"):
            yield self.slice(frame.index, axis)
            for number in absent:
                mask = frame.objects.get(number)
                absent[number] = absent[number] + 1 if mask is None or not mask.area else 0
            ahead = any(i < frame.index if backward else i > frame.index for i in prompted)
            if self.settings.stop and not ahead and min(absent.values()) >= END_SLICES:
                return

    def slice(self, index: int, axis: int = 0) -> TrackedSlice:
        """Return the stored masks of a slice from prompts on its axis, without computing any."""
        check_axis(axis)
        tracks = self._axes.get(axis)
        return TrackedSlice(axis, index, {} if tracks is None else tracks.result(index))

    def slice_ranges(self, id: int) -> list[tuple[int, int, int]]:  # noqa: A002
        """Slice ranges with masks of an object, as (axis, first, last)."""
        (id,) = read_whole(id=id)  # noqa: A001
        ranges = list[tuple[int, int, int]]()
        for axis, tracks in sorted(self._axes.items()):
            slices = np.array(tracks.slices(id), int)
            runs = np.split(slices, np.flatnonzero(np.diff(slices) > 1) + 1)
            ranges += [(axis, int(run[0]), int(run[-1])) for run in runs if run.size]
        return ranges

    def ends(self, id: int) -> list[str]:  # noqa: A002
        """Detected ends of an object with reasons, such as "z 2 (z 1: no mask was found)".

        Directions in which the object reaches the last slice are omitted. Empty with `stop=False`.
        """
        ends = []
        for axis, tracks in sorted(self._axes.items()):
            numbers = [shown.track for _, shown in tracks.shown(id)]
            for track, backward, step in ((numbers[:1], True, 1), (numbers[-1:], False, -1)):
                state = tracks.video.state_of(*track, backward=backward) if track else None
                if isinstance(state, SliceState) and (first := state.past.first) is not None:
                    last, name = first.slice + step, AXIS_LETTERS[axis]
                    ends.append(f"{name} {last} ({name} {first.slice}: {first.describe()})")
        return ends

    def slices_to_review(self) -> list[tuple[int, int, int, tuple[str, ...]]]:
        """Low-confidence masks to review, as (axis, slice, object, doubts)."""
        return sorted(
            (axis, index, number, shown.mask.doubts)
            for axis, tracks in self._axes.items()
            for number in tracks.objects
            for index, shown in tracks.shown(number)
            if shown.mask.doubts and shown.mask.area
        )

    def mask(self, id: int = 1) -> BoolArray:  # noqa: A002
        """Mask of an object (Z, Y, X) from all tracked and interpolated slices.

        Raises:
            InputError: The object does not exist.
        """
        prompted = {axis: tracks for axis, tracks in self._axes.items() if id in tracks.objects}
        if not prompted:
            raise InputError(f"Unknown object {id!r}. This session has the objects {self.objects}.")
        joined = np.zeros(self.volume.shape, np.bool_)
        # Each voxel uses the axis with the nearest prompted slice, in mm.
        nearest: FloatArray = np.full((1, 1, 1), np.inf, np.float32)
        for axis, tracks in sorted(prompted.items()):
            mask = np.zeros_like(joined)
            stack, unsure = np.moveaxis(mask, axis, 0), []
            for index, shown in tracks.shown(id):
                if shown.mask.area:
                    stack[index] = shown.mask.mask
                if not shown.mask.prompted and shown.confidence < MIN_TRACK_CONFIDENCE:
                    unsure.append(index)
            prompts = tracks.prompts(id)
            drawn = [index for index in prompts if stack[index].any()]
            fill_slices(stack, drawn, unsure, self.settings.fill)
            slices = np.arange(len(stack))
            away = np.abs(slices[:, None] - np.array(prompts)).min(axis=1)
            sides = [-1 if index == axis else 1 for index in range(3)]
            distance = np.asarray(away * self.volume.spacing[axis], np.float32).reshape(sides)
            np.copyto(joined, mask, where=distance < nearest)
            nearest = np.minimum(nearest, distance)
        return joined

    def labels(
        self, names: Mapping[int, str] | None = None, colors: Mapping[int, Color] | None = None
    ) -> Volume:
        """Return the objects as labels (Z, Y, X) of the scan. The value is the object number.

        If objects overlap, the smallest one wins, such as a lesion in an organ.
        """
        numbers = sorted(self.objects, key=self._size)
        small = np.uint8 if max(numbers, default=0) < 256 else np.uint16
        array = np.zeros(self.volume.shape, small)
        for number in reversed(numbers):
            array[self.mask(number)] = number
        return label_volume(array, self.volume, names=names, colors=colors)

    def _size(self, number: int) -> int:
        """Total area of an object on all tracked slices, in pixels."""
        shown = (pair for tracks in self._axes.values() for pair in tracks.shown(number))
        return sum(best.mask.area for _, best in shown)

    def measure(self, names: Mapping[int, str] | None = None) -> list[LabelMeasure]:
        """Measure the objects in mm, mm2 and ml. See `measure_labels`."""
        return measure_labels(self.labels(names))

    def save(self, path: str | Path, names: Mapping[int, str] | None = None) -> None:
        """Write the labels. See `write_labels`."""
        write_labels(path, self.labels(names), self.volume)

    def checkpoint(self) -> None:
        """Write results to the session file."""
        for tracks in self._axes.values():
            tracks.video.checkpoint()

    def metadata(self, name: str, value: str | None = None) -> str | None:
        """Return a stored note of the session. `value` sets it first."""
        return self._open(0).video.metadata(name, value)

    def close(self) -> None:
        """Write all results and release the scan."""
        for tracks in self._axes.values():
            tracks.video.close()
        self._axes.clear()
        self._closed = True

    def _path(self, axis: int) -> Path | None:
        if self.settings.session is None:
            return None
        path = Path(self.settings.session).expanduser()
        return path if axis == 0 else path.with_name(f"{path.name}.{AXIS_LETTERS[axis]}")

    def _open(self, axis: int) -> AxisTracks:
        if self._closed:
            raise InputError("This session is closed. Use it inside its `with` block.")
        if axis in self._axes:
            return self._axes[axis]
        text = json.dumps([self.volume.shape, self.volume.affine.round(4).tolist(), self.window])
        mark = hashlib.sha256(text.encode()).hexdigest()[:16]  # of the geometry and the window
        path = self._path(axis)
        if path is not None and path.exists():
            with closing(SessionStore(path)) as store:
                held = store.about("note scan")
            if held not in (None, mark):
                raise InputError(
                    f"{path} was created with another scan or window. Use the same ones, or "
                    "choose another session file."
                )
        video = open_session(
            self._model,
            SliceFrames(self.volume, axis, self.window),
            around=EndingTracker if self.settings.stop else None,
            tracker=self.settings.tracker,
            refine_edges=self.settings.refine_edges,
            session=path,
        )
        self._axes[axis] = AxisTracks(video)
        video.metadata("scan", mark)
        return self._axes[axis]


def usual_window(volume: Volume) -> Window:
    """Window (level, width) from the 0.5th to the 99.5th percentile of sampled slices."""
    count = volume.shape[0]
    some = np.unique(np.linspace(0, count - 1, min(count, WINDOW_SLICES)).round().astype(int))
    pixels = np.concatenate([volume.slice(int(index))[::2, ::2].ravel() for index in some])
    finite = pixels[np.isfinite(pixels)].astype(np.float64)
    low, high = np.percentile(finite, (0.5, 99.5)) if finite.size else (0.0, 1.0)
    return float(low + high) / 2, max(float(high - low), 1e-6)


def open_volume_session(
    model: Model, source: Any, **settings: Unpack[VolumeOptions]
) -> VolumeSession:
    """Start tracking objects through a scan, or resume a saved session.

    Args:
        source: `Volume`, array (Z, Y, X), or path as for `read_volume`.
        settings: Fields of `VolumeSettings`.

    Raises:
        InputError: A setting is invalid, or the session was created with another scan.
        DataError: The file is corrupted.
        ModelError: The model does not support this tracker.
        MissingExtra: A required library is not installed.
    """
    check_keywords(settings, VolumeSettings.__dataclass_fields__)
    how = VolumeSettings(**settings)
    if isinstance(source, np.ndarray):
        source = Volume(source, scaled_affine((1.0, 1.0, 1.0)))
    if not isinstance(source, Volume | str | Path):
        raise InputError(
            "A scan must be a Volume, an array (Z, Y, X) or a path. Given: "
            f"{type(source).__name__}."
        )
    volume = source if isinstance(source, Volume) else read_volume(source)
    if np.prod(volume.shape) * volume.voxels.dtype.itemsize <= KEPT_SCAN_BYTES:
        _ = volume.array  # else each slice of a compressed file decompresses it from the beginning
    return VolumeSession(model, volume, how)
