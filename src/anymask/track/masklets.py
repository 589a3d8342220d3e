"""Masklets without prompts: propose the objects of key frames, track them and merge duplicates.

Key frames are every n-th frame, the first frame of each shot and the last frame. On a key frame,
automatic mask generation proposes masks. They confirm or correct the tracked objects, or start new
ones (`key_frames`). All objects are tracked forward, and new and corrected ones also backward.
Implausible masks are removed, objects whose masks agree on their common frames are
merged, and short or unstable objects are removed.

Source of the idea: Ravi et al. 2024 (SAM 2, arXiv:2408.00714, section 5.1 and appendix: automatic
masklets from a grid of points on the first frame). Deviations: later key frames, the corrections,
the backward pass, and the merging.

Letters: K objects.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations, pairwise
from typing import Annotated

import numpy as np

from anymask.base import FloatArray, InputError, OnProgress, Setting, describe_settings, parse_json
from anymask.formats import located
from anymask.masks import empty_rle, rle_iou
from anymask.segment import Model
from anymask.track.appearance import color_histogram, similarity
from anymask.track.flow import is_cut, reduce_frame
from anymask.track.key_frames import (
    SAME_IOU,
    KeyFrames,
    finished_keys,
    is_similar_area,
    read_forward,
)
from anymask.track.records import ObjectMask, TrackedFrame
from anymask.track.session import VideoSession, read_image

# Segments of masklets between two anchors: compare both directions, and remove implausible masks.
#
# A track that had drifted on an anchor was tracked again backward from it. If the backward track
# reaches the earlier anchor, its masks are kept. Otherwise, both masks of each frame of the segment
# are compared. If they differ, the mask nearer to its anchor counts, unless its area or colors
# differ from those of the anchors. In a segment with a key frame on which no proposal confirms the
# track, implausible masks are removed. Beyond the outer anchors, a track ends at the first
# implausible mask.

MAX_AREA_RATIO = 1.5  # maximum ratio of an area between two anchors and the larger one of theirs
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
            Anchor(at, mask.area, self._colors(at, mask))
            for at, mask in sorted(masks.items())
            if mask.prompted and mask.area
        ]
        if not anchors:
            return {}
        settled = {anchor.frame: masks[anchor.frame] for anchor in anchors}
        for before, after in pairwise(anchors):
            forward = read_forward(self.session, number, after.frame)
            is_confirmed = not any(before.frame < key < after.frame for key in self.keys)
            beside = masks.get(before.frame + 1)  # the backward track beside the earlier anchor
            reaches = (
                forward is not None
                and beside is not None
                and rle_iou([masks[before.frame].rle], [beside.rle])[0, 0] >= SAME_IOU
            )
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
            for at in frames:
                mask = masks.get(at)
                if mask is None or "cut" in mask.doubts:
                    break
                if mask.area and not self._is_plausible(at, mask, anchor):
                    break
                settled[at] = mask
        return settled

    def _between(
        self, at: int, before: Anchor, after: Anchor, both: tuple[ObjectMask | None, ObjectMask]
    ) -> ObjectMask:
        """The mask of a frame between two anchors, of a forward and a backward mask."""
        forward, backward = both
        pairs = [(at - before.frame, forward), (after.frame - at, backward)]
        most = MAX_AREA_RATIO * max(before.area, after.area)
        nearest_first = [mask for _, mask in sorted(pairs, key=lambda one: one[0]) if mask]
        fitting = [mask for mask in nearest_first if 0 < mask.area <= most]
        if len(fitting) == 2 and rle_iou([fitting[0].rle], [fitting[1].rle])[0, 0] >= SAME_IOU:
            return fitting[0]
        plausible = (mask for mask in fitting if self._is_plausible(at, mask, before, after))
        return next(plausible, hidden(backward))

    def _is_plausible(self, at: int, one: ObjectMask, *anchors: Anchor) -> bool:
        alike = [anchor.colors for anchor in anchors if is_similar_area(one.area, anchor.area)]
        return bool(alike) and similarity(self._colors(at, one), alike) >= COLORS_ALIKE

    def _colors(self, at: int, one: ObjectMask) -> FloatArray:
        return color_histogram(read_image(self.session, at), one.rle)


def hidden(one: ObjectMask) -> ObjectMask:
    """The empty mask of an object on a frame."""
    return replace(
        one, rle=empty_rle(one.rle.size), score=0.0, quality=0.0, state="occluded", doubts=(),
        prompted=False,
    )  # fmt: skip


MIN_COMMON_FRAMES = 3  # minimum number of common frames of two objects that are merged
VISIBLE_DOUBTS = frozenset({"score", "area", "jump", "unclear"})  # doubts about a visible mask
REPORT_NOTE = "masklets"  # note of a session: the report


@describe_settings
@dataclass(frozen=True, kw_only=True)
class MaskletSettings:
    """Settings of proposed masklets. Raises InputError if a value is out of range."""

    key_every: Annotated[
        int,
        Setting(
            "propose masks on every n-th frame, where the shot changes, and on the last frame", ge=1
        ),
    ] = 15
    max_objects: Annotated[
        int, Setting("start no further objects if this many are visible", ge=1)
    ] = 20
    min_object: Annotated[
        float, Setting("minimum area of a new object, as a share of the frame", le=1)
    ] = 0.005
    merge_iou: Annotated[
        float,
        Setting(
            "merge two objects if the mean IoU of their masks on common frames is at least this",
            gt=0, le=1,
        ),
    ] = 0.7  # fmt: skip
    min_frames: Annotated[
        int, Setting("drop objects that are visible on fewer frames", ge=1, unit="frames")
    ] = 5
    max_unsure: Annotated[
        float, Setting("drop objects with a larger share of low-confidence frames", le=1)
    ] = 0.5


@dataclass(frozen=True)
class MaskletReport:
    """Numbers of objects: remaining, merged into others, dropped as short or as unstable."""

    objects: int
    merged: int
    short: int
    unstable: int

    def __str__(self) -> str:
        return (
            f"{self.objects} masklets. Merged duplicates: {self.merged}. Dropped: {self.short} "
            f"short, {self.unstable} unstable"
        )


def propose_masklets(
    session: VideoSession,
    model: Model,
    settings: MaskletSettings | None = None,
    progress: OnProgress = lambda done, total: None,
    tracked: Callable[[], None] = lambda: None,
) -> MaskletReport:
    """Track the objects that automatic mask generation finds, and store them in the session.

    An interrupted call is resumed with the same session file. Raises InputError if the source
    does not support random access.

    Args:
        session: New session, or one of an interrupted call.
        model: Model that proposes the masks.
        progress: Called with the number of tracked frames of both directions, and their total.
        tracked: Called after the passes, before objects are merged and dropped.
    """
    settings, length = settings or MaskletSettings(), session.frames.length
    if length is None:
        raise InputError(
            "Masklets are tracked in both directions, but this source can only be read forward. "
            "Pass a video file or a folder of frames."
        )
    stored = session.metadata(REPORT_NOTE)
    if stored is None:
        _track_forward(session, model, settings, lambda done: progress(done, 2 * length))
        if session.objects:
            for done, _ in enumerate(session.propagate("backward"), start=length):
                progress(done, 2 * length)
        tracked()
        stored = json.dumps(asdict(_clean(session, settings)))
        session.metadata(REPORT_NOTE, stored)
        session.checkpoint()
    progress(2 * length, 2 * length)
    with located("the report of the session"):
        return MaskletReport(**parse_json(stored, "the report of masklets"))


def _track_forward(
    session: VideoSession, model: Model, settings: MaskletSettings, progress: Callable[[int], None]
) -> None:
    """Track through the video, and match the proposals on key frames."""
    keys = KeyFrames(session, model, settings.min_object, settings.max_objects)
    before = None
    # The last frame of an interrupted call, then those after it
    resumes = session.last_step >= 0
    frame = session.result(session.last_step) if resumes else session.step()
    while frame is not None:
        progress(frame.index)
        gray = reduce_frame(read_image(session, frame.index))
        if before is None and frame.index:  # a resumed call
            earlier = session.image(frame.index - 1)
            before = None if earlier is None else reduce_frame(earlier)
        is_key = frame.index % settings.key_every == 0 or frame.index + 1 == session.frames.length
        is_key = is_key or (before is not None and is_cut(gray, before))
        before = gray
        if is_key and frame.index not in keys.finished:
            keys.process(frame)
        frame = session.step()


# Merging and dropping.


def _clean(session: VideoSession, settings: MaskletSettings) -> MaskletReport:
    """Merge duplicates, end tracks before their first gap, drop short and unstable objects."""
    groups = merge_groups(session.results(), settings.merge_iou)
    numbers = session.objects
    grouped = {number for group in groups for number in group}
    groups += [[number] for number in numbers if number not in grouped]
    starts = {number: min(session.prompts(number)) for number in numbers}
    masks: dict[int, dict[int, ObjectMask]] = defaultdict(dict)
    for frame in session.results():
        for number, mask in frame.objects.items():
            masks[number][frame.index] = mask
    dropped: Counter[str] = Counter()
    segments = Segments(session, finished_keys(session))
    kept: dict[int, dict[int, ObjectMask]] = {}
    for group in groups:
        settled = [segments.plausible_masks(number, masks[number]) for number in group]
        tracks = [trim(track, starts[n]) for track, n in zip(settled, group, strict=True) if track]
        joined = join_tracks(tracks) if tracks else {}
        visible = [mask for mask in joined.values() if mask.area]
        unsure = sum(bool(VISIBLE_DOUBTS.intersection(mask.doubts)) for mask in visible)
        if len(visible) < settings.min_frames:
            dropped["short"] += 1
        elif unsure > settings.max_unsure * len(visible):
            dropped["unstable"] += 1
        else:
            kept[min(group)] = joined
    for number in numbers:
        session.remove(number)
    for number, joined in kept.items():
        session.import_masks(number, joined)
    merged = len(numbers) - len(groups)
    return MaskletReport(len(kept), merged, dropped["short"], dropped["unstable"])


def merge_groups(frames: Iterable[TrackedFrame], least: float) -> list[list[int]]:
    """Groups of at least two objects that are the same, by their masks on common frames.

    Args:
        least: Minimum mean IoU of each two objects of a group that have common frames.
    """
    totals: dict[tuple[int, int], list[float]] = defaultdict(list)
    for frame in frames:
        visible = {number: mask.rle for number, mask in sorted(frame.objects.items()) if mask.area}
        table = rle_iou([*visible.values()], [*visible.values()]) if visible else np.zeros((0, 0))
        for (row, one), (column, other) in combinations(enumerate(visible), 2):
            totals[one, other].append(float(table[row, column]))
    means = {
        pair: float(np.mean(ious))
        for pair, ious in totals.items()
        if len(ious) >= MIN_COMMON_FRAMES
    }
    group_of: dict[int, list[int]] = {}
    for (one, other), mean in sorted(means.items(), key=lambda pair: -pair[1]):
        mine, theirs = group_of.get(one, [one]), group_of.get(other, [other])
        if mean < least or mine is theirs:
            continue
        across = [(min(a, b), max(a, b)) for a in mine for b in theirs]
        if all(means.get(pair, 1.0) >= least for pair in across):
            joined = sorted([*mine, *theirs])
            group_of |= dict.fromkeys(joined, joined)
    return [group for number, group in group_of.items() if number == group[0]]


def trim(masks: dict[int, ObjectMask], start: int) -> dict[int, ObjectMask]:
    """Remove the masks before the last frame before `start` on which the object is not visible."""
    gone = max((at for at, mask in masks.items() if at < start and not mask.area), default=-1)
    return {at: mask for at, mask in masks.items() if at > gone}


def join_tracks(tracks: list[dict[int, ObjectMask]]) -> dict[int, ObjectMask]:
    """Join the tracks of one object: on each frame the best visible mask, on gaps empty ones."""
    frames = sorted({at for masks in tracks for at in masks})
    joined: dict[int, ObjectMask] = {}
    for at in range(frames[0], frames[-1] + 1):
        held = [masks[at] for masks in tracks if at in masks]
        joined[at] = max(
            held or [hidden(next(iter(tracks[0].values())))],
            key=lambda one: (one.area > 0, one.prompted, not one.doubts, one.score),
        )
    return joined
