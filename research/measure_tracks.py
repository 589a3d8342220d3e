"""Ghosts, identity switches and drift of tracks on made clips with exact truth.

    python -m research.measure_tracks everything        proposed masklets, before and after merging
    python -m research.measure_tracks words             text prompts on a cut-out that moves
    python -m research.measure_tracks drift             one object through 3,000 frames

The clips are those of `made_clips`. On each frame, tracks and objects are matched at an IoU of at
least `HIT`; pairs of the previous frame stay together where possible (CLEAR MOT, Bernardin and
Stiefelhagen 2008, doi:10.1155/2008/246309).

    switch   an object is matched to another track than the last time that it was matched
    ghost    a mask without an object: of any track with `exhaustive`, else only masks of tracks
             that match an object on some frame, and masks inside an object (parts and duplicates),
             because a background contains objects without truth

Objects of which only a small part is visible are optional: they can be matched, but are not missed.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

import anymask
from anymask.base import Floats
from anymask.masks import Rle, iou, mask_to_rle, rle_iou
from anymask.segment import Model
from anymask.track import (
    FrameSampling,
    MonitorSettings,
    SessionStore,
    VideoSession,
    open_session,
    open_source,
    open_tracker,
)
from anymask.track.masklets import MaskletSettings, propose_masklets
from anymask.track.matching import compare_masks
from anymask.track.records import TrackedFrame
from anymask.track.sources import SampledFrames
from research.made_clips import MadeScene, Sprite, ground, scenes, subject, swing, textured

HIT = 0.5  # minimum IoU of a track and its object
NEAR = 0.5  # share of a mask inside an object from which it belongs to this object
RATE = 25  # frames per second of the made clips
WARM = 300  # frames after which the memory is constant
GROWTH = 30  # maximum growth of the peak memory after them, in MB
KILOBYTES = 1e6 if sys.platform == "darwin" else 1e3  # per MB, in the unit of `ru_maxrss`


@dataclass(frozen=True)
class FrameTruth:
    """Objects of one frame: masks by number, and the numbers of optional objects."""

    masks: dict[int, Rle]
    optional: frozenset[int] = frozenset()


@dataclass
class IdentityCounts:
    """Counts over the frames of one or more clips.

    Attributes:
        frames: Number of frames.
        required: Number of masks of the truth that are not optional.
        missed: Number of those without a track.
        ghosts: Number of masks without an object.
        switches: Number of identity switches.
        tracks: Object to the tracks that it was matched to.
    """

    frames: int = 0
    required: int = 0
    missed: int = 0
    ghosts: int = 0
    switches: int = 0
    tracks: dict[int, list[int]] = field(default_factory=dict)

    def add(self, other: IdentityCounts) -> None:
        """Add the counts of another clip."""
        for name in ("frames", "required", "missed", "ghosts", "switches"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def __str__(self) -> str:
        per = 100 / max(self.frames, 1)
        return (
            f"{self.frames} frames: {self.ghosts * per:.2f} ghosts and "
            f"{self.switches * per:.2f} switches per 100 frames, "
            f"{100 * self.missed / max(self.required, 1):.1f} % of {self.required} masks missed"
        )


def count_identities(
    frames: Iterable[tuple[FrameTruth, dict[int, Rle]]], *, exhaustive: bool = False
) -> IdentityCounts:
    """Count ghosts, switches and missed masks of one clip.

    Args:
        frames: Truth, and visible masks by track, of each frame.
        exhaustive: Whether the truth contains every object that a track can have.
    """
    counts, pairs, last = IdentityCounts(), dict[int, int](), dict[int, int]()
    alone: list[tuple[int, bool]] = []  # track of each mask without an object, and if it is inside
    for truth, found in frames:
        counts.frames += 1
        counts.required += len(truth.masks.keys() - truth.optional)
        pairs = match_frame(truth.masks, found, pairs)
        counts.missed += len(truth.masks.keys() - truth.optional - pairs.keys())
        for number, track in pairs.items():
            counts.switches += last.get(number, track) != track
            last[number] = track
            if track not in counts.tracks.setdefault(number, []):
                counts.tracks[number].append(track)
        for track in found.keys() - set(pairs.values()):
            _, inside, _ = compare_masks([found[track]], [*truth.masks.values()])
            within = {n for n, share in zip(truth.masks, inside[0], strict=True) if share >= NEAR}
            if not within & truth.optional:
                alone.append((track, bool(within)))
    related = {track for tracks in counts.tracks.values() for track in tracks}
    counts.ghosts = sum(exhaustive or track in related or is_inside for track, is_inside in alone)
    return counts


def match_frame(
    truth: dict[int, Rle], found: dict[int, Rle], before: dict[int, int]
) -> dict[int, int]:
    """Match objects to tracks: pairs of the previous frame first, then the highest IoU."""
    if not truth or not found:
        return {}
    table = rle_iou([*truth.values()], [*found.values()])
    ious = {
        (number, track): float(table[row, column])
        for row, number in enumerate(truth)
        for column, track in enumerate(found)
    }
    pairs: dict[int, int] = {}
    for (number, track), value in sorted(
        ious.items(), key=lambda one: (before.get(one[0][0]) != one[0][1], -one[1])
    ):
        if value >= HIT and number not in pairs and track not in pairs.values():
            pairs[number] = track
    return pairs


def truth_of(scene: MadeScene, frame: int) -> FrameTruth:
    """Truth of one frame of a made scene."""
    masks = {number: mask_to_rle(one) for number, one in scene.masks(frame).items()}
    return FrameTruth(masks, frozenset(scene.optional(frame)))


def visible(frame: TrackedFrame) -> dict[int, Rle]:
    """Visible masks of a frame by track."""
    return {number: one.rle for number, one in frame.objects.items() if one.area}


# Proposed masklets.


def hold(session: VideoSession, held: list[dict[int, Rle]]) -> None:
    """Append the visible masks of each frame."""
    held.extend(visible(frame) for frame in session.results())


def measure_everything(model: Model, settings: MaskletSettings, only: str | None) -> None:
    """Print the counts of each scene, before and after merging and dropping."""
    whole = {"tracked": IdentityCounts(), "merged": IdentityCounts()}
    for scene in scenes():
        if only not in (None, scene.name):
            continue
        begins = time.monotonic()
        images = [scene.image(frame) for frame in range(scene.frames)]
        raw: list[dict[int, Rle]] = []
        with open_session(model, images) as session:
            report = propose_masklets(
                session, model, settings,
                tracked=partial(hold, session, raw),
            )  # fmt: skip
            merged = [visible(session.result(frame)) for frame in range(scene.frames)]
        print(f"{scene.name}: {report} ({time.monotonic() - begins:.0f} s)", flush=True)
        truths = [truth_of(scene, frame) for frame in range(scene.frames)]
        for name, found in (("tracked", raw), ("merged", merged)):
            counts = count_identities(zip(truths, found, strict=True))
            whole[name].add(counts)
            print(f"    {name}: {counts}; objects to tracks {counts.tracks}", flush=True)
    for name, counts in whole.items():
        print(f"all, {name}: {counts}")


# Text prompts.


# Drift.


def measure_drift(model: Model, frames: int) -> Floats:  # -> (minutes,)
    """Print the mean IoU of each minute, its slope, and the memory.

    Raises:
        MemoryError: The peak memory grows by more than `GROWTH` after the first `WARM` frames.
    """
    # One disc that moves over a bundled sample for any number of frames, 120 x 160 pixels.
    sprite = Sprite(*textured("disc", 44, 60, 0), swing((80, 60), (50, 28), 170), 1)
    scene = MadeScene("long", {0: ground("coffee", (120, 160))}, {0: (sprite,)}, frames)
    begins = time.monotonic()
    source = SampledFrames(open_source(scene.image(n) for n in range(frames)), FrameSampling())
    ious, held, peaks = [], 0, []
    with VideoSession(
        open_tracker(model), source, SessionStore(None), MonitorSettings()
    ) as session:
        session.add(frame=0, mask=scene.masks(0)[1])
        for frame in session:
            ious.append(iou(frame.masks[1], scene.masks(frame.index)[1]))
            state: Any = session.state_of(1, backward=False)
            held = max(held, len(state.remembered))
            peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KILOBYTES)
    minutes = np.array([np.mean(part) for part in np.array_split(ious, -(-frames // (60 * RATE)))])
    slope = np.polyfit(np.arange(len(ious)) / (60 * RATE), ious, 1)[0]
    spent = time.monotonic() - begins
    print(f"IoU of each minute: {', '.join(f'{one:.4f}' for one in minutes)}")
    print(f"lowest {min(ious):.3f}, slope {slope:+.5f} per minute, {spent:.0f} s")
    growth = peaks[-1] - peaks[min(WARM, frames - 1)]
    print(
        f"remembered frames at most {held}, peak memory {peaks[-1]:.0f} MB, growth {growth:.1f} MB"
    )
    if growth > GROWTH:
        raise MemoryError(f"The peak memory grew by {growth:.1f} MB. The limit is {GROWTH} MB.")
    return minutes


def main() -> None:
    """Run one of the measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("everything", "words", "drift"))
    parser.add_argument("--model", default="nano")
    parser.add_argument("--scene", help="only this scene of `everything`")
    parser.add_argument("--min-object", type=float, default=0.02)
    parser.add_argument("--frames", type=int)
    parser.add_argument("--every", type=int, default=10)
    parser.add_argument("--image", default="sample:cat")
    parser.add_argument("--word", default="cat")
    parser.add_argument("--over", default="rocket")
    args = parser.parse_args()
    model = anymask.load(args.model)
    if args.what == "everything":
        measure_everything(model, MaskletSettings(min_object=args.min_object), args.scene)
    elif args.what == "words":
        # Print the counts of one moving object that a text prompt finds.
        frames = args.frames or 40
        is_sample, name = args.image.startswith("sample:"), args.image.removeprefix("sample:")
        image = anymask.load_image(anymask.sample(name) if is_sample else args.image)
        found = anymask.load("small").find(image, args.word)
        # A cut-out that crosses a bundled sample.
        hw = (240, 320)
        sprite = Sprite(
            *subject(image, found[0].mask, 130), swing((160, 140), (90, 20), 2 * frames), 1
        )
        scene = MadeScene("subject", {0: ground(args.over, hw)}, {0: (sprite,)}, frames)
        images = [scene.image(frame) for frame in range(frames)]
        tracked = [
            {one.id: one.rle for one in masks if one.id is not None}
            for masks in model.find(images, args.word, every=args.every)
        ]
        truths = [truth_of(scene, frame) for frame in range(frames)]
        counts = count_identities(zip(truths, tracked, strict=True), exhaustive=True)
        names = sorted({track for masks in tracked for track in masks})
        print(f"{args.word}: {counts}; identities {names}")
    else:
        measure_drift(model, args.frames or 3000)


if __name__ == "__main__":
    main()
