"""Matching of thin edge maps: two maps in, which pixels are the same edge out.

The boundary benchmark of Berkeley (Martin, Fowlkes and Malik, PAMI 2004) matches edge pixels that
the machine found with those that a person drew: each pixel at most once, a pair at most `radius`
apart, as many pairs as possible, and does so anew for each of 99 thresholds. Here the nearest pairs
are made first, for all thresholds in one go (`edge_levels`); then each threshold's matching is
enlarged along augmenting paths (Berge, Kuhn) until there is no more.

Deviation: of matchings with equally many pairs the benchmark takes one with the smallest sum of
distances (and draws the graph at random where it is dense); this takes one that has the nearest
pairs. The number of pairs is the same; which pixels are in them can differ.

Letters: H W the photo, B words of bits, T pixels of the truth, D found pixels in reach of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anymask.base import BoolArray, IntArray
from research.paper.edge_levels import WORD_BITS, Bits, unpack

_ABSENT, _FREE = -2, -1


def match_levels(found: Bits, truth: BoolArray, radius: float, count: int) -> Bits:
    """Which found pixels have a partner, at each threshold: (H, W, B), (H, W) -> (H, W, B).

    As many pixels have a partner as can have one; so many pixels of the truth have one, too.

    Args:
        found: Bit n of a pixel is 1 if it is detected at threshold n.
        truth: Annotated pixels.
        radius: Maximum Euclidean distance of a pair in pixels, inclusive.
        count: Number of thresholds.
    """
    reach = int(radius)
    board = np.pad(found, ((reach, reach), (reach, reach), (0, 0)))
    flat = board.reshape(-1, found.shape[2])
    truths = np.flatnonzero(np.pad(truth, reach))
    jumps = _jumps(radius, board.shape[1])
    pairs = _nearest_first(flat, truths, jumps, count)
    if pairs.needy.any():
        there: BoolArray = np.any(flat, axis=1)
        near = truths[:, None] + jumps
        kept = there[near]
        places, numbers = np.unique(near[kept], return_inverse=True)
        graph = _Graph(places, numbers.tolist(), [0, *np.cumsum(kept.sum(axis=1)).tolist()])
        for level in np.flatnonzero(pairs.needy.any(axis=0)):
            _enlarge(graph, flat, pairs, int(level))
    matched = (flat ^ pairs.left).reshape(board.shape)
    return matched[reach : reach + truth.shape[0], reach : reach + truth.shape[1]]


def _jumps(radius: float, width: int) -> IntArray:
    """From a place on a board of this width to all in reach, nearest first."""
    reach = int(radius)
    line = np.arange(-reach, reach + 1)
    distance = (line[:, None] ** 2 + line**2).reshape(-1)
    order = np.argsort(distance, kind="stable")[: int((distance <= radius**2).sum())]
    down, right = np.divmod(order, 2 * reach + 1)
    jumps: IntArray = (down - reach) * width + right - reach
    return jumps


# ---------------------------------------------------------------------------- the nearest pairs


@dataclass(frozen=True, eq=False)
class _Pairs:
    """The matchings of all L thresholds.

    Attributes:
        left: Detected pixels without a partner, as bits, one row per place.
        mate: Place of the detected pixel matched to each annotated one (T, L), or -1.
        needy: Whether it has no match although some are in reach (T, L).
    """

    left: Bits
    mate: IntArray
    needy: BoolArray


def _nearest_first(flat: Bits, truths: IntArray, jumps: IntArray, count: int) -> _Pairs:
    """Pair what is at distance 0, then 1, and so on, and still free. Along one jump no two pixels
    of the truth meet at the same place, so that one step does for all of them."""
    mate = np.full((len(truths), count), -1, np.int64)
    left = flat.copy()
    free = np.full((len(truths), flat.shape[1]), np.iinfo(np.uint64).max, np.uint64)
    reached = np.zeros_like(free)
    for jump in jumps:
        places = truths + jump
        reached |= flat[places]
        new = free & left[places]
        left[places] ^= new
        free ^= new
        rows = np.flatnonzero(new.any(axis=1))
        row, level = np.nonzero(unpack(new[rows], count))
        mate[rows[row], level] = places[rows[row]]
    return _Pairs(left, mate, unpack(free & reached, count))


# ------------------------------------------------------------------------------------- the rest


@dataclass(frozen=True, eq=False)
class _Graph:
    """Who is in reach of whom. Plain lists: numpy is slow at single numbers.

    Attributes:
        places: Places of the detected pixels (D,).
        near: Indices of `places` in reach of each annotated pixel, one list after the other.
        ends: End of each list, after a leading 0.
    """

    places: IntArray
    near: list[int]
    ends: list[int]


def _enlarge(graph: _Graph, flat: Bits, pairs: _Pairs, level: int) -> None:
    """Find a partner for every pixel of the truth that can have one, at one threshold."""
    word, bit = level // WORD_BITS, np.uint64(1) << np.uint64(level % WORD_BITS)
    owner = np.where(flat[graph.places, word] & bit, _FREE, _ABSENT)
    mate = pairs.mate[:, level]
    paired = np.flatnonzero(mate >= 0)
    mate[paired] = np.searchsorted(graph.places, mate[paired])
    owner[mate[paired]] = paired
    search = _Search(graph, owner, mate)
    ends = [search.from_truth(int(start)) for start in np.flatnonzero(pairs.needy[:, level])]
    taken = graph.places[[end for end in ends if end >= 0]]
    pairs.left[taken, word] ^= bit


class _Search:
    """Looks for augmenting paths at one threshold.

    Attributes:
        owner: Annotated pixel matched to each detected one, or _FREE, or _ABSENT.
        mate: Detected pixel matched to each annotated one, or -1.
        seen: Whether the search visited each detected pixel. Pixels of a failed search have no
            path to a free pixel, now or later, and stay visited.
    """

    def __init__(self, graph: _Graph, owner: IntArray, mate: IntArray) -> None:
        self.near, self.ends = graph.near, graph.ends
        self.owner, self.mate = owner.tolist(), mate.tolist()
        self.seen = bytearray((owner == _ABSENT).tobytes())

    def from_truth(self, start: int) -> int:
        """Breadth first from one that has none; the free pixel that came into use, or -1."""
        near, ends, owner, seen = self.near, self.ends, self.owner, self.seen
        queue: list[int] = [start]
        came: dict[int, int] = {}
        for truth in queue:
            for found in near[ends[truth] : ends[truth + 1]]:
                if seen[found]:
                    continue
                seen[found], came[found] = 1, truth
                if owner[found] == _FREE:
                    self._exchange(found, came)
                    return found
                queue.append(owner[found])
        return -1

    def _exchange(self, found: int, came: dict[int, int]) -> None:
        for reached in came:
            self.seen[reached] = 0
        while found >= 0:
            truth = came[found]
            self.owner[found] = truth
            found, self.mate[truth] = self.mate[truth], found
