"""Masklets without prompts: propose the objects of key frames, track them and merge duplicates.

Key frames are every n-th frame and the first frame of each shot. On a key frame, automatic mask
generation proposes masks, and those that no tracked object covers start new objects. All objects
are tracked forward, and new ones also backward. Objects whose masks agree on their common frames
are merged. Ends of tracks that no proposal confirms, and short or unstable objects are removed.

Source of the idea: Ravi et al. 2024 (SAM 2, arXiv:2408.00714, section 5.1 and appendix: automatic
masklets from a grid of points on the first frame). Deviations: later key frames, the backward pass,
and the merging.

Letters: K objects, N proposals.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
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
from anymask.masks import Rle, coco_to_rle, empty_rle, rle_iou, rle_to_coco
from anymask.segment import Model
from anymask.track.flow import is_cut, reduce_frame
from anymask.track.matching import compare_masks
from anymask.track.records import ObjectMask, TrackedFrame
from anymask.track.session import VideoSession

COVERED = 0.5  # minimum IoU of a proposal and a tracked object that is the same
INSIDE = 0.8  # minimum share of a proposal inside a tracked object to count as a part of it
LARGEST = 0.5  # maximum area of a proposal, as a share of the frame; larger ones are background
COMMON = 3  # minimum number of common frames of two objects that are merged
UNSURE = frozenset({"score", "area", "jump", "unclear"})  # doubts about a visible mask
KEYS, DONE = "masklet keys", "masklets"  # notes of a session: proposals by key frame, the report


@describe_settings
@dataclass(frozen=True, kw_only=True)
class MaskletSettings:
    """Settings of proposed masklets. Raises InputError if a value is out of range."""

    key_every: Annotated[
        int,
        Setting("start new objects on every n-th frame, and where the shot changes", least=1),
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
    told = session.note(DONE)
    if told is None:
        _track_forward(session, model, settings, lambda done: progress(done, 2 * length))
        if session.objects:
            for done, _ in enumerate(session.propagate("backward"), start=length):
                progress(done, 2 * length)
        tracked()
        told = json.dumps(asdict(_clean(session, settings)))
        session.note(DONE, told)
        session.checkpoint()
    return MaskletReport(**parse_json(told, "the report of masklets"))


def _track_forward(
    session: VideoSession, model: Model, settings: MaskletSettings, progress: Callable[[int], None]
) -> None:
    """Track through the video, and start new objects on key frames."""
    finished = _proposals(session)
    before = None
    for frame in _steps(session):
        progress(frame.index)
        image = session.picture(frame.index)
        assert image is not None  # the session has just processed this frame
        grey = reduce_frame(image)
        if before is None and frame.index:  # a resumed call
            earlier = session.picture(frame.index - 1)
            before = None if earlier is None else reduce_frame(earlier)
        cut = before is not None and is_cut(grey, before)
        before = grey
        if frame.index in finished or not (cut or frame.index % settings.key_every == 0):
            continue
        finished[frame.index] = _start_objects(session, model, frame, settings)
        told = {at: [rle_to_coco(rle) for rle in rles] for at, rles in finished.items()}
        session.note(KEYS, json.dumps(told))


def _proposals(session: VideoSession) -> dict[int, list[Rle]]:
    """Proposals on the finished key frames."""
    told = parse_json(session.note(KEYS) or "{}", "the key frames")
    return {int(at): [coco_to_rle(one) for one in rles] for at, rles in told.items()}


def _steps(session: VideoSession) -> Iterator[TrackedFrame]:
    """Yield the last frame of an interrupted call again, then the frames after it."""
    if session.stepped >= 0:
        yield session.result(session.stepped)
    while (frame := session.step()) is not None:
        yield frame


def _start_objects(
    session: VideoSession, model: Model, frame: TrackedFrame, settings: MaskletSettings
) -> list[Rle]:
    """Start an object for each proposal on a frame that no tracked object covers.

    A proposal inside a track is a part of it only if another proposal confirms the track.
    """
    image = session.picture(frame.index)
    assert image is not None  # the session has just processed this frame
    found, pixels = model.everything(image, refine_edges=False), image.shape[0] * image.shape[1]
    tracked = [one.rle for one in frame.objects.values() if one.area]
    wholes = [rle for rle in tracked if is_confirmed(rle, [one.rle for one in found])]
    for one in found:
        if len(tracked) >= settings.max_objects:
            break
        fits = settings.min_object <= one.area / pixels <= LARGEST
        is_part = (compare_masks([one.rle], wholes)[1] >= INSIDE).any()
        if not fits or is_part or is_confirmed(one.rle, tracked):
            continue
        session.add(frame.index, max(session.objects, default=0) + 1, mask=one.mask)
        tracked.append(one.rle)
        wholes.append(one.rle)
    return [one.rle for one in found]


def is_confirmed(mask: Rle, others: list[Rle]) -> bool:
    """Whether one of the other masks shows the same object."""
    return bool((compare_masks([mask], others)[0] >= COVERED).any())


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
    proposals = _proposals(session)
    kept: dict[int, dict[int, ObjectMask]] = {}
    for group in groups:
        joined = join_tracks([trim(masks[number], starts[number]) for number in group])
        joined = trim_unconfirmed(joined, proposals)
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


def trim_unconfirmed(
    masks: dict[int, ObjectMask], proposals: Mapping[int, list[Rle]]
) -> dict[int, ObjectMask]:
    """Remove the masks before the first and after the last confirmed key frame.

    They are kept up to an end of the video if the object is not visible on the key frames there.

    Args:
        proposals: Proposals by key frame.
    """
    keys = [at for at in proposals if at in masks and masks[at].area]
    confirmed = [at for at in keys if is_confirmed(masks[at].rle, proposals[at])]
    if not confirmed:
        return {}
    first, last = min(confirmed), max(confirmed)
    begin = first if any(at < first for at in keys) else 0
    end = last if any(at > last for at in keys) else max(masks)
    return {at: one for at, one in masks.items() if begin <= at <= end}


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
            hidden = next(iter(tracks[0].values()))
            joined[at] = replace(
                hidden, rle=empty_rle(hidden.rle.size), score=0.0, quality=0.0, state="occluded",
                doubts=(), prompted=False,
            )  # fmt: skip
    return joined
