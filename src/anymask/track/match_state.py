"""What a tracker with an image model knows, and where it expects the objects on the next frame.

Two maps say how likely a place is the object: the shares of remembered cells (`matching`), and the
last mask carried along by the optical flow.

Letters: h w the reduced frame, G cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from anymask.base import BoolArray, FloatArray, UintImage
from anymask.masks import Features
from anymask.track.flow import Flows, carry_along
from anymask.track.matching import CellKeys, Glimpse, match_cells, near_object, soft_to_labels
from anymask.track.tracker import StateArrays

TRUST = 0.05  # of a prompted frame, in cosines
CARRIED = 0.4  # the share of the prior that the flow decides


@dataclass(frozen=True, eq=False)
class SeenFrame:
    """One frame: what the encoder saw, its keys, the frame reduced (h, w) and grey, and itself."""

    embedding: Features
    keys: CellKeys
    grey: UintImage
    image: UintImage


@dataclass(frozen=True, eq=False)
class MatchState:
    """What is known of one object.

    anchors  frames of which a person spoke
    recent   frames on which it was found surely, the last one last
    soft     (h, w) the object on the last frame, 0..1; all 0 where it was not seen
    grey     (h, w) the last frame
    """

    anchors: tuple[Glimpse, ...]
    recent: tuple[Glimpse, ...]
    soft: FloatArray
    grey: UintImage

    @property
    def remembered(self) -> tuple[Glimpse, ...]:
        """Everything that a frame is matched with."""
        return (*self.anchors, *self.recent)


def pack_state(state: MatchState) -> StateArrays:
    """A state as arrays, to be written."""
    arrays: dict[str, NDArray[Any]] = {"soft": state.soft, "grey": state.grey}
    for kind, glimpses in (("anchors", state.anchors), ("recent", state.recent)):
        for place, glimpse in enumerate(glimpses):
            arrays[f"{kind}/{place}/keys"] = glimpse.keys.values
            arrays[f"{kind}/{place}/labels"] = glimpse.labels
            arrays[f"{kind}/{place}/about"] = np.array([glimpse.frame, *glimpse.keys.grid_hw])
            if glimpse.parts is not None:
                arrays[f"{kind}/{place}/parts"] = glimpse.parts
    return arrays


def unpack_state(arrays: StateArrays) -> MatchState:
    """The state that `pack_state` wrote."""
    glimpses: dict[str, list[Glimpse]] = {"anchors": [], "recent": []}
    for kind, found in glimpses.items():
        while (about := arrays.get(f"{kind}/{len(found)}/about")) is not None:
            begin = f"{kind}/{len(found)}"
            frame, height, width = (int(number) for number in about)
            keys = CellKeys(arrays[f"{begin}/keys"], (height, width))
            trust, parts = TRUST if kind == "anchors" else 0.0, arrays.get(f"{begin}/parts")
            found.append(Glimpse(frame, keys, arrays[f"{begin}/labels"], trust, parts))
    anchors, recent = tuple(glimpses["anchors"]), tuple(glimpses["recent"])
    return MatchState(anchors, recent, arrays["soft"], arrays["grey"])


@dataclass(frozen=True, eq=False)
class Prior:
    """How likely each place (h, w) is the object: both maps together, and each.

    carried  None where the flow says nothing
    """

    mixed: FloatArray
    matched: FloatArray
    carried: FloatArray | None


def match_all(seen: SeenFrame, states: Sequence[MatchState], cut: bool) -> list[FloatArray]:
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
    if cut or not is_flowing(seen, state):
        return np.ones(len(seen.keys.values), np.bool_)
    grid = seen.keys.grid_hw
    return near_object(soft_to_labels(state.soft, grid), grid)


def is_flowing(seen: SeenFrame, state: MatchState) -> bool:
    """Whether the object was seen on the last frame, which had the same size."""
    return bool((state.soft > 0.5).any()) and state.grey.shape == seen.grey.shape


def mix_prior(seen: SeenFrame, state: MatchState, share: FloatArray, flows: Flows | None) -> Prior:
    """How likely each place of the reduced frame is the object; after a cut, without the flow."""
    size = seen.grey.shape[::-1]
    wide = cv2.resize(share.reshape(seen.keys.grid_hw), size, interpolation=cv2.INTER_LINEAR)
    matched = np.asarray(wide, np.float32)
    if flows is None or not is_flowing(seen, state):
        return Prior(matched, matched, None)
    carried = carry_along(state.soft, flows.back(state.grey))
    mixed = np.asarray((1 - CARRIED) * matched + CARRIED * carried, np.float32)
    return Prior(mixed, matched, carried)
