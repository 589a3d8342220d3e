"""Scores of tracks by the rules of DAVIS: pictures of object numbers in, J & F of objects out.

As davis2017-evaluation does: an object is a number of the first annotated frame, from 1 to the
largest one there; a number without a pixel has empty masks. Every object counts alike, whatever
video it is of. Frames are read one by one, so memory does not grow with the pictures.

    "davis"         the semi-supervised task: objects keep their numbers, a larger one is refused;
                    the first and the last frame do not count
    "all-frames"    the same, with those two
    "unsupervised"  nobody said what to follow (Caelles et al., 2019): numbers 1 to 20 are
                    proposals, every frame counts, and objects get proposals of their own so that
                    the mean of J and F over the video is the largest; who gets none has empty masks

Letters: T frames that count, O objects, P proposals, H W a frame; R rows, C columns of a table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from anymask.base import BoolArray, DataError, Floats, InputError
from anymask.evaluation.video_metrics import (
    TrackScores,
    mean_track,
    outline_f,
    outline_f_table,
    summarise_track,
)
from anymask.formats import Clip, find_place, label_values, load_clips, located
from anymask.masks import iou, rle_to_mask
from anymask.track import natural_order

OnVideo = Callable[[int, int], None]
Rules = Literal["davis", "all-frames", "unsupervised"]
PROPOSALS = 20  # a video, at most


@dataclass(frozen=True, kw_only=True)
class ObjectScores:
    """One object of one video.

    video     its name
    number    of the object in the pictures
    label     its class, where the data set says it
    found_by  the number in the results that it was compared with; None where it got none of them
    j, f      (T,) every frame that counts
    scores    their mean, recall and decay
    """

    video: str
    number: int
    label: str | None
    found_by: int | None
    j: Floats
    f: Floats
    scores: TrackScores


def read_truth(path: Path, split: str | None = None) -> list[Clip]:
    """The videos of a data set (DAVIS, YouTube-VOS), or of a plain folder: VIDEO/00000.png.

    Raises DataError where there is neither.
    """
    plain = sorted({picture.parent for picture in path.glob("*/*.png")})
    if not plain and split is None and next(path.glob("*.png"), None) is not None:
        raise DataError(f"{path} holds the frames of one video; name the folder that it lies in")
    if not plain or split is not None:
        return load_clips(path, split=split)
    clips = []
    for folder in plain:
        frames = tuple(sorted(folder.glob("*.png"), key=natural_order))
        clips.append(Clip(name=folder.name, frames=frames, annotations=dict(enumerate(frames))))
    return clips


def score_videos(
    clips: Sequence[Clip], results: Path, *, rules: Rules = "davis", told: OnVideo | None = None
) -> list[ObjectScores]:
    """J and F of every object of every video.

    results  holds a folder a video, by its name, at the top or below (as in a data set), with
             pictures that are called like the frames
    told     called with the videos done and in all

    Raises DataError that names video, file and reason.
    """
    found = []
    for done, clip in enumerate(clips, start=1):
        with located(f"video {clip.name}"):
            found += score_video(clip, _results_of(results, clip.name), rules)
        if told:
            told(done, len(clips))
    return found


def _results_of(results: Path, video: str) -> Path:
    patterns = [video, f"*/{video}", f"*/*/{video}"]
    return find_place(results, patterns, f"results of the video {video!r}")


def score_video(clip: Clip, results: Path, rules: Rules = "davis") -> list[ObjectScores]:
    """J and F of the objects of one video; none where its first frame has none."""
    frames = sorted(clip.annotations)
    if clip.layers:
        return _score_layers(clip, frames, results, rules)
    objects = max(clip.frame(frames[0]).by_id(), default=0)
    if rules == "unsupervised":
        return _score_proposals(clip, frames, results, objects)
    frames = _counted(frames, rules)
    table = np.array([_score_frame(clip, frame, results, objects) for frame in frames])
    numbers = range(1, objects + 1)
    return [_summarise_object(clip, number, number, table[:, number - 1]) for number in numbers]


def _counted(frames: list[int], rules: Rules) -> list[int]:
    """The frames that count. Raises DataError where none does."""
    if rules != "davis":
        return frames
    if len(frames) < 3:
        raise DataError(
            f"it has {len(frames)} annotated frames, and the first and the last do not count; "
            "--all-frames counts them"
        )
    return frames[1:-1]


def _score_layers(clip: Clip, frames: list[int], results: Path, rules: Rules) -> list[ObjectScores]:
    """J and F where every object has pictures of its own, OBJECT/FRAME.png, as SA-V's do."""
    if rules == "unsupervised":
        raise DataError("its objects overlap, and proposals in one picture cannot; leave it out")
    truths = {frame: clip.frame(frame) for frame in _counted(frames, rules)}
    found = []
    for number, folder in clip.layers.items():
        rows = []
        for frame, truth in truths.items():
            path = results / folder.name / clip.annotations[frame].name
            with located(path):
                if not path.is_file():
                    raise DataError("there is no result of this object; one not seen is all 0")
                mask, rle = label_values(path) > 0, truth.by_id().get(number)
                if mask.shape != truth.hw:
                    raise DataError(f"the result has (H, W) = {mask.shape}, the truth {truth.hw}")
            true = np.zeros(truth.hw, np.bool_) if rle is None else rle_to_mask(rle)
            rows.append((iou(mask, true), outline_f(mask, true)))
        found.append(_summarise_object(clip, number, number, np.array(rows)))
    return found


