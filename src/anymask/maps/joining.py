"""Joins what windows of a map saw of one thing, so that no outline ends at a seam.

The rules are those of tiles of a photo (`segment/automatic.py`, and its constants), on outlines
instead of run-lengths, and a few windows at a time: memory does not hold a whole map. Two fragments
of neighbouring windows are one thing when, in the strip that both saw, each is the other's best
match; those that hang together become one outline. Where a cut is not confirmed by a neighbour the
thing is asked for once more in a window around it. Of two things that overlap, and of which no
window saw both, the one of higher rank stays.

Letters: N M fragments of two windows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import shapely

from anymask.base import Floats
from anymask.maps.shapes import polygons_only
from anymask.maps.worksheet import Fragment, MapThing, Worksheet, bounds_of, key_of
from anymask.masks import Window
from anymask.segment import AGREE, CONFIRMED, common_window, cut_bands

RIVAL = 0.5  # IoU of two things of different windows that are one
INSIDE = 0.9  # of the smaller one that lies in the other
_REACH = 2  # rows and columns of windows that may overlap


def part_in(outline: shapely.Geometry, window: Sequence[float]) -> shapely.Geometry:
    """The part of an outline that lies in a window."""
    return polygons_only(shapely.intersection(outline, shapely.box(*window)))


def last_pixels(bounds: Sequence[float]) -> tuple[float, float, float, float]:
    """A box of borders as one that names its last pixels."""
    x0, y0, x1, y1 = bounds
    return x0, y0, x1 - 1, y1 - 1


def neighbours(windows: Sequence[Window]) -> Iterator[tuple[Window, Window]]:
    """Pairs of windows, as `tile_boxes` orders them, that have pixels in common."""
    columns = len({window[0] for window in windows})
    for place, first in enumerate(windows):
        row, column = divmod(place, columns)
        for down in range(_REACH + 1):
            for right in range(-_REACH if down else 1, _REACH + 1):
                other = (row + down) * columns + column + right
                if 0 <= column + right < columns and other < len(windows):
                    second = windows[other]
                    if common_window(first, second) is not None:
                        yield first, second


class Groups:
    """Fragments that are one thing, by their numbers: a forest whose roots name the groups."""

    def __init__(self) -> None:
        self.above: dict[int, int] = {}
        self.partners: dict[int, list[int]] = {}

    def root(self, number: int) -> int:
        """The group of a fragment."""
        while (up := self.above.get(number, number)) != number:
            self.above[number] = self.above.get(up, up)
            number = up
        return number

    def join(self, first: int, second: int) -> None:
        """Two fragments are one thing."""
        self.above[self.root(first)] = self.root(second)
        self.partners.setdefault(first, []).append(second)
        self.partners.setdefault(second, []).append(first)


def group_fragments(work: Worksheet, windows: Sequence[Window], by_label: bool = True) -> Groups:
    """Which fragments of neighbouring windows are one thing, where either is cut.

    Args:
        by_label: Whether things of different labels are different things.
    """
    groups = Groups()
    for first, second in neighbours(windows):
        strip = common_window(first, second)
        assert strip is not None
        ours, theirs = (
            [one for one in work.fragments(window) if _meets(one, strip)]
            for window in (first, second)
        )
        if any(one.cut for one in (*ours, *theirs)):
            for here, there in _best_matches(ours, theirs, strip, by_label):
                if here.cut or there.cut:
                    groups.join(here.id, there.id)
    return groups


def _meets(one: Fragment, strip: Window) -> bool:
    x0, y0, x1, y1 = one.bounds
    return x0 < strip[2] and strip[0] < x1 and y0 < strip[3] and strip[1] < y1


def _best_matches(
    ours: list[Fragment], theirs: list[Fragment], strip: Window, by_label: bool
) -> list[tuple[Fragment, Fragment]]:
    """Pairs that are each other's best match in the strip, and agree enough."""
    if not ours or not theirs:
        return []
    first, second = ([part_in(one.outline, strip) for one in side] for side in (ours, theirs))
    iou = outline_iou(first, second)  # (N, M)
    for row, one in enumerate(ours if by_label else []):
        iou[row, [one.label != other.label for other in theirs]] = 0
    best, back = iou.argmax(axis=1), iou.argmax(axis=0)
    return [
        (ours[row], theirs[column])
        for row, column in enumerate(best.tolist())
        if back[column] == row and iou[row, column] >= AGREE
    ]


