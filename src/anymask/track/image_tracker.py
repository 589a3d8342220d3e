"""Tracker for any image model.

Encoder features and optical flow predict where an object is; the mask decoder segments it there.

For each frame, two maps estimate the probability of the object: feature matching with remembered
frames (`matching`), and the last mask warped by optical flow (`flow`). Their weighted mean is the
prior. The decoder is prompted with the prior and its box. Where the prior is confident it
decides; elsewhere, mostly at outlines, the decoder decides.

With `way="memory"`, a trained memory network (`recall`) reads all this and the feature maps of the
frame and of the remembered frames, and predicts the final mask.

Source of the idea: Oh et al. 2019 (STM, arXiv:1904.00607).

The input planes of that network cover a whole number of coarse cells; cells that the frame fills
only in part repeat its edge.

Letters: H W a frame or the reduced frame, h w the reduced frame or the grid, G cells, N objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np

from anymask.base import BoolArray, FloatArray, UintImage
from anymask.masks import (
    FeatureMap,
    Prompt,
    Rle,
    center_click,
    empty_rle,
    iou,
    logits_used,
    mask_to_model,
    mask_to_rle,
    open_box,
    pairwise_box_iou,
    point_pixels,
    rle_area,
    rle_box_xyxy,
    rle_iou,
    rle_to_mask,
)
from anymask.models.rules import (
    ANCHOR,
    FINE_CELLS,
    LIMIT,
    RECENT,
    FrameMaps,
    MemoryOutput,
    MemoryQuery,
    group_prompts,
)
from anymask.runtime import ReadMemory
from anymask.segment import (
    AS_SHOWN,
    NO_CLICKS,
    PROMPTS_PER_CALL,
    Candidate,
    Model,
    Prediction,
    PromptContext,
    SegmentSettings,
    answer_prompts,
    without_small_regions,
)
from anymask.segment import refine_edges as edges_refined
from anymask.track.flow import Flows
from anymask.track.matching import (
    GRID,
    PROMPT_BONUS,
    MatchFrame,
    MatchState,
    MemoryFrame,
    Prior,
    grown,
    is_flowing,
    maps_to_keys,
    match_all,
    match_cells,
    mix_prior,
    pack_state,
    resized,
    soft_to_labels,
    unit_features,
    unpack_state,
)
from anymask.track.records import FramePrediction, TrackMoment

USUAL = SegmentSettings()  # postprocessing of image masks
ENCODER_MAPS = 3  # feature maps of the encoder, at strides 16, 8 and 4


def frame_maps(features: MatchFrame) -> FrameMaps:
    """Crop the feature maps to the part that the frame fills."""
    (height, width), maps = features.keys.grid_hw, features.embedding.maps
    keys = features.keys.values.T.reshape(-1, height, width)
    middle, fine = (
        level.values[:, : height * step, : width * step]
        for level, step in zip(maps[1:ENCODER_MAPS], (2, FINE_CELLS), strict=True)
    )
    return FrameMaps(*(np.ascontiguousarray(array, np.float32) for array in (keys, middle, fine)))


def soft_to_parts(soft: FloatArray, grid_hw: tuple[int, int]) -> FloatArray:  # (H, W) -> (G, 16)
    """Object share of each fine cell, grouped by coarse cell."""
    (height, width), plane = grid_hw, to_plane(soft, grid_hw)
    cells = plane.reshape(height, FINE_CELLS, width, FINE_CELLS).swapaxes(1, 2)
    return np.ascontiguousarray(cells.reshape(height * width, FINE_CELLS**2), np.float32)


def to_plane(values: FloatArray, grid_hw: tuple[int, int]) -> FloatArray:  # (H, W) -> (4h, 4w)
    """Resize a map of the frame to fine cells, padded with its edge."""
    rows, columns = _filled(values.shape, grid_hw)
    how = cv2.INTER_AREA if values.shape[1] > columns else cv2.INTER_LINEAR
    return with_edges(resized(values, (columns, rows), how), grid_hw)


def with_edges(plane: FloatArray, grid_hw: tuple[int, int]) -> FloatArray:  # -> (4h, 4w)
    """Crop a plane, or pad it with its edge, to whole coarse cells."""
    rows, columns = (FINE_CELLS * side for side in grid_hw)
    plane = plane[:rows, :columns]
    if plane.shape == (rows, columns):
        return plane
    beyond = (0, rows - plane.shape[0], 0, columns - plane.shape[1])
    return np.asarray(cv2.copyMakeBorder(plane, *beyond, cv2.BORDER_REPLICATE), np.float32)


def from_plane(
    plane: FloatArray, size: tuple[int, ...], grid_hw: tuple[int, int]
) -> FloatArray:  # (4h, 4w) -> (H, W)
    """Inverse of `to_plane`."""
    rows, columns = _filled(size, grid_hw)
    return resized(plane[:rows, :columns], size[::-1])


def _filled(size: tuple[int, ...], grid_hw: tuple[int, int]) -> tuple[int, int]:
    """Number of fine cells that the frame fills, as (rows, columns)."""
    scale = FINE_CELLS * min(grid_hw[0] / size[0], grid_hw[1] / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def make_questions(
    maps: FrameMaps, states: Sequence[MatchState], hints: Sequence[tuple[FloatArray, ...]]
) -> list[MemoryQuery]:
    """Build the inputs of the memory network. Hints are planes in the order of `HINTS`."""
    memories: dict[tuple[int, ...], tuple[FloatArray, FloatArray]] = {}
    questions = []
    for state, hint in zip(states, hints, strict=True):
        known = state.remembered
        frames = (len(state.anchors), *(id(frame.keys) for frame in known))
        if frames not in memories:
            kinds = [ANCHOR] * len(state.anchors) + [RECENT] * len(state.recent)
            lengths = [len(frame.labels) for frame in known]
            memories[frames] = (
                np.concatenate([frame.keys.values for frame in known]),  # (M, K)
                np.repeat(np.array(kinds, np.float32), lengths),  # (M,)
            )
        planes = np.stack(hint).astype(np.float32, copy=False)
        np.clip(planes[:2], -LIMIT, LIMIT, out=planes[:2])
        labels = np.concatenate([frame.parts for frame in known if frame.parts is not None])
        keys, repeated = memories[frames]
        questions.append(MemoryQuery(maps, planes, keys, labels, repeated))
    return questions


Way = Literal["match", "memory"]
Drawn = tuple[FloatArray, FloatArray]  # candidates (K, m, m) and their predicted IoU (K,)

ANCHORS = 4  # maximum number of prompted frames in memory: the first, and the latest ones
RECENT_FRAMES = 3  # maximum number of other frames in memory
DRAWN_LIMIT = 2.0  # clipping range of the decoder's logits
BLEND = 2.5  # weight of the prior's log-odds
PADDING_LOGIT = -10.0  # logit of the padding
KNOWN = 0.2  # minimum mean matching share inside a mask; below it the object is missing
MIN_OBJECT_SHARE = 0.0002  # minimum object area, as a share of the frame
FITTING = 0.9  # IoU of a box with that of the tracked mask from which the box corrects that mask


@dataclass(frozen=True, eq=False)
class DrawnLogits:
    """Mask logits of the part that the frame fills."""

    mixed: FloatArray  # Logits of prior and decoder combined
    drawn: FloatArray  # Logits of the decoder
    quality: float  # Predicted IoU of the decoder


class ImageTracker:
    """Track objects with an image model.

    Args:
        way: "match" or "memory"; see the module.
        reader: Memory network, for "memory".
        refine_edges: Whether to refine mask edges to image edges. The memory is not affected.
    """

    def __init__(
        self,
        model: Model,
        way: Way = "match",
        reader: ReadMemory | None = None,
        refine_edges: bool = False,
    ) -> None:
        self._refine = refine_edges
        self.model, self.way = model, way
        self.name = f"{way}:{model.name}:{model.runtime.weights_hash[:16]}"
        self._reader = reader  # each of its cells has FINE_CELLS x FINE_CELLS decoder cells
        self._cells = GRID if reader is None else model.spec.mask_side // FINE_CELLS

    def encode_frame(self, image: UintImage, gray: UintImage) -> MatchFrame:
        embedding = self.model.encode(image)
        keys = maps_to_keys(embedding.maps, embedding.geometry, self._cells)
        return MatchFrame(embedding, keys, gray, image)

    def answer(self, features: MatchFrame, prompt: Prompt, earlier: Rle | None) -> FramePrediction:
        if prompt.box is None and prompt.mask is None and earlier is not None:
            prompt = replace(prompt, mask=rle_to_mask(earlier))
        if prompt.box is None and prompt.mask is not None:
            mask = given_mask(prompt, features.embedding.image_hw)
            if prompt.points is None:
                return FramePrediction(mask_to_rle(mask), 1.0, 1.0, soft_of(mask, features))
            if mask.any():
                return self._correct(features, prompt, mask)
        prompts = [prompt]
        if earlier is not None and prompt.mask is None and prompt.box is not None:
            known = np.add(rle_box_xyxy(earlier), (0, 0, 1, 1))
            if pairwise_box_iou([known], [prompt.box])[0, 0] >= FITTING:
                prompts.append(replace(prompt, mask=rle_to_mask(earlier)))
        inputs = self.model.runtime, features.image, features.embedding
        answers = (prediction.first for prediction in answer_prompts(*inputs, prompts, USUAL))
        first = max(answers, key=lambda one: one.score)
        return FramePrediction(first.rle(), 1.0, first.score, soft_of(first.pixels(), features))

    def _correct(self, features: MatchFrame, prompt: Prompt, mask: BoolArray) -> FramePrediction:
        """Apply to a mask the connected changes of a prediction that contain a click.

        For a mask and a negative click alone, decoders return little of the object. Clicks of one
        kind therefore follow one in the middle of the mask, negative ones also its box.
        """
        geometry, spec = features.embedding.geometry, self.model.spec
        points, labels = np.asarray(prompt.points), np.asarray(prompt.labels)
        columns, rows = point_pixels(points, geometry.image_hw).T
        inside, order = mask.copy(), np.argsort(-labels, kind="stable")
        inside[rows, columns] &= labels > 0
        anchor = [center_click(inside if inside.any() else mask)] if np.ptp(labels) == 0 else []
        clicks = Prompt.of(
            points=[*anchor, *points[order]], labels=[*(1 for _ in anchor), *labels[order]],
            box=open_box(mask) if "box" in spec.accepts and not labels.any() else None,
        )  # fmt: skip
        logits = mask_to_model(np.asarray(prompt.mask), geometry, spec.mask_side)
        known = Candidate(logits[0], geometry, score=1.0, threshold=spec.mask_threshold)
        middle = Prompt.of(points=anchor, labels=[1]) if anchor else None
        before = Prediction((known,), prompt=middle)
        inputs = self.model.runtime, features.image, features.embedding
        first = answer_prompts(*inputs, [clicks], USUAL, before)[0].first
        drawn, edited = first.pixels(), mask.copy()
        for label, changed in ((0, mask & ~drawn), (1, drawn & ~mask)):
            parts = cv2.connectedComponents(changed.view(np.uint8), connectivity=8)[1]
            clicked = parts[rows, columns][labels == label]
            edited[np.isin(parts, clicked[clicked > 0])] = label
        return FramePrediction(mask_to_rle(edited), 1.0, first.score, soft_of(edited, features))

    def begin(
        self,
        features: MatchFrame,
        at: TrackMoment,
        prediction: FramePrediction,
        known: MatchState | None,
    ) -> MatchState:
        soft: FloatArray = prediction.soft
        glimpse = self._glimpse(features, at, soft, PROMPT_BONUS)
        kept = [] if known is None else [g for g in known.anchors if g.frame != at.frame]
        anchors = agreeing((*kept[:1], *kept[1:][-(ANCHORS - 2) :]), glimpse)
        state = MatchState((*anchors, glimpse), (), soft, features.gray)
        if not kept or self._reader is None:
            return state
        again = self.track(features, at, [state])[0].rle
        mask = rle_to_mask(prediction.rle).astype(np.float32)
        share = to_plane(mask, features.keys.grid_hw)
        reproduced = float(rle_iou([again], [prediction.rle])[0, 0])
        maps, side = features.embedding.maps, self.model.spec.mask_side
        return replace(state, evidence=fit_evidence(maps, share, side, reproduced))

    def track(
        self, features: MatchFrame, at: TrackMoment, states: Sequence[MatchState]
    ) -> list[FramePrediction]:
        flows = Flows(features.gray)
        shares = match_all(features, states, at.cut)
        priors = [
            mix_prior(features, state, share, None if at.cut else flows)
            for state, share in zip(states, shares, strict=True)
        ]
        prompts = [_prompt(features, prior.mixed) for prior in priors]
        prompted = [index for index, prompt in enumerate(prompts) if prompt is not None]
        decoded = self.decode_candidates(features, [prompt for prompt in prompts if prompt])
        answers = dict(zip(prompted, decoded, strict=True))
        drawn = [
            self._drawing(features, prior, answers.get(index)) for index, prior in enumerate(priors)
        ]
        if self._reader is None:
            return [self._predicted(features, *row) for row in zip(priors, drawn, strict=True)]
        maps = frame_maps(features)
        hints = [_hints(features, *row) for row in zip(states, priors, drawn, strict=True)]
        outputs = self._reader(make_questions(maps, states, hints))
        outputs = [_corrected(features, *row) for row in zip(outputs, states, priors, strict=True)]
        return [self._recalled(features, *row) for row in zip(outputs, priors, drawn, strict=True)]

    def remember(
        self,
        features: MatchFrame,
        at: TrackMoment,
        state: MatchState,
        prediction: FramePrediction,
        sure: bool,
    ) -> MatchState:
        state = replace(state, soft=prediction.soft, gray=features.gray)
        if not sure:
            return state
        glimpse = self._glimpse(features, at, state.soft, 0.0)
        return replace(state, recent=(*state.recent[-(RECENT_FRAMES - 1) :], glimpse))

    def _glimpse(
        self, features: MatchFrame, at: TrackMoment, soft: FloatArray, trust: float
    ) -> MemoryFrame:
        grid = features.keys.grid_hw
        parts = None if self._reader is None else soft_to_parts(soft, grid)
        return MemoryFrame(at.frame, features.keys, soft_to_labels(soft, grid), trust, parts)

    pack, unpack = staticmethod(pack_state), staticmethod(unpack_state)

    def decode_candidates(self, features: MatchFrame, prompts: list[Prompt]) -> list[Drawn]:
        """Decode mask candidates for each prompt, without postprocessing.

        Prompts of the same length are decoded in one batch.
        """
        runtime, drawn = self.model.runtime, dict[int, Drawn]()
        where = features.embedding.geometry
        for indices, batch in group_prompts(prompts, where, runtime.spec, PROMPTS_PER_CALL):
            decoded = runtime.decode(features.embedding.encoder_output, batch)
            rows = zip(*runtime.family.candidates(*decoded), strict=True)
            drawn |= dict(zip(indices, rows, strict=True))
        return [drawn[index] for index in range(len(prompts))]

    def _drawing(
        self, features: MatchFrame, prior: Prior, answer: Drawn | None
    ) -> DrawnLogits | None:
        """Select the candidate with the highest IoU with the prior, and combine both."""
        if answer is None:
            return None
        planes, qualities = answer
        rows, columns = logits_used(planes.shape[-1], features.embedding.geometry)
        odds = _log_odds(resized(prior.mixed, (columns, rows), cv2.INTER_AREA))
        drawn = planes[:, :rows, :columns] - self.model.spec.mask_threshold
        best = most_alike(drawn > 0, odds > 0)
        mixed = drawn[best].clip(-DRAWN_LIMIT, DRAWN_LIMIT) + BLEND * odds
        return DrawnLogits(mixed, drawn[best], float(qualities[best]))

    def _predicted(
        self, features: MatchFrame, prior: Prior, drawing: DrawnLogits | None
    ) -> FramePrediction:
        """Prediction from the combined logits; empty if matching does not support the mask."""
        share = float(prior.matched.max(initial=0))
        if drawing is None:
            return nothing_found(features, share / 2)
        soft = resized(_sigmoid(drawing.mixed), features.gray.shape[::-1])
        inside = soft > 0.5
        if not inside.any() or prior.matched[inside].mean() < KNOWN:
            return nothing_found(features, share / 2)
        rle = self.mask_of(features, self._whole(drawing.mixed))
        score, agreement = float(prior.mixed[inside].mean()), iou(prior.mixed > 0.5, inside)
        return FramePrediction(rle, score, drawing.quality, soft, agreement)

    def _recalled(
        self, features: MatchFrame, answer: MemoryOutput, prior: Prior, drawn: DrawnLogits | None
    ) -> FramePrediction:
        """Prediction from the output of the memory network."""
        there = float(_sigmoid(np.array(answer.presence)))
        soft = from_plane(_sigmoid(answer.logits), features.gray.shape, features.keys.grid_hw)
        inside = soft > 0.5
        if there < 0.5 or inside.mean() < MIN_OBJECT_SHARE:
            return nothing_found(features, there / 2)
        rle = self.mask_of(features, self._whole(answer.logits))
        quality = 0.0 if drawn is None else drawn.quality
        score, agreement = there * float(soft[inside].mean()), iou(prior.mixed > 0.5, inside)
        return FramePrediction(rle, score, quality, soft, agreement)

    def mask_of(self, features: MatchFrame, logits: FloatArray) -> Rle:  # (1, m, m)
        """Mask in frame size, without specks and pinholes, with refined edges if enabled."""
        drawn = Candidate(logits[0], features.embedding.geometry, score=0.0)
        whole = without_small_regions(drawn, NO_CLICKS, *USUAL.min_areas)
        rle = whole.rle()
        if not self._refine or not rle_area(rle):
            return rle
        x0, y0, x1, y1 = rle_box_xyxy(rle)
        box = Prompt.of(box=(x0, y0, x1 + 1, y1 + 1))
        inputs = self.model.runtime, features.image, features.embedding
        fine = edges_refined(
            Prediction((whole,)), PromptContext(*inputs, box, AS_SHOWN)
        ).first.rle()
        return fine if rle_area(fine) else rle

    def _whole(self, part: FloatArray) -> FloatArray:  # -> (1, m, m)
        """Pad logits of the part that the frame fills to the model's square."""
        side = self.model.spec.mask_side
        part = part[:side, :side]
        whole = np.full((1, side, side), PADDING_LOGIT, np.float32)
        rows, columns = (min(length + 1, side) for length in part.shape)
        wide = cv2.copyMakeBorder(part, 0, 1, 0, 1, cv2.BORDER_REPLICATE)
        whole[0, :rows, :columns] = wide[:rows, :columns]
        return whole


