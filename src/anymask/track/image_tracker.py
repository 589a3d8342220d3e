"""A tracker with any image model.

Keys of the encoder and optical flow say where an object has gone; the decoder draws it there.

On each frame two maps say how likely a place is the object: `matching`, which remembers what the
object and its surroundings looked like, and the last mask carried along by `flow`. Their mean is
the prior. The decoder is asked what the prior and its box mean. Where the prior is sure it decides;
where it is not, at outlines above all, the decoder does.

With `way="memory"`, a network that was trained for it (`recall`) is given all this with the maps of
the frame and of what is remembered, and has the last word.

Source of the idea: Oh et al. 2019 (STM, arXiv:1904.00607).

The planes of a question to that network have a whole number of coarse cells; where the frame fills
the last ones in part, its edge is repeated.

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
    Prompt,
    Rle,
    empty_rle,
    iou,
    logits_used,
    mask_to_rle,
    rle_area,
    rle_box_xyxy,
    rle_to_mask,
)
from anymask.models.rules import (
    ANCHOR,
    LIMIT,
    PARTS,
    RECENT,
    FrameMaps,
    MemoryAnswer,
    MemoryQuestion,
    group_prompts,
)
from anymask.runtime import PromptDecoding, Remembering, require
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
    TRUST,
    Glimpse,
    MatchState,
    Prior,
    SeenFrame,
    is_flowing,
    maps_to_keys,
    match_all,
    mix_prior,
    pack_state,
    soft_to_labels,
    unpack_state,
)
from anymask.track.records import FramePrediction, StateArrays, TrackMoment

USUAL = SegmentSettings()  # as a photo's masks are made
MAPS = 3  # of the encoder, at strides 16, 8 and 4


def frame_maps(seen: SeenFrame) -> FrameMaps:
    """The maps of the part that the frame fills."""
    (height, width), maps = seen.keys.grid_hw, seen.embedding.maps
    keys = seen.keys.values.T.reshape(-1, height, width)
    middle, fine = (
        one.values[:, : height * step, : width * step]
        for one, step in zip(maps[1:MAPS], (2, PARTS), strict=True)
    )
    return FrameMaps(*(np.ascontiguousarray(one, np.float32) for one in (keys, middle, fine)))


def soft_to_parts(soft: FloatArray, grid_hw: tuple[int, int]) -> FloatArray:  # (H, W) -> (G, 16)
    """How much of each fine cell is the object, by coarse cells."""
    (height, width), plane = grid_hw, to_plane(soft, grid_hw)
    cells = plane.reshape(height, PARTS, width, PARTS).swapaxes(1, 2)
    return np.ascontiguousarray(cells.reshape(height * width, PARTS**2), np.float32)


def to_plane(values: FloatArray, grid_hw: tuple[int, int]) -> FloatArray:  # (H, W) -> (4h, 4w)
    """A map of the frame in fine cells, its edge repeated where cells are left over."""
    rows, columns = _filled(values.shape, grid_hw)
    how = cv2.INTER_AREA if values.shape[1] > columns else cv2.INTER_LINEAR
    small = cv2.resize(values, (columns, rows), interpolation=how)
    return with_edges(np.asarray(small, np.float32), grid_hw)


def with_edges(plane: FloatArray, grid_hw: tuple[int, int]) -> FloatArray:  # -> (4h, 4w)
    """A plane cut or continued to whole coarse cells, by its edges."""
    rows, columns = (PARTS * side for side in grid_hw)
    plane = plane[:rows, :columns]
    if plane.shape == (rows, columns):
        return plane
    beyond = (0, rows - plane.shape[0], 0, columns - plane.shape[1])
    return np.asarray(cv2.copyMakeBorder(plane, *beyond, cv2.BORDER_REPLICATE), np.float32)


def from_plane(
    plane: FloatArray, size: tuple[int, ...], grid_hw: tuple[int, int]
) -> FloatArray:  # (4h, 4w) -> (H, W)
    """The way back."""
    rows, columns = _filled(size, grid_hw)
    wide = cv2.resize(plane[:rows, :columns], size[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(wide, np.float32)


def _filled(size: tuple[int, ...], grid_hw: tuple[int, int]) -> tuple[int, int]:
    """Fine cells that the frame fills: its longer side fills the grid's, or nearly."""
    scale = PARTS * min(grid_hw[0] / size[0], grid_hw[1] / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def make_questions(
    maps: FrameMaps, states: Sequence[MatchState], hints: Sequence[tuple[FloatArray, ...]]
) -> list[MemoryQuestion]:
    """What the network is asked about some objects; hints are planes in the order of `HINTS`."""
    memories: dict[tuple[int, ...], tuple[FloatArray, FloatArray]] = {}
    questions = []
    for state, told in zip(states, hints, strict=True):
        known = (*state.anchors, *state.recent)
        frames = (len(state.anchors), *(id(one.keys) for one in known))
        if frames not in memories:
            memories[frames] = _remembered(state)
        keys, kinds = memories[frames]
        planes = np.stack(told).astype(np.float32, copy=False)
        np.clip(planes[:2], -LIMIT, LIMIT, out=planes[:2])
        labels = np.concatenate([one.parts for one in known if one.parts is not None])
        questions.append(MemoryQuestion(maps, planes, keys, labels, kinds))
    return questions


def _remembered(state: MatchState) -> tuple[FloatArray, FloatArray]:  # -> (M, K), (M,)
    """The remembered cells and of which kind they are."""
    known = (*state.anchors, *state.recent)
    kinds = [ANCHOR] * len(state.anchors) + [RECENT] * len(state.recent)
    lengths = [len(one.labels) for one in known]
    keys = np.concatenate([one.keys.values for one in known])
    return keys, np.repeat(np.array(kinds, np.float32), lengths)


Way = Literal["match", "memory"]
Drawn = tuple[FloatArray, FloatArray]  # candidates (K, m, m) and their quality (K,)

ANCHORS = 4  # prompted frames that are remembered: the first, and the last ones
RECENT_FRAMES = 3  # other frames that are remembered
DRAWN_LIMIT = 2.0  # what the decoder's logits are cut to
BLEND = 2.5  # the weight of the prior's log-odds beside them
OUTSIDE = -10.0  # the logit of the padding
KNOWN = 0.2  # the least share by matching, on the mean of a mask: else the object is not there
LEAST = 0.0002  # share of the frame below which nothing is there


@dataclass(frozen=True, eq=False)
class DrawnLogits:
    """Logits of the part of the frame: what prior and decoder say together, and the decoder alone;
    and the decoder's own quality."""

    mixed: FloatArray
    drawn: FloatArray
    quality: float


class ImageTracker:
    """Follows objects with an image model.

    Args:
        way: "match" or "memory": see the module.
        reader: The network of the way "memory".
        refine_edges: Whether masks have their edges where the frame has them; what is
            remembered does not change.
    """

    def __init__(
        self,
        model: Model,
        way: Way = "match",
        reader: Remembering | None = None,
        refine_edges: bool = False,
    ) -> None:
        self._refine = refine_edges
        self.model, self.way = model, way
        self._reader = reader  # reads the decoder's cells, PARTS of them a side of each of its own
        self._cells = GRID if reader is None else model.spec.mask_side // PARTS

    @property
    def name(self) -> str:
        return f"{self.way}:{self.model.name}:{self.model.runtime.weights_hash[:16]}"

    def see(self, image: UintImage, grey: UintImage) -> SeenFrame:
        embedding = self.model.encode(image)
        keys = maps_to_keys(embedding.maps, embedding.geometry, self._cells)
        return SeenFrame(embedding, keys, grey, image)

    def answer(self, seen: SeenFrame, prompt: Prompt, earlier: Rle | None) -> FramePrediction:
        """See `Tracker`. A mask alone is taken as it is."""
        if prompt.mask is not None and prompt.points is None and prompt.box is None:
            mask = _given_mask(prompt, seen.embedding.image_hw)
            return FramePrediction(mask_to_rle(mask), 1.0, 1.0, _soft_of(mask, seen))
        if earlier is not None and prompt.mask is None:
            prompt = replace(prompt, mask=rle_to_mask(earlier))
        asked = self.model.runtime, seen.image, seen.embedding
        first = answer_prompts(*asked, [prompt], USUAL)[0].first
        return FramePrediction(first.rle(), 1.0, first.score, _soft_of(first.pixels(), seen))

    def begin(
        self,
        seen: SeenFrame,
        at: TrackMoment,
        prediction: FramePrediction,
        known: MatchState | None,
    ) -> MatchState:
        soft: FloatArray = prediction.soft
        glimpse = self._glimpse(seen, at, soft, TRUST)
        kept = [] if known is None else [g for g in known.anchors if g.frame != at.frame]
        anchors = (*kept[:1], *kept[1:][-(ANCHORS - 2) :], glimpse)
        return MatchState(anchors, (), soft, seen.grey)

    def track(
        self, seen: SeenFrame, at: TrackMoment, states: Sequence[MatchState]
    ) -> list[FramePrediction]:
        flows = Flows(seen.grey)
        shares = match_all(seen, states, at.cut)
        priors = [
            mix_prior(seen, state, share, None if at.cut else flows)
            for state, share in zip(states, shares, strict=True)
        ]
        prompts = [_prompt(seen, prior.mixed) for prior in priors]
        asked = [place for place, prompt in enumerate(prompts) if prompt is not None]
        answers = dict(zip(asked, self._ask(seen, [p for p in prompts if p]), strict=True))
        drawn = [
            self._drawing(seen, prior, answers.get(place)) for place, prior in enumerate(priors)
        ]
        if self._reader is None:
            return [self._predicted(seen, *one) for one in zip(priors, drawn, strict=True)]
        maps = frame_maps(seen)
        hints = [_hints(seen, *one) for one in zip(states, priors, drawn, strict=True)]
        said = self._reader.read_memory(make_questions(maps, states, hints))
        return [self._recalled(seen, *one) for one in zip(said, priors, drawn, strict=True)]

    def remember(
        self,
        seen: SeenFrame,
        at: TrackMoment,
        state: MatchState,
        prediction: FramePrediction,
        sure: bool,
    ) -> MatchState:
        if not sure:
            return replace(state, soft=prediction.soft, grey=seen.grey)
        soft: FloatArray = prediction.soft
        glimpse = self._glimpse(seen, at, soft, 0.0)
        recent = (*state.recent[-(RECENT_FRAMES - 1) :], glimpse)
        return MatchState(state.anchors, recent, soft, seen.grey)

    def _glimpse(self, seen: SeenFrame, at: TrackMoment, soft: FloatArray, trust: float) -> Glimpse:
        grid = seen.keys.grid_hw
        parts = None if self._reader is None else soft_to_parts(soft, grid)
        return Glimpse(at.frame, seen.keys, soft_to_labels(soft, grid), trust, parts)

    def pack(self, state: MatchState) -> StateArrays:
        return pack_state(state)

    def unpack(self, arrays: StateArrays) -> MatchState:
        return unpack_state(arrays)

    def _ask(self, seen: SeenFrame, prompts: list[Prompt]) -> list[Drawn]:
        """The decoder's candidates for each prompt, in as few calls as there are lengths of them;
        the prior chooses among them, so that nothing else is done to them."""
        runtime, found = self.model.runtime, dict[int, Drawn]()
        clicks, where = require(runtime, PromptDecoding), seen.embedding.geometry
        for places, batch in group_prompts(prompts, where, runtime.spec, PROMPTS_PER_CALL):
            decoded = clicks.decode(seen.embedding.seen, batch)
            rows = zip(*runtime.family.candidates(*decoded), strict=True)
            found |= dict(zip(places, rows, strict=True))
        return [found[place] for place in range(len(prompts))]

    def _drawing(self, seen: SeenFrame, prior: Prior, answer: Drawn | None) -> DrawnLogits | None:
        """The decoder's candidate that agrees with the prior the most, and what both say."""
        if answer is None:
            return None
        planes, qualities = answer
        rows, columns = logits_used(planes.shape[-1], seen.embedding.geometry)
        small = cv2.resize(prior.mixed, (columns, rows), interpolation=cv2.INTER_AREA)
        odds = _log_odds(np.asarray(small, np.float32))
        drawn = planes[:, :rows, :columns] - self.model.spec.mask_threshold
        chosen = _most_alike(drawn > 0, odds > 0)
        mixed = drawn[chosen].clip(-DRAWN_LIMIT, DRAWN_LIMIT) + BLEND * odds
        return DrawnLogits(mixed, drawn[chosen], float(qualities[chosen]))

    def _predicted(
        self, seen: SeenFrame, prior: Prior, drawing: DrawnLogits | None
    ) -> FramePrediction:
        """The mixed logits as a prediction, where the object is known there."""
        share = float(prior.matched.max(initial=0))
        if drawing is None:
            return _nothing(seen, share / 2)
        wide = cv2.resize(
            _sigmoid(drawing.mixed), seen.grey.shape[::-1], interpolation=cv2.INTER_LINEAR
        )
        soft = np.asarray(wide, np.float32)
        inside = soft > 0.5
        if not inside.any() or prior.matched[inside].mean() < KNOWN:
            return _nothing(seen, share / 2)
        rle = self._pixels(seen, self._whole(drawing.mixed))
        score, agreement = float(prior.mixed[inside].mean()), iou(prior.mixed > 0.5, inside)
        return FramePrediction(rle, score, drawing.quality, soft, agreement)

    def _recalled(
        self, seen: SeenFrame, answer: MemoryAnswer, prior: Prior, drawn: DrawnLogits | None
    ) -> FramePrediction:
        """What the network of memory says, as a prediction."""
        there = float(_sigmoid(np.array(answer.seen)))
        soft = from_plane(_sigmoid(answer.logits), seen.grey.shape, seen.keys.grid_hw)
        inside = soft > 0.5
        if there < 0.5 or inside.mean() < LEAST:
            return _nothing(seen, there / 2)
        rle = self._pixels(seen, self._whole(answer.logits))
        quality = 0.0 if drawn is None else drawn.quality
        score, agreement = there * float(soft[inside].mean()), iou(prior.mixed > 0.5, inside)
        return FramePrediction(rle, score, quality, soft, agreement)

    def _pixels(self, seen: SeenFrame, logits: FloatArray) -> Rle:  # (1, m, m)
        """The mask in the frame's size, without specks and pinholes, as a photo's; its edge where
        the frame has it, if that is wanted."""
        where = seen.embedding.geometry
        drawn = Candidate(logits[0], where, score=0.0)
        whole = without_small_regions(drawn, NO_CLICKS, *USUAL.least_areas)
        rle = whole.rle()
        if not self._refine or not rle_area(rle):
            return rle
        x0, y0, x1, y1 = rle_box_xyxy(rle)
        prompt = Prompt.of(box=(x0, y0, x1 + 1, y1 + 1))
        mask = Prediction((whole,))
        question = PromptContext(self.model.runtime, seen.image, seen.embedding, prompt, AS_SHOWN)
        fine = edges_refined(mask, question).first.rle()
        return fine if rle_area(fine) else rle

    def _whole(self, part: FloatArray) -> FloatArray:  # -> (1, m, m)
        """Logits of the part that the frame fills among those of the model's square."""
        side = self.model.spec.mask_side
        part = part[:side, :side]
        whole = np.full((1, side, side), OUTSIDE, np.float32)
        rows, columns = (min(length + 1, side) for length in part.shape)
        wide = cv2.copyMakeBorder(part, 0, 1, 0, 1, cv2.BORDER_REPLICATE)
        whole[0, :rows, :columns] = wide[:rows, :columns]
        return whole


def _prompt(seen: SeenFrame, prior: FloatArray) -> Prompt | None:
    """What the decoder is asked, in pixels of the frame; None where nothing is there."""
    height, width = seen.embedding.image_hw
    scale = np.array([width / prior.shape[1], height / prior.shape[0]], np.float32)
    there = prior > 0.5
    if there.mean() < LEAST:
        return None
    x, y, wide, high = cv2.boundingRect(there.view(np.uint8))
    box = np.array([x, y, x + wide, y + high], np.float32) * np.tile(scale, 2)
    return Prompt.of(box=box, mask=there)


def _hints(
    seen: SeenFrame, state: MatchState, prior: Prior, drawing: DrawnLogits | None
) -> tuple[FloatArray, ...]:
    """What is known by rule, in the order of `HINTS`."""
    grid = seen.keys.grid_hw
    mixed = BLEND * _log_odds(to_plane(prior.mixed, grid))
    drawn = mixed
    if drawing is not None:
        mixed, drawn = (with_edges(one, grid) for one in (drawing.mixed, drawing.drawn))
    last = state.soft if is_flowing(seen, state) else np.zeros_like(prior.mixed)
    carried = np.zeros_like(prior.mixed) if prior.carried is None else prior.carried
    return (mixed, drawn, *(to_plane(one, grid) for one in (carried, prior.matched, last)))


def _log_odds(chances: FloatArray) -> FloatArray:
    kept = chances.clip(0.02, 0.98)
    return np.asarray(np.log(kept / (1 - kept)), np.float32)


def _sigmoid(logits: FloatArray) -> FloatArray:
    return np.asarray(1 / (1 + np.exp(-logits.clip(-20, 20))), np.float32)


def _nothing(seen: SeenFrame, score: float) -> FramePrediction:
    empty = np.zeros(seen.grey.shape, np.float32)
    return FramePrediction(empty_rle(seen.embedding.image_hw), score, 0.0, empty)


def _most_alike(drawn: BoolArray, prior: BoolArray) -> int:  # (K, h, w), (h, w)
    """The candidate that overlaps the prior the most."""
    both = (drawn & prior).sum(axis=(1, 2))
    either = (drawn | prior).sum(axis=(1, 2))
    return int((both / np.maximum(either, 1)).argmax())


def _soft_of(mask: BoolArray, seen: SeenFrame) -> FloatArray:  # (H, W) -> (h, w)
    size = seen.grey.shape[::-1]
    small = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32)


def _given_mask(prompt: Prompt, hw: tuple[int, int]) -> BoolArray:
    mask = np.asarray(prompt.mask)
    mask = mask if mask.dtype == np.bool_ else mask > 0
    if mask.shape != hw:
        mask = cv2.resize(mask.view(np.uint8), hw[::-1], interpolation=cv2.INTER_NEAREST) > 0
    return mask
