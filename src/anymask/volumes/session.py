"""Sessions on scans: things that are pointed out on some slices, and followed through the others.

A slice is a frame: `track`'s sessions do the work, one for each axis whose slices were spoken of.
What is added here: slices in 8 bits by one window for the whole scan, ends of things (`ending`),
slices filled between drawn ones, and one volume of labels of all that.

Where an object was spoken of on slices of several axes, each voxel is what the axis says whose
spoken slice is nearest, in mm: on the slices themselves what was said holds.

Letters: Z Y X the scan, H W a slice.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict, Unpack

import numpy as np
from numpy.typing import ArrayLike

from anymask.base import (
    BoolArray,
    Floats,
    InputError,
    Setting,
    UintImage,
    brief,
    check_keywords,
    check_settings,
    describe_settings,
    explain_keywords,
    preview_html,
)
from anymask.masks import overlay, preview_of
from anymask.segment import Model
from anymask.track import (
    Direction,
    ObjectMask,
    SessionFile,
    SessionStore,
    TrackerName,
    TrackerSetting,
    VideoSession,
    open_session,
    read_whole,
)
from anymask.volumes.ending import GAP, EndingTracker, FollowedState
from anymask.volumes.filling import AlongAxis, fill_slices, join_axes
from anymask.volumes.reading import read_volume
from anymask.volumes.volume import Colour, Volume, check_window, scaled_affine
from anymask.volumes.writing import label_volume, write_labels

AXES = "zyx"
IN_MEMORY = 512 << 20  # bytes of voxels up to which a scan is read once
LOOKED_AT = 24  # slices that say which greys become black and white
Window = tuple[float, float]
Fill = Literal["auto", "always", "never"]
UNSURE = frozenset({"score", "area", "jump", "gone"})  # doubts of a slice that is filled


def _parse_window(text: str) -> Window:
    parts = text.replace(",", " ").split()
    try:
        level, width = (float(part) for part in parts)
    except ValueError:
        raise InputError(f"Invalid window {text!r}. Use LEVEL,WIDTH, such as 40,400.") from None
    return level, width


@describe_settings
@dataclass(frozen=True, kw_only=True)
class VolumeSettings:
    """How things are followed through a scan. Raises InputError for values out of range."""

    window: Annotated[
        Window | None,
        Setting(
            (
                "intensity window as level and width in raw values, such as 40,400 "
                "for soft tissue in CT. By default, the range from the 0.5th to the "
                "99.5th percentile of the scan"
            ),
            check=check_window,
            parse=_parse_window,
            form="L,W",
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

    def __post_init__(self) -> None:
        check_settings(self)


class VolumeOptions(TypedDict, total=False):
    """The keyword arguments of `Model.volume`: those of `VolumeSettings`."""

    window: Window | None
    stop: bool
    fill: Fill
    tracker: TrackerName
    refine_edges: bool
    session: Path | str | None


class SlicePrompt(TypedDict, total=False):
    """What is said of an object on a slice: as for `VideoSession.add`."""

    points: ArrayLike | None
    labels: ArrayLike | None
    box: ArrayLike | None
    mask: ArrayLike | None
    anew: bool


@brief
@dataclass(frozen=True)
class FollowedSlice:
    """The objects of one slice across an axis (0 is z, 1 is y, 2 is x), by their number."""

    axis: int
    index: int
    objects: Mapping[int, ObjectMask] = field(default_factory=dict)

    @property
    def masks(self) -> dict[int, BoolArray]:
        """The objects' pixels (H, W), made each time."""
        return {number: one.mask for number, one in self.objects.items()}


@brief
@dataclass(frozen=True)
class SliceFrames:
    """The slices across an axis as a source of frames, in 8 bits by one window."""

    volume: Volume
    axis: int
    window: Window
    rate: float = 1.0
    fault: str | None = None

    @property
    def length(self) -> int:
        return self.volume.shape[self.axis]

    def read(self, frame: int) -> UintImage | None:
        if not 0 <= frame < self.length:
            return None
        grey = self.volume.picture(frame, self.axis, self.window)
        return np.repeat(grey[..., None], 3, axis=2)

    def seconds(self, frame: int) -> float:
        """See `FrameSource`: slices have no times."""
        return float(frame)

    def close(self) -> None:
        """Do nothing: no file is open."""