def _prompt(features: MatchFrame, prior: FloatArray) -> Prompt | None:
    """Box and mask prompt from a prior, in frame pixels; None if the prior is empty."""
    height, width = features.embedding.image_hw
    scale = np.array([width / prior.shape[1], height / prior.shape[0]], np.float32)
    there = prior > 0.5
    if there.mean() < MIN_OBJECT_SHARE:
        return None
    x, y, wide, high = cv2.boundingRect(there.view(np.uint8))
    box = np.array([x, y, x + wide, y + high], np.float32) * np.tile(scale, 2)
    return Prompt.of(box=box, mask=there)


def _hints(
    features: MatchFrame, state: MatchState, prior: Prior, drawing: DrawnLogits | None
) -> tuple[FloatArray, ...]:
    """Input planes of the memory network, in the order of `HINTS`."""
    grid = features.keys.grid_hw
    mixed = BLEND * _log_odds(to_plane(prior.mixed, grid))
    drawn = mixed
    if drawing is not None:
        mixed, drawn = (with_edges(plane, grid) for plane in (drawing.mixed, drawing.drawn))
    last = state.soft if is_flowing(features, state) else np.zeros_like(prior.mixed)
    carried = np.zeros_like(prior.mixed) if prior.carried is None else prior.carried
    return (mixed, drawn, *(to_plane(plane, grid) for plane in (carried, prior.matched, last)))