def _summarise_object(clip: Clip, number: int, found_by: int | None, table: Floats) -> ObjectScores:
    j, f = table.T  # (T, 2)
    scores, label = TrackScores(summarise_track(j), summarise_track(f)), clip.labels.get(number)
    return ObjectScores(
        video=clip.name, number=number, label=label, found_by=found_by, j=j, f=f, scores=scores
    )


def _score_proposals(
    clip: Clip, frames: list[int], results: Path, objects: int
) -> list[ObjectScores]:
    """Give each object a proposal of its own, by the mean of J and F over all frames."""
    if not objects:
        return []
    rows = max(PROPOSALS, objects)
    table, seen = np.zeros((len(frames), rows, objects, 2)), np.zeros(rows, np.bool_)
    for place, frame in enumerate(frames):
        present, scores = _score_proposals_frame(clip, frame, results, objects)
        table[place] = scores[-1]  # of an empty mask
        table[place, present - 1] = scores[:-1]
        seen[present - 1] = True
    used = max(objects, int(np.flatnonzero(seen).max(initial=-1)) + 1)
    chosen = best_rows(table[:, :used].mean(axis=(0, 3)))
    return [
        _summarise_object(
            clip, number, int(row) + 1 if seen[row] else None, table[:, row, number - 1]
        )
        for number, row in enumerate(chosen, start=1)
    ]


def _score_proposals_frame(
    clip: Clip, frame: int, results: Path, objects: int
) -> tuple[NDArray[np.intp], Floats]:  # (P,), (P + 1, O, 2)
    """The proposals in one frame, and J and F of each, and of an empty mask, with each object."""
    values, drawn, void = _frame_pair(clip, frame, results, objects, proposals=True)
    present = np.unique(values[values > 0]).astype(np.intp)
    masks = [values == number for number in (*present.tolist(), PROPOSALS + 1)]
    j = np.array([[iou(mask, truth, void) for truth in drawn] for mask in masks])
    return present, np.stack([j, outline_f_table(masks, drawn, void)], axis=-1)


def _score_frame(clip: Clip, frame: int, results: Path, objects: int) -> Floats:  # (O, 2)
    """J and F of every object in one frame."""
    values, drawn, void = _frame_pair(clip, frame, results, objects, proposals=False)
    pairs = [(values == number, truth) for number, truth in enumerate(drawn, start=1)]
    scores = [(iou(found, truth, void), outline_f(found, truth, void)) for found, truth in pairs]
    return np.array(scores).reshape(objects, 2)


