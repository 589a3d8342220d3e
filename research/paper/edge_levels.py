"""Edge maps cut at many thresholds at once: an edge map in, one bit a pixel and threshold out.

The boundary benchmark cuts an edge map at 99 thresholds and treats each cut on its own: thin it,
match it. Cuts of one map are nearly the same, and a machine word treats 64 of them in one step, so
that 99 thresholds cost little more than one.

Letters: H W the photo, N pixels, L thresholds, B words of 64 thresholds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anymask.base import BoolArray, FloatArray

Bits = NDArray[np.uint64]

THRESHOLDS = np.arange(1, 100) / 100  # of the benchmark; an edge counts from its threshold on
WORD_BITS = 64


def cut(edges: FloatArray, thresholds: NDArray[np.float64] = THRESHOLDS) -> Bits:
    """The bits of an edge map: (H, W) -> (H, W, B), bit n set where edges >= thresholds[n].

    Args:
        thresholds: Thresholds (L,), ascending.
    """
    level = np.searchsorted(thresholds, edges, side="right")
    below = np.arange(len(thresholds) + 1)[:, None] > np.arange(len(thresholds))
    return pack(below)[level]


def pack(flags: BoolArray) -> Bits:  # (..., L) -> (..., B)
    """Flags as the bits of words, the first flag lowest."""
    words = -(-flags.shape[-1] // WORD_BITS)
    spread = np.zeros((*flags.shape[:-1], words * WORD_BITS), np.bool_)
    spread[..., : flags.shape[-1]] = flags
    packed: Bits = np.packbits(spread, axis=-1, bitorder="little").view("<u8")
    return packed


def unpack(bits: Bits, count: int) -> BoolArray:  # (..., B) -> (..., count)
    """The flags of `pack`."""
    octets = np.ascontiguousarray(bits).view(np.uint8)
    return np.unpackbits(octets, axis=-1, count=count, bitorder="little").view(np.bool_)


def pixels_per_level(bits: Bits, count: int) -> NDArray[np.int64]:  # (..., B) -> (count,)
    """How many pixels are there at each of `count` thresholds."""
    there = bits.reshape(-1, bits.shape[-1])
    there = there[there.any(axis=1)]
    pixels: NDArray[np.int64] = unpack(there, count).sum(axis=0, dtype=np.int64)
    return pixels


# ------------------------------------------------------------------------------------ thinning


def thin(mask: BoolArray) -> BoolArray:  # (H, W) -> (H, W)
    """A mask worn down to lines one pixel wide that connect as it did."""
    lines: BoolArray = thin_levels(mask[..., None].astype(np.uint64))[..., 0] > 0
    return lines


def thin_levels(bits: Bits) -> Bits:  # (H, W, B) -> (H, W, B)
    """Thin every threshold's pixels on their own.

    The parallel thinning of Guo and Hall (1989, first algorithm), which the benchmark runs as
    MATLAB's bwmorph "thin", with no limit on its turns.
    """
    height, width, words = bits.shape
    board = np.zeros((height + 2, width + 2, words), np.uint64)
    board[1:-1, 1:-1] = bits
    flat = board.reshape(-1, words)
    row = width + 2
    around = np.array([1, 1 - row, -row, -row - 1, -1, row - 1, row, row + 1])
    pixels = np.flatnonzero(flat.any(axis=1))
    changed = True
    while changed:
        changed = False
        for turn in (0, 4):
            gone = flat[pixels] & _removable(*(flat[pixels + jump] for jump in around), turn=turn)
            flat[pixels] ^= gone
            changed = changed or bool(gone.any())
    return board[1:-1, 1:-1].copy()


def _removable(*x: Bits, turn: int) -> Bits:
    """Where a pixel with these neighbours is not needed.

    Args:
        x: Eight neighbors, counterclockwise from the right.
        turn: Side that is thinned. 0: from the right and above; 4: from the left and below.
    """
    odd, even, after = x[0::2], x[1::2], (*x[2::2], x[0])
    a, b, c, d = (~o & (e | n) for o, e, n in zip(odd, even, after, strict=True))
    one_crossing = (a ^ b ^ c ^ d) & ~((a & b) | (c & d))
    first = [o | e for o, e in zip(odd, even, strict=True)]
    second = [e | n for e, n in zip(even, after, strict=True)]
    enough = _two(*first) & _two(*second) & ~(_four(*first) & _four(*second))
    right, above_right, above, below_right = (x[(n + turn) % 8] for n in (0, 1, 2, 7))
    gone: Bits = one_crossing & enough & ~((above_right | above | ~below_right) & right)
    return gone


def _two(a: Bits, b: Bits, c: Bits, d: Bits) -> Bits:
    """At least two of four."""
    neighbors, across = (a & b) | (c & d), (a | b) & (c | d)
    return np.asarray(neighbors | across, np.uint64)


def _four(a: Bits, b: Bits, c: Bits, d: Bits) -> Bits:
    """All four."""
    return a & b & c & d
