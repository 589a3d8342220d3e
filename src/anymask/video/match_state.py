"""What a tracker with an image model knows: the record of a frame, that of an object, its arrays.

Letters: h w the reduced frame, G cells, P points, M remembered cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anymask.primitives.types import Embedding, FloatArray, UintImage
from anymask.video.long_memory import LongMemory
from anymask.video.matching import CellKeys, Glimpse
from anymask.video.tracker import StateArrays

TRUST = 0.05  # of a prompted frame, in cosines


@dataclass(frozen=True, eq=False)
class SeenFrame:
    """One frame: what the encoder saw, its keys, the frame reduced (h, w) and grey, and itself."""

    embedding: Embedding
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


def _unpack_long(arrays: StateArrays) -> LongMemory | None:
    if "long/keys" not in arrays:
        return None
    return LongMemory(arrays["long/keys"], arrays["long/labels"], arrays["long/met"])


def pack_state(state: MatchState) -> StateArrays:
    """A state as arrays, to be written."""
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
    return MatchState(
        tuple(glimpses["anchors"]), tuple(glimpses["recent"]),
        arrays["soft"], arrays["grey"], arrays["points"], _unpack_long(arrays),
    )  # fmt: skip
