"""Plausibility checks of tracked masks, frame by frame.

Implausible predictions are not added to the tracker's memory: a missing object, a sudden change
of the area, or a jump to a position that the object cannot have reached.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from anymask.base import brief
from anymask.masks import rle_area, rle_box_xyxy
from anymask.track.records import FramePrediction, ObjectState, UncertaintyReason
from anymask.track.settings import MonitorSettings

KEPT_AREAS = 8  # number of previous areas to keep


@brief
@dataclass(frozen=True)
class TrackMonitor:
    """Recent history of one tracked object."""

    areas: tuple[int, ...] = ()  # Areas on the last frames with a mask, in millionths of the frame
    # Box centre x and y, and the longer box side, on the last frame with a mask, in frame widths
    center: tuple[float, float, float] = (0.0, 0.0, 0.0)
    missing: int = 0  # Number of frames since then


@dataclass(frozen=True)
class TrackCheck:
    """Updated history, state, doubts, and whether to add the prediction to the memory."""

    monitor: TrackMonitor
    state: ObjectState
    doubts: tuple[UncertaintyReason, ...]
    sure: bool


def check_prompted(prediction: FramePrediction) -> TrackCheck:
    """Accept the prediction of a prompted frame and restart the history."""
    area = _area(prediction)
    monitor = TrackMonitor((area,), _center(prediction)) if area else TrackMonitor(missing=1)
    return TrackCheck(monitor, "visible" if area else "occluded", (), True)


def check_tracked(
    monitor: TrackMonitor, prediction: FramePrediction, cut: bool, settings: MonitorSettings
) -> TrackCheck:
    """Check the prediction of a tracked frame against the history of the object.

    Args:
        cut: Whether a new shot starts on this frame.
    """
    area = _area(prediction)
    doubts: list[UncertaintyReason] = ["cut"] if cut else []
    if not area:
        missing = monitor.missing + 1
        if missing == 1:
            doubts.append("gone")
        state: ObjectState = "lost" if missing >= settings.lost_after else "occluded"
        sure = settings.write_unsure
        return TrackCheck(replace(monitor, missing=missing), state, tuple(doubts), sure)
    if prediction.score < settings.least_score:
        doubts.append("score")
    center, before = _center(prediction), monitor.center
    if monitor.areas and not monitor.missing:
        usual = median(monitor.areas)
        if not usual / settings.area_jump <= area <= usual * settings.area_jump:
            doubts.append("area")
        distance = float(np.hypot(center[0] - before[0], center[1] - before[1]))
        if not cut and distance > max(before[2], center[2]):  # the longer box side
            doubts.append("jump")
    sure = not doubts or settings.write_unsure
    if prediction.agreement < settings.least_agreement:  # reviewed, but still remembered
        doubts.append("unclear")
    if monitor.missing:
        doubts.append("back")
    after = TrackMonitor((*monitor.areas[-(KEPT_AREAS - 1) :], area), center)
    return TrackCheck(after, "back" if monitor.missing else "visible", tuple(doubts), sure)


def _area(prediction: FramePrediction) -> int:
    return -(-1_000_000 * rle_area(prediction.rle) // math.prod(prediction.rle.size))


def _center(prediction: FramePrediction) -> tuple[float, float, float]:
    width = prediction.rle.size[1]
    x0, y0, x1, y1 = rle_box_xyxy(prediction.rle)
    return (
        (x0 + x1) / 2 / width, (y0 + y1) / 2 / width, (max(x1 - x0, y1 - y0) + 1) / width,
    )  # fmt: skip