def _frame_pair(
    clip: Clip, frame: int, results: Path, objects: int, *, proposals: bool
) -> tuple[NDArray[Any], list[BoolArray], BoolArray | None]:
    """Numbers (H, W) that were found in a frame, the objects' masks, pixels that do not count."""
    path = results / clip.annotations[frame].name
    with located(path):
        if not path.is_file():
            raise DataError("there is no result for this frame; a frame without objects is all 0")
        truth = clip.frame(frame)
        values = _found_values(path, clip, objects, proposals)
        if values.shape != truth.hw:
            raise DataError(
                f"the result has (H, W) = {values.shape}, the truth {truth.hw}; scale it "
                "by nearest neighbours"
            )
    empty = np.zeros(truth.hw, np.bool_)
    objects_here = truth.by_id()
    rles = [objects_here.get(number) for number in range(1, objects + 1)]
    drawn = [empty if rle is None else rle_to_mask(rle) for rle in rles]
    return values, drawn, None if truth.ignore is None else rle_to_mask(truth.ignore)


def _found_values(path: Path, clip: Clip, objects: int, proposals: bool) -> NDArray[Any]:  # (H, W)
    values = label_values(path)
    if clip.single:
        return (values > 0).astype(np.int64)
    largest = int(values.max(initial=0))
    if proposals and largest > PROPOSALS:
        raise DataError(
            f"it has a proposal {largest}, a video has at most {PROPOSALS}; number the best ones "
            "from 1 on, and a result has no void (255)"
        )
    if not proposals and largest > objects:
        raise DataError(
            f"it has an object {largest}, the first frame of the truth has {objects}; objects keep "
            "the numbers that they have there, and a result has no void (255); --unsupervised "
            "matches them"
        )
    return values.astype(np.int64)


def best_rows(values: Floats) -> NDArray[np.intp]:  # (R, C) -> (C,)
    """The row of each column, no row twice, so that the sum of the values is as large as can be.

    The assignment problem (Kuhn, 1955), by shortest augmenting paths with potentials (Jonker and
    Volgenant, 1987): columns enter one after the other, each by the cheapest chain of exchanges.

    Raises InputError where there are fewer rows than columns or a value is not finite.
    """
    rows, columns = values.shape
    if rows < columns or not np.isfinite(values).all():
        raise InputError(
            f"wanted finite values with at least as many rows as columns, got {rows} x {columns}"
            "; add rows of the value of no partner"
        )
    cost = -values.T
    prices = np.zeros(rows)  # what a row asks on top, and what a column pays in all
    pays = np.zeros(columns)
    owner = np.full(rows, -1)
    for column in range(columns):
        far, before, last = _cheapest_chain(cost - prices - pays[:, None], owner, column)
        gain = far[last] - np.minimum(far, far[last])
        held = (gain > 0) & (owner >= 0)
        pays[owner[held]] += gain[held]
        pays[column] += far[last]
        prices -= gain
        while last >= 0:
            owner[last] = column if before[last] < 0 else owner[before[last]]
            last = before[last]
    found = np.empty(columns, np.intp)
    found[owner[owner >= 0]] = np.flatnonzero(owner >= 0)
    return found


def _cheapest_chain(
    slack: Floats, owner: NDArray[Any], column: int
) -> tuple[Floats, NDArray[np.intp], int]:
    """From a column to the nearest row that nobody has: Dijkstra's search over rows.

    Returns how far each row is (R,), the row before it on the way (-1: none), and that row.
    """
    far = np.full(slack.shape[1], np.inf)
    before = np.full(slack.shape[1], -1)
    done = np.zeros(slack.shape[1], np.bool_)
    row, gone = -1, 0.0
    while True:
        way = slack[column] + gone
        better = ~done & (way < far)
        far[better], before[better] = way[better], row
        row = int(np.where(done, np.inf, far).argmin())
        if owner[row] < 0:
            return far, before, row
        done[row], gone, column = True, float(far[row]), int(owner[row])


def mean_over_objects(found: Sequence[ObjectScores]) -> TrackScores:
    """The mean over all objects, each counting alike. At least one."""
    return mean_track([one.scores for one in found])


def mean_by_video(found: Sequence[ObjectScores]) -> dict[str, TrackScores]:
    """The mean over the objects of each video."""
    names = dict.fromkeys(one.video for one in found)
    return {name: mean_over_objects([one for one in found if one.video == name]) for name in names}
