"""Where objects may have gone: a frame and the states of objects in, how likely each place is out.

Two maps say it: the shares of remembered cells (`matching`), and the last mask carried along by
the optical flow.

Letters: h w the reduced frame, G cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from anymask.primitives.types import BoolArray, FloatArray, UintImage
from anymask.video.flow import carry_along, find_flow
from anymask.video.match_state import MatchState, SeenFrame
from anymask.video.matching import match_cells, near_object, soft_to_labels

CARRIED = 0.4  # the share of the prior that the flow decides


@dataclass(frozen=True, eq=False)
class Prior:
    """How likely each place (h, w) is the object: both maps together, and each.

    carried  None where the flow says nothing
    """

    mixed: FloatArray
    matched: FloatArray
    carried: FloatArray | None


class Flows:
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
