"""Run-lengths of many masks at once, for tables of tens of thousands of them.

The fast twin of `string_to_rle` and `rle_merge`: the same numbers, without a Python object for each
mask. Letters: N masks, G groups of masks that lie on one picture.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from anymask.base import DataError, IntArray
from anymask.masks.rle import MAX_DIGITS

CHARACTERS = 4_000_000  # that are unpacked at a time: about 500 MB of numbers


def union_areas(
    texts: Sequence[str], pixels: IntArray, pages: IntArray, *groupings: IntArray
) -> list[IntArray]:  # N, (N,), (N,), (N,) -> (G,)
    """Pixels that lie under any mask of each group, for each way to group the masks.

    Args:
        texts: COCO's compressed strings.
        pixels: H * W of each.
        pages: The picture of each, in rising order. Masks of several pictures are no group.
        groupings: The group of each, from 0 on.

    Raises:
        DataError: A text is not such a string, or its runs do not fill its pixels.
    """
    areas = [np.zeros(int(groups.max(initial=-1)) + 1, np.int64) for groups in groupings]
    reach = np.cumsum([len(text) for text in texts])
    first = 0
    while first < len(texts):
        # As many pictures as fit, one at least.
        room = CHARACTERS + (reach[first - 1] if first else 0)
        last = int(np.searchsorted(reach, room, "right"))
        if last < len(texts):
            last = int(np.searchsorted(pages, pages[last]))
        last = max(last, int(np.searchsorted(pages, pages[first], "right")))
        part = slice(first, last)
        starts, ends, owners = _ones(texts[part], pixels[part])
        step = int(pixels[part].max(initial=0)) + 1
        for found, groups in zip(areas, groupings, strict=True):
            found += _union(starts, ends, groups[part][owners], step, len(found))
        first = last
    return areas


def _union(
    starts: IntArray, ends: IntArray, groups: IntArray, step: int, count: int
) -> IntArray:  # (R,) intervals -> (G,)
    """The pixels of all intervals of each group, which are laid one behind the other."""
    line = groups * step
    order = np.argsort(starts + line)
    starts, ends = (starts + line)[order], (ends + line)[order]
    reached = np.concatenate([[0], np.maximum.accumulate(ends)[:-1]]) if len(ends) else ends
    new = np.maximum(0, ends - np.maximum(starts, reached))
    return np.bincount(groups[order], new, count).astype(np.int64)


def _ones(texts: Sequence[str], pixels: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """First pixel, pixel after the last, and mask of every run of ones."""
    values, owners, places = _numbers(texts)
    if (np.abs(values) > pixels[owners]).any():  # else the sums below could leave an int64
        raise _damaged()
    counts = values.copy()
    for parity in (1, 2):  # from the fourth run on a number is the difference to the last but one
        mine = np.flatnonzero((places % 2 == parity % 2) & (places > 0))
        sums = np.cumsum(values[mine])
        begins = np.flatnonzero(places[mine] == parity)
        earlier = np.concatenate([[0], sums])[begins]
        counts[mine] = sums - np.repeat(earlier, np.diff(np.append(begins, len(mine))))
    ends = np.cumsum(counts)
    totals = np.bincount(owners, minlength=len(texts))
    lasts = np.cumsum(totals) - 1
    offsets = np.concatenate([[0], ends])[lasts - totals + 1]
    filled = np.concatenate([[0], ends])[lasts + 1] - offsets
    if (counts < 0).any() or (filled != pixels).any():
        raise _damaged()
    ones = np.flatnonzero((places % 2 == 1) & (counts > 0))
    stops = ends[ones] - offsets[owners[ones]]
    return stops - counts[ones], stops, owners[ones]


def _numbers(texts: Sequence[str]) -> tuple[IntArray, IntArray, IntArray]:
    """The numbers of all texts, the text of each, and its place there."""
    try:
        raw = np.frombuffer("".join(texts).encode("ascii"), np.uint8)
    except UnicodeEncodeError:
        raise _damaged() from None
    symbols = raw.astype(np.int64) - 48
    borders = np.cumsum([len(text) for text in texts])
    if len(symbols) and (symbols.min() < 0 or symbols.max() > 63):
        raise _damaged()
    stops = np.flatnonzero((symbols & 0x20) == 0)
    starts = np.concatenate([[0], stops[:-1] + 1]) if len(stops) else stops
    if not np.isin(borders - 1, np.append(stops, -1)).all():
        raise _damaged()
    digits = np.arange(len(symbols)) - np.repeat(starts, stops - starts + 1)
    if len(digits) and digits.max() >= MAX_DIGITS - 1:
        raise _damaged()
    values = np.add.reduceat((symbols & 0x1F) << (5 * digits), starts) if len(starts) else starts
    values = values - np.where(symbols[stops] & 0x10, np.int64(1) << (5 * (digits[stops] + 1)), 0)
    owners = np.searchsorted(borders, stops, "right")
    places = np.arange(len(stops)) - np.searchsorted(owners, owners, "left")
    return values, owners, places


def _damaged() -> DataError:
    return DataError("a mask's run-lengths are damaged: they do not fill its picture")