def _corrected(
    features: MatchFrame, answer: MemoryOutput, state: MatchState, prior: Prior
) -> MemoryOutput:
    """Add the evidence of a corrected object that was visible on the last frame."""
    if state.evidence is None or not (state.soft > 0.5).any():
        return answer
    near = to_plane(prior.mixed, features.keys.grid_hw) > 0.3
    maps = features.embedding.maps
    return replace(answer, logits=add_evidence(answer.logits, maps, state.evidence, near))


def _log_odds(chances: FloatArray) -> FloatArray:
    clipped = chances.clip(0.02, 0.98)
    return np.asarray(np.log(clipped / (1 - clipped)), np.float32)


def _sigmoid(logits: FloatArray) -> FloatArray:
    return np.asarray(1 / (1 + np.exp(-logits.clip(-20, 20))), np.float32)


def nothing_found(features: MatchFrame, score: float) -> FramePrediction:
    """Prediction of an empty mask."""
    empty = np.zeros(features.gray.shape, np.float32)
    return FramePrediction(empty_rle(features.embedding.image_hw), score, 0.0, empty)


def most_alike(drawn: BoolArray, prior: BoolArray) -> int:  # (K, h, w), (h, w)
    """Index of the candidate with the highest IoU with the prior."""
    both = (drawn & prior).sum(axis=(1, 2))
    either = (drawn | prior).sum(axis=(1, 2))
    return int((both / np.maximum(either, 1)).argmax())


