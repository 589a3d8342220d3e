"""A video redacted as tracks say: masks in, a film without the things and with its sound out.

Nothing but pictures, times and sound is copied: the file's metadata stays behind. Where an object
is lost for a moment, it is hidden where it was before and where it is afterwards; every frame on
which nothing, or not all, is hidden is told.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import numpy as np

from anymask.base import DataError, InputError, OnProgress, UintImage, ledger, parse_json
from anymask.masks import Mask, rle_area, rle_merge
from anymask.track.known import KnownTracks, read_tracks
from anymask.track.outputs import Drawing, FilmWriter, VideoFacts, check_film
from anymask.track.records import ObjectMask, TrackedFrame
from anymask.track.settings import FrameSampling
from anymask.track.sources import ListedFrames, SampledFrames, frame_files, open_source
from anymask.track.words import VideoFindKeywords, find_in_video, write_finds

if TYPE_CHECKING:
    from anymask.edit import Hiding, RedactedCopy
    from anymask.find import Phrases
    from anymask.segment import Model

BRIDGED = 1.0  # seconds for which an object may be lost and is hidden all the same
NOTHING = "nothing is hidden"
_LONGEST_LINE = 50_000_000  # characters of a line that is looked at
DAMAGED = "damaged frame, not in the copy"


@dataclass(frozen=True)
class Gap:
    """A frame on which not all is hidden, or not surely.

    Attributes:
        frame: Of the source, from 0 on.
        seconds: At which it is shown.
        reason: In words.
    """

    frame: int
    seconds: float
    reason: str


def redact_video(
    video: str | Path,
    tracks: str | Path,
    out: str | Path,
    how: Hiding = "solid",
    colour: str = "black",
    progress: OnProgress = lambda done, total: None,
) -> list[Gap]:
    """Write a video without the objects of a file of tracks; the frames to look at.

    Raises InputError for an output that is no film or no copy of ours, and for tracks of another
    video; DataError, MissingExtra.

    Args:
        video: A video file.
        tracks: .jsonl of `anymask track` or `anymask find`, SA-V's or YouTube-VIS' JSON.
        out: .mp4, .mov, .mkv or .webm, which appears when it is complete; one that was made of
            the same is left as it is.
        how: As `edit.redact` takes them.
        colour: As `edit.redact` takes them.
    """
    from anymask.edit import RedactedCopy, Redactor

    path, place = Path(video), Path(out)
    Redactor(how, colour)
    check_film(place, "picture")
    hidden = HiddenObjects(read_tracks(Path(tracks)))
    copy, facts = (
        RedactedCopy(place, path),
        [ledger.file_hash(path), ledger.file_hash(Path(tracks)), how, colour],
    )
    if (rows := copy.notes(facts)) is not None:
        return [Gap(*row) for row in rows]
    frames = SampledFrames(open_source(path), FrameSampling())
    try:
        hidden.check(frames, Path(tracks))
        draw = partial(hide_objects, how=how, colour=colour)
        gaps = _write(copy, frames, hidden, draw, progress)
    finally:
        frames.close()
    copy.end(facts, [astuple(gap) for gap in gaps])
    return gaps


def is_track_file(path: Path) -> bool:
    """Whether a file has the lines of `anymask track` or `anymask find`: objects of frames."""
    if path.suffix.lower() != ".jsonl" or not path.is_file():
        return False
    with path.open(encoding="utf-8", errors="replace") as file:
        try:
            row = parse_json(file.readline(_LONGEST_LINE), path.name)
        except DataError:
            return False
    return isinstance(row, dict) and {"frame", "objects"} <= row.keys()


def masks_of_frames(folder: Path, tracks: Path) -> dict[Path, list[Mask]]:
    """What a file of tracks hides in each frame of a folder, in the order in which it was tracked.

    Raises InputError, DataError for tracks that cannot be read or have more frames.
    """
    files = frame_files(folder)
    frames, hidden = ListedFrames(files), HiddenObjects(read_tracks(tracks))
    hidden.check(frames, tracks)
    return {
        path: [Mask(one.rle, id=number) for number, one in hidden.on(index, frames.rate).items()]
        for index, path in enumerate(files)
    }


def _write(
    copy: RedactedCopy,
    frames: SampledFrames,
    hidden: HiddenObjects,
    draw: Drawing,
    progress: OnProgress,
) -> list[Gap]:
    """Write every frame as it is drawn; what is to be told of them."""
    gaps: list[Gap] = []
    video = copy.original
    writer: FilmWriter | None = None
    try:
        for frame, image in _frames(frames, hidden, gaps):
            if writer is None:
                facts = VideoFacts(
                    video.stem, (image.shape[0], image.shape[1]), frames.rate, (), video,
                    frame.seconds, frames.seconds_of_end(),
                )  # fmt: skip
                writer = FilmWriter(copy.path, facts, draw)
            writer.write(frame, partial(np.asarray, image))
            gaps += hidden.gaps(frame)
            progress(frame.index + 1, frames.length)
            last = frame
        if writer is None:
            raise InputError(f"{video} has no frames. Check the file.")
        if frames.fault:
            gaps.append(
                Gap(last.index + 1, last.seconds, f"the copy ends at this frame: {frames.fault}")
            )
    except BaseException:
        if writer is not None:
            writer.abandon()
        raise
    copy.begin()
    writer.close()
    return gaps


def _frames(
    frames: SampledFrames, hidden: HiddenObjects, gaps: list[Gap]
) -> Iterator[tuple[TrackedFrame, UintImage]]:
    """The frames with the objects that are hidden on each; damaged ones are told to the gaps."""
    for index in itertools.count():
        image, seconds = frames.read(index), frames.seconds(index)
        if image is None and frames.is_missing(index):
            gaps.append(Gap(index, round(seconds, 3), DAMAGED))
            continue
        if image is None:
            return
        objects = hidden.on(index, frames.rate)
        for number, one in objects.items():
            if one.rle.size != image.shape[:2]:
                raise DataError(
                    f"The masks of object {number} have the size {one.rle.size}, but the video "
                    f"has (H, W) = {image.shape[:2]}. Use the tracks of this video."
                )
        yield TrackedFrame(index, index, seconds, objects), image


def hide_objects(
    frame: TrackedFrame, image: UintImage, how: Hiding, colour: str = "black"
) -> UintImage:  # (H, W, 3) -> (H, W, 3)
    """A frame whose objects, and a margin of theirs, are hidden as `edit.redact` does it."""
    from anymask.edit import Redactor

    return Redactor(how, colour).hide(image, [one.rle for one in frame.objects.values()])


def find_for_review(
    load: Callable[[], Model],
    video: str | Path,
    words: Phrases,
    review: Path,
    progress: OnProgress = lambda done, total: None,
    **given: Unpack[VideoFindKeywords],
) -> Path:
    """Find what words mean in a video, for somebody to look at: the file of tracks.

    What was found with the same words and settings is there already. Raises as `find_in_video`.

    Args:
        load: Opens the model, where something is left to be done.
        review: A folder: masks as .jsonl, and the video with them drawn on it.
        given: As for `find_in_video`.
    """
    path = Path(video)
    tracks, stamp = review / f"{path.stem}.jsonl", ledger.Stamp(review / f".{path.stem}.found")
    facts = [str(words), repr(sorted(given.items())), ledger.file_hash(path)]
    if tracks.is_file() and stamp.notes(facts) is not None:
        return tracks
    stamp.path.unlink(missing_ok=True)
    with find_in_video(load(), path, words, **given) as finds:
        write_finds(finds, path, [tracks, review / f"{path.stem}.mp4"], progress)
    stamp.end(facts)
    return tracks


class HiddenObjects:
    """Where each object is hidden, also where it is lost for a moment."""

    def __init__(self, tracks: KnownTracks) -> None:
        self._masks = {
            number: {frame: one for frame, one in masks.items() if rle_area(one.rle)}
            for number, masks in tracks.masks.items()
        }
        self._seen = {number: sorted(masks) for number, masks in self._masks.items()}
        self._told: dict[int, str] = {}

    def check(self, frames: SampledFrames | ListedFrames, tracks: Path) -> None:
        """Raises InputError for masks on frames that the video has not."""
        last = max(seen[-1] for seen in self._seen.values() if seen)
        if frames.length is not None and last >= frames.length:
            raise InputError(
                f"{tracks} has masks up to frame {last}, but the video has {frames.length} "
                "frames. Use the tracks of this video."
            )

    def on(self, frame: int, rate: float) -> dict[int, ObjectMask]:
        """What is hidden on a frame: masks of it, or those around a short gap."""
        found: dict[int, ObjectMask] = {}
        lost: list[str] = []
        for number, masks in self._masks.items():
            if frame in masks:
                found[number] = masks[frame]
                continue
            seen = self._seen[number]
            place = bisect.bisect(seen, frame)
            if place in (0, len(seen)):
                continue
            before, after = seen[place - 1], seen[place]
            if after - before - 1 > BRIDGED * rate:
                lost.append(f"object {number} has no mask between two detections and is not hidden")
                continue
            lost.append(
                f"object {number} has no mask; its previous and next position are hidden instead"
            )
            found[number] = _joined(masks[before], masks[after])
        self._told[frame] = "; ".join([*lost, *([] if found else [NOTHING])])
        return found

    def gaps(self, frame: TrackedFrame) -> list[Gap]:
        """What is to be told of a frame."""
        told = self._told.pop(frame.index)
        return [Gap(frame.source_frame, round(frame.seconds, 3), told)] if told else []


def _joined(before: ObjectMask, after: ObjectMask) -> ObjectMask:
    return ObjectMask(rle_merge([before.rle, after.rle]), before.score, before.quality, "occluded")
