"""Words in a video: what words mean is found on some frames and followed through the others.

On key frames (every n-th, and where something was lost) all that the words mean is found as in a
photo (`find`). Each find is then one of three: a thing that is followed already, told by its mask;
one that was lost, told by its appearance, which gets its number back; or a new thing. Between key
frames the session's tracker follows them. A thing keeps its number to the end.

The order (masks first, then appearance, the rest is new) is that of tracking by detection; SORT
(Bewley et al. 2016) and DeepSORT (Wojke et al. 2017) are its plain forms. Deviation: finds are
masks, and our tracker moves them instead of a Kalman filter.

Letters: K tracks, N finds, G cells of a frame, C values of a cell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, cast

import cv2
import numpy as np

from anymask.base import FloatArray, InputError, OnProgress, UintImage, check_keywords, file_suffix
from anymask.find import (
    NOTHING,
    Detector,
    FindKeywords,
    FindSettings,
    check_names,
    find_phrases,
    open_detector,
    read_phrases,
)
from anymask.masks import Features, HeldPicture, Mask, Masks, Rle, rle_iou, rle_to_mask
from anymask.segment import Model
from anymask.track.files import read_picture, video_facts
from anymask.track.matching import maps_to_keys, soft_to_labels
from anymask.track.outputs import CutoutLook, MaskWriter, coco_writer
from anymask.track.records import TrackedFrame
from anymask.track.session import VideoSession, open_session
from anymask.track.settings import TrackOptions
from anymask.track.writers import check_paths, open_writers

if TYPE_CHECKING:
    from anymask.find import Phrase, Phrases

EVERY = 10  # frames from one key frame to the next
SAME = 0.3  # IoU of a find and a track from which on they are one thing
DRIFTED = 0.6  # IoU below which the find's mask takes the place of the track's
ALIKE = 0.75  # cosine of two appearances from which on they are of one thing
OTHER_LABEL = 0.1  # of the cosine, for a label that the thing never had
BIN = 16  # values of a color's part that are counted together
LOOKS = 5  # appearances of a thing that are kept, the last ones
GAP = 3  # frames between key frames at least, however much is lost


class VideoFindKeywords(FindKeywords, total=False):
    """The keyword arguments of `Model.find` of a video."""

    every: int
    tracking: TrackOptions


@dataclass
class FoundThing:
    """What is known of a thing beside its masks: scores of the labels that it was found by, and its
    appearances (C,) of unit length."""

    votes: dict[str, float] = field(default_factory=dict)
    looks: list[FloatArray] = field(default_factory=list)

    @property
    def label(self) -> str:
        """The label with the highest sum of scores."""
        return max(self.votes, key=lambda name: self.votes[name])

    def know(self, find: Mask, look: FloatArray) -> None:
        """A find is this thing, and looks so."""
        label = find.label or ""
        self.votes[label] = self.votes.get(label, 0.0) + find.score
        self.looks = [*self.looks, look][-LOOKS:]

    def likeness(self, look: FloatArray, label: str | None = None) -> float:
        """How much an appearance is like this thing, -1..1; another label speaks against it."""
        best = max((float(look @ one) for one in self.looks), default=-1.0)
        return best - (OTHER_LABEL if label is not None and label not in self.votes else 0.0)


def find_in_video(
    model: Model, source: Any, words: Phrases, **given: Unpack[VideoFindKeywords]
) -> VideoFinds:
    """What words mean in a video, followed; going through it gives frames.

    Raises what `Model.find` and `Model.track` raise.

    Args:
        source: As for `Model.track`.
        words: As for `Model.find`.
        given: Every: look for the words on every n-th frame, and where something was lost;
            tracking: how things are followed, as for `Model.track`, a mapping; the others as
            for `Model.find`.
    """
    check_keywords(given, sorted(VideoFindKeywords.__optional_keys__))
    every, tracking = given.pop("every", EVERY), given.pop("tracking", {})
    if type(every) is not int or every < 1:
        raise InputError(f"Invalid every {every!r}. Use a whole number of frames, at least 1.")
    if strange := sorted({"bgr", "allow_url"} & set(given)):
        raise InputError(f"Option {strange[0]} applies only to images, not to videos. Omit it.")
    settings = FindSettings(**cast(dict[str, Any], given))
    phrases = read_phrases(words, settings.score)
    detector = (
        None if settings.detector is None else open_detector(settings.detector, settings.device)
    )
    if detector is None:
        check_names(model, phrases)
    question = WordQuestion(model, phrases, detector, settings)
    return VideoFinds(open_session(model, source, **tracking), question, every)


@dataclass(frozen=True)
class WordQuestion:
    """What is looked for on a frame, and how."""

    model: Model
    phrases: Sequence[Phrase]
    detector: Detector | None
    settings: FindSettings

    def ask(self, image: UintImage) -> list[Mask]:  # (H, W, 3)
        """The things on a frame, best first."""
        return find_phrases(self.model, image, self.phrases, self.detector, self.settings)


class VideoFinds:
    """Things that words mean, followed through one video. Made by `find_in_video`; use it in a
    `with`, and go through it once.

    Attributes:
        things: What is known of each, by number, from 1 on.
    """

    def __init__(self, session: VideoSession, question: WordQuestion, every: int) -> None:
        self.session, self.question, self.every = session, question, every
        self.things: dict[int, FoundThing] = {}

    def __enter__(self) -> VideoFinds:
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()

    def __iter__(self) -> Iterator[TrackedFrame]:
        """The frames in order, each with the things on it."""
        since, changed, before = self.every, False, set[int]()
        while (frame := self.session.step()) is not None:
            now = seen_on(frame)
            changed = changed or now != before  # something was lost, or came back: is it that?
            if since >= self.every or (changed and since >= min(GAP, self.every)):
                self._look(frame)
                frame = self.session.result(frame.index)
                since, changed, now = 0, False, seen_on(frame)
            since, before = since + 1, now
            yield frame

    def masks(self, frame: TrackedFrame) -> Masks:
        """The things that are seen on a frame, with numbers (`ids`), labels and scores; the frame
        is their picture."""
        found = [
            Mask(one.rle, self.things[number].label, score=one.score, id=number)
            for number, one in frame.objects.items()
            if one.area
        ]
        image = self._image(frame)
        return Masks(found, image_hw=(image.shape[0], image.shape[1]), picture=HeldPicture(image))

    def _image(self, frame: TrackedFrame) -> UintImage:
        image = self.session.picture(frame.index)
        assert image is not None  # the session has just been there
        return image

    def _look(self, frame: TrackedFrame) -> None:
        """Find things on a frame, and tell which are followed, were lost, or are new."""
        image, things = self._image(frame), self.things
        finds, features = self.question.ask(image), self.question.model.encode(image)
        looks = [appearance(features, image, one.rle) for one in finds]
        tracks = {number: frame.objects[number].rle for number in sorted(seen_on(frame))}
        views = {number: appearance(features, image, rle) for number, rle in tracks.items()}
        alike = np.array(  # (N, K) by the numbers of the things
            [[thing.likeness(look, one.label) for thing in things.values()]
             for look, one in zip(looks, finds, strict=True)], np.float32,
        ).reshape(len(finds), len(things))  # fmt: skip
        column = {number: place for place, number in enumerate(things)}

        # By their masks: things that are followed.
        overlaps = rle_iou([one.rle for one in finds], [*tracks.values()]).reshape(
            len(finds), len(tracks)
        )
        fitting = alike[:, [column[number] for number in tracks]] >= ALIKE
        pairs = match_best(np.where(fitting, overlaps, 0), SAME)
        for find, place in pairs.items():
            number = [*tracks][place]
            things[number].know(finds[find], looks[find])
            if frame.objects[number].doubts or overlaps[find, place] < DRIFTED:
                self.session.add(frame.index, number, mask=finds[find].mask)
        followed = {[*tracks][place] for place in pairs.values()}
        covered = fitting & (overlaps >= SAME)
        free = [find for find in range(len(finds)) if not covered[find].any()]

        # Tracks that went astray: no find confirms them, and they look like something else, or
        # like another track that looks more like it.
        for number in {*tracks} - followed:
            rivals = [
                one for one in followed if rle_iou([tracks[one]], [tracks[number]])[0, 0] > SAME
            ]
            if rivals or things[number].likeness(views[number]) < ALIKE:
                nothing = np.zeros(image.shape[:2], np.bool_)
                self.session.add(frame.index, number, mask=nothing, anew=True)
                del tracks[number]

        # By their appearance: things that were lost. The rest is new.
        lost = [number for number in things if number not in tracks]
        again = match_best(alike[np.ix_(free, [column[number] for number in lost])], ALIKE)
        for place, find in enumerate(free):
            number = lost[again[place]] if place in again else len(things) + 1
            things.setdefault(number, FoundThing()).know(finds[find], looks[find])
            self.session.add(frame.index, number, mask=finds[find].mask, anew=True)


def seen_on(frame: TrackedFrame) -> set[int]:
    """The numbers of the things that are seen on a frame."""
    return {number for number, one in frame.objects.items() if one.area}


def match_best(likeness: FloatArray, least: float) -> dict[int, int]:  # (N, K)
    """Which row is which column, the most alike first; pairs below `least` are none."""
    pairs: dict[int, int] = {}
    for flat in np.argsort(-likeness, axis=None, kind="stable"):
        row, column = divmod(int(flat), likeness.shape[1])
        if likeness[row, column] < least:
            break
        if row not in pairs and column not in pairs.values():
            pairs[row] = column
    return pairs


def appearance(features: Features, image: UintImage, rle: Rle) -> FloatArray:  # -> (C,)
    """What a thing looks like, of unit length: what the encoder saw under its mask, against the
    rest of the frame, and its colors. The encoder alone tells a thing from the ground, but red
    balls hardly from green ones."""
    mask = rle_to_mask(rle)
    keys = maps_to_keys(features.maps, features.geometry)
    share: FloatArray = soft_to_labels(mask.astype(np.float32), keys.grid_hw)  # (G,)
    if share.max(initial=0) > 0.5:  # cells at the rim show the ground, too
        share = np.asarray(share * (share > 0.5), np.float32)
    seen = share @ keys.values
    colours = cv2.cvtColor(image[mask][None], cv2.COLOR_RGB2LAB)[0]
    sums = [np.bincount(one // BIN, minlength=256 // BIN) for one in colours.T]
    counts = np.pad(np.stack(sums).astype(np.float32), ((0, 0), (1, 1)), "edge")
    counts = counts[:, :-2] + counts[:, 1:-1] + counts[:, 2:]  # neighbours are nearly the same
    parts = [seen, np.sqrt(counts).ravel()]
    joined = np.concatenate([part / (np.linalg.norm(part) + 1e-6) for part in parts])
    return np.asarray(joined / np.sqrt(2), np.float32)


# Into files.


def write_finds(
    finds: VideoFinds,
    video: Path,
    paths: Sequence[Path],
    progress: OnProgress = lambda done, total: None,
    cutout: CutoutLook | None = None,
) -> list[str]:
    """Follow to the end, then write: what is told of it, a sentence each.

    cutout films, and folders where it says so, show the things cut out

    Raises InputError for other endings.

    Args:
        paths: .json (COCO with labels; `group_id` is a thing's number), .jsonl, films, folders
            (palette PNGs by number, and things.json, as .json).
    """
    check_paths(paths, cutout)
    session, first, last = finds.session, -1, -1
    for frame in finds:
        first, last = (frame.index if first < 0 else first), frame.index
        progress(last + 1, session.frames.length)
    if last < 0:
        raise InputError(f"{video} has no frames. Check the file.")
    facts = video_facts(session, video, session.result(first))
    names = {number: thing.label for number, thing in finds.things.items()}
    writers: list[MaskWriter] = []
    try:
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
                writer.write(session.result(index), partial(read_picture, session, index))
    except BaseException:
        for writer in writers:
            writer.abandon()
        raise
    for writer in writers:
        writer.close()
    counts = {label: sum(one == label for one in names.values()) for label in names.values()}
    told = ", ".join(f"{count} x {label}" for label, count in counts.items()) or NOTHING
    damage = [] if session.frames.damage is None else [session.frames.damage]
    return [*(f"wrote {path}: {told}" for path in paths), *damage]


def cut_words(
    load: Callable[[], Model],
    video: Path,
    words: Phrases,
    paths: Sequence[Path],
    look: CutoutLook,
    progress: OnProgress = lambda done, total: None,
    **given: Unpack[VideoFindKeywords],
) -> list[str]:
    """Cut what words mean out of a video, into films or folders; what is told of it.

    Raises as `find_in_video` and `write_finds`.

    Args:
        load: Opens the model, once nothing stands against the outputs.
        given: As for `find_in_video`.
    """
    check_paths(paths, look)
    with find_in_video(load(), video, words, **given) as finds:
        return write_finds(finds, video, paths, progress, look)
