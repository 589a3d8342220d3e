"""Tracker with any image model: frames and masks so far in, the objects on the next frame out.

Keys of the encoder and optical flow say where an object has gone; the decoder draws it there.

On each frame two maps say how likely a place is the object: `matching`, which remembers what the
object and its surroundings looked like, and the last mask carried along by `flow`. Their mean is
the prior. The decoder is asked what the prior and its box mean. Where the prior is sure it decides;
where it is not, at outlines above all, the decoder does.

With `way="memory"`, a network that was trained for it (`recall`) is given all this with the maps of
the frame and of what is remembered, and has the last word.

With `way="points"`, only points that move with the flow are asked about, as SAM-PT does.

Source of the ideas: Oh et al. 2019 (STM, arXiv:1904.00607); Rajič et al. 2023 (SAM-PT,
arXiv:2307.01197, section 3). Deviations from SAM-PT: optical flow moves the points, and they are
chosen anew on each sure frame.

Letters: H W a frame, h w the reduced frame, G cells, P points, N objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np

from anymask.families.prompts import group_prompts
from anymask.predictors.edges import refine_edges as edges_refined
from anymask.predictors.image import Model
from anymask.predictors.pipeline import PROMPTS_PER_CALL, answer_prompts, question_of
from anymask.predictors.record_edges import AS_SHOWN
from anymask.predictors.settings import SegmentSettings
from anymask.primitives.candidate_mask import Mask
from anymask.primitives.candidates import Candidates
from anymask.primitives.memory_question import PARTS, MemoryAnswer
from anymask.primitives.prompts import Prompt
from anymask.primitives.resize import logits_to_rles, logits_used
from anymask.primitives.rle import Rle, empty_rle, mask_to_rle, rle_area, rle_box_xyxy, rle_to_mask
from anymask.primitives.types import BoolArray, FloatArray, UintImage
from anymask.runtimes.protocol import PromptDecoding, Remembering, require
from anymask.video.frame_encoder import FrameEncoder
from anymask.video.long_memory import with_cells
from anymask.video.match_state import TRUST, MatchState, SeenFrame, pack_state, unpack_state
from anymask.video.matching import GRID, Glimpse, maps_to_keys, soft_to_labels
from anymask.video.points import move_points, spread_points
from anymask.video.priors import Flows, Prior, is_flowing, match_all, mix_prior
from anymask.video.recall import (
    frame_maps,
    from_plane,
    make_questions,
    soft_to_parts,
    to_plane,
    with_edges,
)
from anymask.video.tracker import Finding, StateArrays, TrackMoment

Way = Literal["match", "points", "memory"]
Drawn = tuple[FloatArray, FloatArray]  # candidates (K, m, m) and their quality (K,)

ANCHORS = 4  # prompted frames that are remembered: the first, and the last ones
RECENT = 3  # other frames that are remembered
POINTS = 8  # that are asked about in the way of points
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

    way   "match", "points" or "memory": see the module
    side  of a frame as the encoder sees it, in pixels, where the model takes rectangles: a multiple
          of 32 with `nano`; None: that of its photos
    long_memory  cells of long past frames that are remembered at most (`long_memory`)
    reader  the network of the way "memory"
    refine_edges  whether masks have their edges where the frame has them; what is remembered does
            not change

    Raises InputError for a side that the model cannot see at.
    """

    def __init__(
        self,
        model: Model,
        way: Way = "match",
        side: int | None = None,
        long_memory: int = 0,
        reader: Remembering | None = None,
        refine_edges: bool = False,
    ) -> None:
        self._refine = refine_edges
        self.model, self.way, self._long = model, way, long_memory
        self._encoder = FrameEncoder(model, model.spec.image_side if side is None else side)
        self._reader = reader  # reads the decoder's cells, PARTS of them a side of each of its own
        self._cells = GRID if reader is None else model.spec.mask_side // PARTS

    @property
    def name(self) -> str:
        """See `Tracker`."""
        return f"{self.way}:{self.model.name}:{self.model.runtime.weights_hash[:16]}"

    def see(self, image: UintImage, grey: UintImage) -> SeenFrame:
        """See `Tracker`."""
        embedding = self._encoder.see(image)
        keys = maps_to_keys(embedding.maps, embedding.geometry, self._cells)
        return SeenFrame(embedding, keys, grey, image)

    def answer(self, seen: SeenFrame, prompt: Prompt, earlier: Rle | None) -> Finding:
        """See `Tracker`. A mask alone is taken as it is."""
        if prompt.mask is not None and prompt.points is None and prompt.box is None:
            mask = _given_mask(prompt, seen.embedding.image_hw)
            return Finding(mask_to_rle(mask), 1.0, 1.0, _soft_of(mask, seen))
        if earlier is not None and prompt.mask is None:
            prompt = replace(prompt, mask=rle_to_mask(earlier))
        runtime, usual = self.model.runtime, SegmentSettings()
        first = answer_prompts(runtime, seen.image, seen.embedding, [prompt], usual)[0].first
        return Finding(first.rle(), 1.0, first.quality, _soft_of(first.pixels(), seen))

    def begin(
        self, seen: SeenFrame, at: TrackMoment, finding: Finding, known: MatchState | None
    ) -> MatchState:
        """See `Tracker`."""
        soft: FloatArray = finding.soft
        glimpse = self._glimpse(seen, at, soft, TRUST)
        kept = [] if known is None else [g for g in known.anchors if g.frame != at.frame]
        anchors = (*kept[:1], *kept[1:][-(ANCHORS - 2) :], glimpse)
        long = None if known is None else known.long
        return MatchState(anchors, (), soft, seen.grey, self._points(soft), long)

    def track(
        self, seen: SeenFrame, at: TrackMoment, states: Sequence[MatchState]
    ) -> list[Finding]:
        """See `Tracker`."""
        flows = Flows(seen.grey)
        shares = match_all(seen, states, at.cut)
        priors = [
            mix_prior(seen, state, share, None if at.cut else flows)
            for state, share in zip(states, shares, strict=True)
        ]
        prompts = [
            self._prompt(seen, state, prior.mixed, None if at.cut else flows)
            for state, prior in zip(states, priors, strict=True)
        ]
        asked = [place for place, prompt in enumerate(prompts) if prompt is not None]
        answers = dict(zip(asked, self._ask(seen, [p for p in prompts if p]), strict=True))
        drawn = [
            self._drawing(seen, prior, answers.get(place)) for place, prior in enumerate(priors)
        ]
        if self._reader is None:
            return [self._finding(seen, *one) for one in zip(priors, drawn, strict=True)]
        maps = frame_maps(seen)
        hints = [_hints(seen, *one) for one in zip(states, priors, drawn, strict=True)]
        said = self._reader.read_memory(make_questions(maps, states, hints))
        return [self._recalled(seen, *one) for one in zip(said, drawn, strict=True)]

    def remember(
        self, seen: SeenFrame, at: TrackMoment, state: MatchState, finding: Finding, sure: bool
    ) -> MatchState:
        """See `Tracker`."""
        if not sure:
            return replace(state, soft=finding.soft, grey=seen.grey)
        soft: FloatArray = finding.soft
        glimpse = self._glimpse(seen, at, soft, 0.0)
        recent, long = (*state.recent[-(RECENT - 1) :], glimpse), state.long
        for passed in state.recent[: -(RECENT - 1)] if self._long else ():
            long = with_cells(long, passed.keys.values, passed.labels, self._long)
        return MatchState(state.anchors, recent, soft, seen.grey, self._points(soft), long)

    def _glimpse(self, seen: SeenFrame, at: TrackMoment, soft: FloatArray, trust: float) -> Glimpse:
        grid = seen.keys.grid_hw
        parts = None if self._reader is None else soft_to_parts(soft, grid)
        return Glimpse(at.frame, seen.keys, soft_to_labels(soft, grid), trust, parts)

    def _points(self, soft: FloatArray) -> FloatArray:
        """Points on the object, where somebody will ask about them."""
        return spread_points(soft, POINTS if self.way == "points" else 0)

    def pack(self, state: MatchState) -> StateArrays:
        """See `Tracker`."""
        return pack_state(state)

    def unpack(self, arrays: StateArrays) -> MatchState:
        """See `Tracker`."""
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

    def _prompt(
        self, seen: SeenFrame, state: MatchState, prior: FloatArray, flows: Flows | None
    ) -> Prompt | None:
        """What the decoder is asked, in pixels of the frame; None where nothing is there.

        Where the flow says nothing, points are chosen anew from the prior.
        """
        height, width = seen.embedding.image_hw
        scale = np.array([width / prior.shape[1], height / prior.shape[0]], np.float32)
        if self.way == "points":
            if flows is None or not is_flowing(seen, state):
                points = spread_points(prior, POINTS)
            else:
                points = move_points(state.points, flows.there(state.grey), prior.shape)
            return Prompt.of(points=(points + 0.5) * scale) if len(points) else None
        there = prior > 0.5
        if there.mean() < LEAST:
            return None
        x, y, wide, high = cv2.boundingRect(there.view(np.uint8))
        box = np.array([x, y, x + wide, y + high], np.float32) * np.tile(scale, 2)
        return Prompt.of(box=box, mask=there)

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

    def _finding(self, seen: SeenFrame, prior: Prior, drawing: DrawnLogits | None) -> Finding:
        """The mixed logits as a finding, where the object is known there."""
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
        return Finding(rle, float(prior.mixed[inside].mean()), drawing.quality, soft)

    def _recalled(
        self, seen: SeenFrame, answer: MemoryAnswer, drawn: DrawnLogits | None
    ) -> Finding:
        """What the network of memory says, as a finding."""
        there = float(_sigmoid(np.array(answer.seen)))
        soft = from_plane(_sigmoid(answer.logits), seen.grey.shape, seen.keys.grid_hw)
        inside = soft > 0.5
        if there < 0.5 or inside.mean() < LEAST:
            return _nothing(seen, there / 2)
        rle = self._pixels(seen, self._whole(answer.logits))
        quality = 0.0 if drawn is None else drawn.quality
        return Finding(rle, there * float(soft[inside].mean()), quality, soft)

    def _pixels(self, seen: SeenFrame, logits: FloatArray) -> Rle:  # (1, m, m)
        """The mask in the frame's size; its edge where the frame has it, if that is wanted."""
        where = seen.embedding.geometry
        (rle,) = logits_to_rles(logits, where)
        if not self._refine or not rle_area(rle):
            return rle
        x0, y0, x1, y1 = rle_box_xyxy(rle)
        prompt = Prompt.of(box=(x0, y0, x1 + 1, y1 + 1))
        mask = Candidates((Mask(logits[0], where, quality=0.0),))
        question = question_of(self.model.runtime, seen.image, seen.embedding, prompt, AS_SHOWN)
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


def _nothing(seen: SeenFrame, score: float) -> Finding:
    empty = np.zeros(seen.grey.shape, np.float32)
    return Finding(empty_rle(seen.embedding.image_hw), score, 0.0, empty)


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
