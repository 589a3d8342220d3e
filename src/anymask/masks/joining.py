"""Joins what overlapping windows show of one object, so that no mask ends at a seam.

Two pieces of neighbouring windows are one object when, in the strip that both windows show, each is
the other's best match with an IoU of at least `AGREE`. Pieces that hang together are one object.
Where a window's border cuts a piece and no partner shows the object there, the object is prompted
once more in a window around it.

How much two pieces overlap is the matter of an `Overlap`: of run-lengths in `segment/tiles.py`, of
outlines in `maps/joining.py`.

Letters: N M pieces of two windows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from anymask.base import Floats
from anymask.masks.tiles import Window

if TYPE_CHECKING:
    from anymask.masks.mask import Box

T = TypeVar("T")
Piece = TypeVar("Piece", contravariant=True)

AGREE = 0.6  # IoU, in the common strip, of two views of one object
CONFIRMED = 0.7  # of a piece's pixels along a cut that its partners must have, too
CELLS = 128  # of a window: what ends within one cell of a border counts as reaching it
OVERLAP = 0.25  # of a window's side, that neighbours share
WINDOW_STEPS = 4  # windows around what was cut begin at quarters of a side, so that some are shared


class Overlap(Protocol[Piece]):
    """How pieces of windows are compared."""

    def iou(self, ours: Sequence[Piece], theirs: Sequence[Piece], strip: Window) -> Floats:
        """The IoU of their parts in a strip, (N, M)."""

    def covered(
        self, piece: Piece, bands: Sequence[Window], partners: Sequence[Piece]
    ) -> Iterator[tuple[float, float]]:
        """For each band the area of the piece in it that partners have, too, and its area in it."""


def common_window(first: Window, second: Window) -> Window | None:
    """The pixels of two windows that both have; None without any."""
    x0, y0 = max(first[0], second[0]), max(first[1], second[1])
    x1, y1 = min(first[2], second[2]), min(first[3], second[3])
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def cut_bands(box: Box, window: Window, image_hw: tuple[int, int]) -> list[Window]:
    """Strips along those borders of a window that a box reaches and beyond which is more photo."""
    (height, width), (x0, y0, x1, y1) = image_hw, window
    near = max(1, max(x1 - x0, y1 - y0) // CELLS)
    left, top, right, bottom = box
    sides = (
        (x0 > 0 and left < x0 + near, (x0, y0, x0 + near, y1)),
        (y0 > 0 and top < y0 + near, (x0, y0, x1, y0 + near)),
        (x1 < width and right >= x1 - near, (x1 - near, y0, x1, y1)),
        (y1 < height and bottom >= y1 - near, (x0, y1 - near, x1, y1)),
    )
    return [band for reached, band in sides if reached]


def window_with(bounds: Sequence[float], side: int, image_hw: tuple[int, int]) -> Window | None:
    """A window with an object in its middle; None where the object fills it.

    Windows begin at steps of a part of their side, so that some are shared.
    """
    step = max(1, side // WINDOW_STEPS)
    x0, y0, x1, y1 = bounds
    corner = []
    for low, high, length in ((x0, x1, image_hw[1]), (y0, y1, image_hw[0])):
        if high - low >= side - step:
            return None
        start = round(((low + high) / 2 - side / 2) / step) * step
        corner.append(max(0, min(start, length - side)))
    left, top = corner
    return left, top, min(left + side, image_hw[1]), min(top + side, image_hw[0])


def best_matches(iou: Floats) -> list[tuple[int, int]]:  # (N, M)
    """Rows and columns that are each other's best match, and agree enough."""
    best, back = iou.argmax(axis=1), iou.argmax(axis=0)
    return [
        (row, column)
        for row, column in enumerate(best.tolist())
        if back[column] == row and iou[row, column] >= AGREE
    ]


class Groups:
    """Pieces that are one object, by their numbers."""

    def __init__(self) -> None:
        self.partners: dict[int, list[int]] = {}

    def join(self, first: int, second: int) -> None:
        """Two pieces are one object."""
        self.partners.setdefault(first, []).append(second)
        self.partners.setdefault(second, []).append(first)

    def of(self, numbers: Iterable[int]) -> Iterator[list[int]]:
        """The groups of these pieces, each once, from its first piece on."""
        seen: set[int] = set()
        for start in numbers:
            if start in seen:
                continue
            group, waiting = [], [start]
            seen.add(start)
            while waiting:
                number = waiting.pop()
                group.append(number)
                new = {*self.partners.get(number, ())} - seen
                waiting += sorted(new)
                seen |= new
            yield group


def is_confirmed(
    overlap: Overlap[T], piece: T, bands: Sequence[Window], partners: Sequence[T]
) -> bool:
    """Whether partners show the object in all bands where the window's border cuts it."""
    if not bands:
        return True
    covered = overlap.covered(piece, bands, partners)
    return all(both >= CONFIRMED * area for both, area in covered)


def whole_of(overlap: Overlap[T], piece: T, window: Window, answers: Sequence[T]) -> int | None:
    """The answer, if any, that shows what a window showed of an object.

    Args:
        answers: That no border cuts.
    """
    if not answers:
        return None
    agreement: Any = overlap.iou(answers, [piece], window)[:, 0]
    best = int(agreement.argmax())
    return best if agreement[best] >= AGREE else None
