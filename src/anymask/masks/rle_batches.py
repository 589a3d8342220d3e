"""Run-length encodings of many masks at once, for tables of tens of thousands of masks.

Vectorized equivalent of `string_to_rle` and `rle_merge`, without a Python object per mask.
Letters: N masks, G groups of masks of one image.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from anymask.base import DataError, IntArray
from anymask.masks.rle import MAX_DIGITS

CHARACTERS = 500_000  # decoded at a time: about 50 MB of numbers


def union_areas(
    texts: Sequence[str], pixels: IntArray, pages: IntArray, *groupings: IntArray
) -> list[IntArray]:  # N, (N,), (N,), (N,) -> (G,)
    """Area of the union of each group of masks, for each grouping.

    Args:
        texts: COCO's compressed strings.
        pixels: H * W of each mask (N,).
        pages: Image number of each mask (N,), ascending. A group has masks of one image.
        groupings: Group number of each mask (N,), from 0.

    Raises:
        DataError: A text is not such a string, or its runs do not fill its pixels.
    """
    areas = [np.zeros(int(groups.max(initial=-1)) + 1, np.int64) for groups in groupings]
    reach = np.cumsum([len(text) for text in texts])
    first = 0
    while first < len(texts):
        # As many images as fit, at least one.
        room = CHARACTERS + (reach[first - 1] if first else 0)
        last = int(np.searchsorted(reach, room, "right"))
        if last < len(texts):
            last = int(np.searchsorted(pages, pages[last]))
        last = max(last, int(np.searchsorted(pages, pages[first], "right")))
        part = slice(first, last)
        starts, ends, owners = _ones(texts[part], pixels[part])
        sizes = np.bincount(owners, ends - starts, last - first).astype(np.int64)
        step = int(pixels[part].max(initial=0)) + 1
        for sums, groups in zip(areas, groupings, strict=True):
            mine = groups[part]
            shared = np.bincount(mine, minlength=len(sums))[mine] > 1
            np.add.at(sums, mine[~shared], sizes[~shared])
            runs = np.flatnonzero(shared[owners])
            sums += _union(starts[runs], ends[runs], mine[owners[runs]], step, len(sums))
        first = last
    return areas


def _union(
    starts: IntArray, ends: IntArray, groups: IntArray, step: int, count: int
) -> IntArray:  # (R,) intervals -> (G,)
    """Number of pixels of the union of each group's intervals."""
    line = groups * step
    order = np.argsort(starts + line, kind="stable")  # fast, because the runs of a mask are sorted
    starts, ends = (starts + line)[order], (ends + line)[order]
    reached = np.concatenate([[0], np.maximum.accumulate(ends)[:-1]]) if len(ends) else ends
    new = np.maximum(0, ends - np.maximum(starts, reached))
    return np.bincount(groups[order], new, count).astype(np.int64)


def _ones(texts: Sequence[str], pixels: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """Start, exclusive end and mask of every object run; some runs are empty."""
    values, totals = _numbers(texts)
    if (np.abs(values) > np.repeat(pixels, totals)).any():  # prevents int64 overflow in the sums
        raise _damaged()
    # Pairs of background and object runs; a 0 is appended to masks with an odd number of runs.
    odd = totals % 2
    rows = (totals + odd) // 2
    pairs = np.zeros((int(rows.sum()), 2), np.int64)
    before = np.cumsum(odd) - odd
    pairs.ravel()[np.arange(len(values)) + np.repeat(before, totals)] = values
    owners = np.repeat(np.arange(len(texts)), rows)
    ends = np.cumsum(rows)
    firsts, filled = (ends - rows)[rows > 0], ends[odd > 0] - 1
    # From the fourth run on, a number is the difference to the run before the previous one.
    absolute = pairs[firsts, 0]
    pairs[firsts, 0] = 0
    counts = np.cumsum(pairs, axis=0)
    counts -= np.repeat(counts[firsts] - pairs[firsts], rows[rows > 0], axis=0)
    counts[firsts, 0], counts[filled, 1] = absolute, 0
    stops = np.cumsum(counts.sum(axis=1))
    reached = np.concatenate([[0], stops])
    offsets = reached[ends - rows]
    if (counts < 0).any() or (reached[ends] - offsets != pixels).any():
        raise _damaged()
    stops -= offsets[owners]
    return stops - counts[:, 1], stops, owners


def _numbers(texts: Sequence[str]) -> tuple[IntArray, IntArray]:  # -> (R,), (N,)
    """The numbers of all texts, and the count per text."""
    try:
        raw = np.frombuffer("".join(texts).encode("ascii"), np.uint8)
    except UnicodeEncodeError:
        raise _damaged() from None
    symbols = raw - np.uint8(48)
    lengths = np.array([len(text) for text in texts])
    borders = np.cumsum(lengths)
    if symbols.max(initial=0) > 63 or (symbols[borders[lengths > 0] - 1] & 0x20).any():
        raise _damaged()
    lasts = np.flatnonzero(symbols < 0x20)  # last digit of each number, which has the sign
    digits = np.diff(lasts, prepend=-1)
    if digits.max(initial=0) >= MAX_DIGITS:
        raise _damaged()
    values = symbols[lasts].astype(np.int64)
    values -= (values & 0x10) << 1
    longer, digit = np.flatnonzero(digits > 1), 1
    while len(longer):
        values[longer] = (values[longer] << 5) + (symbols[lasts[longer] - digit] & 0x1F)
        digit += 1
        longer = longer[digits[longer] > digit]
    return values, np.diff(np.searchsorted(lasts, borders), prepend=0)


def _damaged() -> DataError:
    return DataError("Invalid run lengths: they do not match the size of the image.")