@explain_keywords
class VolumeSession:
    """What is known of some things in one scan. Made by `Model.volume`; use it in a `with`.

    One thread at a time, whichever.
    """

    def __init__(self, model: Model, volume: Volume, settings: VolumeSettings) -> None:
        self.volume, self.settings = volume, settings
        self.window = settings.window or usual_window(volume)
        self._model, self._closed = model, False
        self._videos: dict[int, VideoSession] = {}
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
        """The first slice that has prompts, with its masks, and what is known of each object."""
        if self._closed or not self.objects:
            return preview_html(repr(self), (), None)
        rows = [f"object {number}: {self.known(number)}" for number in self.objects]
        return preview_html(repr(self), rows, preview_of(self._first_slice))

    def _first_slice(self) -> UintImage:
        axis, index = self.prompts(self.objects[0])[0]
        grey = self.volume.picture(index, axis, self.window)
        masks = np.stack([one.mask for one in self.slice(index, axis).objects.values()])
        return overlay(np.repeat(grey[..., None], 3, axis=2), masks)

    def __enter__(self) -> VolumeSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[FollowedSlice]:
        return self.propagate()

    # ---------------------------------------------------------------------------------- prompts

    @property
    def objects(self) -> list[int]:
        """The numbers of the objects."""
        return sorted({number for one in self._videos.values() for number in one.objects})

    def add(
        self,
        slice: int,  # noqa: A002 - what everybody calls it
        id: int = 1,  # noqa: A002
        axis: int = 0,
        **said: Unpack[SlicePrompt],
    ) -> ObjectMask:
        """Say which object is meant on a slice, or correct its mask there; its mask on the slice.

        A correction is computed again along its own axis, up to the object's next prompts there.
        Where the object is known along other axes alone, its mask there is what is corrected.

        Raises PromptError, and InputError for an axis or a slice that is not there.

        Args:
            slice: Counted from 0 along the axis.
            id: Of the object, a number from 1 on: its label.
            axis: 0: a slice (Y, X) across z; 1: (Z, X) across y; 2: (Z, Y) across x.
            said: Points, labels, box, mask, anew: as for `VideoSession.add`, in pixels of the
                slice; (x, y) is (column, row).
        """
        check_keywords(said, SlicePrompt.__annotations__)
        check_axis(axis)
        slice, id = read_whole(slice=slice, id=id)  # noqa: A001
        if not 1 <= id < 2**16:
            raise InputError(f"Invalid id {id}. Use a label from 1 to 65535.")
        count = self.volume.shape[axis]
        if not 0 <= slice < count:
            raise InputError(
                f"Slice {slice} is out of range: this scan has slices 0 to {count - 1} across "
                f"{AXES[axis]}."
            )
        video, seen = self._open(axis), id in self.objects
        corrects = not any(said.get(name) is not None for name in ("mask", "box"))
        if seen and id not in video.objects and corrects and not said.get("anew"):
            said["mask"] = self._cut(id, axis, slice)
        return video.add(slice, id, **said)

    def _cut(self, number: int, axis: int, index: int) -> BoolArray | None:
        """What other axes know of an object on a slice of this one; None: nothing."""
        known = np.take(self.mask(number), index, axis=axis)
        return known if known.any() else None

    def take_back(self, id: int, slice: int, axis: int = 0) -> None:  # noqa: A002
        """Undo what was said of an object on a slice. Raises InputError where nothing was said."""
        check_axis(axis)
        self._open(axis).take_back(id, slice)

    def remove(self, id: int) -> None:  # noqa: A002
        """Forget an object; the others are left alone."""
        for video in self._videos.values():
            video.remove(id)

    def prompts(self, id: int) -> list[tuple[int, int]]:  # noqa: A002
        """(axis, slice) of all that was said of an object."""
        return [(axis, i) for axis, one in sorted(self._videos.items()) for i in one.prompts(id)]

    # ----------------------------------------------------------------------------------- slices

    def propagate(self, direction: Direction = "both") -> Iterator[FollowedSlice]:
        """Follow the objects from slice to slice, along each axis on which one was spoken of.

        It stops where every object is over. Leave the loop to pause; the next call goes on where
        work is left; slices that are known cost nothing. Raises InputError where nobody has spoken
        of an object.

        Args:
            direction: "forward", to higher slices, "backward", or "both".
        """
        if direction not in ("forward", "backward", "both"):
            raise InputError(
                f'Invalid direction {direction!r}. Use "forward", "backward" or "both".'
            )
        spoken = [axis for axis, one in sorted(self._videos.items()) if one.objects]
        if not spoken:
            raise InputError(
                "No object has a prompt yet. Add one first: session.add(40, box=(x0, y0, x1, y1))"
            )
        for axis in spoken:
            if direction in ("forward", "both"):
                yield from self._pass(axis, backward=False)
            if direction in ("backward", "both"):
                yield from self._pass(axis, backward=True)

    def follow(self, direction: Direction = "both") -> VolumeSession:
        """`propagate` to its end; the session."""
        for _ in self.propagate(direction):
            pass
        return self

    def _pass(self, axis: int, *, backward: bool) -> Iterator[FollowedSlice]:
        video = self._videos[axis]
        absent = dict.fromkeys(video.objects, 0)
        prompted = [index for number in absent for index in video.prompts(number)]
        for frame in video.propagate("backward" if backward else "forward"):
            yield FollowedSlice(axis, frame.index, frame.objects)
            for number in absent:
                one = frame.objects.get(number)
                absent[number] = absent[number] + 1 if one is None or not one.area else 0
            ahead = any(i < frame.index if backward else i > frame.index for i in prompted)
            if self.settings.stop and not ahead and min(absent.values()) >= GAP:
                return

    def slice(self, index: int, axis: int = 0) -> FollowedSlice:
        """What is known of a slice by the prompts on its own axis; nothing is computed."""
        check_axis(axis)
        video = self._videos.get(axis)
        return FollowedSlice(axis, index, {} if video is None else video.result(index).objects)

    def known(self, id: int) -> list[tuple[int, int, int]]:  # noqa: A002
        """(axis, first, last) of the slices on which an object's mask is known."""
        return [
            (axis, *stretch)
            for axis, video in sorted(self._videos.items())
            for stretch in (video.known(id) if id in video.objects else ())
        ]

    def ends(self, id: int) -> list[str]:  # noqa: A002
        """Where each recognised end of an object is, and why: "z 2 (z 1: no mask was found)".

        Nothing for a direction in which it reaches the last slice, or with `stop=False`.
        """
        found = []
        for axis, video in sorted(self._videos.items()):
            for backward, step in ((True, 1), (False, -1)):
                state = video.state_of(id, backward=backward)
                if isinstance(state, FollowedState) and (first := state.past.first) is not None:
                    last, name = first.slice + step, AXES[axis]
                    found.append(f"{name} {last} ({name} {first.slice}: {first.in_words()})")
        return found

    def doubtful(self) -> list[tuple[int, int, int, tuple[str, ...]]]:
        """(axis, slice, object, doubts) of what a person should look at."""
        return [
            (axis, *row)
            for axis, video in sorted(self._videos.items())
            for row in video.doubtful()
            if video.result(row[0]).objects[row[1]].area
        ]

    # ----------------------------------------------------------------------------------- volumes

    def mask(self, id: int = 1) -> BoolArray:  # noqa: A002
        """An object's voxels (Z, Y, X), as far as it was followed, with filled slices.

        Raises InputError for a number that nobody spoke of.
        """
        spoken = {axis: one for axis, one in self._videos.items() if id in one.objects}
        if not spoken:
            raise InputError(f"Unknown object {id!r}. This session has the objects {self.objects}.")
        parts = [
            AlongAxis(axis, np.moveaxis(self._along(axis, video, id), 0, axis), video.prompts(id))
            for axis, video in sorted(spoken.items())
        ]
        return join_axes(parts, self.volume.spacing)

    def _along(self, axis: int, video: VideoSession, number: int) -> BoolArray:
        """An object's masks along one axis, the axis first."""
        sides = [side for place, side in enumerate(self.volume.shape) if place != axis]
        stack = np.zeros((self.volume.shape[axis], *sides), np.bool_)
        unsure = []
        for first, last in video.known(number):
            for index in range(first, last + 1):
                one = video.result(index).objects[number]
                if one.area:
                    stack[index] = one.mask
                if not one.area or (not one.prompted and UNSURE & set(one.doubts)):
                    unsure.append(index)
        drawn = [index for index in video.prompts(number) if stack[index].any()]
        return fill_slices(stack, drawn, unsure, self.settings.fill)

    def labels(
        self,
        names: Mapping[int, str] | None = None,
        colours: Mapping[int, Colour] | None = None,
    ) -> Volume:
        """The objects as labels (Z, Y, X) on the scan: an object's value is its number.

        Of several objects on one voxel the smallest has it: a lesion lies on its organ.
        """
        numbers = sorted(self.objects, key=self._size)
        small = np.uint8 if max(numbers, default=0) < 256 else np.uint16
        array = np.zeros(self.volume.shape, small)
        for number in reversed(numbers):
            array[self.mask(number)] = number
        return label_volume(array, self.volume, names=names, colours=colours)

    def _size(self, number: int) -> int:
        """Pixels of an object on all slices on which it is known."""
        return sum(
            video.result(index).objects[number].area
            for video in self._videos.values()
            for first, last in video.known(number)
            for index in range(first, last + 1)
        )

    def save(self, path: str | Path, names: Mapping[int, str] | None = None) -> None:
        """Write the labels, see `write_labels`."""
        write_labels(path, self.labels(names), self.volume)

    # ------------------------------------------------------------------------------------ keeping

    def checkpoint(self) -> None:
        """Write what is known to the session's file."""
        for video in self._videos.values():
            video.checkpoint()

    def note(self, name: str, value: str | None = None) -> str | None:
        """A word that is kept with the session; `value` writes it."""
        return self._open(0).note(name, value)

    def close(self) -> None:
        """Write what is known, and let go of the scan."""
        for video in self._videos.values():
            video.close()
        self._videos.clear()
        self._closed = True

    def _path(self, axis: int) -> Path | None:
        if self.settings.session is None:
            return None
        path = Path(self.settings.session).expanduser()
        return path if axis == 0 else path.with_name(f"{path.name}.{AXES[axis]}")

    def _open(self, axis: int) -> VideoSession:
        if self._closed:
            raise InputError("This session is closed. Use it inside its `with` block.")
        if axis not in self._videos:
            self._check_same(self._path(axis))
            video = open_session(
                self._model,
                SliceFrames(self.volume, axis, self.window),
                around=EndingTracker if self.settings.stop else None,
                tracker=self.settings.tracker,
                refine_edges=self.settings.refine_edges,
                session=self._path(axis),
            )
            self._videos[axis] = video
            video.note("scan", self._mark())
        return self._videos[axis]

    def _mark(self) -> str:
        """What a scan and its window are known by."""
        told = json.dumps([self.volume.shape, self.volume.affine.round(4).tolist(), self.window])
        return hashlib.sha256(told.encode()).hexdigest()[:16]

    def _check_same(self, path: Path | None) -> None:
        """Raises InputError where a session was begun on another scan or by another window."""
        if path is None or not path.exists():
            return
        store = SessionStore(path)
        held = store.about("note scan")
        store.close()
        if held not in (None, self._mark()):
            raise InputError(
                f"{path} was created with another scan or window. Use the same ones, or choose "
                "another session file."
            )


