"""Relations between the masks of an image: part-whole trees and disjoint partitions.

Letters: N masks, R runs, P places where any run begins or ends.

**Part of.** A mask is part of another if at least `PART_SHARE` of it lies inside the other and it
has fewer pixels. The smallest such whole is its parent. Because a parent always has more pixels,
there are no cycles.

**Partition.** Each pixel in any mask is assigned to exactly one mask that contains it: parts take
precedence over their wholes, then higher scores, then smaller masks, then earlier ones. Masks
without remaining pixels are dropped.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from anymask.base import InputError, IntArray
from anymask.masks.rle import Rle, rle_area, rle_box_xyxy, rle_intersection, rle_runs, runs_to_rle

PART_SHARE = 0.8  # minimum share of a part inside its whole


@dataclass(frozen=True)
class Nesting:
    """Position of a mask in the tree."""

    parent: int | None  # Index of its smallest whole, or None
    depth: int  # Number of ancestors


def part_tree(rles: Sequence[Rle], share: float = PART_SHARE) -> list[Nesting]:
    """Find the parent and depth of each mask.

    Args:
        rles: N masks of the same size.
        share: Minimum share of a part inside its whole, above 0 and at most 1.

    Raises:
        InputError: The share is invalid, or the masks differ in size.
    """
    if not 0 < share <= 1:
        raise InputError(f"Invalid share {share!r}. Use a number above 0 and at most 1.")
    areas = np.array([rle_area(rle) for rle in rles], np.int64)
    boxes = np.array([rle_box_xyxy(rle) for rle in rles], np.int64).reshape(-1, 4)
    parents: list[int | None] = []
    for index, rle in enumerate(rles):
        low = np.maximum(boxes[:, :2], boxes[index, :2])
        high = np.minimum(boxes[:, 2:], boxes[index, 2:])
        shared = np.prod(np.maximum(high - low + 1, 0), axis=1)
        larger = np.flatnonzero((areas > areas[index]) & (shared >= share * areas[index]))
        wholes: IntArray = larger[np.argsort(areas[larger], kind="stable")]
        common = rle_intersection([rles[whole] for whole in wholes], [rle])[:, 0]
        holding = wholes[common >= share * areas[index]] if areas[index] else wholes[:0]
        parents.append(int(holding[0]) if len(holding) else None)
    depths: dict[int, int] = {}
    for index in np.argsort(-areas, kind="stable").tolist():  # wholes first
        parent = parents[index]
        depths[index] = 0 if parent is None else depths[parent] + 1
    return [Nesting(parent, depths[index]) for index, parent in enumerate(parents)]


def divide(rles: Sequence[Rle], order: Sequence[int]) -> list[Rle]:
    """Make masks disjoint: each pixel goes to the first mask in `order` that contains it.

    Masks are painted from last to first, on run boundaries instead of pixels.

    Args:
        rles: N masks of the same size.
        order: Every index of `rles` once, the highest precedence first.
    """
    if not rles:
        return []
    runs = [rle_runs(rle) for rle in rles]
    places = np.unique(np.concatenate([edge for pair in runs for edge in pair]))
    owner = np.full(len(places), -1, np.int64)
    for index in reversed(order):
        first, last = (np.searchsorted(places, edge) for edge in runs[index])
        many = last - first  # paint first[0], first[0] + 1, ... last[0] - 1, first[1], ...
        starts = np.repeat(first - (np.cumsum(many) - many), many)
        owner[np.arange(int(many.sum())) + starts] = index
    grouped = np.argsort(owner, kind="stable")
    bounds = np.searchsorted(owner[grouped], np.arange(len(rles) + 1))
    pieces = (grouped[low:high] for low, high in pairwise(bounds.tolist()))
    return [
        runs_to_rle(places[piece], places[piece + 1], rle.size)
        for piece, rle in zip(pieces, rles, strict=True)
    ]


def parts_first(rles: Sequence[Rle], scores: Sequence[float]) -> list[int]:
    """Order of a partition: parts before their wholes, else by score."""
    tree, areas = part_tree(rles), [rle_area(rle) for rle in rles]
    waiting = [0] * len(rles)  # number of parts not yet in the order
    for node in tree:
        if node.parent is not None:
            waiting[node.parent] += 1
    ready = [
        (-scores[index], areas[index], index) for index in range(len(rles)) if not waiting[index]
    ]
    heapq.heapify(ready)
    order: list[int] = []
    while ready:
        index = heapq.heappop(ready)[2]
        order.append(index)
        if (parent := tree[index].parent) is not None:
            waiting[parent] -= 1
            if not waiting[parent]:
                heapq.heappush(ready, (-scores[parent], areas[parent], parent))
    return order


# Trees in files refer to record ids.


def parents_to_ids(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Replace each `parent` index by the id of its record."""
    for record in records:
        parent = record.pop("parent", None)
        if parent is not None and parent < len(records):
            record["parent"] = records[parent]["id"]
    return records


def parents_to_places(masks: Sequence[Any], ids: Sequence[object]) -> list[Any]:
    """Replace the parent ids of loaded masks by indices into the list."""
    places = {id_: index for index, id_ in enumerate(ids) if isinstance(id_, int)}
    return [
        mask if mask.parent is None else replace(mask, parent=places.get(mask.parent))
        for mask in masks
    ]
