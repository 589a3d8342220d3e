"""Tracker with any image model: frames and masks so far in, the objects on the next frame out.

Keys of the encoder and optical flow say where an object has gone; the decoder draws it there.

On each frame two maps say how likely a place is the object: `matching`, which remembers what the
object and its surroundings looked like, and the last mask carried along by `flow`. Their mean is
the prior. The decoder is asked what the prior and its box mean. Where the prior is sure it decides;
where it is not, at outlines above all, the decoder does.

With `way="points"`, only points that move with the flow are asked about, as SAM-PT does.

Source of the ideas: Oh et al. 2019 (STM, arXiv:1904.00607); Rajič et al. 2023 (SAM-PT,
arXiv:2307.01197, section 3). Deviations from SAM-PT: optical flow moves the points, and they are
chosen anew on each sure frame.

Letters: H W a frame, h w the reduced frame, G cells, P points, N objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from anymask.families.prompts import group_prompts
from anymask.predictors.image import Model
from anymask.predictors.pipeline import PROMPTS_PER_CALL
from anymask.primitives.prompts import Prompt
from anymask.primitives.resize import logits_to_rles, logits_used
from anymask.primitives.rle import Rle, empty_rle, mask_to_rle, rle_to_mask
from anymask.primitives.types import BoolArray, Embedding, FloatArray, UintImage
from anymask.runtimes.protocol import PromptDecoding, require
from anymask.video.flow import carry_along, find_flow
from anymask.video.frame_encoder import FrameEncoder
from anymask.video.long_memory import LongMemory, with_cells
from anymask.video.matching import (
    CellKeys,
    Glimpse,
    maps_to_keys,
    match_cells,
    near_object,
    soft_to_labels,
)
from anymask.video.points import move_points, spread_points
from anymask.video.tracker import Finding, StateArrays, TrackMoment

Way = Literal["match", "points"]
Drawn = tuple[FloatArray, FloatArray]  # candidates (K, m, m) and their quality (K,)

SIDE = 512  # pixels of a frame's longer side, for models that take rectangles
ANCHORS = 4  # prompted frames that are remembered: the first, and the last ones
RECENT = 3  # other frames that are remembered
POINTS = 8  # that are asked about in the way of points
TRUST = 0.05  # of a prompted frame, in cosines
CARRIED = 0.4  # the share of the prior that the flow decides
DRAWN_LIMIT = 2.0  # what the decoder's logits are cut to
BLEND = 2.5  # the weight of the prior's log-odds beside them
OUTSIDE = -10.0  # the logit of the padding
KNOWN = 0.2  # the least share by matching, on the mean of a mask: else the object is not there
LEAST = 0.0002  # share of the frame below which nothing is there


@dataclass(frozen=True, eq=False)
class SeenFrame:
    """One frame: what the encoder saw, its keys, and the reduced frame (h, w) in grey."""

    embedding: Embedding
    keys: CellKeys
    grey: UintImage


@dataclass(frozen=True, eq=False)
class MatchState:
    """What is known of one object.

    anchors  frames of which a person spoke
    recent   frames on which it was found surely, the last one last
    soft     (h, w) the object on the last frame, 0..1; all 0 where it was not seen
    grey     (h, w) the last frame
    points   (P, 2) x, y in the reduced frame
    long     cells of frames that are long past, where the settings ask for them
    """

    anchors: tuple[Glimpse, ...]
    recent: tuple[Glimpse, ...]
    soft: FloatArray
    grey: UintImage
    points: FloatArray
    long: LongMemory | None = None

    @property
    def remembered(self) -> tuple[Glimpse, ...]:
        """Everything that a frame is matched with."""
        known = (*self.anchors, *self.recent)
        if self.long is None or not len(self.long.keys):
            return known
        cells = CellKeys(self.long.keys, (len(self.long.keys), 1))
        return (*known, Glimpse(-1, cells, self.long.labels))


class ImageTracker:
    """Follows objects with an image model.

    way   "match", or "points": see the module
    side  of a frame as the encoder sees it, in pixels, where the model takes rectangles: a multiple
          of 32 with `nano`; None: SIDE
    long_memory  cells of long past frames that are remembered at most (`long_memory`)

    Raises InputError for a side that the model cannot see at.
    """

    def __init__(
        self, model: Model, way: Way = "match", side: int | None = None, long_memory: int = 0
    ) -> None:
        self.model, self.way, self._long = model, way, long_memory
        self._encoder = FrameEncoder(model, SIDE if side is None else side)

    @property
    def name(self) -> str:
        """See `Tracker`."""
        return f"{self.way}:{self.model.name}:{self.model.runtime.weights_hash[:16]}"

    def see(self, image: UintImage, grey: UintImage) -> SeenFrame:
        """See `Tracker`."""
        embedding = self._encoder.see(image)
        keys = maps_to_keys(embedding.maps, embedding.geometry)
        return SeenFrame(embedding, keys, grey)

    def answer(self, seen: SeenFrame, prompt: Prompt, earlier: Rle | None) -> Finding:
        """See `Tracker`. A mask alone is taken as it is."""
        if prompt.mask is not None and prompt.points is None and prompt.box is None:
            mask = _given_mask(prompt, seen.embedding.image_hw)
            return Finding(mask_to_rle(mask), 1.0, 1.0, _soft_of(mask, seen))
        if earlier is not None and prompt.mask is None:
            prompt = replace(prompt, mask=rle_to_mask(earlier))
        first = self.model.segment(seen.embedding, prompts=[prompt])[0].first
        return Finding(first.rle(), 1.0, first.quality, _soft_of(first.pixels(), seen))

    def begin(
        self, seen: SeenFrame, at: TrackMoment, finding: Finding, known: MatchState | None
    ) -> MatchState:
        """See `Tracker`."""
        soft: FloatArray = finding.soft
        glimpse = Glimpse(at.frame, seen.keys, soft_to_labels(soft, seen.keys.grid_hw), TRUST)
        kept = [] if known is None else [g for g in known.anchors if g.frame != at.frame]
        anchors = (*kept[:1], *kept[1:][-(ANCHORS - 2) :], glimpse)
        long = None if known is None else known.long
        return MatchState(anchors, (), soft, seen.grey, self._points(soft), long)

    def track(
        self, seen: SeenFrame, at: TrackMoment, states: Sequence[MatchState]
    ) -> list[Finding]:
        """See `Tracker`."""
        flows = _Flows(seen.grey)
        shares = _match_all(seen, states, at.cut)
        priors = [
            _prior(seen, state, share, None if at.cut else flows)
            for state, share in zip(states, shares, strict=True)
        ]
        prompts = [
            self._prompt(seen, state, prior, None if at.cut else flows)
            for state, prior in zip(states, priors, strict=True)
        ]
        asked = [place for place, prompt in enumerate(prompts) if prompt is not None]
        answers = dict(zip(asked, self._ask(seen, [p for p in prompts if p]), strict=True))
        return [
            self._finding(seen, priors[place], shares[place], answers.get(place))
            for place in range(len(states))
        ]

    def remember(
        self, seen: SeenFrame, at: TrackMoment, state: MatchState, finding: Finding, sure: bool
    ) -> MatchState:
        """See `Tracker`."""
        if not sure:
            return replace(state, soft=finding.soft, grey=seen.grey)
        soft: FloatArray = finding.soft
        glimpse = Glimpse(at.frame, seen.keys, soft_to_labels(soft, seen.keys.grid_hw))
        recent, long = (*state.recent[-(RECENT - 1) :], glimpse), state.long
        for passed in state.recent[: -(RECENT - 1)] if self._long else ():
            long = with_cells(long, passed.keys.values, passed.labels, self._long)
        return MatchState(state.anchors, recent, soft, seen.grey, self._points(soft), long)

    def _points(self, soft: FloatArray) -> FloatArray:
        """Points on the object, where somebody will ask about them."""
        return spread_points(soft, POINTS if self.way == "points" else 0)

    def pack(self, state: MatchState) -> StateArrays:
        """See `Tracker`."""
        arrays: dict[str, NDArray[Any]] = {
            "soft": state.soft,
            "grey": state.grey,
            "points": state.points,
        }
        if state.long is not None:
            arrays |= {f"long/{name}": value for name, value in vars(state.long).items()}
        for kind, glimpses in (("anchors", state.anchors), ("recent", state.recent)):
            for place, glimpse in enumerate(glimpses):
                arrays[f"{kind}/{place}/keys"] = glimpse.keys.values
                arrays[f"{kind}/{place}/labels"] = glimpse.labels
                arrays[f"{kind}/{place}/about"] = np.array([glimpse.frame, *glimpse.keys.grid_hw])
        return arrays

    def unpack(self, arrays: StateArrays) -> MatchState:
        """See `Tracker`."""
        glimpses: dict[str, list[Glimpse]] = {"anchors": [], "recent": []}
        for kind, found in glimpses.items():
            while (about := arrays.get(f"{kind}/{len(found)}/about")) is not None:
                begin = f"{kind}/{len(found)}"
                frame, height, width = (int(number) for number in about)
                keys = CellKeys(arrays[f"{begin}/keys"], (height, width))
                trust = TRUST if kind == "anchors" else 0.0
                found.append(Glimpse(frame, keys, arrays[f"{begin}/labels"], trust))
        return MatchState(
            tuple(glimpses["anchors"]), tuple(glimpses["recent"]),
            arrays["soft"], arrays["grey"], arrays["points"], _unpack_long(arrays),
        )  # fmt: skip

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
        self, seen: SeenFrame, state: MatchState, prior: FloatArray, flows: _Flows | None
    ) -> Prompt | None:
        """What the decoder is asked, in pixels of the frame; None where nothing is there.

        Where the flow says nothing, points are chosen anew from the prior.
        """
        height, width = seen.embedding.image_hw
        scale = np.array([width / prior.shape[1], height / prior.shape[0]], np.float32)
        if self.way == "points":
            if flows is None or not _is_flowing(seen, state):
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

    def _finding(
        self, seen: SeenFrame, prior: FloatArray, share: FloatArray, answer: Drawn | None
    ) -> Finding:
        """The decoder's answer where it agrees with the prior, else the prior."""
        where, threshold = seen.embedding.geometry, self.model.spec.mask_threshold
        size = seen.grey.shape[::-1]
        if answer is None:
            return _nothing(where.image_hw, prior, share)
        planes, qualities = answer
        rows, columns = logits_used(planes.shape[-1], where)
        odds = cv2.resize(prior, (columns, rows), interpolation=cv2.INTER_AREA).clip(0.02, 0.98)
        odds = np.log(odds / (1 - odds))
        drawn = planes[:, :rows, :columns] - threshold
        chosen = _most_alike(drawn > 0, odds > 0)
        mixed = drawn[chosen].clip(-DRAWN_LIMIT, DRAWN_LIMIT) + BLEND * odds
        soft = 1 / (1 + np.exp(-mixed.clip(-20, 20)))
        soft = cv2.resize(soft.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
        inside = soft > 0.5
        known = cv2.resize(share.reshape(seen.keys.grid_hw), size, interpolation=cv2.INTER_LINEAR)
        if not inside.any() or known[inside].mean() < KNOWN:
            return _nothing(where.image_hw, prior, share)
        whole = np.full(planes.shape[1:], OUTSIDE, np.float32)
        whole[:rows, :columns] = mixed
        (rle,) = logits_to_rles(whole[None], where)
        return Finding(rle, float(prior[inside].mean()), float(qualities[chosen]), soft)


def _unpack_long(arrays: StateArrays) -> LongMemory | None:
    if "long/keys" not in arrays:
        return None
    return LongMemory(arrays["long/keys"], arrays["long/labels"], arrays["long/met"])


class _Flows:
    """The flow from and to the frame before, found once for all objects whose last frame it is."""

    def __init__(self, now: UintImage) -> None:
        self.now = now
        self._found: list[tuple[UintImage, bool, FloatArray]] = []

    def back(self, before: UintImage) -> FloatArray:
        """Where each pixel was."""
        return self._flow(before, True)

    def there(self, before: UintImage) -> FloatArray:
        """Where each pixel of the frame before has gone."""
        return self._flow(before, False)

    def _flow(self, before: UintImage, back: bool) -> FloatArray:
        for grey, kind, flow in self._found:
            if kind == back and (grey is before or np.array_equal(grey, before)):
                return flow
        flow = find_flow(self.now, before) if back else find_flow(before, self.now)
        self._found.append((before, back, flow))
        return flow


def _match_all(seen: SeenFrame, states: Sequence[MatchState], cut: bool) -> list[FloatArray]:
    """Each object's share of each cell that it can have reached; after a cut, of all cells.

    Objects that are remembered on the same frames are matched at once.
    """
    alike: dict[tuple[int, ...], list[int]] = {}
    known = [state.remembered for state in states]
    for place in range(len(states)):
        frames = tuple(id(one.keys) for one in known[place])
        alike.setdefault(frames, []).append(place)
    near = [_reached(seen, state, cut) for state in states]
    shares: dict[int, FloatArray] = {}
    for places in alike.values():
        first, *others = (known[p] for p in places)
        where = np.any([near[place] for place in places], axis=0)
        found = match_cells(seen.keys, first, tuple(others), where)
        shares |= {place: row * near[place] for place, row in zip(places, found, strict=True)}
    return [shares[place] for place in range(len(states))]


def _reached(seen: SeenFrame, state: MatchState, cut: bool) -> BoolArray:  # -> (G,)
    if cut or not _is_flowing(seen, state):
        return np.ones(len(seen.keys.values), np.bool_)
    grid = seen.keys.grid_hw
    return near_object(soft_to_labels(state.soft, grid), grid)


def _is_flowing(seen: SeenFrame, state: MatchState) -> bool:
    """Whether the object was seen on the last frame, which had the same size."""
    return bool((state.soft > 0.5).any()) and state.grey.shape == seen.grey.shape


def _prior(
    seen: SeenFrame, state: MatchState, share: FloatArray, flows: _Flows | None
) -> FloatArray:  # -> (h, w)
    """How likely each place of the reduced frame is the object; after a cut, without the flow."""
    size = seen.grey.shape[::-1]
    matched = cv2.resize(share.reshape(seen.keys.grid_hw), size, interpolation=cv2.INTER_LINEAR)
    if flows is None or not _is_flowing(seen, state):
        return np.asarray(matched, np.float32)
    carried = carry_along(state.soft, flows.back(state.grey))
    return np.asarray((1 - CARRIED) * matched + CARRIED * carried, np.float32)


def _nothing(hw: tuple[int, int], prior: FloatArray, share: FloatArray) -> Finding:
    return Finding(empty_rle(hw), float(share.max(initial=0)) / 2, 0.0, np.zeros_like(prior))


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
