"""Text prompts in video: instances are detected on key frames and tracked in between.

On key frames (every n-th frame, and frames on which an object was lost), all instances of the
prompts are detected as in an image (`find`). Each detection is either a tracked object, matched
by mask; a lost object, matched by appearance, which keeps its number; or a new object. A detection
with a low score starts an object only if the next key frame confirms it.

The order (masks, then appearance, the rest is new) is that of tracking by detection: SORT
(Bewley et al. 2016) and DeepSORT (Wojke et al. 2017). Deviation: detections are masks, and the
session's tracker replaces the Kalman filter.

Letters: K tracks, N detections, G cells of a frame, C values of a cell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, cast

import numpy as np

from anymask.base import FloatArray, InputError, OnProgress, check_keywords, file_suffix
from anymask.find import NO_MATCH, FindSettings, WordFinder, read_phrases
from anymask.masks import ImageInMemory, Mask, Masks, rle_iou
from anymask.segment import Model
from anymask.track.appearance import MAX_APPEARANCES, MIN_COSINE, appearance, similarity
from anymask.track.files import video_facts
from anymask.track.matching import INSIDE_SHARE, compare_masks, maps_to_keys, match_best
from anymask.track.outputs import CutoutStyle, coco_writer
from anymask.track.records import TrackedFrame
from anymask.track.session import VideoSession, open_session, read_image
from anymask.track.writers import check_paths, closed_writers, open_writers

if TYPE_CHECKING:
    from anymask.find import Phrases
    from anymask.keywords import VideoFindKeywords

KEY_INTERVAL = 10  # default interval of key frames
FIND_IOU = 0.3  # minimum IoU to match a detection and a track
REPLACED_IOU = 0.6  # IoU below which the detected mask replaces the tracked mask
OTHER_LABEL = 0.1  # similarity penalty for a label that the object never had
CONFIRMED_SCORE = 0.5  # detections with a lower score must be confirmed on the next key frame
MIN_GAP = 3  # minimum number of frames between key frames


@dataclass
class FoundObject:
    """Labels and appearances of one object."""

    votes: dict[str, float] = field(default_factory=dict)  # Label to sum of detection scores
    # Latest appearance vectors (C,) of unit length
    looks: list[FloatArray] = field(default_factory=list)
    confirmed: bool = True  # Whether a clear detection or two successive ones support the object
    # Whether it is returned. Unconfirmed objects are, if they are on the first key frame.
    shown: bool = True

    @property
    def label(self) -> str:
        """Label with the highest sum of scores."""
        return max(self.votes, key=lambda name: self.votes[name])

    def know(self, find: Mask, vector: FloatArray) -> None:
        """Add a detection and its appearance vector to this object."""
        label = find.label or ""
        self.votes[label] = self.votes.get(label, 0.0) + find.score
        self.looks = [*self.looks, vector][-MAX_APPEARANCES:]

    def likeness(self, vector: FloatArray, label: str | None = None) -> float:
        """Similarity of an appearance vector, -1 to 1, reduced for a label the object never had."""
        is_new = label is not None and label not in self.votes
        return similarity(vector, self.looks) - (OTHER_LABEL if is_new else 0.0)


def find_in_video(
    model: Model, source: Any, words: Phrases, **given: Unpack[VideoFindKeywords]
) -> VideoFinds:
    """Find and track all instances of text or exemplar prompts in a video.

    Iterate over the result to get frames. Raises as `Model.find` and `Model.track`.

    Args:
        source: As for `Model.track`.
        words: As for `Model.find`.
        given: `every`: interval of key frames (default 10). `tracking`: mapping of keyword
            arguments of `Model.track`. All others: as for `Model.find`.
    """
    names = ["every", "tracking", "bgr", "allow_url", *FindSettings.__dataclass_fields__]
    check_keywords(given, sorted(names))
    every, tracking = given.pop("every", KEY_INTERVAL), given.pop("tracking", {})
    if type(every) is not int or every < 1:
        raise InputError(f"Invalid every {every!r}. Use a whole number of frames, at least 1.")
    if strange := sorted({"bgr", "allow_url"} & set(given)):
        raise InputError(f"Option {strange[0]} applies only to images, not to videos. Omit it.")
    settings = FindSettings(**cast(dict[str, Any], given))
    finder = WordFinder(model, read_phrases(words, settings.score), settings)
    return VideoFinds(open_session(model, source, **tracking), finder, every)


class VideoFinds:
    """Instances tracked through one video. Created by `find_in_video`.

    Use it as a context manager and iterate over it once.

    Attributes:
        objects: Object number, from 1, to its labels and appearances.
    """

    def __init__(self, session: VideoSession, finder: WordFinder, every: int) -> None:
        self.session, self.finder, self.every = session, finder, every
        self.objects: dict[int, FoundObject] = {}

    def __enter__(self) -> VideoFinds:
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()

    def __iter__(self) -> Iterator[TrackedFrame]:
        """Iterate over the frames in order, each with its objects."""
        since, changed, before = self.every, False, set[int]()
        while (frame := self.session.step()) is not None:
            now = found_on(frame)
            changed = changed or now != before  # an object was lost or reappeared: verify it
            open_ = any(not thing.confirmed for thing in self.objects.values())
            if since >= self.every or ((changed or open_) and since >= min(MIN_GAP, self.every)):
                self._encode_find(frame)
                frame = self.session.result(frame.index)
                since, changed, now = 0, False, found_on(frame)
            since, before = since + 1, now
            shown = {n: mask for n, mask in frame.objects.items() if self.objects[n].shown}
            yield replace(frame, objects=shown)

    def masks(self, frame: TrackedFrame) -> Masks:
        """Objects visible on a frame, with numbers (`ids`), labels and scores."""
        masks = [
            Mask(mask.rle, self.objects[number].label, score=mask.score, id=number)
            for number, mask in frame.objects.items()
            if mask.area
        ]
        image = read_image(self.session, frame.index)
        return Masks(
            masks, image_hw=(image.shape[0], image.shape[1]), source_image=ImageInMemory(image)
        )

    def _encode_find(self, frame: TrackedFrame) -> None:
        """Detect instances on a frame and match them to tracked, lost or new objects."""
        image, objects = read_image(self.session, frame.index), self.objects
        finds = without_parts(self.finder.find(image))
        features = self.finder.model.encode(image)
        keys = maps_to_keys(features.maps, features.geometry)
        vectors = [appearance(keys, image, mask.rle) for mask in finds]
        tracks = {number: frame.objects[number].rle for number in sorted(found_on(frame))}
        views = {number: appearance(keys, image, rle) for number, rle in tracks.items()}
        alike = np.array(  # (N, K), columns in the order of `objects`
            [[thing.likeness(vector, mask.label) for thing in objects.values()]
             for vector, mask in zip(vectors, finds, strict=True)], np.float32,
        ).reshape(len(finds), len(objects))  # fmt: skip
        column = {number: index for index, number in enumerate(objects)}

        # Match tracked objects by mask.
        ious, inner, outer = compare_masks([mask.rle for mask in finds], [*tracks.values()])
        parts = inner >= INSIDE_SHARE  # detections that are a part of a tracked object
        fitting = alike[:, [column[number] for number in tracks]] >= MIN_COSINE
        close = (ious >= FIND_IOU) | parts | (outer >= INSIDE_SHARE)
        overlaps = np.asarray(np.where(close & fitting, ious, 0), np.float32)
        pairs = match_best(overlaps, 1e-6)  # above 0
        for find, index in pairs.items():
            number, vector = [*tracks][index], vectors[find]
            thing, iou = objects[number], ious[find, index]
            keeps = parts[find, index] and thing.likeness(views[number]) >= thing.likeness(vector)
            thing.confirmed = thing.shown = True
            thing.know(finds[find], views[number] if keeps else vector)
            drifted = iou < REPLACED_IOU and (iou >= FIND_IOU or parts[find, index])
            if not keeps and (frame.objects[number].doubts or drifted):
                self.session.add(frame.index, number, mask=finds[find].mask)
        followed = {[*tracks][index] for index in pairs.values()}
        free = [find for find in range(len(finds)) if not overlaps[find].any()]
        # Remove objects that were not confirmed, and end tracks that have drifted.
        for number in [n for n, thing in self.objects.items() if not thing.confirmed]:
            self.session.remove(number)
            del self.objects[number]
            tracks.pop(number, None)
        for number in {*tracks} - followed:
            rivals = [
                n for n in followed if rle_iou([tracks[n]], [tracks[number]])[0, 0] > FIND_IOU
            ]
            if rivals or self.objects[number].likeness(views[number]) < MIN_COSINE:
                nothing = np.zeros(tracks[number].size, np.bool_)
                self.session.add(frame.index, number, mask=nothing, replace=True)
                del tracks[number]

        # Match lost objects by appearance. The rest is new.
        lost = [number for number in objects if number not in tracks]
        again = match_best(alike[np.ix_(free, [column[number] for number in lost])], MIN_COSINE)
        first = not objects
        for index, find in enumerate(free):
            number = lost[again[index]] if index in again else max(objects, default=0) + 1
            clear = finds[find].score >= CONFIRMED_SCORE
            thing = objects.setdefault(number, FoundObject(confirmed=clear, shown=clear or first))
            thing.know(finds[find], vectors[find])
            self.session.add(frame.index, number, mask=finds[find].mask, replace=True)


def without_parts(finds: Sequence[Mask]) -> list[Mask]:
    """Remove masks that are a part of a larger mask with the same label."""
    rles = [mask.rle for mask in finds]
    _, inside, _ = compare_masks(rles, rles)
    areas = [mask.area for mask in finds]
    return [
        mask
        for n, mask in enumerate(finds)
        if not any(
            inside[n, other] >= INSIDE_SHARE
            and areas[n] < areas[other]
            and mask.label == rival.label
            for other, rival in enumerate(finds)
        )
    ]


def found_on(frame: TrackedFrame) -> set[int]:
    """Numbers of the objects visible on a frame."""
    return {number for number, mask in frame.objects.items() if mask.area}


# Output files.


def write_finds(
    finds: VideoFinds,
    video: Path,
    paths: Sequence[Path],
    progress: OnProgress = lambda done, total: None,
    cutout: CutoutStyle | None = None,
) -> list[str]:
    """Track to the end, write the outputs, and return messages about the run.

    Args:
        paths: .json (COCO with labels; `group_id` is the object number), .jsonl, videos, folders
            (palette PNGs by object number, and things.json).
        cutout: Cut-out settings of videos, and of folders if its `folders` is set.

    Raises:
        InputError: An output format is not supported, or the video has no frames.
    """
    check_paths(paths, cutout)
    session, first, last = finds.session, -1, -1
    for frame in finds:
        first, last = (frame.index if first < 0 else first), frame.index
        progress(last + 1, session.frames.length)
    if last < 0:
        raise InputError(f"{video} has no frames. Check the file.")
    facts = video_facts(session, video, session.result(first))
    names = {number: thing.label for number, thing in finds.objects.items()}
    with closed_writers() as writers:
        for path in paths:
            if file_suffix(path) == ".json":
                writers.append(coco_writer(path, facts, names))
                continue
            writers += open_writers([path], facts, cutout, names)
            if not file_suffix(path) and cutout is None:
                writers.append(coco_writer(path / "things.json", facts, names))
        for index in range(first, last + 1):
            if session.is_missing(index):
                continue
            for writer in writers:
                writer.write(session.result(index), partial(read_image, session, index))
    counts = {label: sum(name == label for name in names.values()) for label in names.values()}
    summary = ", ".join(f"{count} x {label}" for label, count in counts.items()) or NO_MATCH
    damage = [] if session.frames.damage is None else [session.frames.damage]
    return [*(f"wrote {path}: {summary}" for path in paths), *damage]


def cut_words(
    load: Callable[[], Model],
    video: Path,
    words: Phrases,
    paths: Sequence[Path],
    style: CutoutStyle,
    progress: OnProgress = lambda done, total: None,
    **given: Unpack[VideoFindKeywords],
) -> list[str]:
    """Cut all instances of prompts out of a video. Return messages about the run.

    Raises as `find_in_video` and `write_finds`.

    Args:
        load: Function that loads the model, called after the outputs were validated.
        given: As for `find_in_video`.
    """
    check_paths(paths, style)
    with find_in_video(load(), video, words, **given) as finds:
        return write_finds(finds, video, paths, progress, style)
