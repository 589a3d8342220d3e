"""Tracks of objects along one axis of a scan, and the choice between them.

Every prompted slice of an object is tracked on its own, in both directions. A new prompt leaves the
other tracks as they are, and each slice shows the track with the highest confidence: 1 on its own
slice, the IoU with the prompted mask on another prompted slice, and in between by distance. If two
are equal, the nearest prompt decides.

Letters: H W a slice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from anymask.masks import rle_iou
from anymask.track import ObjectMask, VideoSession, read_whole

TRACKS = 1 << 16  # a track is numbered object + TRACKS * (prompted slice + 1)


@dataclass(frozen=True, eq=False)
class ShownSlice:
    """Mask of an object on a slice, and the confidence of its track there."""

    mask: ObjectMask
    confidence: float


@dataclass(frozen=True, eq=False)
class AxisTracks:
    """Objects along one axis. A track of an older session file may have several prompted slices."""

    video: VideoSession

    @property
    def objects(self) -> list[int]:
        """Numbers of all objects."""
        return sorted({track % TRACKS for track in self.video.objects})

    def tracks(self, number: int) -> dict[int, list[int]]:
        """Prompted slices of each track of an object."""
        (number,) = read_whole(id=number)
        tracks = [track for track in self.video.objects if track % TRACKS == number]
        return {track: own for track in tracks if (own := self.video.prompts(track))}

    def prompts(self, number: int) -> list[int]:
        """Prompted slices of an object."""
        return sorted({index for own in self.tracks(number).values() for index in own})

    def track_at(self, number: int, index: int) -> int:
        """Number of the track with a prompt on a slice, or of a new one."""
        tracks = self.tracks(number).items()
        new = number + TRACKS * (index + 1)
        return next((track for track, own in tracks if index in own), new)

    def slices(self, number: int) -> list[int]:
        """Slices with masks of an object."""
        known = [self.video.known(track) for track in self.tracks(number)]
        return sorted({i for one in known for first, last in one for i in range(first, last + 1)})

    def result(self, index: int) -> dict[int, ObjectMask]:
        """Shown masks of a slice, by object number."""
        found = ((number, self._shown(number, [index])) for number in self.objects)
        return {number: one.mask for number, shown in found for _, one in shown}

    def shown(self, number: int) -> Iterator[tuple[int, ShownSlice]]:
        """Shown masks of an object, by slice."""
        return self._shown(number, self.slices(number))

    def _shown(self, number: int, indices: Iterable[int]) -> Iterator[tuple[int, ShownSlice]]:
        tracks = self.tracks(number)
        known = self._known(tracks)

        def rank(track: int, index: int) -> tuple[float, int]:
            places = sorted(known[track])
            values = [known[track][place] for place in places]
            away = min(abs(index - own) for own in tracks[track])
            return round(float(np.interp(index, places, values)), 3), -away

        for index in indices:
            objects = self.video.result(index).objects
            if candidates := tracks.keys() & objects.keys():
                (confidence, _), track = max((rank(one, index), one) for one in candidates)
                yield index, ShownSlice(objects[track], confidence)

    def _known(self, tracks: dict[int, list[int]]) -> dict[int, dict[int, float]]:
        """Confidence of each track on the prompted slices of all."""
        known = {track: dict.fromkeys(own, 1.0) for track, own in tracks.items()}
        for owner, index in [(owner, index) for owner, own in tracks.items() for index in own]:
            objects = self.video.result(index).objects
            for track in (tracks.keys() & objects.keys()) - {owner}:
                known[track][index] = _agreement(objects[track], objects[owner])
        return known


def _agreement(first: ObjectMask, last: ObjectMask) -> float:
    """IoU of two masks, 1 if both are empty."""
    return float(rle_iou([first.rle], [last.rle])[0, 0]) if first.area or last.area else 1.0
