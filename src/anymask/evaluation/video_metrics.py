"""J & F of DAVIS: mean, recall and decay over the masks of an object.

Perazzi et al., CVPR 2016, and Pont-Tuset et al., 2017, like the official davis2017-evaluation:

    J  IoU of the mask in a frame; 1 for two empty masks
    F  F-measure of its outline, matched by dilation within 0.008 of the diagonal (rounded up to
       pixels)
    mean, recall (fraction of frames above 0.50), decay (mean of the first quarter minus the last)

The first frame, which is given, and the last one do not count. Letters: T frames, H W a frame,
P predicted masks, O ground truth masks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from anymask.base import BoolArray, Floats, InputError
from anymask.formats import Clip
from anymask.masks import iou

Rules = Literal["davis", "all-frames", "unsupervised"]  # described in `score_files`
OUTLINE_TOLERANCE = 0.008  # relative to the diagonal


@dataclass(frozen=True)
class TrackStatistics:
    """Mean, recall and decay of one metric over the frames of one object."""

    mean: float
    recall: float
    decay: float


@dataclass(frozen=True)
class TrackScores:
    """J and F of one object of one video; `j_and_f` is the mean of their means."""

    j: TrackStatistics
    f: TrackStatistics

    @property
    def j_and_f(self) -> float:
        """Mean of J and F, the main metric of trackers."""
        return (self.j.mean + self.f.mean) / 2


@dataclass(frozen=True, kw_only=True)
class ObjectScores:
    """Scores of one object of one video."""

    video: str  # Name of the video
    number: int  # Number of the object in the masks
    label: str | None  # Class of the object, None if unknown
    found_by: int | None  # Number in the results that it was compared with, None for none
    j: Floats  # (T,) J of every frame that counts
    f: Floats  # (T,) F of every frame that counts
    scores: TrackScores  # Mean, recall and decay


def score_track(
    found: Sequence[BoolArray],
    truth: Sequence[BoolArray],
    void: Sequence[BoolArray] | None = None,
    *,
    skip_ends: bool = True,
) -> TrackScores:
    """Compute J and F of one object.

    Args:
        found: Predicted mask (H, W) of each frame.
        truth: Ground truth mask (H, W) of each frame.
        void: Ignored pixels of each frame.
        skip_ends: Exclude the first and the last frame, as DAVIS does if the first mask is given.

    Raises:
        InputError: The numbers of frames differ, or no frame is left.
    """
    frames = len(truth)
    if len(found) != frames or (void is not None and len(void) != frames):
        raise InputError(
            f"Expected a mask for each of the {frames} frames, but {len(found)} masks"
            + ("" if void is None else f" and {len(void)} void masks")
            + " were given. Pass an empty mask for frames where the object is not visible."
        )
    counted = range(1, frames - 1) if skip_ends else range(frames)
    if not len(counted):
        raise InputError(
            f"The video has {frames} frames, but 3 are required: the ends are not scored."
        )
    masks = [(found[t], truth[t], None if void is None else void[t]) for t in counted]
    return TrackScores(
        j=summarise_track(np.array([iou(*frame) for frame in masks])),
        f=summarise_track(np.array([outline_f(*frame) for frame in masks])),
    )


def outline_f(
    found: BoolArray,
    truth: BoolArray,
    void: BoolArray | None = None,
    share: float = OUTLINE_TOLERANCE,
) -> float:
    """F-measure of the outlines of two masks; 1 if both have none.

    Args:
        share: Tolerance relative to the diagonal, rounded up to pixels.
    """
    return float(outline_f_table([found], [truth], void, share)[0, 0])


def outline_f_table(
    found: Sequence[BoolArray],
    truth: Sequence[BoolArray],
    void: BoolArray | None = None,
    share: float = OUTLINE_TOLERANCE,
) -> Floats:  # (P, O)
    """Compute `outline_f` of each of P masks with each of O; each outline is dilated once."""
    table = np.zeros((len(found), len(truth)))
    ours, theirs = ([_outline(mask, void, share) for mask in masks] for masks in (found, truth))
    for row, (mine, near_mine) in enumerate(ours):
        for column, (true, near_true) in enumerate(theirs):
            if near_mine is None or near_true is None:
                table[row, column] = near_mine is near_true
                continue
            precision = np.count_nonzero(mine & near_true) / np.count_nonzero(mine)
            recall = np.count_nonzero(true & near_mine) / np.count_nonzero(true)
            if precision + recall:
                table[row, column] = 2 * precision * recall / (precision + recall)
    return table


def region_borders(regions: NDArray[Any]) -> BoolArray:  # (H, W) -> (H, W)
    """Mark pixels whose right, lower or lower right neighbor has another region number.

    `seg2bmap` of the Berkeley benchmark, which DAVIS uses as well.
    """
    edges = np.zeros(regions.shape, np.bool_)
    edges[:, :-1] |= regions[:, :-1] != regions[:, 1:]
    edges[:-1] |= regions[:-1] != regions[1:]
    edges[:-1, :-1] |= regions[:-1, :-1] != regions[1:, 1:]
    return edges


def _outline(
    mask: BoolArray, void: BoolArray | None, share: float
) -> tuple[BoolArray, BoolArray | None]:
    """Return a mask's outline and the pixels near it; None without an outline."""
    border = region_borders(mask if void is None else mask & ~void)
    if not border.any():
        return border, None
    radius = math.ceil(share * float(np.hypot(*mask.shape)))
    line = np.arange(-radius, radius + 1) ** 2
    disc = (line[:, None] + line <= radius**2).astype(np.uint8)
    return border, cv2.dilate(border.view(np.uint8), disc) > 0


def summarise_track(values: Floats) -> TrackStatistics:  # (T,)
    """Compute mean, recall and decay over at least one frame.

    The quarters share their end frames, as in the official code.
    """
    ends = np.round(np.linspace(1, len(values), 5) + 1e-10).astype(int) - 1
    first, last = values[ends[0] : ends[1] + 1], values[ends[3] : ends[4] + 1]
    return TrackStatistics(
        mean=float(values.mean()),
        recall=float((values > 0.5).mean()),
        decay=float(first.mean() - last.mean()),
    )


def score_frames(
    clip: Clip, number: int, found_by: int | None, values: Floats
) -> ObjectScores:  # (T, 2)
    """Combine J and F of each frame to the scores of one object."""
    j, f = values.T
    return ObjectScores(
        video=clip.name, number=number, label=clip.labels.get(number), found_by=found_by, j=j, f=f,
        scores=TrackScores(summarise_track(j), summarise_track(f)),
    )  # fmt: skip


def mean_track(scores: Sequence[TrackScores]) -> TrackScores:
    """Mean over at least one object; DAVIS weights objects of all videos equally."""

    def mean(part: Sequence[TrackStatistics]) -> TrackStatistics:
        table = np.array([[track.mean, track.recall, track.decay] for track in part])
        return TrackStatistics(*(float(value) for value in table.mean(axis=0)))

    return TrackScores(mean([track.j for track in scores]), mean([track.f for track in scores]))


def mean_over_objects(found: Sequence[ObjectScores]) -> TrackScores:
    """Mean over at least one object, with equal weights."""
    return mean_track([track.scores for track in found])


def mean_by_video(found: Sequence[ObjectScores]) -> dict[str, TrackScores]:
    """Mean over the objects of each video."""
    names = dict.fromkeys(track.video for track in found)
    return {
        name: mean_over_objects([track for track in found if track.video == name]) for name in names
    }
