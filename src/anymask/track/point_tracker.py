"""Tracker of SAM-PT: points are tracked through the frames, and prompt an image model on each.

Points are selected in the mask of a prompted frame and around it. Pyramidal Lucas-Kanade moves
them, and points with a forward-backward error are hidden. On each frame, the visible points prompt
the decoder, first alone, then with the logits and the box of the first mask. Points are selected
again from a mask that agrees with appearance and motion. If too few points are visible, they are
selected where the encoder features match those of remembered frames (`matching`).

Source: Rajic et al. 2023 (SAM-PT, arXiv:2307.01197, section 3). Bouguet 2001 (pyramidal
Lucas-Kanade, OpenCV implementation). Kalal et al. 2010 (forward-backward error). Park and Jun 2009
(k-medoids). Deviations: the point tracker has no weights, so lost points are replaced by feature
matching; 4 negative points instead of 1; one refinement instead of up to 12; of the candidates,
the one with the highest IoU with the expected mask is selected.

Letters: H W a frame, h w the frame reduced for Lucas-Kanade, P points (x, y) in its pixels, N
objects, K candidates, m the side of a low-resolution mask.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from anymask.base import BoolArray, FloatArray, IntArray, ModelError, UintImage, brief
from anymask.masks import (
    Prompt,
    Rle,
    deepest_pixel,
    iou,
    logits_used,
    rle_area,
    rle_box_xyxy,
    rle_to_mask,
)
from anymask.segment import Candidate, Model
from anymask.track.image_tracker import KNOWN, ImageTracker, most_alike, nothing_found, soft_of
from anymask.track.matching import (
    MatchFrame,
    MatchState,
    is_flowing,
    match_all,
    pack_state,
    resized,
    unpack_state,
)
from anymask.track.records import FramePrediction, StateArrays, TrackMoment

REQUIRED_PROMPTS = frozenset({"point", "negative_point", "box", "mask"})  # kinds of prompts
MAX_FLOW_SIDE = 960  # maximum length of the longer side for Lucas-Kanade, in pixels
MEDOIDS = 8  # positive points by k-medoids
MAX_CORNER_POINTS = 8  # maximum number of positive points at corners of the image
NEGATIVE_POINTS = 4  # negative points around the object; as many more on other objects
RING_DISTANCE = (0.05, 0.25)  # of negative points, as a share of its longer side
MIN_MEDOID_DEPTH = 0.25  # minimum depth of medoids, as a share of the largest depth
MAX_MEDOID_PIXELS = 3000  # maximum number of pixels among which medoids are selected
FLOW_WINDOW, PYRAMID_LEVELS = (21, 21), 4  # of Lucas-Kanade: pixels, and pyramid levels
RETURN = 1.5  # maximum forward-backward error, in pixels
INLIER = 3.0  # maximum distance of a point to the common motion, in pixels
MIN_POINT_MATCH = 0.2  # minimum matching share at a positive point
MATCH_WEIGHT = 0.5  # weight of feature matching in the expected mask
MIN_VISIBLE = 0.3  # of the points: if fewer are visible, they are selected by feature matching
FOUND = 0.5  # minimum mean matching share inside a mask that was found by feature matching
STEADY = 0.5  # minimum agreement of a mask from which points are selected
RESELECTION_FRAMES = 8  # frames after which points are selected again
RESELECTION_SHARE = 0.6  # of the points: if fewer are visible, they are selected again


@dataclass(frozen=True, eq=False)
class PointFrame:
    """Encoded frame, and its grayscale image (h, w) for Lucas-Kanade."""

    features: MatchFrame
    fine: UintImage


@brief
@dataclass(frozen=True, eq=False)
class TrackedPoints:
    """Points of one object."""

    xy: FloatArray  # Positions (P, 2)
    labels: IntArray  # 1 for points on the object, 0 for points around it (P,)
    visible: BoolArray  # Whether each point is visible (P,)
    age: int = 0  # Number of frames since the points were selected

    def shown(self, label: int) -> FloatArray:  # -> (P', 2)
        """Visible points with this label."""
        return np.asarray(self.xy[self.visible & (self.labels == label)], np.float32)

    def share(self) -> float:
        """Share of the points on the object that are visible."""
        return float(self.visible[self.labels == 1].mean())


@brief
@dataclass(frozen=True, eq=False)
class PointState:
    """State of one object: remembered frames, and points and mask of the last frame (h, w)."""

    match: MatchState
    points: TrackedPoints
    mask: BoolArray
    fine: UintImage


@dataclass(frozen=True, eq=False)
class PointStep:
    """Result of one step: soft mask of the reduced frame, mask (h, w), and moved points."""

    soft: FloatArray
    mask: BoolArray
    points: TrackedPoints


@dataclass(frozen=True, eq=False)
class Expected:
    """Object probability (h, w), by matching alone and with the motion of the points."""

    mixed: FloatArray
    matched: FloatArray
    points: TrackedPoints
    # Minimum mean matching share inside a mask; below it the object is missing
    least: float = KNOWN


class PointTracker:
    """Track objects by points; see the module.

    Args:
        model: Image model that accepts points, boxes and masks.
        refine_edges: Whether to refine mask edges to image edges.

    Raises:
        ModelError: The model does not support these prompts.
    """

    def __init__(self, model: Model, refine_edges: bool = False) -> None:
        if missing := REQUIRED_PROMPTS - model.spec.accepts:
            raise ModelError(
                f"{model.name} does not support tracker='points', because it lacks these prompts: "
                f"{', '.join(sorted(missing))}. Use another image model, or tracker='match'."
            )
        self.model = model
        self.name = f"points:{model.name}:{model.runtime.weights_hash[:16]}"
        self._images = ImageTracker(model, refine_edges=refine_edges)

    def encode_frame(self, image: UintImage, gray: UintImage) -> PointFrame:
        height, width = image.shape[:2]
        scale = min(1.0, MAX_FLOW_SIDE / max(height, width))
        size = (max(16, round(width * scale)), max(16, round(height * scale)))
        fine = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        if size != (width, height):
            fine = cv2.resize(fine, size, interpolation=cv2.INTER_AREA)
        return PointFrame(self._images.encode_frame(image, gray), np.asarray(fine, np.uint8))

    def answer(self, features: PointFrame, prompt: Prompt, earlier: Rle | None) -> FramePrediction:
        """Predict a mask from prompts. A mask prompt without other prompts is used unchanged."""
        return self._images.answer(features.features, prompt, earlier)

    def begin(
        self,
        features: PointFrame,
        at: TrackMoment,
        prediction: FramePrediction,
        known: PointState | None,
    ) -> PointState:
        earlier = None if known is None else known.match
        mask = _mask_like(prediction.rle, features.fine)
        match = self._images.begin(features.features, at, prediction, earlier)
        return PointState(match, select_points(mask, features.fine), mask, features.fine)

    def track(
        self, features: PointFrame, at: TrackMoment, states: Sequence[PointState]
    ) -> list[FramePrediction]:
        shares = match_all(features.features, [state.match for state in states], at.cut)
        expected = [
            _expect(features, state, share, at.cut)
            for state, share in zip(states, shares, strict=True)
        ]
        prompts = {
            index: self._prompt(features, expected, index)
            for index, prior in enumerate(expected)
            if len(prior.points.shown(1))
        }
        first = self._decode(features.features, prompts, expected)
        refined = {
            index: self._refining(features.features, prompts[index], plane)
            for index, (plane, _) in first.items()
            if (plane > self.model.spec.mask_threshold).any()
        }
        drawn = first | self._decode(features.features, refined, expected)
        return [self._predicted(features, prior, drawn.get(n)) for n, prior in enumerate(expected)]

    def remember(
        self,
        features: PointFrame,
        at: TrackMoment,
        state: PointState,
        prediction: FramePrediction,
        sure: bool,
    ) -> PointState:
        step: PointStep = prediction.soft
        steady = sure and prediction.agreement >= STEADY
        plain = replace(prediction, soft=step.soft)
        match = self._images.remember(features.features, at, state.match, plain, steady)
        points = step.points
        if steady and (points.age >= RESELECTION_FRAMES or points.share() < RESELECTION_SHARE):
            points = select_points(step.mask, features.fine)
        return PointState(match, points, step.mask, features.fine)

    def pack(self, state: PointState) -> StateArrays:
        points = state.points
        own: dict[str, NDArray[Any]] = {
            "xy": points.xy, "labels": points.labels, "visible": points.visible,
            "age": np.array(points.age), "mask": np.packbits(state.mask), "fine": state.fine,
        }  # fmt: skip
        return {**pack_state(state.match), **{f"points/{name}": part for name, part in own.items()}}

    def unpack(self, arrays: StateArrays) -> PointState:
        own = {name: arrays[f"points/{name}"] for name in ("xy", "labels", "visible")}
        points = TrackedPoints(**own, age=int(arrays["points/age"]))
        fine = np.asarray(arrays["points/fine"], np.uint8)
        mask = np.unpackbits(arrays["points/mask"], count=fine.size).reshape(fine.shape) > 0
        return PointState(unpack_state(arrays), points, mask, fine)

    def _prompt(self, features: PointFrame, expected: Sequence[Expected], place: int) -> Prompt:
        """Visible points of an object; the points of other objects are negative."""
        points = expected[place].points
        positive, negative = points.shown(1), points.shown(0)
        others = [prior.points.shown(1) for n, prior in enumerate(expected) if n != place]
        if others:
            rivals = np.concatenate(others)
            away = np.linalg.norm(rivals - positive.mean(0), axis=1)
            negative = np.concatenate([negative, rivals[np.argsort(away)[:NEGATIVE_POINTS]]])
        if most := self.model.spec.fixed_points:  # two of the tokens are those of the box
            negative = negative[: (most - 2) // 3]
            positive = positive[: most - 2 - len(negative)]
        (height, width), (rows, columns) = features.fine.shape, features.features.embedding.image_hw
        xy = np.concatenate([positive, negative]) + 0.5
        xy = xy * np.array([columns / width, rows / height], np.float32) - 0.5
        labels = [1] * len(positive) + [0] * len(negative)
        return Prompt.of(points=xy.clip(0, (columns - 1, rows - 1)), labels=labels)

    def _refining(
        self, features: MatchFrame, prompt: Prompt, plane: FloatArray
    ) -> Prompt:  # (m, m)
        """The points with the logits and the box of their first mask."""
        drawn = Candidate(plane - self.model.spec.mask_threshold, features.embedding.geometry, 0.0)
        rle = drawn.rle()
        if not rle_area(rle):
            return prompt
        x0, y0, x1, y1 = rle_box_xyxy(rle)
        box = np.array([x0, y0, x1 + 1, y1 + 1], np.float32)
        return replace(prompt, box=box, mask=plane)

    def _decode(
        self, features: MatchFrame, prompts: Mapping[int, Prompt], expected: Sequence[Expected]
    ) -> dict[int, tuple[FloatArray, float]]:
        """Logits (m, m) and predicted IoU of the candidate closest to the expected mask."""
        answers = self._images.decode_candidates(features, list(prompts.values()))
        drawn = {}
        for index, (planes, qualities) in zip(prompts, answers, strict=True):
            rows, columns = logits_used(planes.shape[-1], features.embedding.geometry)
            prior = resized(expected[index].mixed, (columns, rows), cv2.INTER_AREA)
            inside = planes[:, :rows, :columns] > self.model.spec.mask_threshold
            best = most_alike(inside, prior > 0.5)
            drawn[index] = planes[best], float(qualities[best])
        return drawn

    def _predicted(
        self, features: PointFrame, one: Expected, drawn: tuple[FloatArray, float] | None
    ) -> FramePrediction:
        """Prediction from logits; empty if matching does not support the mask."""
        share = float(one.matched.max(initial=0)) / 2
        if drawn is not None:
            plane, quality = drawn
            rle = self._images.mask_of(
                features.features, plane[None] - self.model.spec.mask_threshold
            )
            mask = _mask_like(rle, features.fine)
            if mask.any() and one.matched[mask].mean() >= one.least:
                x, y = _cells(one.points.xy, mask)
                inside = mask[y, x] == (one.points.labels == 1)
                points = replace(one.points, visible=one.points.visible & inside)
                step = PointStep(soft_of(mask, features.features), mask, points)
                score, agreement = float(one.mixed[mask].mean()), iou(one.mixed > 0.5, mask)
                return FramePrediction(rle, score, quality, step, agreement)
        nothing = nothing_found(features.features, share)
        hidden = replace(one.points, visible=np.zeros_like(one.points.visible))
        empty = PointStep(nothing.soft, np.zeros(features.fine.shape, np.bool_), hidden)
        return replace(nothing, soft=empty)


def _expect(features: PointFrame, state: PointState, share: FloatArray, cut: bool) -> Expected:
    """Move the points and the mask into a frame, or select points by feature matching."""
    size = features.fine.shape[::-1]
    matched = resized(share.reshape(features.features.keys.grid_hw), size)
    if (
        not cut
        and is_flowing(features.features, state.match)
        and state.fine.shape == features.fine.shape
    ):
        points = move_points(state.points, state.fine, features.fine)
        x, y = _cells(points.xy, matched)
        unlike = (points.labels == 1) & (matched[y, x] <= MIN_POINT_MATCH)
        points = replace(points, visible=points.visible & ~unlike)
        motion = common_motion(state.points, points)
        if motion is not None and points.share() >= MIN_VISIBLE:
            moved = cv2.warpAffine(state.mask.astype(np.float32), motion, size)
            mixed = np.asarray((1 - MATCH_WEIGHT) * moved + MATCH_WEIGHT * matched, np.float32)
            return Expected(mixed, matched, points)
    return Expected(matched, matched, select_points(matched > 0.5), FOUND)


# Points.


def select_points(mask: BoolArray, fine: UintImage | None = None) -> TrackedPoints:  # (h, w)
    """Select points in a mask (half by k-medoids, half at corners), and around it.

    Args:
        fine: Grayscale frame (h, w) in which corners are detected. None: no corners.
    """
    depth, _ = deepest_pixel(mask)
    inside = k_medoids(_eroded(mask, round(MIN_MEDOID_DEPTH * depth)), MEDOIDS)
    if fine is not None and depth:
        there = _eroded(mask, 2).view(np.uint8)
        corners = cv2.goodFeaturesToTrack(fine, MAX_CORNER_POINTS, 0.01, 5, mask=there)
        if corners is not None:
            inside = np.concatenate([inside, corners[:, 0]])
    around = np.zeros((0, 2), np.float32)
    if depth:
        _, _, wide, high = cv2.boundingRect(mask.view(np.uint8))
        away = cv2.distanceTransform((~mask).view(np.uint8), cv2.DIST_L2, 5) / max(wide, high)
        around = k_medoids((away > RING_DISTANCE[0]) & (away < RING_DISTANCE[1]), NEGATIVE_POINTS)
    labels = np.repeat(np.array([1, 0]), [len(inside), len(around)])
    xy = np.concatenate([inside, around]).astype(np.float32)
    return TrackedPoints(xy, labels, np.ones(len(xy), np.bool_))


def k_medoids(mask: BoolArray, count: int) -> FloatArray:  # (h, w) -> (P, 2)
    """Centers of compact groups of the mask's pixels; fewer if the mask has fewer pixels."""
    rows, columns = np.nonzero(mask)
    cells = np.stack([columns, rows], axis=1).astype(np.float32)
    cells = cells[:: max(1, len(cells) // MAX_MEDOID_PIXELS)]
    if len(cells) <= count:
        return cells
    centers = cells[_nearest(cells, cells.mean(0))][None]
    while len(centers) < count:  # start with pixels far from each other
        centers = np.concatenate([centers, cells[[_squares(cells, centers).min(1).argmax()]]])
    for _ in range(10):
        groups = _squares(cells, centers).argmin(1)
        members = [cells[groups == group] for group in range(count)]
        moved = np.stack([group[_nearest(group, group.mean(0))] for group in members])
        if np.array_equal(moved, centers):
            break
        centers = moved
    return np.asarray(centers, np.float32)


def _squares(points: FloatArray, others: FloatArray) -> FloatArray:  # (P, 2), (Q, 2) -> (P, Q)
    return np.asarray(((points[:, None] - others) ** 2).sum(2), np.float32)


def _nearest(points: FloatArray, place: FloatArray) -> int:
    return int(_squares(points, place[None])[:, 0].argmin())


def _eroded(mask: BoolArray, pixels: int) -> BoolArray:
    kernel = np.ones((2 * pixels + 1, 2 * pixels + 1), np.uint8)
    return np.asarray(cv2.erode(mask.view(np.uint8), kernel, borderValue=0) > 0)


def move_points(points: TrackedPoints, before: UintImage, now: UintImage) -> TrackedPoints:
    """Move points to the next frame (h, w). Points with a forward-backward error are hidden."""
    age = points.age + 1
    if not len(points.xy):
        return replace(points, age=age)
    moved, tracked = _lucas_kanade(before, now, points.xy)
    back, again = _lucas_kanade(now, before, moved)
    inside = (moved >= 0).all(1) & (moved <= (now.shape[1] - 1, now.shape[0] - 1)).all(1)
    close = np.linalg.norm(back - points.xy, axis=1) < RETURN
    visible = points.visible & inside & close & tracked & again
    return replace(points, xy=moved, visible=visible, age=age)


def _lucas_kanade(
    before: UintImage, now: UintImage, xy: FloatArray
) -> tuple[FloatArray, BoolArray]:  # (P, 2) -> (P, 2), (P,)
    start = np.empty_like(xy)  # an output
    moved, status, _ = cv2.calcOpticalFlowPyrLK(
        before, now, xy, start, winSize=FLOW_WINDOW, maxLevel=PYRAMID_LEVELS
    )
    return np.asarray(moved, np.float32), np.asarray(status)[:, 0] > 0


def common_motion(before: TrackedPoints, now: TrackedPoints) -> FloatArray | None:  # -> (2, 3)
    """Rotation, scale and shift of the visible points on an object; None if they disagree."""
    there = now.visible & (now.labels == 1)
    if there.sum() < 4:
        return None
    motion, _ = cv2.estimateAffinePartial2D(
        before.xy[there], now.xy[there], ransacReprojThreshold=INLIER
    )
    return None if motion is None else np.asarray(motion, np.float32)


def _cells(xy: FloatArray, plane: NDArray[Any]) -> tuple[IntArray, IntArray]:
    columns, rows = np.rint(xy).astype(np.int64).T
    return columns.clip(0, plane.shape[1] - 1), rows.clip(0, plane.shape[0] - 1)


def _mask_like(rle: Rle, fine: UintImage) -> BoolArray:
    """Decode a mask and resize it to (h, w)."""
    mask = rle_to_mask(rle)
    if mask.shape == fine.shape:
        return mask
    size = fine.shape[::-1]
    return np.asarray(cv2.resize(mask.view(np.uint8), size, interpolation=cv2.INTER_AREA) > 0)
