"""Plausibility of tracked masks: predictions from frame to frame in, state and doubts out.

Nothing is learned from a frame that is not believed ("no memory written when unsure"): an object
that is hidden, a mask that is suddenly much larger, a place that cannot have been reached.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from anymask.base import brief
from anymask.masks import rle_area, rle_box_xyxy
from anymask.track.records import Doubt, FramePrediction, ObjectState
from anymask.track.settings import MonitorSettings

SEEN = 8  # frames whose areas are remembered


@brief
@dataclass(frozen=True)
class TrackMonitor:
    """The recent past of a tracked object: areas, centre, frames without it.

    Attributes:
        areas: Millionths of the frame, on the last frames on which it was seen.
        centre: Of its box, x and y, and the box's longer side, on the last of them, in frame
            widths.
        missing: Frames since then.
    """

    areas: tuple[int, ...] = ()
    centre: tuple[float, float, float] = (0.0, 0.0, 0.0)
    missing: int = 0


@dataclass(frozen=True)
class TrackCheck:
    """What is made of a prediction: the past with it, state, doubts, whether to learn from it."""

    monitor: TrackMonitor
    state: ObjectState
    doubts: tuple[Doubt, ...]
    sure: bool


def check_prompted(prediction: FramePrediction) -> TrackCheck:
    """A person spoke: what they mean is believed, and the past begins anew."""
    area = _area(prediction)
    monitor = TrackMonitor((area,), _centre(prediction)) if area else TrackMonitor(missing=1)
    return TrackCheck(monitor, "visible" if area else "occluded", (), True)


def check_tracked(
    monitor: TrackMonitor, prediction: FramePrediction, cut: bool, settings: MonitorSettings
) -> TrackCheck:
    """A tracker found something, or nothing.

    Args:
        cut: Whether another shot begins with this frame.
    """
    area = _area(prediction)
    doubts: list[Doubt] = ["cut"] if cut else []
    if not area:
        missing = monitor.missing + 1
        if missing == 1:
            doubts.append("gone")
        state: ObjectState = "lost" if missing >= settings.lost_after else "occluded"
        sure = settings.write_unsure
        return TrackCheck(replace(monitor, missing=missing), state, tuple(doubts), sure)
    if prediction.score < settings.least_score:
        doubts.append("score")
    if monitor.areas and not monitor.missing:
        usual = median(monitor.areas)
        if not usual / settings.area_jump <= area <= usual * settings.area_jump:
            doubts.append("area")
    centre = _centre(prediction)
    if monitor.areas and not monitor.missing and not cut and _has_jumped(monitor.centre, centre):
        doubts.append("jump")
    sure = not doubts or settings.write_unsure
    if prediction.agreement < settings.least_agreement:  # a person looks; it is learned from
        doubts.append("unclear")
    if monitor.missing:
        doubts.append("back")
    after = TrackMonitor((*monitor.areas[-(SEEN - 1) :], area), centre)
    return TrackCheck(after, "back" if monitor.missing else "visible", tuple(doubts), sure)


def _area(prediction: FramePrediction) -> int:
    height, width = prediction.rle.size
    return -(-1_000_000 * rle_area(prediction.rle) // (height * width))


def _centre(prediction: FramePrediction) -> tuple[float, float, float]:
    width = prediction.rle.size[1]
    x0, y0, x1, y1 = rle_box_xyxy(prediction.rle)
    return (
        (x0 + x1) / 2 / width, (y0 + y1) / 2 / width, (max(x1 - x0, y1 - y0) + 1) / width,
    )  # fmt: skip


def _has_jumped(before: tuple[float, float, float], now: tuple[float, float, float]) -> bool:
    """Whether the centre moved by more than the box's longer side."""
    return float(np.hypot(now[0] - before[0], now[1] - before[1])) > max(before[2], now[2])
