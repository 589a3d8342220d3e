"""Bridges: the rings of a mask's regions, holes and parts in, one ring out.

A bridge joins two rings by one way, there and back. It runs first level, then upright, so both
directions cancel exactly and filling the ring fills what its parts fill: the mask again, where they
follow the pixels' borders.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from anymask.primitives.polygons import Polygon, Ring

_FEW_HOLES = 50  # up to so many, a bridge looks for a near corner of the hole, too
_CORNERS = 64  # of a hole that are tried


def polygon_to_ring(polygon: Polygon) -> Ring:
    """One region with its holes as one ring."""
    return joined([polygon.exterior, *polygon.holes])


def joined(rings: Sequence[Ring]) -> Ring:
    """One ring out of at least one, by bridges between near corners."""
    ring = rings[0]
    for other in rings[1:]:
        tried = _CORNERS if len(rings) <= _FEW_HOLES else 1
        some = np.arange(0, len(other), max(1, len(other) // tried))
        apart = np.abs(ring[:, None] - other[None, some]).sum(axis=2)
        here, there = np.unravel_index(int(apart.argmin()), apart.shape)
        ring = _bridged(ring, int(here), other, int(some[there]))
    return ring


def _bridged(ring: Ring, here: int, other: Ring, there: int) -> Ring:
    start, end = ring[here], other[there]
    bend = np.array([[end[0], start[1]]])
    around = np.concatenate([other[there:], other[: there + 1]])
    whole = np.concatenate([ring[: here + 1], bend, around, bend, ring[here:]])
    moved = np.ones(len(whole), np.bool_)
    moved[1:] = (whole[1:] != whole[:-1]).any(axis=1)
    return whole[moved]
