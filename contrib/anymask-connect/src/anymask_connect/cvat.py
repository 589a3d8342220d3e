"""Adapter for CVAT serverless functions: detection, interaction and tracking.

`agent.py` is a function for CVAT's agents, `nuclio/` one for nuclio. Masks use CVAT's list format:
runs inside the box, row by row, then the box (`anymask.formats.mask_to_cvat`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from anymask.base import BoolArray, InputError, brief
from anymask.formats import box_ring, cvat_to_rle, mask_to_cvat
from anymask.images import ImageSource, load_image
from anymask.masks import (
    Features,
    Polygon,
    Prompt,
    mask_to_rle,
    polygons_to_mask,
    rle_area,
    rle_box_xyxy,
    rle_to_mask,
)
from anymask.segment import Model
from anymask.track import (
    MonitorSettings,
    TrackMoment,
    TrackMonitor,
    check_prompted,
    check_tracked,
    open_tracker,
    reduce_frame,
    tracking_model,
)

SHAPES = frozenset({"mask", "polygon", "rectangle"})


@dataclass(frozen=True)
class CvatMask:
    """Mask in CVAT format, and its score, 0 to 1."""

    mask: list[int]
    score: float


@brief
@dataclass(frozen=True, eq=False)
class CvatFrame:
    """Video frame encoded by the tracker, and its size (H, W)."""

    features: Any
    hw: tuple[int, int]


@brief
@dataclass
class Tracked:
    """State of a tracked object: shape type, last frame, tracker state and history."""

    kind: str
    frame: int
    state: Any
    monitor: TrackMonitor


class CvatModel:
    """Model with the interface of CVAT functions. Video models track with their own memory."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._tracker = open_tracker(tracking_model(model))

    def preprocess(self, image: ImageSource) -> Features:
        """Encode an image. The result can be cached and used for several calls."""
        return self.model.encode(image)

    def preprocess_frame(self, image: ImageSource) -> CvatFrame:
        """Encode a video frame for `begin` and `follow`."""
        source_image = load_image(image)
        features = self._tracker.encode_frame(source_image, reduce_frame(source_image))
        return CvatFrame(features, (source_image.shape[0], source_image.shape[1]))

    def detect(self, image: ImageSource, least: float | None = None) -> list[CvatMask]:
        """Segment all objects in an image. `least`: minimum score."""
        found = self.model.everything(image)
        return [
            CvatMask(mask_to_cvat(record.rle), _share(record.score))
            for record in found
            if record.area and (least is None or record.score >= least)
        ]

    def interact(
        self,
        features: Features,
        positive: Sequence[Sequence[float]],
        negative: Sequence[Sequence[float]] = (),
        box: Sequence[float] | None = None,
    ) -> CvatMask | None:
        """Segment one object from points (x, y) and a box x0, y0, x1, y1. None if it is empty."""
        points = [*positive, *negative]
        labels = [1] * len(positive) + [0] * len(negative)
        answer = self.model.segment(
            features, points=points or None, point_labels=labels or None, box=box
        )
        rle = mask_to_rle(answer.masks[0])
        if not rle_area(rle):
            return None
        return CvatMask(mask_to_cvat(rle), _share(float(answer.scores[0])))

    def begin(self, frame: CvatFrame, kind: str, points: Sequence[float]) -> Tracked:
        """Start tracking an object. Raises InputError if the shape type has no area."""
        mask = shape_to_mask(kind, points, frame.hw)
        prediction = self._tracker.answer(frame.features, Prompt.of(mask=mask), None)
        state = self._tracker.begin(frame.features, TrackMoment(0), prediction, None)
        return Tracked(kind, 0, state, check_prompted(prediction).monitor)

    def follow(self, frame: CvatFrame, state: Tracked) -> list[float] | None:
        """Track the object into the next frame and return its points.

        None if it is missing or its area changed suddenly.
        """
        at = TrackMoment(state.frame + 1)
        (prediction,) = self._tracker.track(frame.features, at, [state.state])
        check = check_tracked(state.monitor, prediction, False, MonitorSettings())
        state.state = self._tracker.remember(
            frame.features, at, state.state, prediction, check.sure
        )
        state.frame, state.monitor = at.frame, check.monitor
        if not rle_area(prediction.rle) or "area" in check.doubts:
            return None
        return mask_to_shape(state.kind, rle_to_mask(prediction.rle))


def shape_to_mask(kind: str, points: Sequence[float], image_hw: tuple[int, int]) -> BoolArray:
    """Convert a CVAT shape to a mask (H, W).

    Raises:
        InputError: The shape type is not supported.
        DataError: The runs of a mask do not fill its box.
    """
    if kind == "mask":
        return rle_to_mask(cvat_to_rle(points, image_hw))
    corners = np.asarray(points, np.float64).reshape(-1, 2)
    if kind == "rectangle":
        (x0, y0), (x1, y1) = corners
        corners = box_ring(x0, y0, x1, y1)
    elif kind != "polygon":
        raise InputError(f"Unknown shape {kind!r}. Use one of {', '.join(sorted(SHAPES))}.")
    return polygons_to_mask([Polygon(corners)], image_hw)


def mask_to_shape(kind: str, mask: BoolArray) -> list[float]:
    """Convert a non-empty mask (H, W) to a CVAT shape. Polygons keep only the largest ring."""
    rle = mask_to_rle(mask)
    if kind == "mask":
        return [float(number) for number in mask_to_cvat(rle)]
    if kind == "rectangle":
        x0, y0, x1, y1 = rle_box_xyxy(rle)
        return [float(x0), float(y0), float(x1 + 1), float(y1 + 1)]
    from anymask.masks import TOLERANCE, mask_to_polygons, ring_area

    polygons = mask_to_polygons(mask, TOLERANCE, smooth=True)
    rings: list[Any] = [polygon.exterior for polygon in polygons]
    largest = max(rings, key=lambda ring: abs(ring_area(ring)))
    flat: list[float] = np.asarray(largest, np.float64).ravel().tolist()
    return flat


def _share(score: float) -> float:
    return min(1.0, max(0.0, score))
