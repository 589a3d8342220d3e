"""How the masks of a photo lie in each other: which is part of which, and who owns a pixel.

Letters: N masks, R runs, P places where any run begins or ends.

**Part of.** A mask is part of another when at least `PART_SHARE` of it lies inside the other and it
has fewer pixels; of several such wholes, the smallest is its parent. As a parent always has more
pixels, there are no circles.

**Partition.** Every pixel that any mask holds goes to exactly one of the masks that hold it: a part
goes before its wholes; otherwise the better score goes first, then the smaller mask, then the
earlier one. What is left of a mask is its share; masks that are left with nothing are dropped.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from anymask.base import InputError, IntArray
from anymask.masks.rle import (
    Rle,
    rle_area,
    rle_box_xyxy,
    rle_intersection,
    rle_runs,
    runs_to_rle,
)

PART_SHARE = 0.8  # of a part that must lie inside its whole


@dataclass(frozen=True)
class Nesting:
    """A mask's place in the tree: the index of its smallest whole, and how many it lies in.

    Attributes:
        parent: None for a mask that is part of no other.
        depth: 0 for such a mask, 1 for its parts, ...
    """

    parent: int | None
    depth: int


def part_tree(rles: Sequence[Rle], share: float = PART_SHARE) -> list[Nesting]:
    """Which mask is part of which, beside `rles`.

    Raises InputError for another share or masks of different sizes.

    Args:
        share: Of a part that lies inside its whole at least, more than 0 and at most 1.
    """
    if not 0 < share <= 1:
        raise InputError(f"Invalid share {share!r}. Use a number above 0 and at most 1.")
    areas = np.array([rle_area(rle) for rle in rles], np.int64)
    boxes = np.array([rle_box_xyxy(rle) for rle in rles], np.int64).reshape(-1, 4)
    parents: list[int | None] = []
    for index, rle in enumerate(rles):
        wholes = _possible_wholes(index, boxes, areas, share)
        common = rle_intersection([rles[whole] for whole in wholes], [rle])[:, 0]
        holding = wholes[common >= share * areas[index]] if areas[index] else wholes[:0]
        parents.append(int(holding[0]) if len(holding) else None)
    depths: dict[int, int] = {}
    for index in np.argsort(-areas, kind="stable").tolist():  # wholes first
        parent = parents[index]
        depths[index] = 0 if parent is None else depths[parent] + 1
    return [Nesting(parent, depths[index]) for index, parent in enumerate(parents)]


def _possible_wholes(index: int, boxes: IntArray, areas: IntArray, share: float) -> IntArray:
    """Larger masks whose boxes could hold that share of a mask, the smallest first."""
    low = np.maximum(boxes[:, :2], boxes[index, :2])
    high = np.minimum(boxes[:, 2:], boxes[index, 2:])
    shared = np.prod(np.maximum(high - low + 1, 0), axis=1)
    larger = np.flatnonzero((areas > areas[index]) & (shared >= share * areas[index]))
    ordered: IntArray = larger[np.argsort(areas[larger], kind="stable")]
    return ordered


def divide(rles: Sequence[Rle], order: Sequence[int]) -> list[Rle]:
    """Disjoint masks with the same union: each pixel goes to the first in `order` that holds it.

    Painted from last to first, on the places where any run begins or ends instead of on pixels.

    Args:
        order: Every index of `rles` once, the one that wins first.
    """
    if not rles:
        return []
    runs = [rle_runs(rle) for rle in rles]
    places = np.unique(np.concatenate([edge for pair in runs for edge in pair]))
    owner = np.full(len(places), -1, np.int64)
    for index in reversed(order):
        first, last = (np.searchsorted(places, edge) for edge in runs[index])
        owner[_ranges(first, last)] = index
    grouped = np.argsort(owner, kind="stable")
    bounds = np.searchsorted(owner[grouped], np.arange(len(rles) + 1))
    pieces = (grouped[low:high] for low, high in pairwise(bounds.tolist()))
    return [
        runs_to_rle(places[piece], places[piece + 1], rle.size)
        for piece, rle in zip(pieces, rles, strict=True)
    ]


def _ranges(first: IntArray, last: IntArray) -> IntArray:  # (R,), (R,)
    """first[0], first[0] + 1, ... last[0] - 1, first[1], ..."""
    many = last - first
    steps: IntArray = np.arange(int(many.sum())) + np.repeat(first - (np.cumsum(many) - many), many)
    return steps


def parts_first(rles: Sequence[Rle], scores: Sequence[float]) -> list[int]:
    """Every index once, the order of a partition: parts before their wholes, else by score."""
    tree, areas = part_tree(rles), [rle_area(rle) for rle in rles]
    waiting = [0] * len(rles)  # parts that have not had their turn
    for place in tree:
        if place.parent is not None:
            waiting[place.parent] += 1
    ready = [
        (-scores[index], areas[index], index) for index in range(len(rles)) if not waiting[index]
    ]
    heapq.heapify(ready)
    order: list[int] = []
    while ready:
        index = heapq.heappop(ready)[2]
        order.append(index)
        parent = tree[index].parent
        if parent is not None:
            waiting[parent] -= 1
            if not waiting[parent]:
                heapq.heappush(ready, (-scores[parent], areas[parent], parent))
    return order


# Trees in files, by the ids of records.


def parents_to_ids(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The records of a list, with the id of its record in place of each `parent`."""
    for record in records:
        place = record.pop("parent", None)
        if place is not None and place < len(records):
            record["parent"] = records[place]["id"]
    return records


def parents_to_places(masks: Sequence[Any], ids: Sequence[object]) -> list[Any]:
    """Masks that were read, with places in the list instead of the ids of their parents."""
    places = {id_: place for place, id_ in enumerate(ids) if isinstance(id_, int)}
    return [
        mask if mask.parent is None else replace(mask, parent=places.get(mask.parent))
        for mask in masks
    ]
