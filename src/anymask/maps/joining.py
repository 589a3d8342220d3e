"""Merge fragments of objects from different windows of a map, without outlines at tile borders.

The rules are those of `masks/joining.py`, applied to outlines instead of run-lengths, and to a few
windows at a time, because the whole map does not fit into memory. If two objects of different
windows overlap, the one with the higher rank is kept.

Letters: N M fragments of two windows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import shapely

from anymask.base import Floats
from anymask.maps.shapes import polygons_only
from anymask.maps.tile_store import Fragment, MapObject, TileStore, bounds_of, key_of
from anymask.masks import Window, joining

MERGE_IOU = 0.5  # minimum IoU to merge objects of different windows
MAX_NESTED_SHARE = 0.9  # minimum share of a smaller object inside a larger one to drop it
_MAX_WINDOW_DISTANCE = 2  # maximum distance of overlapping windows, in rows and columns


def part_in(outline: shapely.Geometry, window: Sequence[float]) -> shapely.Geometry:
    """Part of an outline inside a window."""
    return polygons_only(shapely.intersection(outline, shapely.box(*window)))


def last_pixels(bounds: Sequence[float]) -> tuple[float, float, float, float]:
    """Convert a box of pixel borders to one of last pixels."""
    x0, y0, x1, y1 = bounds
    return x0, y0, x1 - 1, y1 - 1


def neighbors(windows: Sequence[Window]) -> Iterator[tuple[Window, Window]]:
    """Pairs of overlapping windows, in the order of `tile_boxes`."""
    columns = len({window[0] for window in windows})
    for index, first in enumerate(windows):
        row, column = divmod(index, columns)
        for down in range(_MAX_WINDOW_DISTANCE + 1):
            for right in range(-_MAX_WINDOW_DISTANCE if down else 1, _MAX_WINDOW_DISTANCE + 1):
                other = (row + down) * columns + column + right
                if 0 <= column + right < columns and other < len(windows):
                    second = windows[other]
                    if joining.common_window(first, second) is not None:
                        yield first, second


class OutlineOverlap:
    """Compare fragments by their outlines.

    Args:
        by_label: Whether fragments with different labels are different objects.
    """

    def __init__(self, by_label: bool = False) -> None:
        self.by_label = by_label

    def iou(self, ours: Sequence[Fragment], theirs: Sequence[Fragment], strip: Window) -> Floats:
        first, second = (
            np.array([part_in(fragment.outline, strip) for fragment in side], object)
            for side in (ours, theirs)
        )
        iou = np.zeros((len(ours), len(theirs)))  # 0 for disjoint boxes
        left, right = shapely.bounds(first)[:, None], shapely.bounds(second)[None]
        meet = (left[..., :2] < right[..., 2:]).all(-1) & (right[..., :2] < left[..., 2:]).all(-1)
        rows, columns = np.nonzero(meet)
        both = shapely.area(shapely.intersection(first[rows], second[columns]))
        either = shapely.area(first)[rows] + shapely.area(second)[columns] - both
        iou[rows, columns] = both / np.maximum(either, 1e-9)
        for row, fragment in enumerate(ours if self.by_label else []):
            iou[row, [fragment.label != other.label for other in theirs]] = 0
        return iou

    def covered(
        self, piece: Fragment, bands: Sequence[Window], partners: Sequence[Fragment]
    ) -> Iterator[tuple[float, float]]:
        others = polygons_only(shapely.union_all([other.outline for other in partners]))
        for band in bands:
            cut = part_in(piece.outline, band)
            yield shapely.area(shapely.intersection(cut, others)), shapely.area(cut)


def group_fragments(
    work: TileStore, windows: Sequence[Window], by_label: bool = True
) -> joining.Groups:
    """Group fragments of neighboring windows that belong to one object, if either is cut.

    Args:
        by_label: Whether fragments with different labels are different objects.
    """
    groups, overlap = joining.Groups(), OutlineOverlap(by_label)
    for first, second in neighbors(windows):
        strip = joining.common_window(first, second)
        assert strip is not None
        ours, theirs = (
            [(part.id, part, part.cut) for part in work.fragments(window) if _meets(part, strip)]
            for window in (first, second)
        )
        joining.join_matches(groups, overlap, strip, ours, theirs)
    return groups


def _meets(one: Fragment, strip: Window) -> bool:
    x0, y0, x1, y1 = one.bounds
    return x0 < strip[2] and strip[0] < x1 and y0 < strip[3] and strip[1] < y1


def join_fragments(
    work: TileStore, groups: joining.Groups, windows: Sequence[Window], image_hw: tuple[int, int]
) -> list[int]:
    """Merge each group whose cut borders are confirmed by neighboring windows.

    Returns the IDs of the largest fragments of the other groups.
    """
    order = {number: at for at, number in enumerate(groups.partners)}
    members = {group[0]: sorted(group, key=order.__getitem__) for group in groups.of(order)}
    open_ends = []
    for window in windows:
        ready = []
        for fragment in work.fragments(window):
            if fragment.id not in groups.partners:  # not in a group
                if _is_whole(fragment, [], image_hw):
                    ready.append(_object([fragment]))
                else:
                    open_ends.append(fragment.id)
            elif fragment.id in members:  # first fragment of a group
                group = [work.fragment(number) for number in members[fragment.id]]
                known = {other.id: other for other in group}
                if all(
                    _is_whole(part, [known[other] for other in groups.partners[part.id]], image_hw)
                    for part in group
                ):
                    ready.append(_object(group))
                else:
                    open_ends.append(max(group, key=lambda part: shapely.area(part.outline)).id)
        work.add_objects(ready)
    return open_ends


def _is_whole(one: Fragment, partners: list[Fragment], image_hw: tuple[int, int]) -> bool:
    """Whether other windows contain the object wherever a window border cuts this fragment."""
    if not one.cut:
        return True
    bands = joining.cut_bands(last_pixels(one.bounds), one.window, image_hw)
    return bool(partners) and joining.is_confirmed(OutlineOverlap(), one, bands, partners)


def _object(group: list[Fragment]) -> MapObject:
    """Merge fragments to one outline. Scores are area-weighted means."""
    weights = shapely.area([part.outline for part in group])
    largest = group[int(weights.argmax())]
    score, rank = np.average([(part.score, part.rank) for part in group], axis=0, weights=weights)
    return MapObject(
        polygons_only(shapely.union_all([part.outline for part in group])),
        float(score), float(rank), largest.label, largest.prompt,
        frozenset(key_of(part.window) for part in group),
    )  # fmt: skip


def merged_parts(piece: Fragment, answers: Sequence[Fragment]) -> Fragment | None:
    """The mask, if any, that is not cut and contains what the window showed of the object."""
    uncut = [answer for answer in answers if not answer.cut]
    best = joining.whole_of(OutlineOverlap(), piece, piece.window, uncut)
    if best is None:
        return None
    return replace(uncut[best], label=piece.label, prompt=piece.prompt, rank=piece.rank)


def merge_objects(work: TileStore, nested: bool = False, by_label: bool = True) -> None:
    """Keep the objects without a better duplicate, highest rank first.

    Args:
        nested: Whether to keep parts inside larger objects.
        by_label: Whether fragments with different labels are different objects.
    """
    with work.base:
        for one in work.best_first():
            rivals = [
                other
                for other in work.kept_within(bounds_of(one.outline))
                if not one.windows & other.windows and (one.label == other.label or not by_label)
            ]
            if not any(_are_duplicates(one, other, nested) for other in rivals):
                work.mark_kept(one)


def _are_duplicates(first: MapObject, second: MapObject, nested: bool) -> bool:
    """Whether two objects are duplicates. Unless `nested`, so are objects inside each other."""
    both = shapely.area(shapely.intersection(first.outline, second.outline))
    one, other = shapely.area(first.outline), shapely.area(second.outline)
    return bool(
        both > MERGE_IOU * (one + other - both)
        or (not nested and both > MAX_NESTED_SHARE * min(one, other))
    )
