"""Tracks that any program wrote as pictures of object numbers, scored by the rules of DAVIS.

The semi-supervised task of davis2017-evaluation: an object is a number of the first annotated
frame, from 1 to the largest one there; the first and the last frame do not count; a number without
a pixel has empty masks; a result with a larger number is refused. Every object counts alike,
whatever video it is of. Frames are read one by one, so memory does not grow with the video.

Letters: T frames that count, O objects, H W a frame.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anymask.data.clips import Clip
from anymask.data.documents import find_place, located
from anymask.data.label_pictures import label_values
from anymask.data.layouts import load_clips
from anymask.evaluation.metrics import Floats, iou
from anymask.evaluation.video_metrics import TrackScores, mean_track, outline_f, statistics
from anymask.primitives.errors import DataError
from anymask.primitives.rle import rle_to_mask

Told = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class ObjectScores:
    """One object of one video.

    video    its name
    number   of the object in the pictures
    label    its class, where the data set says it
    j, f     (T,) every frame that counts
    scores   their mean, recall and decay
    """

    video: str
    number: int
    label: str | None
    j: Floats
    f: Floats
    scores: TrackScores


def read_truth(path: Path, split: str | None = None) -> list[Clip]:
    """The videos of a data set (DAVIS, YouTube-VOS), or of a plain folder: VIDEO/00000.png.

    Raises DataError where there is neither.
    """
    plain = sorted({picture.parent for picture in path.glob("*/*.png")})
    if not plain or split is not None:
        return load_clips(path, split=split)
    clips = []
    for folder in plain:
        frames = tuple(sorted(folder.glob("*.png")))
        clips.append(Clip(name=folder.name, frames=frames, annotations=dict(enumerate(frames))))
    return clips


def score_videos(
    clips: Sequence[Clip], results: Path, *, skip_ends: bool = True, told: Told | None = None
) -> list[ObjectScores]:
    """J and F of every object of every video.

    results    holds a folder a video, by its name, at the top or below (as in a data set), with
               pictures that are called like the frames
    skip_ends  leave out the first and the last annotated frame, as DAVIS does
    told       called with the videos done and in all

    Raises DataError that names video, file and reason.
    """
    found = []
    for done, clip in enumerate(clips, start=1):
        with located(f"video {clip.name}"):
            found += score_video(clip, _results_of(results, clip.name), skip_ends)
        if told:
            told(done, len(clips))
    return found


def _results_of(results: Path, video: str) -> Path:
    patterns = [video, f"*/{video}", f"*/*/{video}"]
    return find_place(results, patterns, f"results of the video {video!r}")


def score_video(clip: Clip, results: Path, skip_ends: bool = True) -> list[ObjectScores]:
    """J and F of the objects of one video; none where its first frame has none."""
    frames = sorted(clip.annotations)
    if skip_ends:
        counted = frames[1:-1]
        if not counted:
            raise DataError(
                f"it has {len(frames)} annotated frames, and the first and the last do not count; "
                "--all-frames counts them"
            )
    else:
        counted = frames
    objects = max(clip.masks(frames[0]).objects, default=0)
    table = np.array([_score_frame(clip, frame, results, objects) for frame in counted])
    rows = []
    for number in range(1, objects + 1):
        j, f = table[:, number - 1].T
        scores = TrackScores(statistics(j), statistics(f))
        label = clip.labels.get(number)
        rows.append(
            ObjectScores(video=clip.name, number=number, label=label, j=j, f=f, scores=scores)
        )
    return rows


def _score_frame(clip: Clip, frame: int, results: Path, objects: int) -> Floats:  # (O, 2)
    """J and F of every object in one frame."""
    path = results / clip.annotations[frame].name
    with located(path):
        if not path.is_file():
            raise DataError("there is no result for this frame; a frame without objects is all 0")
        truth = clip.masks(frame)
        values = _found_values(path, clip, objects)
        if values.shape != truth.hw:
            raise DataError(
                f"the result has (H, W) = {values.shape}, the truth {truth.hw}; scale it "
                "by nearest neighbours"
            )
    void = None if truth.ignore is None else rle_to_mask(truth.ignore)
    scores = np.zeros((objects, 2))
    for number in range(1, objects + 1):
        rle = truth.objects.get(number)
        drawn = np.zeros(truth.hw, np.bool_) if rle is None else rle_to_mask(rle)
        found = values == number
        scores[number - 1] = iou(found, drawn, void), outline_f(found, drawn, void)
    return scores


def _found_values(path: Path, clip: Clip, objects: int) -> NDArray[Any]:  # (H, W)
    values = label_values(path)
    if clip.single:
        return (values > 0).astype(np.int64)
    if values.size and (largest := int(values.max())) > objects:
        raise DataError(
            f"it has an object {largest}, the first frame of the truth has {objects}; objects keep "
            "the numbers that they have there, and a result has no void (255)"
        )
    return values


def overall(found: Sequence[ObjectScores]) -> TrackScores:
    """The mean over all objects, each counting alike. At least one."""
    return mean_track([one.scores for one in found])


def by_video(found: Sequence[ObjectScores]) -> dict[str, TrackScores]:
    """The mean over the objects of each video."""
    names = dict.fromkeys(one.video for one in found)
    return {name: overall([one for one in found if one.video == name]) for name in names}
