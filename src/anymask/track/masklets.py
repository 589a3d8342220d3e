"""Masklets without prompts: propose the objects of key frames, track them and merge duplicates.

Key frames are every n-th frame, the first frame of each shot and the last frame. On a key frame,
automatic mask generation proposes masks. They confirm or correct the tracked objects, or start new
ones (`key_frames`). All objects are tracked forward, and new and corrected ones also backward.
Implausible masks are removed (`segments`), objects whose masks agree on their common frames are
merged, and short or unstable objects are removed.

Source of the idea: Ravi et al. 2024 (SAM 2, arXiv:2408.00714, section 5.1 and appendix: automatic
masklets from a grid of points on the first frame). Deviations: later key frames, the corrections,
the backward pass, and the merging.

Letters: K objects.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Annotated

import numpy as np

from anymask.base import (
    InputError,
    OnProgress,
    Setting,
    check_settings,
    describe_settings,
    parse_json,
)
from anymask.formats import located
from anymask.masks import rle_iou
from anymask.segment import Model
from anymask.track.flow import is_cut, reduce_frame
from anymask.track.key_frames import KeyFrames, finished_keys
from anymask.track.records import ObjectMask, TrackedFrame
from anymask.track.segments import Segments, hidden
from anymask.track.session import VideoSession

COMMON = 3  # minimum number of common frames of two objects that are merged
UNSURE = frozenset({"score", "area", "jump", "unclear"})  # doubts about a visible mask
DONE = "masklets"  # note of a session: the report


@describe_settings
@dataclass(frozen=True, kw_only=True)
class MaskletSettings:
    """Settings of proposed masklets. Raises InputError if a value is out of range."""

    key_every: Annotated[
        int,
        Setting(
            "propose masks on every n-th frame, where the shot changes, and on the last frame",
            least=1,
        ),
    ] = 15
    max_objects: Annotated[
        int, Setting("start no further objects if this many are visible", least=1)
    ] = 20
    min_object: Annotated[
        float, Setting("minimum area of a new object, as a share of the frame", most=1)
    ] = 0.005
    merge_iou: Annotated[
        float,
        Setting(
            "merge two objects if the mean IoU of their masks on common frames is at least this",
            above=0, most=1,
        ),
    ] = 0.7  # fmt: skip
    min_frames: Annotated[
        int, Setting("drop objects that are visible on fewer frames", least=1, unit="frames")
    ] = 5
    max_unsure: Annotated[
        float,
        Setting("drop objects with a larger share of low-confidence frames", most=1),
    ] = 0.5

    def __post_init__(self) -> None:
        check_settings(self)


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
    stored = session.note(DONE)
    if stored is None:
        _track_forward(session, model, settings, lambda done: progress(done, 2 * length))
        if session.objects:
            for done, _ in enumerate(session.propagate("backward"), start=length):
                progress(done, 2 * length)
        tracked()
        stored = json.dumps(asdict(_clean(session, settings)))
        session.note(DONE, stored)
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
    for frame in _steps(session):
        progress(frame.index)
        image = session.picture(frame.index)
        assert image is not None  # the session has just processed this frame
        grey = reduce_frame(image)
        if before is None and frame.index:  # a resumed call
            earlier = session.picture(frame.index - 1)
            before = None if earlier is None else reduce_frame(earlier)
        is_key = frame.index % settings.key_every == 0 or frame.index + 1 == session.frames.length
        is_key = is_key or (before is not None and is_cut(grey, before))
        before = grey
        if is_key and frame.index not in keys.finished:
            keys.process(frame)


def _steps(session: VideoSession) -> Iterator[TrackedFrame]:
    """Yield the last frame of an interrupted call again, then the frames after it."""
    if session.stepped >= 0:
        yield session.result(session.stepped)
    while (frame := session.step()) is not None:
        yield frame


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
        for number, one in frame.objects.items():
            masks[number][frame.index] = one
    dropped: Counter[str] = Counter()
    segments = Segments(session, finished_keys(session))
    kept: dict[int, dict[int, ObjectMask]] = {}
    for group in groups:
        settled = [segments.plausible_masks(number, masks[number]) for number in group]
        tracks = [trim(one, starts[n]) for one, n in zip(settled, group, strict=True) if one]
        joined = join_tracks(tracks) if tracks else {}
        visible = [one for one in joined.values() if one.area]
        unsure = sum(bool(UNSURE.intersection(one.doubts)) for one in visible)
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
        visible = {number: one.rle for number, one in sorted(frame.objects.items()) if one.area}
        table = rle_iou([*visible.values()], [*visible.values()]) if visible else np.zeros((0, 0))
        for (row, one), (column, other) in combinations(enumerate(visible), 2):
            totals[one, other].append(float(table[row, column]))
    means = {pair: float(np.mean(ious)) for pair, ious in totals.items() if len(ious) >= COMMON}
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
    gone = max((at for at, one in masks.items() if at < start and not one.area), default=-1)
    return {at: one for at, one in masks.items() if at > gone}


def join_tracks(tracks: list[dict[int, ObjectMask]]) -> dict[int, ObjectMask]:
    """Join the tracks of one object: on each frame the best visible mask, on gaps empty ones."""
    frames = sorted({at for masks in tracks for at in masks})
    joined: dict[int, ObjectMask] = {}
    for at in range(frames[0], frames[-1] + 1):
        held = [masks[at] for masks in tracks if at in masks]
        if held:
            joined[at] = max(
                held, key=lambda one: (one.area > 0, one.prompted, not one.doubts, one.score)
            )
        else:
            joined[at] = hidden(next(iter(tracks[0].values())))
    return joined