def soft_of(mask: BoolArray, features: MatchFrame) -> FloatArray:  # (H, W) -> (h, w)
    """Resize a mask to the reduced frame."""
    return resized(mask.astype(np.float32), features.gray.shape[::-1], cv2.INTER_AREA)


def given_mask(prompt: Prompt, hw: tuple[int, int]) -> BoolArray:
    """Mask of a prompt, resized to the frame (H, W); logits above 0 are foreground."""
    mask = np.asarray(prompt.mask)
    mask = mask if mask.dtype == np.bool_ else mask > 0
    if mask.shape != hw:
        mask = cv2.resize(mask.view(np.uint8), hw[::-1], interpolation=cv2.INTER_NEAREST) > 0
    return mask


# Corrections of an object: which prompted frames still count, and what the tracker would lose.
#
# A tracker that cannot reproduce a corrected mask on its own frame, such as that of thin parts,
# loses it on the next frames, too. For such an object, a linear model of the encoder features is
# fitted to the corrected mask, and adds its evidence to the logits of the following frames.
#
# Source of the idea: Robinson et al. 2020 (FRTM, arXiv:2003.00630, section 3.1). Differences: least
# squares in closed form on one frame, only for corrections, and as evidence beside the tracker.
#
# Letters: C channels of all feature maps, P cells of the decoder's grid (h, w), G of the keys'
# grid.

