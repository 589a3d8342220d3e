"""Merge the masks of overlapping windows, so that no mask ends at a seam.

Two pieces of neighbouring windows are one object if, in the strip that both windows contain, each
is the other's best match with an IoU of at least `AGREE`. Connected pieces form one object. If a
window's border cuts a piece and no partner covers the cut, the object is prompted again in a window
around it.

An `Overlap` compares two pieces: as run-length encodings in `segment/everything/tiles.py`, as
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

AGREE = 0.6  # minimum IoU of two pieces of one object in the common strip
CONFIRMED = 0.7  # share of a piece's pixels along a cut that its partners must cover
WINDOW_CELLS = 128  # per window: a piece within one cell of a border counts as reaching it
OVERLAP = 0.25  # of neighbouring windows, relative to the window's side
WINDOW_STEPS = 4  # windows around cut pieces start at quarters of a side, to be shared


class Overlap(Protocol[Piece]):
    """Comparison of the pieces of windows."""

    def iou(self, ours: Sequence[Piece], theirs: Sequence[Piece], strip: Window) -> Floats:
        """IoU (N, M) of their parts in a strip."""

    def covered(
        self, piece: Piece, bands: Sequence[Window], partners: Sequence[Piece]
    ) -> Iterator[tuple[float, float]]:
        """For each band: the area of the piece that partners cover, and its area."""


def common_window(first: Window, second: Window) -> Window | None:
    """Intersection of two windows, or None."""
    x0, y0 = max(first[0], second[0]), max(first[1], second[1])
    x1, y1 = min(first[2], second[2]), min(first[3], second[3])
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def cut_bands(box: Box, window: Window, image_hw: tuple[int, int]) -> list[Window]:
    """Strips along the inner borders of a window that a box reaches."""
    (height, width), (x0, y0, x1, y1) = image_hw, window
    near = max(1, max(x1 - x0, y1 - y0) // WINDOW_CELLS)
    left, top, right, bottom = box
    sides = (
        (x0 > 0 and left < x0 + near, (x0, y0, x0 + near, y1)),
        (y0 > 0 and top < y0 + near, (x0, y0, x1, y0 + near)),
        (x1 < width and right >= x1 - near, (x1 - near, y0, x1, y1)),
        (y1 < height and bottom >= y1 - near, (x0, y1 - near, x1, y1)),
    )
    return [band for reached, band in sides if reached]


def window_with(bounds: Sequence[float], side: int, image_hw: tuple[int, int]) -> Window | None:
    """A window centred on an object, or None if the object fills it.

    Windows start at multiples of a part of their side, so that several objects share one.
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


class Groups:
    """Groups of pieces that are one object, by piece number."""

    def __init__(self) -> None:
        self.partners: dict[int, list[int]] = {}

    def join(self, first: int, second: int) -> None:
        """Mark two pieces as one object."""
        self.partners.setdefault(first, []).append(second)
        self.partners.setdefault(second, []).append(first)

    def of(self, numbers: Iterable[int]) -> Iterator[list[int]]:
        """Yield each group that contains one of these pieces once."""
        visited: set[int] = set()
        for start in numbers:
            if start in visited:
                continue
            group, waiting = [], [start]
            visited.add(start)
            while waiting:
                number = waiting.pop()
                group.append(number)
                new = {*self.partners.get(number, ())} - visited
                waiting += sorted(new)
                visited |= new
            yield group


def join_matches(
    groups: Groups,
    overlap: Overlap[T],
    strip: Window,
    ours: Sequence[tuple[int, T, bool]],
    theirs: Sequence[tuple[int, T, bool]],
) -> None:
    """Join pieces of two windows that are each other's best match, if either is cut.

    Args:
        groups: Groups to extend.
        overlap: Comparison of the pieces.
        strip: Intersection of the windows.
        ours: Number, piece and whether a border cuts it, for the pieces that reach the strip.
        theirs: The same for the other window.
    """
    if not (ours and theirs and any(cut for _, _, cut in (*ours, *theirs))):
        return
    iou = overlap.iou([piece for _, piece, _ in ours], [piece for _, piece, _ in theirs], strip)
    best, back = iou.argmax(axis=1), iou.argmax(axis=0)
    for row, column in enumerate(best.tolist()):
        (first, _, is_cut), (second, _, other_is_cut) = ours[row], theirs[column]
        agrees = back[column] == row and iou[row, column] >= AGREE
        if agrees and (is_cut or other_is_cut):
            groups.join(first, second)


def is_confirmed(
    overlap: Overlap[T], piece: T, bands: Sequence[Window], partners: Sequence[T]
) -> bool:
    """Whether partners cover the object in all bands where the window's border cuts it."""
    return all(both >= CONFIRMED * area for both, area in overlap.covered(piece, bands, partners))


def whole_of(overlap: Overlap[T], piece: T, window: Window, answers: Sequence[T]) -> int | None:
    """Index of the mask that matches a piece of an object, or None.

    Args:
        answers: Masks that no border cuts.
    """
    if not answers:
        return None
    agreement: Any = overlap.iou(answers, [piece], window)[:, 0]
    best = int(agreement.argmax())
    return best if agreement[best] >= AGREE else None
