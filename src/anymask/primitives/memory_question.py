"""What a network of memory is asked about one object on one frame, and what it answers.

The grid is that of the model's coarse cells, of the part that the frame fills. Beside the frame's
maps and the remembered cells the network is given hints: what matching, flow and decoder say of the
object. Its answer begins at the first hint, so that an untrained network answers as they do.

Letters: h w the grid, C K channels, M remembered cells.
"""

from __future__ import annotations

from dataclasses import dataclass

from anymask.primitives.types import FloatArray, IntArray

PARTS = 4  # fine cells along a side of a coarse one: the stride of the decoder's masks
LIMIT = 12.0  # of the logits among the hints
HINTS = ("mixed", "drawn", "carried", "matched", "last")  # the first two are logits, else 0..1
MIXED, DRAWN, CARRIED, MATCHED, LAST = range(len(HINTS))
ANCHOR, RECENT = 1.0, 0.0  # what is remembered of a frame that a person spoke of, and of another


@dataclass(frozen=True, eq=False)
class FrameMaps:
    """One frame, the same for all objects on it.

    keys    (K, h, w) of unit length, as they are matched
    middle  (C, 2h, 2w) the encoder's second map
    fine    (C, 4h, 4w) its third
    """

    keys: FloatArray
    middle: FloatArray
    fine: FloatArray


@dataclass(frozen=True, eq=False)
class MemoryQuestion:
    """One object on one frame. Objects that remember the same cells have the same arrays of them.

    hints          (5, 4h, 4w), see `HINTS`
    memory_keys    (M, K)
    memory_labels  (M, 16) how much of each fine cell is the object, row by row
    memory_kinds   (M,) ANCHOR or RECENT; those of prompted frames come first
    """

    frame: FrameMaps
    hints: FloatArray
    memory_keys: FloatArray
    memory_labels: FloatArray
    memory_kinds: FloatArray


@dataclass(frozen=True, eq=False)
class MemoryAnswer:
    """The object's logits (4h, 4w), and the logit of its being there at all."""

    logits: FloatArray
    seen: float


@dataclass(frozen=True, eq=False)
class Rehearsal:
    """What the network was asked while N objects were followed through T frames.

    maps      of each frame
    hints     (T, N, 5, 4h, 4w), from the second frame on
    parts     (T, N, h * w, 16) what was found on each frame, as it is remembered
    memories  (T, N, R) the frames that were remembered, -1 where there was none; frame 0 is the
              one that a person spoke of
    """

    maps: list[FrameMaps]
    hints: FloatArray
    parts: FloatArray
    memories: IntArray