AGREED = 0.5  # minimum IoU of a correction with the labels that an earlier prompted frame predicts
REPRODUCED_IOU = 0.9  # IoU of a reproduced correction from which the tracker needs no evidence
MISSED = 0.2  # decrease below it at which the evidence has its full weight
FEATURE_LENGTH = 10.0  # length of the features of a cell
RIDGE = 0.01  # regularization of the least squares
NEAR_CELLS, NEAR_WEIGHT = 12, 4.0  # around the object, and their weight; inside it twice as much
BORDER, SLOPE = 0.33, 12.0  # predicted share at the border of the object, and logits per share
EVIDENCE, LOGITS = 5.0, 4.0  # limits of both logits before they are added
MAX_DISTANCE = 6  # distance to the predicted object up to which evidence counts, in cells


def agreeing(anchors: tuple[MemoryFrame, ...], correction: MemoryFrame) -> tuple[MemoryFrame, ...]:
    """Prompted frames whose labels, matched to the corrected frame, agree with the correction."""
    return tuple(anchor for anchor in anchors if _agrees(anchor, correction))


def _agrees(anchor: MemoryFrame, correction: MemoryFrame) -> bool:
    if not min(anchor.labels.max(initial=0), correction.labels.max(initial=0)) > 0.5:
        return True  # the object is missing on one of the frames
    matched = match_cells(correction.keys, (anchor,))[0]
    shared = np.minimum(matched, correction.labels).sum()
    return bool(shared >= AGREED * np.maximum(matched, correction.labels).sum())


