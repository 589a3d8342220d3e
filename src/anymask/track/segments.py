"""Segments of masklets between two anchors: compare both directions, and remove implausible masks.

A track that had drifted on an anchor was tracked again backward from it. If the backward track
reaches the earlier anchor, its masks are kept. Otherwise, both masks of each frame of the segment
are compared. If they differ, the mask nearer to its anchor counts, unless its
area or colors differ from those of the anchors. In a segment with a key frame on which no proposal
confirms the track, implausible masks are removed. Beyond the outer anchors, a track ends at the
first implausible mask.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from anymask.base import FloatArray
from anymask.masks import empty_rle, rle_iou
from anymask.track.appearance import color_histogram, similarity
from anymask.track.key_frames import COVERED, is_similar_area, read_forward
from anymask.track.records import ObjectMask
from anymask.track.session import VideoSession

BETWEEN = 1.5  # maximum ratio of an area between two anchors and the larger one of theirs
COLORS_ALIKE = 0.9  # minimum cosine similarity of the color histograms of a track and an anchor


@dataclass(frozen=True)
class Anchor:
    """Prompted mask of an object: frame, area and color histogram."""

    frame: int
    area: int
    colors: FloatArray


class Segments:
    """Plausible masks of the objects of a session.

    Args:
        keys: Finished key frames.
    """

    def __init__(self, session: VideoSession, keys: Sequence[int]) -> None:
        self.session, self.keys = session, keys

    def plausible_masks(
        self, number: int, masks: Mapping[int, ObjectMask]
    ) -> dict[int, ObjectMask]:
        """Plausible masks of one object, by frame.

        Args:
            masks: All masks of the object, from both passes.
        """
        anchors = [
            Anchor(at, one.area, self._colors(at, one))
            for at, one in sorted(masks.items())
            if one.prompted and one.area
        ]
        if not anchors:
            return {}
        settled = {one.frame: masks[one.frame] for one in anchors}
        for before, after in pairwise(anchors):
            forward = read_forward(self.session, number, after.frame)
            is_confirmed = not any(before.frame < key < after.frame for key in self.keys)
            reaches = forward is not None and is_near(masks, before.frame, before.frame + 1)
            for at in range(before.frame + 1, after.frame):
                if at not in masks:
                    continue
                if reaches or (forward is None and (is_confirmed or not masks[at].area)):
                    settled[at] = masks[at]
                else:
                    both = (None if forward is None else forward.get(at), masks[at])
                    settled[at] = self._between(at, before, after, both)
        outside = range(anchors[0].frame - 1, -1, -1), range(anchors[-1].frame + 1, max(masks) + 1)
        for anchor, frames in zip((anchors[0], anchors[-1]), outside, strict=True):
            settled |= dict(self._beyond(frames, anchor, masks))
        return settled

    def _between(
        self, at: int, before: Anchor, after: Anchor, both: tuple[ObjectMask | None, ObjectMask]
    ) -> ObjectMask:
        """The mask of a frame between two anchors, of a forward and a backward mask."""
        forward, backward = both
        pairs = [(at - before.frame, forward), (after.frame - at, backward)]
        most = BETWEEN * max(before.area, after.area)
        nearest_first = [one for _, one in sorted(pairs, key=lambda one: one[0]) if one]
        found = [one for one in nearest_first if 0 < one.area <= most]
        if len(found) == 2 and rle_iou([found[0].rle], [found[1].rle])[0, 0] >= COVERED:
            return found[0]
        for one in found:
            if self._is_plausible(at, one, before, after):
                return one
        return hidden(backward)

    def _beyond(
        self, frames: range, anchor: Anchor, masks: Mapping[int, ObjectMask]
    ) -> Iterator[tuple[int, ObjectMask]]:
        """Masks in one direction from an outer anchor, up to the first implausible one."""
        for at in frames:
            one = masks.get(at)
            if one is None or "cut" in one.doubts:
                return
            if one.area and not self._is_plausible(at, one, anchor):
                return
            yield at, one

    def _is_plausible(self, at: int, one: ObjectMask, *anchors: Anchor) -> bool:
        alike = [anchor for anchor in anchors if is_similar_area(one.area, anchor.area)]
        if not alike:
            return False
        colors = self._colors(at, one)
        return similarity(colors, [anchor.colors for anchor in alike]) >= COLORS_ALIKE

    def _colors(self, at: int, one: ObjectMask) -> FloatArray:
        image = self.session.picture(at)
        assert image is not None  # the session has processed this frame
        return color_histogram(image, one.rle)


def is_near(masks: Mapping[int, ObjectMask], anchor: int, frame: int) -> bool:
    """Whether the mask of an anchor and the one of a frame beside it show the same object."""
    return frame in masks and bool(
        rle_iou([masks[anchor].rle], [masks[frame].rle])[0, 0] >= COVERED
    )


def hidden(one: ObjectMask) -> ObjectMask:
    """The empty mask of an object on a frame."""
    return replace(
        one, rle=empty_rle(one.rle.size), score=0.0, quality=0.0, state="occluded", doubts=(),
        prompted=False,
    )  # fmt: skip