def check_axis(axis: object) -> None:
    """Raises InputError for what is no axis."""
    if axis not in (0, 1, 2) or isinstance(axis, bool):
        raise InputError(f"Invalid axis {axis!r}. Use 0 (z), 1 (y) or 2 (x).")


def usual_window(volume: Volume) -> Window:
    """(level, width) between the darkest and brightest .5 % of some slices of a scan."""
    count = volume.shape[0]
    some = np.unique(np.linspace(0, count - 1, min(count, LOOKED_AT)).round().astype(int))
    values: list[Floats] = []
    for index in some:
        pixels = volume.slice(int(index))[::2, ::2].astype(np.float64).ravel()
        values.append(pixels[np.isfinite(pixels)])
    joined = np.concatenate(values)
    low, high = np.percentile(joined, (0.5, 99.5)) if joined.size else (0.0, 1.0)
    return float(low + high) / 2, max(float(high - low), 1e-6)


def open_volume_session(
    model: Model, source: Any, **settings: Unpack[VolumeOptions]
) -> VolumeSession:
    """Begin to follow things through a scan, or go on with a session that was kept.

    Raises InputError for settings and for a session of another scan, DataError for a file that
    cannot be read, MissingExtra, ModelError for a tracker that the model cannot be.

    Args:
        source: A `Volume`, an array (Z, Y, X), or what `read_volume` reads.
        settings: See `VolumeSettings`.
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
    if np.prod(volume.shape) * volume.voxels.dtype.itemsize <= IN_MEMORY:
        _ = volume.array  # slices of packed files are unpacked from the beginning each time
    return VolumeSession(model, volume, how)