def fit_evidence(
    maps: tuple[FeatureMap, ...], share: FloatArray, side: int, reproduced: float
) -> FloatArray | None:  # (h, w) -> (C + 1,)
    """Weights of the evidence for a corrected object; None if the tracker needs no evidence.

    Args:
        share: Object share of each cell.
        side: Cells along the model's side.
        reproduced: IoU of the correction and the tracker's own prediction on its frame.
    """
    strength = min(1.0, (REPRODUCED_IOU - reproduced) / MISSED)
    if strength <= 0 or share.max(initial=0) <= 0.5:
        return None
    height, width = share.shape
    planes = [
        cv2.resize(plane, (side, side), interpolation=cv2.INTER_LINEAR)[:height, :width].ravel()
        for level in maps
        for plane in _scaled(level, len(maps))
    ]
    features = np.stack([*planes, np.ones(height * width, np.float32)])  # (C + 1, P)
    near = grown(share > 0.2, NEAR_CELLS)
    weights = np.where(near, NEAR_WEIGHT, 1) * np.where(share > 0.5, 2, 1)
    weighted = features * np.asarray(weights / weights.sum(), np.float32).ravel()
    squares = (weighted @ features.T).astype(np.float64)
    squares[np.diag_indices(len(squares))] += RIDGE
    fitted = np.linalg.solve(squares, weighted @ share.ravel())
    fitted[-1] -= BORDER
    return np.asarray(strength * SLOPE * fitted, np.float32)


def add_evidence(
    logits: FloatArray, maps: tuple[FeatureMap, ...], weights: FloatArray, prior: BoolArray
) -> FloatArray:  # (h, w)
    """Logits of an object with its evidence, where a prior or the object is near."""
    (height, width), first = logits.shape, 0
    side = max(level.values.shape[-1] for level in maps)
    summed = np.full((side, side), weights[-1], np.float32)
    for level in maps:
        planes = _scaled(level, len(maps))
        part = np.tensordot(weights[first : first + len(planes)], planes, 1)
        summed += cv2.resize(part, (side, side), interpolation=cv2.INTER_LINEAR)
        first += len(planes)
    evidence = summed[:height, :width].clip(-EVIDENCE, EVIDENCE)
    both = logits.clip(-LOGITS, LOGITS) + evidence
    return np.asarray(np.where(grown(prior | (logits > 0), MAX_DISTANCE), both, logits), np.float32)


def _scaled(one: FeatureMap, count: int) -> FloatArray:  # (C, h, w)
    """Unit features of one of several maps, which have the length FEATURE_LENGTH together."""
    return np.asarray(unit_features(one.values) * (FEATURE_LENGTH / np.sqrt(count)), np.float32)
