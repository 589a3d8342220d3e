"""Redact tracked objects in a video.

Only frames, times and sound are copied, without the metadata of the file. If an object is lost for
a moment, both its previous and its next position are hidden. Every frame on which no object, or not
every object, is hidden is reported.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import numpy as np

from anymask.base import DataError, InputError, OnProgress, UintImage, ledger, parse_json
from anymask.masks import Mask, rle_area, rle_merge
from anymask.track.outputs import Drawing, VideoFacts, VideoWriter, check_video_output
from anymask.track.records import ObjectMask, TrackedFrame
from anymask.track.settings import FrameSampling
from anymask.track.sources import ListedFrames, SampledFrames, frame_files, open_source
from anymask.track.stored_tracks import KnownTracks, read_tracks
from anymask.track.text_tracking import find_in_video, write_finds

if TYPE_CHECKING:
    from anymask.edit import Hiding, RedactedCopy
    from anymask.find import Phrases
    from anymask.keywords import VideoFindKeywords
    from anymask.segment import Model

BRIDGED = 1.0  # maximum gap of an object that is bridged, in seconds
_LONGEST_LINE = 50_000_000  # maximum number of characters read from the first line


@dataclass(frozen=True)
class Gap:
    """A frame on which not all objects are hidden, or not reliably."""

    frame: int  # Source frame, from 0
    seconds: float  # Presentation time
    reason: str  # Message


def redact_video(
    video: str | Path,
    tracks: str | Path,
    out: str | Path,
    how: Hiding = "solid",
    color: str = "black",
    progress: OnProgress = lambda done, total: None,
) -> list[Gap]:
    """Write a copy of a video with tracked objects hidden. Returns the frames to review.

    Args:
        video: Video file.
        tracks: .jsonl of `anymask track` or `anymask find`, or JSON of SA-V or YouTube-VIS.
        out: .mp4, .mov, .mkv or .webm, written atomically. A copy with the same inputs is kept.
        how: As for `edit.redact`.
        color: As for `edit.redact`.

    Raises:
        InputError: The output is not a video or not written by anymask, or the tracks do not match.
        DataError: A file cannot be read.
        MissingExtra: Videos require PyAV.
    """
    from anymask.edit import RedactedCopy, Redactor

    path, output = Path(video), Path(out)
    Redactor(how, color)
    check_video_output(output, "picture")
    hidden = HiddenObjects(read_tracks(Path(tracks)))
    copy = RedactedCopy(output, path)
    facts = [ledger.file_hash(path), ledger.file_hash(Path(tracks)), how, color]
    if (rows := copy.notes(facts)) is not None:
        return [Gap(*row) for row in rows]
    with closing(SampledFrames(open_source(path), FrameSampling())) as frames:
        hidden.check(frames, Path(tracks))
        gaps = _write(copy, frames, hidden, partial(hide_objects, how=how, color=color), progress)
    copy.end(facts, [astuple(gap) for gap in gaps])
    return gaps


def is_track_file(path: Path) -> bool:
    """Whether a file is a .jsonl of `anymask track` or `anymask find`."""
    if path.suffix.lower() != ".jsonl" or not path.is_file():
        return False
    with path.open(encoding="utf-8", errors="replace") as file, suppress(DataError):
        row = parse_json(file.readline(_LONGEST_LINE), path.name)
        return isinstance(row, dict) and {"frame", "objects"} <= row.keys()
    return False


def masks_of_frames(folder: Path, tracks: Path) -> dict[Path, list[Mask]]:
    """Masks that a file of tracks hides in each frame of a folder, in natural order.

    Raises:
        InputError: The tracks have more frames than the folder, or cannot be used.
        DataError: The tracks cannot be read.
    """
    files = frame_files(folder)
    frames, hidden = ListedFrames(files), HiddenObjects(read_tracks(tracks))
    hidden.check(frames, tracks)
    return {
        path: [Mask(mask.rle, id=number) for number, mask in hidden.on(index, frames.rate).items()]
        for index, path in enumerate(files)
    }


def _write(
    copy: RedactedCopy,
    frames: SampledFrames,
    hidden: HiddenObjects,
    draw: Drawing,
    progress: OnProgress,
) -> list[Gap]:
    """Draw and write every frame. Returns the frames to review."""
    gaps: list[Gap] = []
    video = copy.original
    writer: VideoWriter | None = None
    try:
        for index in itertools.count():
            image, seconds = frames.read(index), frames.seconds(index)
            if image is None and frames.is_missing(index):
                gaps.append(Gap(index, round(seconds, 3), "damaged frame, not in the copy"))
                continue
            if image is None:
                break
            frame = TrackedFrame(index, index, seconds, hidden.on(index, frames.rate))
            for number, mask in frame.objects.items():
                if mask.rle.size != image.shape[:2]:
                    raise DataError(
                        f"The masks of object {number} have the size {mask.rle.size}, but the "
                        f"video has (H, W) = {image.shape[:2]}. Use the tracks of this video."
                    )
            if writer is None:
                facts = VideoFacts(
                    video.stem, (image.shape[0], image.shape[1]), frames.rate, (), video,
                    seconds, frames.seconds_of_end(),
                )  # fmt: skip
                writer = VideoWriter(copy.path, facts, draw)
            writer.write(frame, partial(np.asarray, image))
            gaps += hidden.gaps(frame)
            progress(index + 1, frames.length)
        if writer is None:
            raise InputError(f"{video} has no frames. Check the file.")
        if frames.error:
            gaps.append(
                Gap(frame.index + 1, frame.seconds, f"the copy ends at this frame: {frames.error}")
            )
    except BaseException:
        if writer is not None:
            writer.abandon()
        raise
    copy.begin()
    writer.close()
    return gaps


def hide_objects(
    frame: TrackedFrame, image: UintImage, how: Hiding, color: str = "black"
) -> UintImage:  # (H, W, 3) -> (H, W, 3)
    """Hide the objects of a frame, with a margin, as `edit.redact` does."""
    from anymask.edit import Redactor

    return Redactor(how, color).hide(image, [mask.rle for mask in frame.objects.values()])


def find_for_review(
    load: Callable[[], Model],
    video: str | Path,
    words: Phrases,
    review: Path,
    progress: OnProgress = lambda done, total: None,
    **given: Unpack[VideoFindKeywords],
) -> Path:
    """Find all instances of prompts in a video, for review. Returns the tracks file.

    An existing file of the same prompts and settings is reused. Raises as `find_in_video`.

    Args:
        load: Function that loads the model, called only if needed.
        review: Output folder: masks as .jsonl, and the video with the masks drawn on it.
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
    """Masks to hide on each frame, including short gaps of an object."""

    def __init__(self, tracks: KnownTracks) -> None:
        self._masks = {
            number: {frame: mask for frame, mask in masks.items() if rle_area(mask.rle)}
            for number, masks in tracks.masks.items()
        }
        self._seen = {number: sorted(masks) for number, masks in self._masks.items()}
        self._messages: dict[int, str] = {}

    def check(self, frames: SampledFrames | ListedFrames, tracks: Path) -> None:
        """Raise InputError if the tracks have more frames than the video."""
        last = max(seen[-1] for seen in self._seen.values() if seen)
        if frames.length is not None and last >= frames.length:
            raise InputError(
                f"{tracks} has masks up to frame {last}, but the video has {frames.length} "
                "frames. Use the tracks of this video."
            )

    def on(self, frame: int, rate: float) -> dict[int, ObjectMask]:
        """Masks to hide on a frame. In a short gap: those before and after it."""
        hidden: dict[int, ObjectMask] = {}
        lost: list[str] = []
        for number, masks in self._masks.items():
            if frame in masks:
                hidden[number] = masks[frame]
                continue
            seen = self._seen[number]
            index = bisect.bisect(seen, frame)
            if index in (0, len(seen)):
                continue
            before, after = seen[index - 1], seen[index]
            if after - before - 1 > BRIDGED * rate:
                lost.append(f"object {number} has no mask between two detections and is not hidden")
                continue
            lost.append(
                f"object {number} has no mask; its previous and next position are hidden instead"
            )
            first, rle = masks[before], rle_merge([masks[before].rle, masks[after].rle])
            hidden[number] = ObjectMask(rle, first.score, first.quality, "occluded")
        self._messages[frame] = "; ".join([*lost, *([] if hidden else ["nothing is hidden"])])
        return hidden

    def gaps(self, frame: TrackedFrame) -> list[Gap]:
        """Message about a frame, as a list of at most one `Gap`."""
        message = self._messages.pop(frame.index)
        return [Gap(frame.source_frame, round(frame.seconds, 3), message)] if message else []