def outline_iou(first: Iterable[object], second: Iterable[object]) -> Floats:  # N, M -> (N, M)
    """IoU of outlines; of pairs whose boxes do not meet nothing is worked out."""
    ours, theirs = np.array(list(first), object), np.array(list(second), object)
    found = np.zeros((len(ours), len(theirs)))
    left, right = shapely.bounds(ours)[:, None], shapely.bounds(theirs)[None]
    meet = (left[..., :2] < right[..., 2:]).all(-1) & (right[..., :2] < left[..., 2:]).all(-1)
    rows, columns = np.nonzero(meet)
    both = shapely.area(shapely.intersection(ours[rows], theirs[columns]))
    either = shapely.area(ours)[rows] + shapely.area(theirs)[columns] - both
    found[rows, columns] = both / np.maximum(either, 1e-9)
    return found


def join_fragments(
    work: Worksheet, groups: Groups, windows: Sequence[Window], image_hw: tuple[int, int]
) -> list[int]:
    """Make a thing of each group whose cuts its neighbours confirm.

    Returns the largest fragments of the other groups, by their numbers.
    """
    members: dict[int, list[int]] = {}
    for number in list(groups.partners):
        members.setdefault(groups.root(number), []).append(number)
    open_ends = []
    for window in windows:
        ready = []
        for one in work.fragments(window):
            if one.id not in groups.partners:  # alone
                if _is_confirmed(one, [], image_hw):
                    ready.append(_thing([one]))
                else:
                    open_ends.append(one.id)
            elif members.get(groups.root(one.id), [0])[0] == one.id:  # once for each group
                group = [work.fragment(number) for number in members[groups.root(one.id)]]
                known = {other.id: other for other in group}
                if all(
                    _is_confirmed(
                        part, [known[other] for other in groups.partners[part.id]], image_hw
                    )
                    for part in group
                ):
                    ready.append(_thing(group))
                else:
                    open_ends.append(max(group, key=lambda part: shapely.area(part.outline)).id)
        work.add_things(ready)
    return open_ends


def _is_confirmed(one: Fragment, partners: list[Fragment], image_hw: tuple[int, int]) -> bool:
    """Whether other windows see the thing wherever this one's border cuts it."""
    if not one.cut:
        return True
    if not partners:
        return False
    others = polygons_only(shapely.union_all([other.outline for other in partners]))
    for band in cut_bands(last_pixels(one.bounds), one.window, image_hw):
        cut = part_in(one.outline, band)
        if shapely.area(shapely.intersection(cut, others)) < CONFIRMED * shapely.area(cut):
            return False
    return True


def _thing(group: list[Fragment]) -> MapThing:
    """Fragments of one thing as one outline; scores are means, weighted by area."""
    weights = shapely.area([one.outline for one in group])
    largest = group[int(weights.argmax())]
    score, rank = np.average([(one.score, one.rank) for one in group], axis=0, weights=weights)
    return MapThing(
        polygons_only(shapely.union_all([one.outline for one in group])),
        float(score), float(rank), largest.label, largest.prompt,
        frozenset(key_of(one.window) for one in group),
    )  # fmt: skip


def whole_answer(piece: Fragment, answers: Sequence[Fragment]) -> Fragment | None:
    """The answer, if any, that no border cuts and that shows what a window showed of the thing."""
    uncut = [one for one in answers if not one.cut]
    if not uncut:
        return None
    seen = [part_in(one.outline, piece.window) for one in uncut]
    agreement = outline_iou(seen, [piece.outline])[:, 0]
    best = int(agreement.argmax())
    if agreement[best] < AGREE:
        return None
    return replace(uncut[best], label=piece.label, prompt=piece.prompt, rank=piece.rank)


def settle_things(work: Worksheet, nested: bool = False, by_label: bool = True) -> None:
    """Give each thing its place, the best first, unless one has it already.

    Args:
        nested: Parts beside their wholes are wanted.
        by_label: Things of different labels are different things.
    """
    with work.base:
        for one in work.best_first():
            rivals = [
                other
                for other in work.settled(bounds_of(one.outline))
                if not one.windows & other.windows and (one.label == other.label or not by_label)
            ]
            if not any(_is_one(one, other, nested) for other in rivals):
                work.settle(one)


def _is_one(first: MapThing, second: MapThing, nested: bool) -> bool:
    """Whether two things of different windows are the same."""
    both = shapely.area(shapely.intersection(first.outline, second.outline))
    one, other = shapely.area(first.outline), shapely.area(second.outline)
    return bool(
        both > RIVAL * (one + other - both) or (not nested and both > INSIDE * min(one, other))
    )
