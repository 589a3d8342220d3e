"""Plausibility of tracked masks: findings from frame to frame in, state and doubts out.

Nothing is learned from a frame that is not believed ("no memory written when unsure"): an object
that is hidden, a mask that is suddenly much larger, a place that cannot have been reached.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import median
from typing import Annotated

import numpy as np

from anymask.primitives.rle import rle_area, rle_box_xyxy
from anymask.primitives.setting import Setting, check_settings, describe_settings
from anymask.video.records import Doubt, ObjectState
from anymask.video.tracker import Finding

SEEN = 8  # frames whose areas are remembered


@describe_settings
@dataclass(frozen=True, kw_only=True)
class WatchSettings:
    """When a mask is doubted. Raises InputError for values out of range."""

    least_score: Annotated[
        float, Setting("a finding below this score, 0 to 1, is doubted", least=0, most=1)
    ] = 0.5
    area_jump: Annotated[
        float, Setting("so many times larger or smaller than lately is doubted", least=1)
    ] = 2.5
    lost_after: Annotated[
        int, Setting("frames without the object until it is lost", least=1, unit="frames")
    ] = 15
    write_unsure: Annotated[
        bool, Setting("learn from doubted frames, too, as the models were published")
    ] = False

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True)
class Watch:
    """The recent past of a tracked object: areas, centre, frames without it.

    areas    millionths of the frame, on the last frames on which it was seen
    centre   of its box, x and y, and the box's longer side, on the last of them, in frame widths
    missing  frames since then
    """

    areas: tuple[int, ...] = ()
    centre: tuple[float, float, float] = (0.0, 0.0, 0.0)
    missing: int = 0


@dataclass(frozen=True)
class Judgement:
    """What becomes of a finding: the past with it, state, doubts, and whether to learn from it."""

    watch: Watch
    state: ObjectState
    doubts: tuple[Doubt, ...]
    sure: bool


def watch_prompted(finding: Finding) -> Judgement:
    """A person spoke: what they mean is believed, and the past begins anew."""
    area = _area(finding)
    watch = Watch((area,), _centre(finding)) if area else Watch(missing=1)
    return Judgement(watch, "visible" if area else "occluded", (), True)


def watch_tracked(watch: Watch, finding: Finding, cut: bool, settings: WatchSettings) -> Judgement:
    """A tracker found something, or nothing.

    cut  whether another shot begins with this frame
    """
    area = _area(finding)
    doubts: list[Doubt] = ["cut"] if cut else []
    if not area:
        missing = watch.missing + 1
        if missing == 1:
            doubts.append("gone")
        state: ObjectState = "lost" if missing >= settings.lost_after else "occluded"
        sure = settings.write_unsure
        return Judgement(replace(watch, missing=missing), state, tuple(doubts), sure)
    if finding.score < settings.least_score:
        doubts.append("score")
    if watch.areas and not watch.missing:
        usual = median(watch.areas)
        if not usual / settings.area_jump <= area <= usual * settings.area_jump:
            doubts.append("area")
    centre = _centre(finding)
    if watch.areas and not watch.missing and not cut and _has_jumped(watch.centre, centre):
        doubts.append("jump")
    sure = not doubts or settings.write_unsure
    if watch.missing:
        doubts.append("back")
    after = Watch((*watch.areas[-(SEEN - 1) :], area), centre)
    return Judgement(after, "back" if watch.missing else "visible", tuple(doubts), sure)


def _area(finding: Finding) -> int:
    height, width = finding.rle.size
    return -(-1_000_000 * rle_area(finding.rle) // (height * width))


def _centre(finding: Finding) -> tuple[float, float, float]:
    width = finding.rle.size[1]
    x0, y0, x1, y1 = rle_box_xyxy(finding.rle)
    return (
        (x0 + x1) / 2 / width, (y0 + y1) / 2 / width, (max(x1 - x0, y1 - y0) + 1) / width,
    )  # fmt: skip


def _has_jumped(before: tuple[float, float, float], now: tuple[float, float, float]) -> bool:
    """Whether the centre moved by more than the box's longer side."""
    return float(np.hypot(now[0] - before[0], now[1] - before[1])) > max(before[2], now[2])
